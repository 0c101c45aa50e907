"""The watchdog, with children that are scripts of what they do at which second, and a clock that is moved."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from herald.errors import AmbiguousError, HeraldError, LeaseError, NotFound
from herald.live._files import FileLock
from herald.live.lease import AccountLease, holders_of
from herald.live.state import ACCOUNT, StateFile, TradingState
from herald.live.supervise import (
    HEARTBEAT,
    Beat,
    Heartbeat,
    OnHang,
    ProcessChild,
    StopLevel,
    Supervisor,
    Watch,
    read_beat,
)
from herald.testing import FakeClock

HALTED = TradingState.HALTED


class Script:
    """A child that beats once a second until *beats_for* and ends with *code* after *lasts* seconds of its clock."""

    pid = 2**30  # no process has this number

    def __init__(
        self,
        code: int = 0,
        lasts: float = float("inf"),
        beats_for: float = float("inf"),
        *,
        busy_from: float = float("inf"),
        obeys: bool = True,
        dies: bool = True,
    ) -> None:
        self.code, self.lasts, self.beats_for, self.busy_from, self.obeys, self.dies = (
            code,
            lasts,
            beats_for,
            busy_from,
            obeys,
            dies,
        )
        self.received: list[int] = []
        self.killed_after: float | None = None
        self._asked: float | None = None

    def begin(self, path: Path, clock: FakeClock) -> Script:
        self._clock, self._path, self._began, self._beat, self._seen = clock, path, clock.monotonic(), -1, 0.0
        self._heartbeat = Heartbeat(path, clock)
        return self

    @property
    def age(self) -> float:
        return self._clock.monotonic() - self._began

    def poll(self) -> int | None:
        if self.killed_after is not None:
            return -9
        if self._asked is not None and self.obeys:
            return self.code
        if self.age >= self.lasts:
            return self.code
        jump, self._seen = self.age - self._seen, self.age
        if int(self.age) > self._beat and self.age < self.beats_for and jump < 10:  # after a sleep it is not awake at once
            self._beat = int(self.age)
            self._heartbeat.beat(self._began + self.busy_from if self.age > self.busy_from else 0.0)
        return None

    def send(self, number: int) -> None:
        self.received.append(number)
        self._asked = self.age

    def kill(self) -> bool:
        self.killed_after = self.age
        return self.dies


class Draws(random.Random):
    """Always the same draw."""

    def __init__(self, draw: float) -> None:
        super().__init__(0)
        self._draw = draw

    def random(self) -> float:
        return self._draw


class Stand:
    """A watchdog and all it touches."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.state = StateFile(folder / "state", self.clock)
        self.told: list[str] = []
        self.started_at: list[float] = []
        self.acts: list[StopLevel] = []
        self.recorded: list[tuple[str, ...]] = []

    def run(
        self,
        children: Sequence[Script],
        *,
        draw: float = 0.0,
        act: Callable[[StopLevel], str] | None = None,
        at: dict[int, Callable[[Supervisor], None]] | None = None,
        **watch: object,
    ) -> int:
        waiting = list(children)

        def start(path: Path) -> Script:
            self.started_at.append(self.clock.monotonic())
            return waiting.pop(0).begin(path, self.clock)

        watchdog = Supervisor(
            start,
            self.state,
            Watch(**watch),  # type: ignore[arg-type]
            self.clock,
            Draws(draw),
            act=act,
            leases=self.folder / "leases",
            tell=self.told.append,
            record=self.record,
            source="a.toml",
        )
        begin, sleep, events = self.clock.monotonic(), self.clock.sleep, dict(at or {})

        def sleeping(seconds: float) -> None:
            sleep(seconds)
            for second in [one for one in events if self.clock.monotonic() - begin >= one]:
                events.pop(second)(watchdog)

        self.clock.sleep = sleeping  # type: ignore[method-assign]
        code = watchdog.run()
        assert [] == waiting, "children that were not started"
        return code

    def record(self, *row: str) -> None:
        self.recorded.append(row)

    def act(self, level: StopLevel) -> str:
        self.acts.append(level)
        return "3 orders cancelled"


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


# --- ends that are no failure


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (130, 130), (-2, 130), (0xC000013A, 130), (2, 2), (3, 3), (4, 4)])
def test_a_child_that_ends_in_order_or_cannot_do_better_is_not_started_again(stand: Stand, code: int, expected: int) -> None:
    assert expected == stand.run([Script(code, lasts=3)])
    assert stand.state.read().history == ()


