"""One configuration gives the same bytes, whatever the process hashes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def backtest(out: Path, seed: str, env: dict[str, str]) -> dict[str, bytes]:
    """Return every file of the folder that one process writes; the manifest without its part ``run``."""
    command = [
        sys.executable,
        "-m",
        "herald",
        "backtest",
        str(ROOT / "examples" / "sma_cross.toml"),
        "--out",
        str(out),
        "--no-report",
    ]
    done = subprocess.run(
        command, env=env | {"PYTHONHASHSEED": seed}, cwd=out, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    (folder,) = [path for path in out.iterdir() if path.is_dir()]
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    manifest = json.loads(files["manifest.json"])
    assert manifest.pop("run")
    files["manifest.json"] = json.dumps(manifest).encode()
    return files


def test_two_processes_with_different_hashes_write_the_same_bytes(tmp_path: Path, clean_env: dict[str, str]) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()

    one, two = (backtest(folder, seed, clean_env) for folder, seed in zip(folders, ("1", "2"), strict=True))

    assert sorted(one) == sorted(two)
    assert {"manifest.json", "orders.csv", "fills.csv", "trades.csv", "equity.csv", "statistics.json", "bars.npz"} <= set(one)
    assert [] == [name for name in one if one[name] != two[name]]
    assert one["trades.csv"].count(b"\n") > 20
