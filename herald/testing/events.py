"""One example of every kind of event, for tests of whatever listens."""

from __future__ import annotations

from herald.clock import HOUR, parse_time
from herald.model import (
    Account,
    AccountMode,
    Alert,
    Bar,
    CallRepeated,
    CircuitChanged,
    Connected,
    DataEnded,
    Disconnected,
    Event,
    FaultInjected,
    Fill,
    HealthChanged,
    Note,
    ObserverMuted,
    Order,
    OrderDenied,
    OrderRequest,
    OrderStatus,
    OrderStep,
    Quote,
    RunStarted,
    RunStopped,
    Side,
    StateChanged,
    StrategyFailed,
    Timer,
)

__all__ = ["sample_events"]


def sample_events(at: int | None = None) -> tuple[Event, ...]:
    """Return one event of every type that observers may hear, in the order of a short run.

    Args:
        at: Their time, nanoseconds UTC; the start of 2024 unless given.
    """
    time = parse_time("2024-01-01") if at is None else at
    request = OrderRequest("trend-000001", "trend", "TEST", Side.BUY, 0.1, tag="entry")
    order = Order(request, OrderStatus.ACCEPTED, time, "1001")
    denied = Order(request, OrderStatus.DENIED, time, code="max_position", reason="would hold 2 lots; the limit is 1")
    account = Account(
        id="1",
        server="test",
        real=False,
        currency="USD",
        mode=AccountMode.NETTING,
        balance=10_000.0,
        equity=10_010.0,
        margin_used=0.0,
        margin_free=10_010.0,
        leverage=30.0,
        time=time,
    )
    return (
        RunStarted(time, "backtest"),
        Bar("TEST", time, HOUR, 100.0, 101.0, 99.0, 100.5, 1_000.0),
        Quote("TEST", time, 100.4, 100.6),
        Timer(time, "trend", "wake {up}"),
        Note(time, "trend", "a {note} with braces\nand two lines"),
        OrderStep(time, "sent", request),
        order,
        Fill("1", request.id, "TEST", Side.BUY, 0.1, 100.5, 0.35, "USD", time),
        account,
        OrderDenied(time, denied),
        CallRepeated(time, "connectors.main.middleware[0]", "quote", 1, 0.5, "TransientError: {busy}"),
        CircuitChanged(time, "connectors.main.middleware[1]", "OPEN"),
        FaultInjected(time, "connectors.main.middleware[2]", "lost_reply", "submit"),
        Connected(time, "main"),
        DataEnded(time, "main"),
        Disconnected(time, "main", "no answer to 3 pings"),
        Alert(time, "position_mismatch", "the broker holds 0.2 lots of TEST, the books 0.1"),
        StateChanged(time, "account", "REDUCING", "command", "news"),
        HealthChanged(time, "connectors.main", "lost", "no answer to 3 pings"),
        StrategyFailed(time, "trend", "ValueError: {bad}", "Traceback: ..."),
        ObserverMuted(time, "observers[0]", "OSError: disk full"),
        RunStopped(time, "completed"),
    )