# --- crashes


@pytest.mark.parametrize("code", [1, 5, -9, -11, -15])
def test_a_crashed_child_is_started_again(stand: Stand, code: int) -> None:
    assert 0 == stand.run([Script(code, lasts=3), Script(0, lasts=3)])
    assert 2 == len(stand.started_at)


def test_the_delays_double_and_are_a_random_share_of_their_bound(stand: Stand) -> None:
    children = [Script(1, lasts=0) for _ in range(8)]

    stand.run([*children, Script(0, lasts=0)], draw=0.5, crashes=100)

    gaps = [round(later - before, 6) for before, later in zip(stand.started_at, stand.started_at[1:], strict=False)]
    assert [0.5, 1, 2, 4, 8, 16, 30, 30] == gaps


def test_a_crash_loop_halts_the_account_and_ends_with_1(stand: Stand) -> None:
    assert 1 == stand.run([Script(7, lasts=60) for _ in range(5)])

    (change,) = stand.state.read().history
    assert (ACCOUNT, HALTED, "watchdog") == (change.scope, change.state, change.who)
    assert "crash loop: 5 failures in 600 s; the last ended with 7" == change.why


def test_crashes_far_apart_are_no_loop_and_wait_as_after_the_first(stand: Stand) -> None:
    children = [Script(1, lasts=160) for _ in range(12)]

    assert 0 == stand.run([*children, Script(0, lasts=1)], draw=0.0)
    assert stand.state.read().history == ()


def test_a_signal_ends_the_wait_for_the_next_start(stand: Stand) -> None:
    code = stand.run([Script(1, lasts=0) for _ in range(4)], draw=0.99, at={10: lambda dog: dog.stop(signal.SIGTERM)})

    assert 143 == code
    assert 10 <= stand.clock.monotonic() - stand.started_at[0] <= 10.5


# --- hangs


def test_a_child_that_falls_silent_is_killed_in_time_and_started_again(stand: Stand) -> None:
    hangs = Script(beats_for=30.5)

    assert 0 == stand.run([hangs, Script(0, lasts=1)], hang_seconds=10)
    assert hangs.killed_after is not None
    assert 40 < hangs.killed_after < 40.7
    assert any("hangs: no heartbeat for 10 s; killing it" in one for one in stand.told)
    assert stand.state.read().history == ()


def test_a_watchdog_with_one_second_of_patience_acts_within_two(stand: Stand) -> None:
    hangs = Script(beats_for=5.01)

    stand.run([hangs, Script(0, lasts=1)], hang_seconds=1.0)

    assert hangs.killed_after is not None
    assert hangs.killed_after - 5.01 <= 2.0


def test_a_child_that_beats_but_never_ends_its_work_is_killed(stand: Stand) -> None:
    hangs = Script(busy_from=20)

    stand.run([hangs, Script(0, lasts=1)], hang_seconds=10)

    assert hangs.killed_after is not None
    assert 30 < hangs.killed_after < 32
    assert any("busy with one thing for 1" in one for one in stand.told)


def test_a_child_that_never_beats_has_longer_to_begin(stand: Stand) -> None:
    silent = Script(beats_for=0)

    stand.run([silent, Script(0, lasts=1)], hang_seconds=10, start_seconds=60)

    assert silent.killed_after is not None
    assert 60 < silent.killed_after < 61


def test_a_machine_that_slept_has_not_waited_for_the_child(stand: Stand) -> None:
    child = Script(0, lasts=4000)

    def sleep(dog: Supervisor) -> None:
        stand.clock.advance(3600)

    assert 0 == stand.run([child], at={20: sleep})
    assert child.killed_after is None


def test_hangs_count_for_the_crash_loop(stand: Stand) -> None:
    assert 1 == stand.run([Script(beats_for=1) for _ in range(5)], hang_seconds=5)
    assert "the last hung: no heartbeat for 5 s" in stand.state.read().history[-1].why


@pytest.mark.parametrize(
    ("on_hang", "level", "flatten"), [(OnHang.HALT, StopLevel.CANCEL, False), (OnHang.FLATTEN, StopLevel.FLATTEN, True)]
)
def test_on_hang_halts_acts_at_the_broker_and_ends(stand: Stand, on_hang: OnHang, level: StopLevel, flatten: bool) -> None:
    assert 1 == stand.run([Script(beats_for=5)], act=stand.act, on_hang=on_hang)

    assert [level] == stand.acts
    halt, done = stand.state.read().history
    assert (HALTED, True, flatten, False) == (halt.state, halt.cancel_all, halt.flatten, halt.done)
    assert "the run hung: no heartbeat for 10 s" == halt.why
    assert ("watchdog", "3 orders cancelled", True) == (done.who, done.why, done.done)
    assert () == stand.state.read().pending()


