"""The run folder: whole or not at all, the same bytes for the same run, found and read back."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from herald.clock import SECOND, SimClock, WallClock, parse_time
from herald.errors import DataError, NotFound
from herald.model import BarSeries, StrategyFailed
from herald.results import compare_runs, find_run, list_runs, load_run, write_run
from herald.statistics import summary
from tests.runs import MONDAY, FakeOrigin, FakePlan, make_full_result, make_result, run_flip

NOW = parse_time("2026-11-24T13:15:02.5")


def write(root: Path, result: Any = None, plan: FakePlan | None = None, now: int = NOW, **terms: Any) -> Path:
    plan = FakePlan() if plan is None else plan
    result = make_full_result() if result is None else result
    return write_run(root, plan, result, ["herald", "backtest", "demo.toml"], clock=SimClock(now), **terms)


def test_the_name_tells_time_config_and_a_hash(tmp_path: Path) -> None:
    folder = write(tmp_path)

    config = json.dumps(FakePlan().to_dict(), sort_keys=True, separators=(",", ":"))
    assert f"20261124-131502-my-demo-{hashlib.sha256(config.encode()).hexdigest()[:4]}" == folder.name


def test_everything_written_is_read_back(tmp_path: Path) -> None:
    result = make_full_result()

    run = load_run(write(tmp_path, result))

    assert repr(result.orders) == repr(run.orders())  # by repr, since a NaN is not equal to itself
    assert result.fills == run.fills()
    assert result.trades == run.trades()
    assert result.notes == run.notes()
    assert result.instruments == run.instruments()
    curve, bars = run.equity(), run.market()["TEST"]
    for name in ("time", "equity", "balance", "exposure"):
        np.testing.assert_array_equal(getattr(result.equity, name), getattr(curve, name))
    for name in ("time", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(result.market["TEST"], name), getattr(bars, name))
    assert bars.spread is None
    assert summary(result) == run.statistics


def test_a_run_of_the_engine_is_read_back(tmp_path: Path) -> None:
    result = run_flip(400)

    run = load_run(write(tmp_path, result))

    assert repr(result.orders) == repr(run.orders())
    assert result.fills == run.fills()
    assert result.trades == run.trades()
    assert summary(result) == run.statistics


def test_spread_and_moments_between_seconds_are_kept(tmp_path: Path) -> None:
    time = MONDAY + np.array([1, 2_000_000_001])
    one = np.ones(2)
    bars = BarSeries("TEST", 1, time, one, one, one, one, one * 5, one / 3)

    run = load_run(write(tmp_path, make_result([1.0, 2.0], hours=[1, 2], bars=bars)))

    np.testing.assert_array_equal(time, run.market()["TEST"].time)
    np.testing.assert_array_equal(one / 3, run.market()["TEST"].spread)


@pytest.mark.parametrize("tag", ["a,b", 'say "x"', "two\nlines", "\r\n", "=1+1", "</script>", "ünï→"])
def test_hostile_text_survives_the_tables(tmp_path: Path, tag: str) -> None:
    result = make_full_result(tag, symbol="A/B:..\\C")

    run = load_run(write(tmp_path, result))

    assert (tag, tag) == (run.trades()[0].exit_tag, run.orders()[0].request.tag)
    assert "A/B:..\\C" in run.market()


def test_text_that_is_not_unicode_does_not_cost_the_results(tmp_path: Path) -> None:
    # Half a surrogate pair: what a command line or a file name with foreign bytes becomes in Python.
    command = ["herald", "backtest", "b\udce4r.toml"]

    folder = write_run(tmp_path, FakePlan(), make_full_result("half \ud83d"), command, clock=SimClock(NOW))

    run = load_run(folder)
    assert command == run.manifest["run"]["command"]
    assert "half \\ud83d" == run.trades()[0].exit_tag


def test_numbers_of_numpy_are_written_like_any_other(tmp_path: Path) -> None:
    plain = make_full_result()
    order, trade = plain.orders[0], plain.trades[0]
    request = msgspec.structs.replace(order.request, size=np.int64(1), limit=np.float64(99.5))
    terms = {"TEST": msgspec.structs.replace(plain.instruments["TEST"], price_step=np.float64(0.01), min_size=np.int64(1))}
    foreign = replace(
        plain,
        orders=(msgspec.structs.replace(order, request=request), *plain.orders[1:]),
        trades=(msgspec.structs.replace(trade, gross=np.float64(trade.gross)),),
        instruments=terms,
    )

    run = load_run(write(tmp_path, foreign))

    assert order == run.orders()[0]
    assert plain.trades == run.trades()
    assert (0.01, 1) == (run.instruments()["TEST"].price_step, run.instruments()["TEST"].min_size)


def test_the_clock_of_the_machine_is_taken_unless_one_is_given(tmp_path: Path) -> None:
    before = WallClock().now() // SECOND

    folder = write_run(tmp_path, FakePlan(), make_full_result(), ["herald"])

    written = parse_time(load_run(folder).manifest["run"]["written"].partition(".")[0].removesuffix("Z")) // SECOND
    assert before <= written <= WallClock().now() // SECOND


def test_manifest_states_origin_and_hashes(tmp_path: Path) -> None:
    folder = write(tmp_path, started=NOW - 3 * SECOND)

    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))

    assert {
        "name": folder.name,
        "written": "2026-11-24T13:15:02.5Z",
        "started": "2026-11-24T13:14:59.5Z",
        "duration_seconds": 3.0,
        "command": ["herald", "backtest", "demo.toml"],
        "source": "conf/my demo.toml",
    } == manifest["run"]
    assert FakePlan().to_dict() == manifest["config"]
    assert (7, "completed", "backtest") == (manifest["seed"], manifest["status"], manifest["mode"])
    (data,) = manifest["data"]
    assert ("TEST", "1h", 4) == (data["symbol"], data["timeframe"], data["rows"])
    assert ("2024-01-01T01:00:00Z", "2024-01-01T04:00:00Z") == (data["first"], data["last"])
    assert [{"plugin": "strategies", "distribution": "herald-trading", "version": "0.1.0"}] == manifest["versions"]["plugins"]
    assert ".".join(map(str, sys.version_info[:3])) in manifest["versions"]["python"]
    others = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.suffix != ".json"}
    others["statistics.json"] = hashlib.sha256((folder / "statistics.json").read_bytes()).hexdigest()
    assert others == manifest["files"]


def test_data_hash_is_that_of_the_columns(tmp_path: Path) -> None:
    result = make_full_result()
    expected = hashlib.sha256()
    for name in ("time", "open", "high", "low", "close", "volume"):
        expected.update(name.encode() + getattr(result.market["TEST"], name).tobytes())

    assert expected.hexdigest() == load_run(write(tmp_path, result)).manifest["data"][0]["sha256"]


SCRIPT = """
import sys
from pathlib import Path
from herald.clock import SimClock
from herald.results import write_run
from tests.runs import FakePlan, run_flip
print(write_run(Path(sys.argv[1]), FakePlan(), run_flip(300), ["herald"], clock=SimClock(int(sys.argv[2]))))
"""


def test_two_processes_with_different_hash_seeds_write_the_same_bytes(tmp_path: Path) -> None:
    folders = []
    for seed in ("1", "4711"):
        moment = str(NOW + int(seed) * SECOND)
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path), moment],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        folders.append(Path(run.stdout.strip()))
    first, second = folders

    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert "trades.csv" in names
    for name in names:
        if name != "manifest.json":
            assert (first / name).read_bytes() == (second / name).read_bytes(), name
    manifests = [json.loads((folder / "manifest.json").read_text(encoding="utf-8")) for folder in folders]
    for manifest in manifests:
        manifest.pop("run")
    assert manifests[0] == manifests[1]


def test_two_runs_in_one_second_get_two_folders(tmp_path: Path) -> None:
    first, second = write(tmp_path), write(tmp_path)

    assert f"{first.name}-2" == second.name
    assert second.name == load_run(second).manifest["run"]["name"]


def test_a_crash_while_writing_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("herald.results.folder.write_bars", fail)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)

    assert [] == list(tmp_path.iterdir())


def test_the_leftover_of_a_killed_process_is_no_run_and_in_nobodys_way(tmp_path: Path) -> None:
    name = write(tmp_path).name
    (tmp_path / name).rename(tmp_path / f".{name}-0.partial")

    folder = write(tmp_path)

    assert [folder] == list_runs(tmp_path)


def test_a_root_that_cannot_hold_folders_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file", encoding="utf-8")

    with pytest.raises(DataError, match="cannot be written to .*runs"):
        write(tmp_path / "runs")


def test_a_failed_run_keeps_its_traceback(tmp_path: Path) -> None:
    failure = StrategyFailed(MONDAY, "trend", "ValueError: no", "Traceback ...\nValueError: no")
    result = make_result([100.0], status="failed", errors=("strategy 'trend' was stopped",), failures=(failure,))

    folder = write(tmp_path, result)

    assert "Traceback ..." in (folder / "failures.txt").read_text(encoding="utf-8")
    assert ["strategy 'trend' was stopped"] == load_run(folder).manifest["errors"]


def test_a_run_without_a_moment_is_written_and_read(tmp_path: Path) -> None:
    run = load_run(write(tmp_path, make_result([])))

    assert 0 == len(run.equity().time)
    assert None is run.manifest["data"][0]["first"]


def test_statistics_are_json_that_every_reader_accepts(tmp_path: Path) -> None:
    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is no JSON")

    folder = write(tmp_path)

    for name in ("manifest.json", "statistics.json"):
        json.loads((folder / name).read_text(encoding="utf-8"), parse_constant=refuse)


# --- finding --------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    old, new, newer = (write(tmp_path, now=NOW + n * SECOND) for n in (0, 2, 9))
    (tmp_path / "something else").mkdir()

    assert [newer, new, old] == list_runs(tmp_path)


def test_a_missing_root_has_no_runs(tmp_path: Path) -> None:
    assert [] == list_runs(tmp_path / "nowhere")


def test_a_run_is_found_by_path_name_prefix_and_last(tmp_path: Path) -> None:
    first, second = write(tmp_path), write(tmp_path, now=NOW + 60 * SECOND)

    assert first == find_run(tmp_path, str(first))
    assert first == find_run(tmp_path, first.name)
    assert second == find_run(tmp_path, "20261124-1316")
    assert second == find_run(tmp_path, "last")


def test_a_name_is_found_though_another_begins_with_it(tmp_path: Path) -> None:
    first, _ = write(tmp_path), write(tmp_path)

    assert first == find_run(tmp_path, first.name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("20261124", "the beginning of 2 runs"),
        ("nix", "no run 'nix' in .*; there is 20261124-131502-my-demo-....-2, 20261124-131502-my-demo-.*`last`"),
        ("", "no run ''"),
    ],
)
def test_a_run_that_is_not_there_is_refused_with_the_way_out(tmp_path: Path, text: str, words: str) -> None:
    write(tmp_path)
    write(tmp_path)

    with pytest.raises(NotFound, match=words):
        find_run(tmp_path, text)


@pytest.mark.parametrize("text", ["last", "nix"])
def test_an_empty_root_says_how_to_make_a_run(tmp_path: Path, text: str) -> None:
    with pytest.raises(NotFound, match="herald backtest FILE"):
        find_run(tmp_path, text)


def test_a_message_about_an_unknown_run_names_the_newest_and_counts_the_rest(tmp_path: Path) -> None:
    *_, newest = (write(tmp_path, now=NOW + n * SECOND) for n in range(5))

    with pytest.raises(NotFound, match=f"there is {newest.name}, .* and 2 more: "):
        find_run(tmp_path, "nix")


# --- damage ---------------------------------------------------------------------------------------


def test_a_folder_without_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is no run folder"):
        load_run(tmp_path)


@pytest.mark.parametrize(("text", "words"), [("{", "cannot be read"), ("[]", "holds no table"), ('{"schema": 99}', "schema 99")])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str, words: str) -> None:
    folder = write(tmp_path)
    (folder / "manifest.json").write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=words):
        load_run(folder)


@pytest.mark.parametrize("section", ["run", "config", "config_sha256", "data", "versions", "files", "seed", "status"])
def test_a_manifest_that_lacks_a_section_is_named(tmp_path: Path, section: str) -> None:
    folder = write(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest[section]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    with pytest.raises(DataError, match=f"manifest.json is damaged: '{section}' is missing"):
        load_run(folder)


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("trades.csv", "trend,TEST,buy,x", "trades.csv, line 3: 4 fields where 16 belong"),
        ("fills.csv", "1,o,TEST,up,1,1,0,USD,2024-01-01T00:00:00Z,0", "fills.csv, line 3: 'up'"),
        ("equity.csv", "2024-01-01T09:00:00Z,x,1,1", "equity.csv, line 6: could not convert"),
        ("equity.csv", "yesterday,1,1,1", "equity.csv: a time cannot be read"),
        ("notes.csv", "yesterday,a,b", "notes.csv, line 3"),
    ],
)
def test_a_damaged_table_names_file_and_line(tmp_path: Path, file: str, line: str, words: str) -> None:
    folder = write(tmp_path)
    with (folder / file).open("a", encoding="utf-8") as table:
        table.write(line + "\n")
    run = load_run(folder)

    with pytest.raises(DataError, match=words):
        getattr(run, file.removesuffix(".csv"))()


def test_a_table_with_another_heading_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "trades.csv").write_text("a,b\n", encoding="utf-8")

    with pytest.raises(DataError, match="line 1: the heading is not strategy,symbol"):
        load_run(folder).trades()


def test_trades_of_before_positions_cost_a_swap_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path)
    now = load_run(folder).trades()
    rows = [line.split(",") for line in (folder / "trades.csv").read_text(encoding="utf-8").splitlines()]
    place = rows[0].index("swap")
    older = "".join(",".join(row[:place] + row[place + 1 :]) + "\n" for row in rows)
    (folder / "trades.csv").write_text(older, encoding="utf-8")

    assert now
    assert now == load_run(folder).trades()


@pytest.mark.parametrize("file", ["trades.csv", "equity.csv", "bars.npz"])
def test_a_missing_table_is_named(tmp_path: Path, file: str) -> None:
    folder = write(tmp_path)
    (folder / file).unlink()
    run = load_run(folder)

    with pytest.raises(NotFound, match=f"{file} is missing"):
        {"trades.csv": run.trades, "equity.csv": run.equity, "bars.npz": run.market}[file]()


@pytest.mark.parametrize("content", [b"", b"PK nothing"])
def test_damaged_bars_are_named(tmp_path: Path, content: bytes) -> None:
    folder = write(tmp_path)
    (folder / "bars.npz").write_bytes(content)

    with pytest.raises(DataError, match=r"bars\.npz cannot be read"):
        load_run(folder).market()


# --- comparison -----------------------------------------------------------------------------------


def altered(plan: FakePlan, **config: Any) -> FakePlan:
    whole: Mapping[str, Any] = {**plan.to_dict(), **config}
    return FakePlan(config=whole, plugins=[FakeOrigin("strategies", "herald-trading", "0.2.0")])


def test_two_runs_of_one_config_are_equal(tmp_path: Path) -> None:
    comparison = compare_runs(load_run(write(tmp_path)), load_run(write(tmp_path)))

    assert comparison.is_equal
    assert () == comparison.config == comparison.data == comparison.versions


def test_a_comparison_tells_what_differs(tmp_path: Path) -> None:
    result = make_full_result()
    other = msgspec.structs.replace(result.trades[0], gross=9.2)
    changed = make_result([100.0, 104.0, 103.0, 109.0], trades=[other])
    plan = altered(FakePlan(), risk=[{"use": "risk.max_order_size", "lots": 9.0}])

    comparison = compare_runs(load_run(write(tmp_path, result)), load_run(write(tmp_path, changed, plan)))

    assert not comparison.is_equal
    assert [("risk[0].lots", 5.0, 9.0)] == [(one.key, one.first, one.second) for one in comparison.config]
    assert ["TEST 1h"] == [one.key for one in comparison.data]
    assert ["plugins.strategies"] == [one.key for one in comparison.versions]
    numbers = {key: (first, second, difference) for key, first, second, difference in comparison.statistics}
    assert (105.0, 109.0, 4.0) == numbers["final_equity"]
    assert None is numbers["symbols"][2]
