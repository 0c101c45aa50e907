"""What the health monitor promises, one by one; time is a fake clock's, and what hangs is let go by an event."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from herald.errors import NotConnected, TransientError, WaitTimeout
from herald.testing.clock import FakeClock
from herald.utils.health_monitor import ConnectionHealthMonitor, HealthState

UNKNOWN, HEALTHY, FAILING, LOST = HealthState
LONG = 30.0  # seconds; nothing here takes as long unless it hangs
DAY = 86_400.0


class Broker:
    """A connector that is up or down, keeps what is asked of it, and takes its time if told to."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock
        self.asked: list[str] = []
        self.down: Exception | None = None
        self.refuses: Exception | None = None
        self.heals = False  # whether connecting again brings it up
        self.latency = 0.0

    def ping(self) -> None:
        self.asked.append("ping")
        if self.clock is not None:
            self.clock.advance(self.latency)
        if self.down is not None:
            raise self.down

    def connect(self) -> None:
        self.asked.append("connect")
        if self.refuses is not None:
            raise self.refuses
        if self.heals:
            self.down = None


class OnlyPings:
    """A connector that somebody else connects."""

    def __init__(self) -> None:
        self.down: Exception | None = None
        self.asked = 0

    def ping(self) -> None:
        self.asked += 1
        if self.down is not None:
            raise self.down


class Hangs:
    """A connector whose pings hang until they are let go."""

    def __init__(self) -> None:
        self.hanging = True
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.asked = 0

    def ping(self) -> None:
        self.asked += 1
        self.begun.release()
        if self.hanging:
            assert self.go.wait(LONG)