def test_what_the_watchdog_could_not_do_stays_to_be_done(stand: Stand) -> None:
    def act(level: StopLevel) -> str:
        raise AmbiguousError("the broker does not answer")

    assert 1 == stand.run([Script(beats_for=5)], act=act, on_hang=OnHang.FLATTEN)
    assert [True] == [one.flatten for one in stand.state.read().pending()]
    assert "to flatten failed, and is left to the next run: the broker does not answer" in stand.told


def test_without_a_connector_the_demand_is_left_to_the_next_run(stand: Stand) -> None:
    stand.run([Script(beats_for=5)], on_hang=OnHang.HALT)

    assert 1 == len(stand.state.read().pending())
    assert any("the watchdog has no connector" in one for one in stand.told)


def test_what_a_person_asked_of_a_child_that_then_hung_is_done_by_the_watchdog(stand: Stand) -> None:
    def ask(dog: Supervisor) -> None:
        stand.state.set(ACCOUNT, HALTED, "me", "out of here", flatten=True)

    assert 0 == stand.run([Script(beats_for=5), Script(0, lasts=1)], act=stand.act, at={6: ask})
    assert [StopLevel.FLATTEN] == stand.acts
    assert () == stand.state.read().pending()


def test_the_account_of_a_child_that_cannot_be_killed_is_taken_from_it(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    old = AccountLease("Broker-Demo", "1", stand.clock, stand.folder / "leases")
    old.acquire("old", "a.toml")
    monkeypatch.setattr(Script, "pid", os.getpid())
    holders = []

    def act(level: StopLevel) -> str:
        holders.extend(holders_of(os.getpid(), "", stand.clock, stand.folder / "leases"))
        return "done"

    stand.run([Script(beats_for=5, dies=False)], act=act, on_hang=OnHang.HALT)

    assert [(2, "watchdog")] == [(one.epoch, one.run) for one in holders]
    with pytest.raises(LeaseError):
        old.check()
    with AccountLease("Broker-Demo", "1", stand.clock, stand.folder / "leases") as new:
        assert 3 == new.acquire("new", "a.toml")
    old.release()


# --- what is recorded


def test_a_restart_is_recorded_with_what_failed(stand: Stand) -> None:
    stand.run([Script(1, lasts=3), Script(0, lasts=1)])

    assert [("supervise.restart", f"process {Script.pid}, start 2", "ended with 1", "started")] == stand.recorded


def test_a_run_that_ends_in_order_leaves_nothing_to_record(stand: Stand) -> None:
    stand.run([Script(0, lasts=3)])

    assert [] == stand.recorded


def test_a_hang_is_recorded_from_the_kill_to_what_was_done_at_the_broker(stand: Stand) -> None:
    stand.run([Script(beats_for=5)], act=stand.act, on_hang=OnHang.FLATTEN)

    why = "no heartbeat for 10 s"
    assert [
        ("supervise.kill", f"process {Script.pid}", f"it hangs: {why}", "done"),
        ("supervise.halt --flatten", "account", f"the run hung: {why}", "done"),
        ("supervise.flatten", "account", f"the run hung: {why}", "done: 3 orders cancelled"),
    ] == stand.recorded


def test_a_crash_loop_is_recorded(stand: Stand) -> None:
    stand.run([Script(1, lasts=1), Script(1, lasts=1)], crashes=2)

    assert ["supervise.restart", "supervise.halt"] == [act for act, *_ in stand.recorded]
    assert ("account", "crash loop: 2 failures in 600 s; the last ended with 1", "done") == stand.recorded[-1][1:]


def test_what_failed_is_recorded_as_that(stand: Stand) -> None:
    def act(level: StopLevel) -> str:
        raise AmbiguousError("the broker does not answer")

    stand.run([Script(beats_for=5, dies=False)], act=act, on_hang=OnHang.HALT)

    assert "failed: the system does not let it end now" == stand.recorded[0][3]
    assert ("supervise.cancel", "failed: the broker does not answer") == (stand.recorded[-1][0], stand.recorded[-1][3])


def test_a_kill_after_a_signal_is_recorded(stand: Stand) -> None:
    stand.run([Script(obeys=False)], at={2: lambda watchdog: watchdog.stop(signal.SIGTERM)}, grace_seconds=5.0)

    why = "it did not end within 5 s of a signal"
    assert [("supervise.kill", f"process {Script.pid}", why, "done")] == stand.recorded


def test_a_broken_record_stops_no_stop_and_no_restart(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*row: str) -> None:
        raise RuntimeError("no\nspace")

    monkeypatch.setattr(stand, "record", broken)

    assert 1 == stand.run([Script(1, lasts=1), Script(1, lasts=1)], crashes=2)
    assert HALTED is stand.state.read().effective("trend", "EURUSD")
    assert 2 == stand.told.count("what was done is not in the audit log: no space")


# --- signals


def test_a_signal_is_passed_on_and_the_childs_end_is_the_watchdogs(stand: Stand) -> None:
    child = Script(code=0)

    assert 0 == stand.run([child], at={5: lambda dog: dog.stop(signal.SIGTERM)})
    assert [signal.SIGTERM] == child.received


def test_a_failure_after_a_signal_is_not_started_again(stand: Stand) -> None:
    assert 1 == stand.run([Script(code=1)], at={5: lambda dog: dog.stop(signal.SIGINT)})


def test_a_child_that_dies_of_the_signal_gives_the_code_of_a_shell(stand: Stand) -> None:
    assert 143 == stand.run([Script(code=-15)], at={5: lambda dog: dog.stop(signal.SIGTERM)})


def test_a_child_that_ignores_the_signal_is_killed_after_the_grace(stand: Stand) -> None:
    child = Script(obeys=False)

    code = stand.run(
        [child],
        grace_seconds=30,
        at={5: lambda dog: dog.stop(signal.SIGINT), 7: lambda dog: dog.stop(signal.SIGTERM)},
    )

    assert 1 == code
    assert [signal.SIGINT, signal.SIGTERM] == child.received
    assert child.killed_after is not None
    assert 35 <= child.killed_after < 36


def test_a_child_that_is_silent_while_it_stops_is_not_taken_to_hang(stand: Stand) -> None:
    child = Script(obeys=False, beats_for=5, lasts=25)

    assert 0 == stand.run([child], hang_seconds=5, grace_seconds=30, at={6: lambda dog: dog.stop(signal.SIGINT)})
    assert child.killed_after is None


# --- the rest


def test_two_watchdogs_do_not_share_a_state_folder(stand: Stand) -> None:
    stand.state.folder.mkdir()
    with FileLock(stand.state.folder / "supervise.lock") as lock:
        assert lock.try_acquire()

        with pytest.raises(HeraldError, match="is watched by another `herald supervise`; stop that one first"):
            stand.run([])


def test_a_program_that_is_none_is_not_found() -> None:
    with pytest.raises(NotFound, match="'no-such-program' cannot be started: .*; check the command"):
        ProcessChild(["no-such-program"], {})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hang_seconds", 0),
        ("start_seconds", float("nan")),
        ("window_seconds", float("inf")),
        ("grace_seconds", -1),
        ("crashes", 0),
    ],
)
def test_a_limit_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, not {value!r}"):
        Watch(**{field: value})  # type: ignore[arg-type]


def test_a_beat_is_read_as_it_was_written(tmp_path: Path) -> None:
    clock = FakeClock()
    heartbeat = Heartbeat.from_environment(clock, {HEARTBEAT: str(tmp_path / "beat")})
    assert heartbeat is not None
    assert read_beat(tmp_path / "beat") is None

    heartbeat.beat()
    first = read_beat(tmp_path / "beat")
    since = clock.monotonic()
    clock.advance(2.5)
    heartbeat.beat(since)

    assert [Beat(1, 0.0), Beat(2, 2.5)] == [first, read_beat(tmp_path / "beat")]
    heartbeat.close()
    heartbeat.close()


def test_nobody_beats_where_nobody_watches(tmp_path: Path) -> None:
    assert Heartbeat.from_environment(FakeClock(), {}) is None
    assert read_beat(tmp_path / "none") is None


@pytest.mark.parametrize("text", ["", "1", "1 x", "a b c"])
def test_half_a_beat_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "beat").write_text(text, encoding="utf-8")

    assert read_beat(tmp_path / "beat") is None
