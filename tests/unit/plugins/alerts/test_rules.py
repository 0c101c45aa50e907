"""Rules: each is told of what it is for, once, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from herald.clock import DAY, SECOND, parse_time
from herald.model import (
    Account,
    AccountMode,
    Alert,
    Bar,
    Charted,
    CircuitChanged,
    Connected,
    ConnectorState,
    DataEnded,
    Disconnected,
    HealthChanged,
    Note,
    ObserverMuted,
    Order,
    OrderDenied,
    OrderRequest,
    OrderStatus,
    Quote,
    RunStarted,
    RunState,
    RunStopped,
    ScopeState,
    Side,
    StateChanged,
    StrategyFailed,
    StrategyState,
)
from herald.plugins.alerts import AlertsSettings, QuietSettings, RuleSettings
from herald.plugins.alerts.rules import Found, Rule, make_rules
from herald.plugins.alerts.settings import DEFAULT_RULES, KINDS
from herald.testing import sample_events

NOON = parse_time("2024-03-06T12:00:00Z")  # a Wednesday


def rule(when: str, **keys: Any) -> Rule:
    (made,) = make_rules([RuleSettings(when=when, **keys)])  # type: ignore[arg-type]
    return made


def state(**changes: Any) -> RunState:
    fields: dict[str, Any] = {
        "time": NOON,
        "started": NOON - 60 * SECOND,
        "mode": "paper",
        "source": "run.toml",
        "currency": "USD",
        "balance": 10_000.0,
        "equity": 10_000.0,
        "peak": 10_000.0,
        "margin_used": 0.0,
        "margin_free": 10_000.0,
        "trading": "ACTIVE",
    }
    return RunState(**(fields | changes))


def order(status: OrderStatus, name: str = "trend-000001", **more: Any) -> Order:
    return Order(OrderRequest(name, "trend", "EURUSD", Side.BUY, 0.5), status, NOON, **more)


def denied(code: str, strategy: str = "trend") -> OrderDenied:
    request = OrderRequest(f"{strategy}-000001", strategy, "EURUSD", Side.BUY, 0.5)
    return OrderDenied(NOON, Order(request, OrderStatus.DENIED, NOON, code=code, reason=f"because of {code}"))


def titles(found: Iterable[Found]) -> list[str]:
    return [one.title for one in found]


def only(found: Iterable[Found]) -> Found:
    (one,) = found
    return one


# --- levels


def test_a_loss_of_the_day_is_told_once_a_day_and_counts_from_its_first_equity() -> None:
    one = rule("loss", fraction=0.02)

    quiet = [titles(one.look(state(equity=equity), NOON, 0.0)) for equity in (10_000.0, 9_801.0)]
    found = only(one.look(state(equity=9_800.0), NOON, 0.0))
    again = titles(one.look(state(equity=9_000.0), NOON, 0.0))
    next_day = [titles(one.look(state(time=NOON + DAY, equity=equity), NOON, 0.0)) for equity in (9_000.0, 8_821.0, 8_820.0)]

    assert [[], []] == quiet
    assert "critical" == found.severity
    assert (
        "equity 9,800.00 USD is 200.00 (2.0%) below the 10,000.00 with which the day began at 2024-03-06T00:00:00Z; "
        "the limit is 2.0%" == found.text
    )
    assert [] == again
    assert [[], [], ["loss of the day"]] == next_day


def test_a_day_begins_at_its_hour_in_its_zone() -> None:
    one = rule("loss", fraction=0.1, hour=17, zone="America/New_York")
    before, after = parse_time("2024-03-06T21:59:00Z"), parse_time("2024-03-06T22:00:00Z")

    first = titles(one.look(state(time=before, equity=10_000.0), NOON, 0.0))
    fresh = titles(one.look(state(time=after, equity=9_000.0), NOON, 0.0))  # a new day, which begins with what there is

    assert ([], []) == (first, fresh)


def test_a_restart_remembers_with_what_the_day_began() -> None:
    before, after = rule("loss", fraction=0.02), rule("loss", fraction=0.02)
    list(before.look(state(equity=10_000.0), NOON, 0.0))

    after.memory = msgspec.json.decode(msgspec.json.encode(before.memory))

    assert ["loss of the day"] == titles(after.look(state(equity=9_790.0), NOON, 0.0))


def test_a_drawdown_is_told_again_only_after_it_recovered_by_half() -> None:
    one = rule("drawdown", fraction=0.1)

    told = [titles(one.look(state(equity=equity), NOON, 0.0)) for equity in (9_001.0, 9_000.0, 8_000.0, 9_400.0, 8_900.0)]
    recovered = [titles(one.look(state(equity=equity), NOON, 0.0)) for equity in (9_501.0, 9_000.0)]

    assert [[], ["drawdown"], [], [], []] == told
    assert [[], ["drawdown"]] == recovered


@pytest.mark.parametrize("when", ["loss", "drawdown"])
@pytest.mark.parametrize("changes", [{"started": 0}, {"equity": float("nan")}])
def test_an_account_that_nobody_knows_yet_is_no_loss(when: str, changes: dict[str, Any]) -> None:
    one = rule(when, fraction=0.01)
    list(one.look(state(), NOON, 0.0))

    assert [] == titles(one.look(state(**({"equity": 5_000.0} | changes)), NOON, 0.0))


# --- connections and prices


def test_a_lost_connection_is_told_at_once_and_so_is_its_return() -> None:
    one = rule("disconnected")

    lost = only(one.hear(Disconnected(NOON, "main", "time-out"), 0.0))
    again = titles(one.hear(Disconnected(NOON, "main", "time-out"), 1.0))
    back = only(one.hear(Connected(NOON, "main"), 2.0))

    assert "connector main: time-out; nothing that adds to a position is sent until it is back" == lost.text
    assert [] == again
    assert back.ends
    assert ["disconnected"] == titles(one.hear(Disconnected(NOON, "main", "time-out"), 3.0))


def test_a_short_loss_of_the_connection_need_not_be_told() -> None:
    one = rule("disconnected", after_seconds=30)

    short = [titles(one.hear(Disconnected(NOON, "main", "x"), 0.0)), titles(one.hear(Connected(NOON, "main"), 29.0))]
    list(one.hear(Disconnected(NOON, "main", "x"), 40.0))

    assert [[], []] == short
    assert [] == titles(one.look(state(), NOON, 69.9))
    assert ["disconnected"] == titles(one.look(state(), NOON, 70.0))


def live(ready: bool = True, timeframe: str = "1h") -> RunState:
    account = Account(
        id="1001",
        server="Sim",
        real=False,
        currency="USD",
        mode=AccountMode.NETTING,
        balance=10_000.0,
        equity=10_000.0,
        margin_used=0.0,
        margin_free=10_000.0,
        leverage=30.0,
        time=NOON,
    )
    return state(
        strategies=(StrategyState("trend", "idle", ("EURUSD",), (timeframe,), "ACTIVE", True),),
        connectors=(ConnectorState("main", "simbroker", ready, account),),
    )


def test_a_symbol_without_prices_is_told_once_and_when_it_has_some_again() -> None:
    one = rule("stale_data", after_seconds=60)
    quote = Quote("EURUSD", 1.0, 1.1, NOON)

    list(one.hear(quote, 0.0))
    told = [titles(one.look(live(), NOON, seconds)) for seconds in (0.0, 59.0, 60.0, 90.0)]

    assert [[], [], ["no prices"], []] == told
    assert ["prices again"] == titles(one.hear(quote, 91.0))
    assert [] == titles(one.look(live(), NOON, 92.0))


def test_a_symbol_that_has_only_bars_may_be_silent_for_two_of_them() -> None:
    one = rule("stale_data", after_seconds=60)
    bar = Bar("EURUSD", 3_600 * SECOND, NOON, 1.0, 1.0, 1.0, 1.0)

    list(one.hear(Charted(bar, "1h"), 0.0))

    assert [] == titles(one.look(live(), NOON, 7_199.0))
    assert ["no prices"] == titles(one.look(live(), NOON, 7_200.0))


@pytest.mark.parametrize(
    ("time", "is_told"),
    [
        ("2024-03-08T21:49:00Z", True),  # Friday 16:49 in New York
        ("2024-03-08T21:50:00Z", False),
        ("2024-03-09T12:00:00Z", False),
        ("2024-03-10T21:14:00Z", False),  # Sunday 17:14, an hour earlier in UTC: summer time began that night
        ("2024-03-10T21:15:00Z", True),
    ],
)
def test_no_prices_are_expected_while_the_market_is_closed(time: str, is_told: bool) -> None:
    one = rule("stale_data", after_seconds=60)
    list(one.hear(Quote("EURUSD", 1.0, 1.1, NOON), 0.0))

    assert (["no prices"] if is_told else []) == titles(one.look(live(), parse_time(time), 1_000.0))


def test_the_silence_counts_from_when_the_market_opens_or_the_connector_is_back() -> None:
    one = rule("stale_data", after_seconds=60)
    list(one.hear(Quote("EURUSD", 1.0, 1.1, NOON), 0.0))

    list(one.look(live(), parse_time("2024-03-09T12:00:00Z"), 1_000.0))
    list(one.look(live(ready=False), NOON, 1_050.0))

    assert [] == titles(one.look(live(), NOON, 1_109.0))
    assert ["no prices"] == titles(one.look(live(), NOON, 1_110.0))


def test_a_market_may_never_close_and_recorded_data_may_end() -> None:
    saturday = parse_time("2024-03-09T12:00:00Z")
    coins, replay = rule("stale_data", after_seconds=60, closed=[]), rule("stale_data", after_seconds=60, closed=[])
    for one in (coins, replay):
        list(one.hear(Quote("EURUSD", 1.0, 1.1, NOON), 0.0))
    list(replay.hear(DataEnded(NOON, "main"), 1.0))

    assert ["no prices"] == titles(coins.look(live(), saturday, 100.0))
    assert [] == titles(replay.look(live(), saturday, 100.0))


# --- orders


def test_an_order_in_doubt_is_told_and_how_it_ends() -> None:
    one = rule("order_unknown")

    doubt = only(one.hear(order(OrderStatus.UNKNOWN, reason="time-out"), 0.0))
    again = titles(one.hear(order(OrderStatus.UNKNOWN), 0.0))
    found = only(one.hear(order(OrderStatus.FILLED), 0.0))

    assert ("critical", "order trend-000001 (BUY 0.5 EURUSD) may or may not be at the broker: time-out") == (
        doubt.severity,
        doubt.text,
    )
    assert [] == again
    assert ("order trend-000001 (BUY 0.5 EURUSD) is filled now", True) == (found.text, found.ends)
    assert [] == titles(one.hear(order(OrderStatus.FILLED), 0.0))
    assert ["order given up"] == titles(one.hear(order(OrderStatus.ABANDONED), 0.0))


def test_orders_that_an_earlier_run_left_in_doubt_are_told_at_the_start() -> None:
    one = rule("order_unknown")

    found = only(one.look(state(unresolved=("trend-000001", "trend-000002")), NOON, 0.0))

    assert "an earlier run left in doubt whether the broker has trend-000001, trend-000002" == found.text
    assert [] == titles(one.look(state(unresolved=("trend-000001",)), NOON, 1.0))
    assert ["order found"] == titles(one.hear(order(OrderStatus.ACCEPTED), 2.0))


def test_a_burst_of_refusals_is_told_with_its_codes_and_counts_anew() -> None:
    one = rule("denials", count=3, within_seconds=10)

    slow = [titles(one.hear(denied("max_position"), seconds)) for seconds in (0.0, 11.0, 22.0)]
    others = [titles(one.hear(denied("max_position", "mean"), 22.5)), titles(one.hear(denied("stale_price"), 23.0))]
    found = only(one.hear(denied("max_position"), 24.0))
    after = titles(one.hear(denied("max_position"), 24.5))

    assert [[], [], []] == slow
    assert [[], []] == others
    assert (
        "3 requests of strategy trend were refused within 10 s: max_position 2 times, stale_price 1 times; "
        "last: because of max_position" == found.text
    )
    assert [] == after


# --- the run itself


def test_a_crash_loop_is_told_by_the_start_that_sees_it() -> None:
    memory: dict[str, Any] = {}
    told = []
    for number in range(4):
        one = rule("crash_loop", count=3, within_seconds=600)
        one.memory = msgspec.json.decode(msgspec.json.encode(memory))
        told.append(titles(one.begin(NOON + number * 60 * SECOND)))
        memory = one.memory

    assert [[], [], [], ["crash loop"]] == told


def test_starts_after_an_orderly_end_or_long_ago_are_no_crash_loop() -> None:
    orderly, slow = rule("crash_loop", count=1), rule("crash_loop", count=1, within_seconds=60)
    for one in (orderly, slow):
        list(one.begin(NOON))
    list(orderly.hear(RunStopped(NOON, "interrupted"), 0.0))

    assert [] == titles(orderly.begin(NOON + SECOND))
    assert [] == titles(slow.begin(NOON + 61 * SECOND))
    assert ["crash loop"] == titles(orderly.begin(NOON + 2 * SECOND))


def test_a_run_that_failed_has_not_ended_in_order() -> None:
    one = rule("crash_loop", count=1)
    list(one.begin(NOON))
    list(one.hear(RunStopped(NOON, "failed"), 0.0))

    assert ["crash loop"] == titles(one.begin(NOON + SECOND))


def test_a_halt_by_the_watchdog_is_told_by_the_next_run_once() -> None:
    one = rule("crash_loop")
    halted = state(scopes=(ScopeState("account", "HALTED", "watchdog", "crash loop: 5 failures", NOON - SECOND),))
    by_hand = state(scopes=(ScopeState("account", "HALTED", "command (me)", "lunch", NOON - SECOND),))

    found = only(one.look(halted, NOON, 0.0))

    assert "the watchdog halted account: crash loop: 5 failures; it stays so until somebody resumes" == found.text
    assert [] == titles(one.look(halted, NOON, 1.0))
    assert [] == titles(one.look(by_hand, NOON, 2.0))


@pytest.mark.parametrize(
    ("when", "event", "severity", "text"),
    [
        (
            "strategy_failed",
            StrategyFailed(NOON, "trend", "KeyError: 'x'", "..."),
            "critical",
            "strategy trend was stopped: KeyError",
        ),
        ("state_changed", StateChanged(NOON, "account", "HALTED", "file", "HALT"), "critical", "account is HALTED by file: HALT"),
        (
            "state_changed",
            StateChanged(NOON, "account", "REDUCING", "herald", "x"),
            "warning",
            "account is REDUCING by herald: x",
        ),
        ("state_changed", StateChanged(NOON, "account", "ACTIVE", "me", "fine"), "info", "account is ACTIVE by me: fine"),
        (
            "unhealthy",
            HealthChanged(NOON, "connectors.main", "lost", "no answer"),
            "warning",
            "connectors.main is lost: no answer",
        ),
        ("unhealthy", CircuitChanged(NOON, "breaker", "OPEN"), "warning", "breaker is open"),
        ("alert", Alert(NOON, "late_bar", "too late"), "warning", "too late"),
        ("alert", Alert(NOON, "journal_unavailable", "disk full"), "critical", "disk full"),
        ("alert", ObserverMuted(NOON, "log", "OSError"), "warning", "observer log failed too often"),
        ("run", RunStarted(NOON, "live"), "info", "the live run trades"),
        ("run", RunStopped(NOON, "failed"), "critical", "the run ended: failed"),
        ("run", RunStopped(NOON, "completed"), "info", "the run ended: completed"),
    ],
)
def test_what_happens_is_told_as_gravely_as_it_is(when: str, event: Any, severity: str, text: str) -> None:
    found = only(rule(when).hear(event, 0.0))

    assert severity == found.severity
    assert text in found.text
    assert NOON == found.time


def test_health_that_returns_is_told_only_where_it_was_lost() -> None:
    one = rule("unhealthy")

    first = titles(one.hear(HealthChanged(NOON, "main", "healthy"), 0.0))
    list(one.hear(CircuitChanged(NOON, "breaker", "OPEN"), 0.0))
    half = titles(one.hear(CircuitChanged(NOON, "breaker", "HALF_OPEN"), 0.0))
    back = only(one.hear(CircuitChanged(NOON, "breaker", "CLOSED"), 0.0))

    assert ([], []) == (first, half)
    assert ("breaker is closed", True) == (back.text, back.ends)


def test_an_alert_of_the_run_is_not_told_twice_where_another_rule_tells_it() -> None:
    event = Alert(NOON, "order_unknown", "order trend-000001 may or may not be at the broker")
    alone = rule("alert")
    together = make_rules([RuleSettings(when="alert"), RuleSettings(when="order_unknown")])
    asked = make_rules([RuleSettings(when="alert", codes=("order_unknown",)), RuleSettings(when="order_unknown")])

    assert ["order unknown"] == titles(alone.hear(event, 0.0))
    assert [] == titles(together[0].hear(event, 0.0))
    assert ["order unknown"] == titles(asked[0].hear(event, 0.0))


def test_alerts_are_chosen_by_their_codes() -> None:
    events = [Alert(NOON, code, code) for code in ("late_bar", "late_fill", "self_cross")]

    some, others = rule("alert", codes=("late_bar",)), rule("alert", except_codes=("late_bar",))

    assert ["late bar"] == [title for event in events for title in titles(some.hear(event, 0.0))]
    assert ["late fill", "self cross"] == [title for event in events for title in titles(others.hear(event, 0.0))]


def test_the_summary_comes_once_a_day_at_its_time_and_says_what_happened_since() -> None:
    one = rule("summary", at="22:00", zone="Europe/Berlin")
    evening = parse_time("2024-03-06T21:00:00Z")

    early = titles(one.look(state(), evening - 60 * SECOND, 0.0))
    for event in (Disconnected(NOON, "main", "x"), denied("max_position"), denied("max_position")):
        list(one.hear(event, 0.0))
    found = only(one.look(state(equity=10_250.0, unresolved=("trend-000009",)), evening, 0.0))
    again = titles(one.look(state(), evening + 60 * SECOND, 0.0))
    tomorrow = titles(one.look(state(), evening + DAY, 0.0))

    assert ([], []) == (early, again)
    assert "summary of 2024-03-06" == found.title
    assert (
        "equity 10,250.00 USD (+250.00 since the last summary), balance 10,000.00; trading ACTIVE; positions: none; "
        "working orders: 0; 0 fills, 2 denials, 1 disconnects, 0 failures; in doubt: trend-000009" == found.text
    )
    assert ["summary of 2024-03-07"] == tomorrow


def test_a_start_after_the_time_of_the_summary_waits_for_the_next_day() -> None:
    one = rule("summary", at="22:00")

    assert [] == titles(one.look(state(), parse_time("2024-03-06T22:30:00Z"), 0.0))
    assert [] == titles(one.look(state(), parse_time("2024-03-07T21:59:00Z"), 0.0))
    assert ["summary of 2024-03-07"] == titles(one.look(state(), parse_time("2024-03-07T22:00:00Z"), 0.0))


@pytest.mark.parametrize("when", sorted(KINDS))
def test_no_rule_is_told_of_what_is_not_its_business(when: str) -> None:
    needed = {name: 0.05 if name == "fraction" else "22:00" for name, default in KINDS[when].items() if default is None}
    one = rule(when, **needed)

    for event in sample_events():
        list(one.hear(event, 0.0))  # whatever comes

    assert [] == titles(one.hear(Note(NOON, "trend", "hello"), 0.0))


# --- settings


def test_without_rules_everything_that_needs_no_figure_is_told() -> None:
    assert set(KINDS) - {"loss", "drawdown", "summary"} == {one.when for one in DEFAULT_RULES}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"when": "los"}, "Input should be 'alert', 'crash_loop'"),
        ({"when": "loss"}, "a rule 'loss' needs fraction; write fraction = 0.05"),
        ({"when": "loss", "fraction": 2}, "less than 1"),
        ({"when": "summary"}, "a rule 'summary' needs at; write at = \"22:00\""),
        ({"when": "summary", "at": "10 pm"}, "'10 pm' is no time of day"),
        ({"when": "summary", "at": "24:00"}, "'24:00' is no time of day"),
        ({"when": "summary", "at": "22:00", "zone": "Mars/Base"}, "unknown time zone 'Mars/Base'"),
        ({"when": "summary", "at": "22:00", "zone": "../etc"}, "unknown time zone"),
        ({"when": "run", "fraction": 0.1}, "a rule 'run' takes no fraction; it takes severity, targets"),
        ({"when": "stale_data", "closed": ["fri 16:50"]}, "is no stretch of a week"),
        ({"when": "stale_data", "closed": ["fri 16:50", "fri 16:50"]}, "is the whole week or nothing"),
        ({"when": "stale_data", "closed": ["friday", "sun 17:00"]}, "'friday' is no time of a week"),
        ({"when": "run", "severity": "fatal"}, "Input should be 'info', 'warning' or 'critical'"),
        ({"when": "denials", "count": 0}, "greater than or equal to 1"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_a_remedy(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RuleSettings(**keys)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"targets": {}}, "at least 1 item"),
        ({"targets": {"My Phone": "x"}}, "'My Phone' is no name of a target"),
        ({"rules": []}, "at least 1 item"),
        ({"rules": [{"when": "run", "targets": ["mail"]}]}, "rule 0 (run) names the target 'mail'; there are: phone"),
        ({"retry_seconds": 61}, "retry_seconds is longer than longest_retry_seconds"),
        ({"quiet": {"begin": "22:00", "end": "22:00", "zone": "UTC"}}, "are no hours or all"),
        ({"quiet": {"begin": "22", "end": "07:00", "zone": "UTC"}}, "'22' is no time of day"),
        ({"quiet": {"begin": "22:00", "end": "07:00", "zone": "Nowhere"}}, "unknown time zone 'Nowhere'"),
        ({"quiet": {"begin": "22:00", "end": "07:00"}}, "zone\n  Field required"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_remedy(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AlertsSettings(**({"targets": {"phone": "secret:phone"}} | keys))

    assert words in str(caught.value)


def test_quiet_hours_that_can_be_are_taken() -> None:
    assert "07:00" == QuietSettings(begin="22:00", end="07:00", zone="Europe/Berlin").end
