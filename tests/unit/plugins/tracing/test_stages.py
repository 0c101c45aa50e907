"""What happens to an order becomes the right spans: their begin, end, parents and errors, derived by hand."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from herald.clock import SECOND, parse_time
from herald.model import Fill, Order, OrderDenied, OrderRequest, OrderStatus, OrderStep, Side
from herald.plugins.tracing import TracingSettings
from herald.plugins.tracing.stages import Stages
from herald.plugins.tracing.wire import Span
from herald.utils import redaction
from herald.utils.traces import span_id, trace_id

NOON = parse_time("2024-03-06T12:00:00Z")
MS = 1_000_000


def request(name: str = "trend-000001", **terms: Any) -> OrderRequest:
    return OrderRequest(name, "trend", "EURUSD", Side.BUY, 0.5, tag="entry", **terms)


def order(status: OrderStatus, name: str = "trend-000001", asked: OrderRequest | None = None, **more: Any) -> Order:
    return Order(asked or request(name), status, NOON, **more)


def fill(size: float = 0.5, name: str = "trend-000001", number: str = "f1") -> Fill:
    return Fill(number, name, "EURUSD", Side.BUY, size, 1.1, 0.35, "USD", NOON)


def play(stages: Stages, *news: tuple[int, Any]) -> list[Span]:
    """Let *stages* hear of events at so many milliseconds after noon."""
    return [span for at, event in news for span in stages.take(NOON + at * MS, event)]


def lines(spans: list[Span]) -> list[tuple[str, int, int, str]]:
    """Return name, begin and end in milliseconds after noon, and error."""
    return [(one.name, (one.begin - NOON) // MS, (one.end - NOON) // MS, one.error) for one in spans]


def intended(at: int = 0, asked: OrderRequest | None = None) -> OrderStep:
    return OrderStep(NOON + at * MS, "intended", asked or request())


def sent(asked: OrderRequest | None = None) -> OrderStep:
    return OrderStep(NOON, "sent", asked or request())


def test_an_order_is_one_trace_from_its_signal_to_its_fill() -> None:
    spans = play(
        Stages("seed", 1.0),
        (3, intended(0)),
        (8, sent()),
        (20, order(OrderStatus.ACCEPTED, broker_id="77")),
        (50, order(OrderStatus.FILLED, filled=0.5, average_price=1.1)),
        (50, fill()),
    )

    assert [
        ("risk", 0, 3, ""),
        ("intent", 3, 8, ""),
        ("acknowledgement", 8, 20, ""),
        ("fill", 20, 50, ""),
        ("order", 0, 50, ""),
    ] == lines(spans)
    whole = spans[-1]
    assert {trace_id("seed", "trend-000001")} == {one.trace for one in spans}
    assert ("", span_id("seed", "trend-000001", "order")) == (whole.parent, whole.id)
    assert {whole.id} == {one.parent for one in spans[:-1]}
    assert len({one.id for one in spans}) == 5
    assert {
        "herald.order": "trend-000001",
        "herald.strategy": "trend",
        "herald.symbol": "EURUSD",
        "herald.side": "buy",
        "herald.size": 0.5,
        "herald.type": "market",
        "herald.tag": "entry",
        "herald.fills": 1,
        "herald.status": "filled",
        "herald.filled": 0.5,
        "herald.average_price": 1.1,
    } == whole.attributes
    assert "passed" == spans[0].attributes["herald.outcome"]
    assert "77" == spans[2].attributes["herald.broker_id"]
    assert (1.1, 0.35, "f1") == tuple(spans[3].attributes[f"herald.{name}"] for name in ("price", "fee", "fill"))


def test_each_execution_is_a_span_that_begins_where_the_last_one_ended() -> None:
    spans = play(
        Stages("", 1.0),
        (0, intended()),
        (1, sent()),
        (2, order(OrderStatus.ACCEPTED)),
        (10, order(OrderStatus.PARTIAL, filled=0.2, average_price=1.1)),
        (10, fill(0.2)),
        (30, order(OrderStatus.FILLED, filled=0.5, average_price=1.1)),
        (30, fill(0.3, number="f2")),
    )

    assert [("fill", 2, 10, ""), ("fill", 10, 30, ""), ("order", 0, 30, "")] == lines(spans)[-3:]
    assert 2 == spans[-1].attributes["herald.fills"]


def test_a_broker_that_fills_at_once_has_acknowledged_by_that() -> None:
    spans = play(Stages("", 1.0), (0, intended()), (1, sent()), (9, order(OrderStatus.FILLED, filled=0.5)), (9, fill()))

    assert [("acknowledgement", 1, 9, ""), ("fill", 9, 9, ""), ("order", 0, 9, "")] == lines(spans)[-3:]


def test_what_a_check_refuses_is_a_trace_with_its_code() -> None:
    denied = order(OrderStatus.DENIED, code="max_position", reason="would hold 2 lots; the limit is 1")

    spans = play(Stages("", 1.0), (4, OrderDenied(NOON, denied)))

    why = "max_position: would hold 2 lots; the limit is 1"
    assert [("risk", 0, 4, why), ("order", 0, 4, why)] == lines(spans)
    assert ("denied", "max_position") == (spans[0].attributes["herald.outcome"], spans[0].attributes["herald.code"])
    assert "max_position" == spans[1].attributes["herald.code"]


def test_what_is_denied_on_its_way_ends_in_its_intent() -> None:
    denied = order(OrderStatus.DENIED, code="journal_unavailable", reason="disk full")

    spans = play(Stages("", 1.0), (2, intended()), (5, OrderDenied(NOON, denied)))

    assert [("risk", 0, 2, ""), ("intent", 2, 5, "journal_unavailable: disk full")] == lines(spans)[:2]
    assert "journal_unavailable: disk full" == spans[-1].error


def test_what_the_broker_refuses_ends_in_an_acknowledgement_that_failed() -> None:
    rejected = order(OrderStatus.REJECTED, code="no_money", reason="not enough money")

    spans = play(Stages("", 1.0), (0, intended()), (1, sent()), (7, rejected))

    assert [("acknowledgement", 1, 7, "no_money: not enough money"), ("order", 0, 7, "no_money: not enough money")] == (
        lines(spans)[-2:]
    )


def test_an_order_in_doubt_that_turns_up_has_two_acknowledgements() -> None:
    unknown = order(OrderStatus.UNKNOWN, code="timeout", reason="no answer")

    spans = play(
        Stages("", 1.0),
        (0, intended()),
        (1, sent()),
        (5, unknown),
        (9, order(OrderStatus.FILLED, filled=0.5)),
        (9, fill()),
    )

    assert [
        ("acknowledgement", 1, 5, "timeout: no answer"),
        ("acknowledgement", 5, 9, ""),
        ("fill", 9, 9, ""),
        ("order", 0, 9, ""),
    ] == lines(spans)[-4:]


def test_an_order_that_is_given_up_and_one_that_is_sent_again() -> None:
    given_up = play(
        Stages("", 1.0), (0, intended()), (1, sent()), (2, order(OrderStatus.UNKNOWN)), (9, order(OrderStatus.ABANDONED))
    )
    again = play(
        Stages("", 1.0),
        (0, intended()),
        (1, sent()),
        (2, order(OrderStatus.UNKNOWN)),
        (5, intended(5)),
        (6, sent()),
        (8, order(OrderStatus.ACCEPTED)),
    )

    assert ("order", 0, 9, "abandoned") == lines(given_up)[-1]
    assert [("intent", 5, 6, ""), ("acknowledgement", 6, 8, "")] == lines(again)[-2:]


def test_a_withdrawn_order_ends_without_an_error_and_a_changed_one_goes_on() -> None:
    changed = order(OrderStatus.ACCEPTED, asked=request(limit=1.05))
    refused = OrderDenied(NOON, order(OrderStatus.DENIED, code="invalid_price", reason="x"))

    spans = play(
        Stages("", 1.0),
        (0, intended()),
        (1, sent()),
        (2, order(OrderStatus.ACCEPTED)),
        (10, changed),
        (11, refused),
        (20, order(OrderStatus.CANCELLED, asked=request(limit=1.05))),
    )

    assert [
        ("change", 10, 10, ""),
        ("change denied", 11, 11, "invalid_price: x"),
        ("cancelled", 20, 20, ""),
        ("order", 0, 20, ""),
    ] == lines(spans)[-4:]
    assert 1.05 == spans[-1].attributes["herald.limit"]


def test_protection_and_parts_belong_to_the_trace_of_their_order() -> None:
    stages = Stages("", 1.0)

    first = play(stages, (0, intended()), (1, sent()), (2, order(OrderStatus.FILLED, filled=0.5)), (2, fill()))
    child = play(
        stages, (3, order(OrderStatus.ACCEPTED, "trend-000001.sl")), (9, order(OrderStatus.CANCELLED, "trend-000001.sl"))
    )
    part = play(
        stages,
        (0, intended(asked=request("trend-000002.1"))),
        (5, OrderDenied(NOON, order(OrderStatus.DENIED, "trend-000002.1"))),
    )

    assert first[-1].trace == child[-1].trace
    assert first[-1].id == child[-1].parent
    assert span_id("", "trend-000002", "order") == part[-1].parent


@pytest.mark.parametrize(("late", "begin"), [(-5, 0), (59_000, -59_000), (61_000, 0)])
def test_a_signal_by_another_clock_says_nothing_of_how_long_it_took(late: int, begin: int) -> None:
    (risk,) = play(Stages("", 1.0), (0, intended(-late)))

    assert begin == (risk.begin - NOON) // MS


def test_an_execution_after_the_end_is_told_in_the_same_trace() -> None:
    stages = Stages("", 1.0)
    ended = play(stages, (0, intended()), (1, sent()), (2, order(OrderStatus.CANCELLED)))

    (late,) = play(stages, (90, fill()))

    assert (ended[-1].trace, ended[-1].id) == (late.trace, late.parent)
    assert [] == play(stages, (91, order(OrderStatus.FILLED, filled=0.5)))


def test_an_order_of_an_earlier_run_goes_on_in_its_trace() -> None:
    spans = play(Stages("", 1.0), (5, order(OrderStatus.ACCEPTED)), (9, order(OrderStatus.FILLED, filled=0.5)), (9, fill()))

    assert [("fill", 5, 9, ""), ("order", 5, 9, "")] == lines(spans)
    assert span_id("", "trend-000001", "order") == spans[-1].parent
    assert spans[-1].parent != spans[-1].id


def test_what_is_open_ends_with_the_run_and_a_fill_is_not_waited_for_for_ever() -> None:
    stages = Stages("", 1.0)
    play(stages, (0, intended()), (1, sent()), (2, order(OrderStatus.ACCEPTED)))
    play(stages, (0, intended(asked=request("trend-000002"))), (2, order(OrderStatus.FILLED, "trend-000002", filled=0.5)))

    early = stages.settle(NOON + 2 * MS + 5 * SECOND - 1)
    settled = stages.settle(NOON + 2 * MS + 5 * SECOND)
    closed = stages.close(NOON + 100_000 * MS)

    assert [] == early
    assert [("order", 0, 2, "")] == lines(settled)
    assert [("order", 0, 100_000, "")] == lines(closed)
    assert [] == stages.close(NOON)


def test_a_part_of_the_orders_is_chosen_by_name_and_always_whole() -> None:
    names = [f"trend-{number:06}" for number in range(1, 2_001)]

    def traced(seed: str) -> set[str]:
        stages = Stages(seed, 0.25)
        return {name for name in names if play(stages, (0, intended(asked=request(name))))}

    chosen = traced("a")
    # 2,000 draws at a quarter: 500, with a standard deviation of 19.4; five of them to either side.
    assert 403 <= len(chosen) <= 597
    assert chosen == traced("a")
    assert chosen != traced("b")
    stages = Stages("a", 0.25)
    for name in names[:50]:
        assert bool(play(stages, (0, order(OrderStatus.ACCEPTED, f"{name}.sl")), (1, fill(name=name)))) == (name in chosen)


def test_followed_orders_are_bounded() -> None:
    stages = Stages("", 1.0)
    for number in range(10_050):
        play(stages, (0, intended(asked=request(f"trend-{number:06}"))))

    assert 10_000 == len(stages.close(NOON))


def test_a_hostile_reason_is_one_line_without_secrets() -> None:
    redaction.protect("hunter2-the-password")
    denied = order(OrderStatus.DENIED, code="x", reason="a\r\nb\x1b[2J hunter2-the-password " + "z" * 1_000)

    spans = play(Stages("", 1.0), (0, OrderDenied(NOON, denied)))

    assert spans[0].error.startswith("x: a b [2J *** zzz")
    assert len(spans[0].error) <= 500


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"endpoint": "collector:4318"}, "it is no address of a collector; write one such as"),
        ({"endpoint": "ftp://collector/x"}, "it is no address of a collector"),
        ({"endpoint": "http://collector:port/x"}, "it is no address of a collector"),
        ({"endpoint": "http://me:pass@collector/x"}, "it holds a password, which everybody can read; write headers"),
        ({"headers": {"A: b\r\nC": "secret:x"}}, "is no name of a header"),
        ({"sample": 0}, "greater than 0"),
        ({"sample": 1.5}, "less than or equal to 1"),
        ({"queue": 1}, "greater than or equal to 100"),
    ],
)
def test_settings_that_cannot_be_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TracingSettings(**keys)

    assert words in str(caught.value)