class Draws(Random):
    """Draws what it is told to."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def random(self) -> float:
        return self.share


@pytest.fixture
def hangs() -> Iterator[Hangs]:
    connector = Hangs()
    yield connector
    connector.go.set()


def monitor_of(connector: Any, clock: FakeClock, interval: float = 30.0, **more: Any) -> ConnectionHealthMonitor:
    return ConnectionHealthMonitor(connector, interval, clock=clock.monotonic, random=more.pop("random", Draws(0.5)), **more)


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(10_000):
        if condition():
            return
        pause.wait(0.003)
    raise AssertionError("it never came about")


# --- one check


def test_a_report_is_true_when_the_other_side_answers() -> None:
    clock = FakeClock(0)
    broker = Broker(clock)
    broker.latency = 0.25
    monitor = monitor_of(broker, clock)

    report = monitor.health_check()

    assert report
    assert (True, 0.25, 0, 0.0, None) == (report.healthy, report.latency, report.failures, report.checked_at, report.error)
    assert (HEALTHY, True, report) == (monitor.state, monitor.is_healthy, monitor.report)


def test_a_report_says_why_and_how_often_in_a_row_it_failed() -> None:
    clock, broker = FakeClock(0), Broker()
    broker.down = TransientError("no route")
    monitor = monitor_of(broker, clock)

    reports = [monitor.health_check() for _ in range(2)]

    assert [False, False] == [bool(report) for report in reports]
    assert [1, 2] == [report.failures for report in reports]
    assert broker.down is reports[1].error
    assert FAILING is monitor.state


def test_nothing_is_known_before_the_first_check() -> None:
    monitor = monitor_of(Broker(), FakeClock(0))

    assert (UNKNOWN, False, None, True) == (monitor.state, monitor.is_healthy, monitor.report, monitor.should_check)


def test_is_connected_serves_where_there_is_no_ping() -> None:
    class Old:
        up = True

        def is_connected(self) -> bool:
            return self.up

    old = Old()
    monitor = monitor_of(old, FakeClock(0))
    first = monitor.health_check()
    old.up = False

    second = monitor.health_check()

    assert first
    assert not second
    assert "Old.is_connected() says that it is not connected" in str(second.error)


@pytest.mark.parametrize(("answer", "expected"), [(False, False), (True, True), (None, True), (0, True), ("pong", True)])
def test_only_false_is_a_ping_that_failed(answer: object, expected: bool) -> None:
    class Old:
        def ping(self) -> object:
            return answer

    assert expected == monitor_of(Old(), FakeClock(0)).health_check().healthy


def test_a_connector_without_either_is_refused() -> None:
    with pytest.raises(TypeError, match=r"object has neither ping\(\) nor is_connected\(\); give it one"):
        ConnectionHealthMonitor(object())


def test_an_async_ping_is_refused() -> None:
    class Modern:
        async def ping(self) -> None: ...

    with pytest.raises(TypeError, match=r"Modern.ping is an async function; the monitor needs one that blocks"):
        ConnectionHealthMonitor(Modern())


def test_a_base_exception_passes_through_and_the_monitor_goes_on() -> None:
    broker = Broker()
    broker.ping = _interrupt  # type: ignore[method-assign]
    monitor = monitor_of(broker, FakeClock(0))

    with pytest.raises(KeyboardInterrupt):
        monitor.health_check()
    with pytest.raises(KeyboardInterrupt):
        monitor.tick()


def _interrupt() -> None:
    raise KeyboardInterrupt


# --- when


def test_a_tick_checks_when_the_interval_is_over_and_not_before() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock)

    first = monitor.tick()
    clock.set(29_999_999_999)
    early = (monitor.should_check, monitor.tick())
    clock.set(30_000_000_000)
    due = (monitor.should_check, monitor.tick())

    assert first
    assert (False, None) == early
    assert due[0]
    assert due[1]
    assert 2 == len(broker.asked)


def test_a_failed_check_is_repeated_soon_and_not_after_an_interval() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock)
    monitor.tick()
    clock.advance(30)
    broker.down = TransientError("gone")
    broker.refuses = TransientError("gone")
    begun = clock.monotonic()

    while monitor.state is not LOST:
        monitor.tick()
        clock.advance(0.1)

    assert clock.monotonic() - begun < 1.5  # three failures, half a second apart
    assert 4 == broker.asked.count("ping")


def test_a_call_that_succeeded_puts_the_next_check_off() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock)
    monitor.tick()

    clock.advance(29)
    monitor.report_success()
    clock.advance(29)

    assert monitor.tick() is None
    assert 1 == len(broker.asked)


def test_a_call_that_succeeded_ends_a_row_of_failures() -> None:
    clock, connector = FakeClock(0), OnlyPings()
    connector.down = TransientError("busy")
    monitor = monitor_of(connector, clock)
    monitor.health_check()
    monitor.health_check()

    monitor.report_success()

    assert HEALTHY is monitor.state
    assert 1 == monitor.health_check().failures


def test_reset_forgets_failures() -> None:
    clock, connector = FakeClock(0), OnlyPings()
    connector.down = TransientError("busy")
    monitor = monitor_of(connector, clock, max_failures=1)
    monitor.health_check()
    lost = monitor.state

    monitor.reset()

    assert (LOST, UNKNOWN, True) == (lost, monitor.state, monitor.should_check)
    assert 1 == monitor.health_check().failures


# --- calls that fail


def test_a_call_that_failed_makes_a_check_due_at_once_and_the_next_failure_means_lost() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock)
    monitor.tick()
    clock.advance(1)
    broker.down = TransientError("reset by peer")
    broker.refuses = TransientError("refused")

    monitor.report_failure(broker.down)
    due = monitor.should_check
    monitor.tick()

    assert due
    assert LOST is monitor.state
    assert ["ping", "ping", "connect"] == broker.asked


def test_a_call_that_failed_while_the_connection_is_fine_changes_nothing() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock)
    monitor.tick()

    monitor.report_failure(TransientError("try again"))
    report = monitor.tick()
    clock.advance(1)

    assert report
    assert HEALTHY is monitor.state
    assert monitor.tick() is None
    assert 0 == monitor.statistics().losses


def test_an_outage_begins_with_the_first_call_that_failed() -> None:
    clock, connector = FakeClock(0), OnlyPings()
    monitor = monitor_of(connector, clock)
    monitor.health_check()
    clock.advance(10)
    connector.down = TransientError("gone")
    monitor.report_failure()
    clock.advance(1)
    monitor.report_failure(connector.down)
    clock.advance(1)
    monitor.tick()
    clock.advance(3)
    connector.down = None
    monitor.health_check()

    assert 5.0 == monitor.statistics().mttr_seconds


def test_not_connected_is_proof_by_itself() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock)
    monitor.tick()

    monitor.report_failure(NotConnected("gone"))
    lost = monitor.state
    report = monitor.tick()

    assert LOST is lost
    assert report
    assert ["ping", "connect", "ping"] == broker.asked


def test_calls_that_fail_while_it_is_lost_do_not_hurry_the_attempts() -> None:
    clock, broker = FakeClock(0), Broker()
    broker.down = broker.refuses = TransientError("gone")
    monitor = monitor_of(broker, clock, max_failures=1, random=Draws(0.9))
    monitor.tick()
    attempts = broker.asked.count("connect")

    for _ in range(100):
        monitor.report_failure(NotConnected("gone"))
        monitor.tick()

    assert attempts == broker.asked.count("connect") == 1


def test_a_failure_reported_during_a_check_is_not_settled_by_that_check() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock)
    monitor.tick()
    clock.advance(30)
    worker = threading.Thread(target=lambda: monitor.report_failure(TransientError("reset")))
    plain = broker.ping

    def ping() -> None:
        plain()
        worker.start()
        worker.join()

    monitor._check = ping
    monitor.tick()

    assert monitor.should_check


def test_what_the_monitor_s_own_check_reports_is_no_news() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock)

    def ping() -> None:
        monitor.report_failure(NotConnected("through a layer"))
        monitor.report_success()
        assert monitor.health_check().failures == 0  # asked from within: the last outcome, no second check
        assert monitor.tick() is None

    monitor._check = ping

    assert monitor.health_check()
    assert not monitor.should_check
    assert 1 == monitor.statistics().checks


def test_calls_that_on_reconnect_makes_do_not_hurry_the_attempts() -> None:
    clock, broker = FakeClock(0), Broker()
    broker.down, broker.heals = TransientError("gone"), True

    def reconcile() -> None:
        monitor.report_success()  # as a layer does for the call that subscribes
        raise RuntimeError("books differ")

    monitor = monitor_of(broker, clock, max_failures=1, random=Draws(1.0), on_reconnect=reconcile)
    at = []
    while clock.monotonic() < 8:
        if monitor.tick() is not None:
            at.append(clock.monotonic())
        clock.advance(0.125)

    assert [0.0, 0.5, 1.5, 3.5, 7.5] == at


# --- reconnecting


def test_a_connection_that_is_lost_is_made_again_in_the_same_check() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock)
    broker.down, broker.heals = TransientError("gone"), True

    reports = [monitor.health_check() for _ in range(3)]

    assert [False, False, True] == [bool(report) for report in reports]
    assert ["ping"] * 3 + ["connect", "ping"] == broker.asked
    assert 1 == monitor.statistics().reconnects


def test_attempts_to_reconnect_come_ever_later_up_to_the_bound() -> None:
    clock, broker = FakeClock(0), Broker()
    broker.down = broker.refuses = TransientError("gone")
    monitor = monitor_of(broker, clock, max_failures=1, random=Draws(1.0), initial_delay=0.5, max_delay=4)
    at: list[float] = []
    while clock.monotonic() < 20:
        before = len(broker.asked)
        monitor.tick()
        if len(broker.asked) > before:
            at.append(clock.monotonic())
        clock.advance(0.125)

    assert [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5] == at


def test_a_check_that_is_asked_for_before_the_next_attempt_only_pings() -> None:
    clock, broker = FakeClock(0), Broker()
    broker.down = broker.refuses = TransientError("gone")
    monitor = monitor_of(broker, clock, max_failures=1)
    monitor.health_check()

    report = monitor.health_check()

    assert not report
    assert ["ping", "connect", "ping"] == broker.asked
    clock.advance(0.25)
    assert monitor.should_check  # and the attempt is due when it was before


def test_each_wait_is_a_random_share_of_its_bound() -> None:
    clock, broker = FakeClock(0), Broker()
    broker.down = broker.refuses = TransientError("gone")
    monitor = monitor_of(broker, clock, max_failures=1, random=Draws(0.25))
    monitor.tick()

    clock.advance(0.124)
    early = monitor.should_check
    clock.advance(0.001)

    assert (False, True) == (early, monitor.should_check)


def test_two_monitors_draw_different_waits() -> None:
    waits = []
    for _ in range(2):
        broker = Broker()
        broker.down = broker.refuses = TransientError("gone")
        monitor = ConnectionHealthMonitor(broker, max_failures=1, clock=lambda: 0.0)
        monitor.health_check()
        waits.append(monitor._due)

    assert waits[0] != waits[1]


def test_a_connection_that_was_made_but_does_not_answer_is_not_healthy() -> None:
    clock, broker = FakeClock(0), Broker()
    broker.down = TransientError("silent")
    monitor = monitor_of(broker, clock, max_failures=1)

    report = monitor.health_check()

    assert not report
    assert LOST is monitor.state
    assert ["ping", "connect", "ping"] == broker.asked
    assert (0, 1) == (monitor.statistics().reconnects, monitor.statistics().failed_reconnects)


def test_the_given_reconnect_goes_before_the_connector_s_own() -> None:
    clock, broker = FakeClock(0), Broker()
    broker.down = TransientError("gone")
    made: list[str] = []
    monitor = monitor_of(broker, clock, max_failures=1, reconnect=lambda: made.append("again"))

    monitor.health_check()

    assert ["again"] == made
    assert "connect" not in broker.asked


def test_on_reconnect_runs_before_the_connection_counts_as_healthy() -> None:
    clock, broker = FakeClock(0), Broker()
    seen: list[tuple[HealthState, list[str]]] = []
    monitor = monitor_of(broker, clock, max_failures=1, on_reconnect=lambda: seen.append((monitor.state, list(broker.asked))))
    monitor.health_check()
    broker.down, broker.heals = TransientError("gone"), True

    report = monitor.health_check()

    assert report
    assert [(LOST, ["ping", "ping", "connect", "ping"])] == seen
    assert HEALTHY is monitor.state


def test_on_reconnect_that_fails_is_a_failed_attempt() -> None:
    clock, broker = FakeClock(0), Broker()
    broken: list[Exception] = [RuntimeError("books differ")]

    def reconcile() -> None:
        if broken:
            raise broken.pop()

    broker.down, broker.heals = TransientError("gone"), True
    monitor = monitor_of(broker, clock, max_failures=1, on_reconnect=reconcile)

    first = monitor.tick()
    state = monitor.state
    clock.advance(0.25)
    second = monitor.tick()

    assert first is not None
    assert "books differ" in str(first.error)
    assert LOST is state
    assert second
    assert (1, 1) == (monitor.statistics().reconnects, monitor.statistics().failed_reconnects)


def test_a_lost_connection_that_answers_again_by_itself_passes_on_reconnect_too() -> None:
    clock, broker = FakeClock(0), Broker()
    broker.down = broker.refuses = TransientError("gone")
    seen: list[HealthState] = []
    monitor = monitor_of(broker, clock, max_failures=1, random=Draws(0.9), on_reconnect=lambda: seen.append(monitor.state))
    monitor.health_check()
    broker.down = None

    report = monitor.health_check()  # no attempt is due yet: a ping only

    assert report
    assert [LOST] == seen
    assert 1 == broker.asked.count("connect")
    assert HEALTHY is monitor.state


def test_a_call_that_succeeds_while_lost_does_not_make_it_healthy_but_hurries_the_attempt() -> None:
    clock, broker = FakeClock(0), Broker()
    broker.down = broker.refuses = TransientError("gone")
    monitor = monitor_of(broker, clock, max_failures=1, random=Draws(0.9))
    monitor.health_check()
    broker.down = broker.refuses = None

    monitor.report_success()
    state = monitor.state
    report = monitor.tick()

    assert LOST is state
    assert report
    assert 2 == broker.asked.count("connect")


def test_where_somebody_else_reconnects_a_call_that_succeeds_is_enough() -> None:
    clock, connector = FakeClock(0), OnlyPings()
    connector.down = TransientError("gone")
    monitor = monitor_of(connector, clock, max_failures=1)
    monitor.health_check()

    monitor.report_success()

    assert HEALTHY is monitor.state


def test_where_somebody_else_reconnects_pings_come_ever_later() -> None:
    clock, connector = FakeClock(0), OnlyPings()
    connector.down = TransientError("gone")
    monitor = monitor_of(connector, clock, max_failures=1, random=Draws(1.0), max_delay=4)
    at = []
    while clock.monotonic() < 12:
        if monitor.tick() is not None:
            at.append(clock.monotonic())
        clock.advance(0.125)
    connector.down = None
    clock.advance(4)

    assert [0.0, 0.5, 1.5, 3.5, 7.5, 11.5] == at
    assert monitor.tick()
    assert HEALTHY is monitor.state


# --- data


def test_data_that_stays_away_fails_a_check_though_the_ping_answers() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock, stale_seconds=5, max_failures=1)
    monitor.tick()
    monitor.report_data()

    clock.advance(4.9)
    fresh = monitor.tick()
    clock.advance(0.1)
    due = monitor.should_check
    stale = monitor.tick()

    assert fresh is None
    assert due
    assert stale
    assert ["ping", "ping", "connect", "ping"] == broker.asked
    assert monitor.health_check()
    assert 1 == monitor.statistics().losses  # the new connection has its own time to bring data


def test_a_report_names_the_age_of_the_data() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock, stale_seconds=5)
    monitor.report_data()
    clock.advance(7)

    report = monitor.health_check()

    assert "the last data came 7 s ago, and 5 s are allowed" in str(report.error)
    assert FAILING is monitor.state


def test_data_is_not_missed_before_the_first_came() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock, stale_seconds=5)

    clock.advance(1_000)

    assert monitor.health_check()


# --- those who are told


def test_every_change_of_state_is_told_once() -> None:
    clock, broker = FakeClock(0), Broker()
    told: list[HealthState] = []
    monitor = monitor_of(broker, clock, max_failures=2, on_change=told.append)
    monitor.health_check()
    monitor.health_check()
    broker.down = broker.refuses = TransientError("gone")
    monitor.health_check()
    monitor.health_check()
    broker.down = broker.refuses = None
    monitor.health_check()

    assert [HEALTHY, FAILING, LOST, HEALTHY] == told


def test_a_listener_that_raises_is_counted_and_breaks_nothing() -> None:
    clock, broker = FakeClock(0), Broker()

    def listener(state: HealthState) -> None:
        raise RuntimeError("listener")

    monitor = monitor_of(broker, clock, on_change=listener)

    assert monitor.health_check()
    assert 1 == monitor.statistics().callback_errors


def test_a_listener_may_ask_the_monitor() -> None:
    seen: list[Any] = []
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock, on_change=lambda state: seen.append((monitor.statistics().checks, monitor.state)))

    monitor.health_check()

    assert [(1, HEALTHY)] == seen


# --- statistics


def test_statistics_of_a_monitor_that_has_seen_nothing() -> None:
    found = monitor_of(Broker(), FakeClock(0)).statistics()

    assert (0, 0, 0, 0, 1.0) == (found.checks, found.failures, found.losses, found.reconnects, found.uptime)
    assert (math.inf, 0.0, 0.0) == (found.mtbf_seconds, found.mttr_seconds, found.mean_latency)


def test_statistics_tell_up_and_down_from_the_first_failure_on() -> None:
    clock, connector = FakeClock(0), OnlyPings()
    monitor = monitor_of(connector, clock, max_failures=2)
    monitor.health_check()
    for _ in range(2):
        clock.advance(80)
        connector.down = TransientError("gone")
        monitor.health_check()  # down from here on, known ten seconds later
        clock.advance(10)
        monitor.health_check()
        clock.advance(10)
        connector.down = None
        monitor.health_check()

    found = monitor.statistics()

    assert (2, 80.0, 20.0) == (found.losses, found.mtbf_seconds, found.mttr_seconds)
    assert 0.8 == pytest.approx(found.uptime)
    assert (7, 4) == (found.checks, found.failures)


def test_an_outage_that_lasts_counts_while_it_lasts() -> None:
    clock, connector = FakeClock(0), OnlyPings()
    monitor = monitor_of(connector, clock, max_failures=1)
    monitor.health_check()
    clock.advance(50)
    connector.down = TransientError("gone")
    monitor.health_check()
    clock.advance(50)

    found = monitor.statistics()

    assert (0.5, 50.0, 0.0) == (found.uptime, found.mtbf_seconds, found.mttr_seconds)


def test_an_outage_begins_when_the_ping_that_failed_began() -> None:
    clock = FakeClock(0)
    broker = Broker(clock)
    monitor = monitor_of(broker, clock, max_failures=1)
    monitor.health_check()
    clock.advance(8)
    broker.down = broker.refuses = TransientError("gone")
    broker.latency = 2.0

    monitor.health_check()

    assert 0.8 == pytest.approx(monitor.statistics().uptime)


def test_latency_is_the_mean_of_the_last_successful_checks() -> None:
    clock = FakeClock(0)
    broker = Broker(clock)
    monitor = monitor_of(broker, clock, window=2)
    for broker.latency in (8.0, 1.0, 2.0):
        monitor.health_check()
    broker.down, broker.latency = TransientError("slow"), 50.0
    monitor.health_check()

    assert 1.5 == monitor.statistics().mean_latency


@pytest.mark.parametrize("step", [-DAY, DAY])
def test_the_wall_clock_has_no_say(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = ConnectionHealthMonitor(Broker(), 3_600)
    monitor.health_check()
    wall = time.time()

    monkeypatch.setattr(time, "time", lambda: wall + step)

    assert not monitor.should_check


# --- pings that hang


def test_a_ping_that_takes_longer_than_its_timeout_has_failed(hangs: Hangs) -> None:
    monitor = ConnectionHealthMonitor(hangs, check_timeout=0.02)

    report = monitor.health_check()

    assert not report
    assert isinstance(report.error, WaitTimeout)
    assert "no answer to a check within 0.02 s" in str(report.error)


def test_no_second_ping_is_made_while_one_hangs(hangs: Hangs) -> None:
    monitor = ConnectionHealthMonitor(hangs, check_timeout=0.02)

    reports = [monitor.health_check() for _ in range(5)]

    until(lambda: hangs.asked >= 1)
    assert 1 == hangs.asked
    assert "1 checks still hang; no further one is made" in str(reports[-1].error)
    assert (5, LOST) == (reports[-1].failures, monitor.state)


def test_a_ping_that_hung_and_came_back_is_followed_by_another(hangs: Hangs) -> None:
    monitor = ConnectionHealthMonitor(hangs, check_timeout=0.02)
    monitor.health_check()
    assert hangs.begun.acquire(timeout=LONG)
    hangs.hanging = False
    hangs.go.set()
    until(lambda: monitor._hanging[0].done.is_set())

    monitor._timeout = LONG

    assert monitor.health_check()
    assert 2 == hangs.asked


def test_a_tick_starts_a_ping_and_a_later_one_collects_it() -> None:
    clock, broker = FakeClock(0), Broker()
    monitor = monitor_of(broker, clock, check_timeout=5)

    started = monitor.tick()
    until(lambda: monitor.should_check)
    collected = monitor.tick()

    assert started is None
    assert collected
    assert (1, HEALTHY) == (monitor.statistics().checks, monitor.state)
    assert monitor.tick() is None


def test_a_tick_does_not_wait_for_a_ping_that_hangs(hangs: Hangs) -> None:
    clock = FakeClock(0)
    monitor = monitor_of(hangs, clock, check_timeout=2)

    started = monitor.tick()
    assert hangs.begun.acquire(timeout=LONG)
    clock.advance(1.9)
    hanging = (monitor.should_check, monitor.tick())
    clock.advance(0.1)
    report = monitor.tick()

    assert started is None
    assert (False, None) == hanging
    assert report is not None
    assert "no answer to a check within 2 s" in str(report.error)
    assert 2.0 == report.latency
    clock.advance(0.5)
    assert "still hang" in str(monitor.tick().error)  # type: ignore[union-attr]
    assert 1 == hangs.asked


def test_a_check_that_is_asked_for_takes_the_ping_under_way(hangs: Hangs) -> None:
    clock = FakeClock(0)
    hangs.hanging = False
    monitor = monitor_of(hangs, clock, check_timeout=LONG)
    monitor.tick()

    assert monitor.health_check()
    assert 1 == hangs.asked


def test_a_new_connection_is_asked_although_an_old_ping_hangs(hangs: Hangs) -> None:
    clock = FakeClock(0)

    def reconnect() -> None:
        assert hangs.begun.acquire(timeout=LONG)
        hangs.hanging = False
        monitor._timeout = LONG

    monitor = monitor_of(hangs, clock, check_timeout=0.02, max_failures=1, reconnect=reconnect)

    assert monitor.health_check()
    assert 2 == hangs.asked


def test_pings_that_hang_on_ever_new_connections_come_to_an_end(hangs: Hangs) -> None:
    clock = FakeClock(0)
    monitor = monitor_of(hangs, clock, check_timeout=0.01, max_failures=1, reconnect=lambda: None)

    for _ in range(10):
        monitor.health_check()
        clock.advance(60)

    until(lambda: hangs.asked == 4)
    assert "4 checks still hang" in str(monitor.report.error)  # type: ignore[union-attr]


# --- several threads


def test_while_one_thread_checks_another_gets_the_last_outcome(hangs: Hangs) -> None:
    monitor = monitor_of(hangs, FakeClock(0))
    thread = threading.Thread(target=monitor.health_check)
    thread.start()
    assert hangs.begun.acquire(timeout=LONG)

    meanwhile = monitor.health_check()
    ticked = monitor.tick()
    hangs.go.set()
    thread.join()

    assert not meanwhile
    assert "the first check is still under way" in str(meanwhile.error)
    assert ticked is None
    assert monitor.report
    assert 1 == hangs.asked


def test_a_tick_with_nothing_to_do_blocks_its_caller_for_less_than_a_millisecond() -> None:
    monitor = ConnectionHealthMonitor(Broker(), 3_600)
    monitor.tick()
    times = []
    for _ in range(200):
        begun = time.perf_counter()
        monitor.tick()
        times.append(time.perf_counter() - begun)

    assert sorted(times)[100] < 0.001


# --- a thread of its own


def test_no_thread_is_started_but_by_start() -> None:
    before = threading.active_count()

    ConnectionHealthMonitor(Broker()).health_check()

    assert before == threading.active_count()


def test_the_thread_checks_and_ends_promptly_though_the_interval_is_long() -> None:
    checked = threading.Event()

    class Told:
        def ping(self) -> None:
            checked.set()

    monitor = ConnectionHealthMonitor(Told(), 3_600)
    with monitor as entered:
        thread = monitor._thread
        assert checked.wait(LONG)
        monitor.start()
        same = monitor._thread

    assert entered is monitor
    assert thread is same is not None
    assert not thread.is_alive()
    assert thread.daemon
    assert monitor.stop()


def test_a_reported_failure_wakes_the_thread() -> None:
    broker = Broker()
    monitor = ConnectionHealthMonitor(broker, 3_600)
    with monitor:
        until(lambda: monitor.state is HEALTHY)
        broker.down, broker.heals = TransientError("reset"), True
        monitor.report_failure(broker.down)
        until(lambda: monitor.statistics().reconnects == 1)
        until(lambda: monitor.state is HEALTHY)


def test_the_thread_collects_its_pings_when_they_are_bounded() -> None:
    monitor = ConnectionHealthMonitor(Broker(), 3_600, check_timeout=LONG)
    with monitor:
        until(lambda: monitor.state is HEALTHY)

    assert 1 == monitor.statistics().checks


def test_a_thread_that_hangs_in_a_check_is_owned_up_to(hangs: Hangs) -> None:
    monitor = ConnectionHealthMonitor(hangs)
    monitor.start()
    assert hangs.begun.acquire(timeout=LONG)

    stopped = monitor.stop(timeout=0.01)
    with pytest.raises(WaitTimeout, match="the monitor's last thread still hangs in a check"):
        monitor.start()
    hangs.go.set()

    assert not stopped
    assert monitor.stop(LONG)


def test_a_monitor_may_be_started_again() -> None:
    broker = Broker()
    monitor = ConnectionHealthMonitor(broker, 3_600)
    for count in (1, 2):
        monitor.reset()
        with monitor:
            until(lambda: broker.asked.count("ping") == count)  # noqa: B023

    assert 2 == monitor.statistics().checks


def test_a_callback_may_stop_the_monitor_and_it_may_be_started_again() -> None:
    answers: list[bool] = []
    monitor = ConnectionHealthMonitor(Broker(), 3_600, on_change=lambda state: answers.append(monitor.stop()))

    monitor.start()
    thread = monitor._thread
    assert thread is not None
    thread.join(LONG)
    monitor.start()

    assert [False] == answers
    assert thread is not monitor._thread
    assert monitor.stop(LONG)


# --- bad input

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in ("check_interval", "check_timeout", "stale_seconds", "initial_delay", "max_delay")
        for value in (0, -1.0, NAN, INF, "1")
    ]
    + [(name, value) for name in ("max_failures", "window") for value in (0, -1, 1.5, True, NAN)]
    + [("max_delay", 0.4)],
)
def test_a_bad_parameter_is_named_with_its_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        ConnectionHealthMonitor(Broker(), **{name: value})

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("timeout", [-1, NAN, INF])
def test_stop_refuses_a_bad_timeout(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be a finite number of at least 0"):
        ConnectionHealthMonitor(Broker()).stop(timeout)
