"""How a service sees and steers a run: a state once a second, news through a bounded queue, acts through the same gate.

A service has threads or processes of its own. What it reads was put together in the engine's thread; what it asks for is
handed to that thread and waited for, so that the engine is never touched from two sides.
"""

from __future__ import annotations

import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from herald import model
from herald.clock import SECOND, Clock
from herald.engine.context import Terms
from herald.engine.feed import Feed
from herald.errors import AuditError, HeraldError, WaitTimeout
from herald.host.plan import MANUAL
from herald.indicators.base import Indicator
from herald.live.state import ACCOUNT, TradingState
from herald.model import (
    Act,
    AmendOrder,
    Bar,
    Charted,
    ClosePosition,
    ConnectorState,
    Done,
    Event,
    Fill,
    Holding,
    Line,
    Order,
    OrderStatus,
    OrderType,
    PlaceOrder,
    PlanInfo,
    Quote,
    Reconcile,
    Reload,
    ResumeTrading,
    RunState,
    ScopeState,
    Series,
    Side,
    StopTrading,
    StrategyState,
    Timeframe,
    Usage,
    WithdrawOrder,
)

if TYPE_CHECKING:
    from herald.runtime.live import LiveRun

__all__ = ["Ear", "RunControl"]

R = TypeVar("R")

_ANSWER_SECONDS = 10.0
_LONGEST_WHY = 1_000
_SHARE = 100
"""A state is put together again after so many times as long as that took, so that it costs a hundredth at most."""


class Ear:
    """One subscription: news in the order in which they came, the oldest dropped where nobody takes them.

    Attributes:
        lost: Events that were dropped.
    """

    def __init__(self, size: int, closed: Callable[[Ear], None]) -> None:
        """Keep at most *size* events."""
        self.lost = 0
        self._size = size
        self._closed = closed
        self._news: deque[Event | Charted] = deque()
        self._quotes: dict[str, Quote] = {}
        self._some = threading.Event()

    def put(self, event: Event | Charted) -> None:
        """Take an event; from any thread, never waiting."""
        if type(event) is Quote:
            self._quotes[event.symbol] = event
        else:
            self._news.append(event)
            if len(self._news) > self._size:
                with suppress(IndexError):
                    self._news.popleft()
                    self.lost += 1
        if not self._some.is_set():
            self._some.set()

    def take(self, seconds: float = 0.0) -> list[Event | Charted]:
        """Return what happened since the last call; wait up to *seconds* for the first."""
        self._some.wait(seconds)
        self._some.clear()
        taken: list[Event | Charted] = []
        for _ in range(len(self._news)):
            try:
                taken.append(self._news.popleft())
            except IndexError:
                break
        quotes, self._quotes = self._quotes, {}
        taken += quotes.values()
        return taken

    def close(self) -> None:
        """Hear nothing any more."""
        self._closed(self)


class RunControl:
    """The control of one run; also the observer that feeds its subscriptions.

    Attributes:
        events: Everything.
    """

    events: tuple[type, ...] = tuple(kind for kind in vars(model).values() if isinstance(kind, type))

    def __init__(self, run: LiveRun, clock: Clock) -> None:
        """Control *run*, whose engine is there by the time anybody asks."""
        self._run = run
        self._clock = clock
        self._ears: tuple[Ear, ...] = ()
        self._state: RunState | None = None
        self._started = 0
        self._next = 0.0
        self._health: dict[str, str] = {}
        self._realized: dict[str, list[float]] = {}
        self._counted = 0
        self._feeds: dict[tuple[str, int], Feed] = {}
        self._kept: dict[tuple[str, int], tuple[int, tuple[tuple[Indicator, str, str], ...]]] = {}
        self._is_over = False
        self._reload: Callable[[], str] = lambda: "there is nothing that could be read again"

    # --- what the run calls, from the engine's thread ---------------------------------------------

    def observe(self, event: Event) -> None:
        """Tell everybody who listens."""
        kind = type(event)
        if kind is model.HealthChanged or kind is model.CircuitChanged:
            self._health[event.name] = str(event.state)  # type: ignore[union-attr]
        ears = self._ears
        if ears:
            told = self._charted(event) if kind is Bar else event  # type: ignore[arg-type]
            for ear in ears:
                ear.put(told)

    def _charted(self, bar: Bar) -> Charted:
        """Return *bar* with its indicators, which have just taken it."""
        key = bar.symbol, bar.span
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = next(one for one in self._run.engine.feeds if (one.symbol, one.span) == key)
        if len(feed.indicators) != self._kept.get(key, (-1, ()))[0]:
            self._kept[key] = len(feed.indicators), tuple(_outputs(feed))
        lines = {name: float(getattr(one, output)) for one, output, name in self._kept[key][1]}
        return Charted(bar, str(Timeframe(bar.span // SECOND)), lines)

    def close(self) -> None:
        """Answer no more: the run is over."""
        self._is_over = True

    def tick(self) -> None:
        """Put the state together, where it is time to."""
        now = self._clock.monotonic()
        if now >= self._next:
            self._state = self._look()
            took = self._clock.monotonic() - now
            self._next = now + max(0.5, _SHARE * took)

    def may_reload(self, reload: Callable[[], str]) -> None:
        """Call *reload* when somebody asks for settings to be read again; it returns what came of it."""
        self._reload = reload

    # --- what services call -----------------------------------------------------------------------

    def state(self) -> RunState:
        """Return how the run stood within the last second."""
        state = self._state
        return self._ask(self._look) if state is None else state

    def series(self, bars: int) -> Sequence[Series]:
        """Return the last *bars* bars of every series, with the indicators over them."""
        return self._ask(lambda: [self._series(feed, bars) for feed in self._run.engine.feeds])

    def plan(self) -> PlanInfo:
        """Return what is run."""
        plan = self._run.plan
        plugins = tuple({"name": one.plugin, "distribution": one.distribution, "version": one.version} for one in plan.plugins)
        return PlanInfo(plan.to_dict(), plan.describe(), plugins)

    def fills(self) -> Sequence[Fill]:
        """Return the fills of this run so far, oldest first."""
        return self._ask(self._run.fills)

    def subscribe(self, size: int = 10_000) -> Ear:
        """Return what happens from now on."""
        ear = Ear(size, lambda gone: setattr(self, "_ears", tuple(one for one in self._ears if one is not gone)))
        self._ears = (*self._ears, ear)
        return ear

    def metrics(self) -> bytes:
        """Return every metric in Prometheus' text format; empty where nothing is measured."""
        store = self._run.metrics
        return b"" if store is None else store.expose()

    def do(self, act: Act, who: str, why: str) -> Done:
        """Do *act* in the name of *who*; see `herald.contracts.Control`."""
        why = " ".join(why.split())
        if not why or len(why) > _LONGEST_WHY:
            return Done(False, "no_reason", f"say why, in 1 to {_LONGEST_WHY} characters")
        if self._is_over:
            return Done(False, "run_over", "the run has ended")
        name, what = _called(act)
        if isinstance(act, StopTrading):
            done = self._stop(act, who, why)
            with suppress(AuditError):  # it has stopped, and nothing may stand in the way of that
                self._record(who, name, what, why, _result(done))
            return done
        try:
            self._record(who, name, what, why, "asked")
        except AuditError as error:
            return Done(False, "audit_unavailable", f"it cannot be recorded, so it is not done: {error}")
        try:
            done = self._carry_out(act, who, why)
        except WaitTimeout as error:
            done = Done(False, "no_answer", str(error))
        except (HeraldError, OSError, ValueError) as error:
            done = Done(False, "refused", " ".join(str(error).split()))
        with suppress(AuditError):  # the asking is on record; the log says by itself that it has trouble
            self._record(who, name, what, why, _result(done))
        return done

    # --- acts -------------------------------------------------------------------------------------

    def _record(self, who: str, act: str, what: str, why: str, result: str) -> None:
        audit = self._run.audit
        if audit is not None:
            audit.record(who, act, what, why, result)

    def _ask(self, work: Callable[[], R]) -> R:
        """Have *work* done in the engine's thread and return what it returns."""
        answer: queue.SimpleQueue[tuple[R | None, Exception | None]] = queue.SimpleQueue()

        def errand() -> None:
            try:
                answer.put((work(), None))
                self._next = 0.0  # whoever asked looks next at what came of it
            except Exception as error:
                answer.put((None, error))

        if self._is_over:
            raise WaitTimeout("the run has ended")
        self._run.driver.errand(errand)
        try:
            result, error = answer.get(timeout=_ANSWER_SECONDS)
        except queue.Empty:
            raise WaitTimeout(f"the run did not answer within {_ANSWER_SECONDS:g} s; it may still do it") from None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def _stop(self, act: StopTrading, who: str, why: str) -> Done:
        problem = self._unknown_scope(act.scope)
        if problem:
            return Done(False, "unknown_scope", problem)
        state = self._run.state
        try:
            if act.scope == ACCOUNT and act.state == "HALTED":
                state.halt_account(who, why, cancel_all=act.cancel_all, flatten=act.flatten, exits=act.exits)
            else:
                options = {"cancel_all": act.cancel_all, "flatten": act.flatten, "exits": act.exits}
                state.set(act.scope, TradingState(act.state), who, why, **options)
        except (HeraldError, OSError, ValueError) as error:
            return Done(False, "refused", " ".join(str(error).split()))
        self._run.driver.errand(self._look_at_state)
        more = " and closing positions" if act.flatten else " and withdrawing orders" if act.cancel_all else ""
        return Done(True, "", f"{act.scope} is {act.state}{more}")

    def _carry_out(self, act: Act, who: str, why: str) -> Done:
        run = self._run
        if isinstance(act, ResumeTrading):
            problem = self._unknown_scope(act.scope)
            if problem:
                return Done(False, "unknown_scope", problem)
            run.state.resume(act.scope, who, why, TradingState(act.state))
            run.driver.errand(self._look_at_state)
            return Done(True, "", f"{act.scope} is {act.state}")
        if isinstance(act, Reconcile):
            self._ask(self._look_everywhere)
            return Done(True, "", "every account is being compared with the books")
        if isinstance(act, Reload):
            return Done(True, "", self._reload())
        return self._ask(lambda: self._order(act))

    def _look_at_state(self) -> None:
        self._run.look_at_state()
        self._next = 0.0
        self.tick()

    def _look_everywhere(self) -> None:
        for table in self._run.workers:
            self._run.desk.look(table)

    def _order(self, act: Act) -> Done:
        """Do what concerns one order or position; in the engine's thread."""
        engine = self._run.engine
        if not self._run.driver.is_trading:
            return Done(False, "not_trading", "the run does not trade yet, or no more")
        if isinstance(act, PlaceOrder):
            return self._place(act)
        if isinstance(act, ClosePosition):
            return self._close(act)
        if not isinstance(act, AmendOrder | WithdrawOrder):
            return Done(False, "unknown_act", f"nothing is known of {type(act).__name__}")
        order = engine.orders.get(act.order)
        if order is None or not order.is_working:
            what = "there is no order" if order is None else f"{order.status} is order"
            return Done(False, "not_working", f"{what} {act.order!r}; look at the working orders")
        if isinstance(act, WithdrawOrder):
            engine.cancel(act.order)
            return Done(True, "", f"order {act.order} is being withdrawn", act.order)
        terms = {name: getattr(act, name) for name in ("size", "limit", "stop", "stop_loss", "take_profit")}
        stated = {name: value for name, value in terms.items() if value is not None}
        if not stated:
            return Done(False, "nothing_to_change", "state what to change: size, limit, stop, stop_loss or take_profit")
        changed = engine.modify(order, msgspec.structs.replace(order.request, **stated))
        return _outcome(changed, f"order {act.order} is being changed")

    def _place(self, act: PlaceOrder) -> Done:
        table = self._run.table_of.get(act.symbol)
        name = self._run.manual_of.get(table or "", "")
        runner = next((one for one in self._run.engine.runners if one.name == name), None)
        if runner is None or act.symbol not in runner.books:
            known = sorted({symbol for one in self._run.engine.runners for symbol in one.books})
            return Done(False, "unknown_symbol", f"the run does not trade {act.symbol!r}; it trades {', '.join(known)}")
        if not (act.size > 0 and math.isfinite(act.size)):
            return Done(False, "invalid_size", f"{act.size!r} is no size; state lots above 0")
        ask = runner.context.buy if act.side == "buy" else runner.context.sell
        order = ask(
            act.symbol,
            act.size,
            limit=act.limit,
            stop=act.stop,
            stop_loss=act.stop_loss,
            take_profit=act.take_profit,
            reduce_only=act.reduce_only,
            tag=act.tag or MANUAL,
        )
        return _outcome(order, f"order {order.id} is on its way")

    def _close(self, act: ClosePosition) -> Done:
        engine = self._run.engine
        book = engine.ledger.books.get((act.strategy, act.symbol))
        if book is None or not book.size:
            return Done(False, "no_position", f"{act.strategy!r} holds nothing of {act.symbol!r}; look at the positions")
        if not 0 < act.share <= 1:
            return Done(False, "invalid_share", f"{act.share!r} is no share; state more than 0 and at most 1")
        if act.share == 1:
            order = engine.close_book(book, MANUAL)
        else:
            side = Side.SELL if book.size > 0 else Side.BUY
            order = engine.request(book, side, abs(book.size) * act.share, OrderType.MARKET, Terms(reduce_only=True), MANUAL)
        return _outcome(order, f"{order.request.size:g} lots of {act.symbol} are being closed")

    def _unknown_scope(self, scope: str) -> str:
        """Return why there is no such scope; empty where there is: to stop a misspelt one would stop nothing."""
        kind, _, name = scope.partition(":")
        runners = self._run.engine.runners
        if kind == "account" and not name:
            return ""
        known = {
            "strategy": [one.name for one in runners],
            "symbol": list(dict.fromkeys(symbol for one in runners for symbol in one.books)),
        }.get(kind)
        if known is None:
            return f"{scope!r} is no scope; write account, strategy:NAME or symbol:NAME"
        return "" if name in known else f"the run has no {kind} {name!r}; there are: {', '.join(known)}"

    # --- the state --------------------------------------------------------------------------------

    def _look(self) -> RunState:
        """Put the state together; in the engine's thread."""
        run = self._run
        engine, trading, plan = run.engine, run.state.trading, run.plan
        account = run.account()
        view = engine.view
        passing = trading.effective("", "")
        if not self._started and run.driver.is_trading:
            self._started = engine.now
        working = [order for book in engine.ledger.books.values() for order in book.working.values()]
        peak = max(view.equity_peak(), account.equity)
        return RunState(
            time=run.now(),
            started=self._started,
            mode=plan.mode,
            source=plan.source,
            currency=account.currency,
            balance=account.balance,
            equity=account.equity,
            peak=peak,
            margin_used=account.margin_used,
            margin_free=account.margin_free,
            trading=str(passing.value),
            scopes=tuple(
                ScopeState(one.scope, str(one.state.value), one.who, one.why, one.time, one.is_pending)
                for one in trading.scopes.values()
            ),
            positions=tuple(self._holding(book) for book in engine.ledger.open_books()),
            orders=tuple(working),
            strategies=tuple(self._strategies()),
            connectors=tuple(self._connectors()),
            limits=tuple(self._limits()),
            unresolved=tuple(run.desk.unresolved),
            journal=run.standing.journal,
            disk_free=run.standing.disk_free,
            external={f"{table} {symbol}": size for (table, symbol), size in run.reconciler.external.items() if size},
        )

    def _holding(self, book: Any) -> Holding:
        market = self._run.market
        price = market.bid(book.symbol) if book.size > 0 else market.ask(book.symbol)
        rate = market.rate(book.symbol) if market.converts else 1.0
        profit = (price - book.average_price) * book.size * book.contract * rate
        levels: dict[str, float | None] = {"stop": None, "limit": None}
        for order in book.working.values():
            request = order.request
            if request.parent and request.side * book.size < 0:
                kind = "stop" if request.stop is not None else "limit"
                levels[kind] = request.stop if request.stop is not None else request.limit
        position = book.position
        opened, average = position.opened, position.average_price
        return Holding(book.strategy, book.symbol, book.size, average, price, profit, opened, levels["stop"], levels["limit"])

    def _strategies(self) -> list[StrategyState]:
        run = self._run
        planned = {one.name: one for one in run.plan.strategies}
        trades = run.engine.ledger.trades
        for trade in trades[self._counted :]:
            kept = self._realized.setdefault(trade.strategy, [0.0, 0.0])
            kept[0] += 1
            kept[1] += trade.net
        self._counted = len(trades)
        states = []
        failures = {one.strategy: one.error for one in run.engine.failures}
        for runner in run.engine.runners:
            plan = planned.get(runner.name)
            count, net = self._realized.get(runner.name, (0, 0.0))
            states.append(
                StrategyState(
                    runner.name,
                    "" if plan is None else plan.part.use,
                    tuple(runner.books),
                    () if plan is None else tuple(str(one) for one in plan.timeframes),
                    str(run.state.trading.passing(runner.name, "").value),
                    runner.warm,
                    failures.get(runner.name, "failed") if runner.failed else "",
                    runner.orders,
                    int(count),
                    net,
                    tuple(part.use for part in (run.plan.exits if plan is None else plan.exits)),
                )
            )
        return states

    def _connectors(self) -> list[ConnectorState]:
        run, now = self._run, self._clock.monotonic()
        states = []
        for table, worker in run.workers.items():
            own = f"connectors.{table}"
            health = {name: state for name, state in self._health.items() if name == own or name.startswith(f"{own}.")}
            busy = now - worker.busy_since if worker.busy_since else 0.0
            account = run.driver.account.get(table) or run.stated(table)
            states.append(
                ConnectorState(
                    table,
                    run.plan.connectors[table].use,
                    table in run.reconciler.ready,
                    account,
                    health,
                    worker.backlog,
                    max(busy, 0.0),
                    worker.clock_skew,
                )
            )
        return states

    def _limits(self) -> list[Usage]:
        view = self._run.engine.view
        usages: list[Usage] = []
        for runner in self._run.engine.runners:
            for usage in runner.gate.usages:
                with suppress(HeraldError, ArithmeticError):  # what cannot be valued now is not shown
                    usages += usage(view)
        unique = {(one.name, one.text): one for one in usages}
        return list(unique.values())

    def _series(self, feed: Feed, bars: int) -> Series:
        series = feed.series(feed.count)
        part = slice(max(len(series) - bars, 0), len(series))
        lines = []
        computed: dict[int, Any] = {}
        for one, output, name in _outputs(feed):
            if id(one) not in computed:
                computed[id(one)] = one.compute(series) if len(series) else {}
            column = computed[id(one)].get(output)
            lines.append(Line(name, [] if column is None else column[part].tolist()))
        step = self._run.engine.ledger.books
        instrument = next((book.instrument for book in step.values() if book.symbol == feed.symbol), None)
        return Series(
            feed.symbol,
            str(Timeframe(feed.span // SECOND)),
            5 if instrument is None else _digits(instrument.price_step),
            series.time[part].tolist(),
            series.open[part].tolist(),
            series.high[part].tolist(),
            series.low[part].tolist(),
            series.close[part].tolist(),
            series.volume[part].tolist(),
            tuple(lines),
        )


def _digits(step: float) -> int:
    """Return the decimals that a price of steps of *step* needs."""
    text = f"{step:.10f}".rstrip("0")
    return len(text.partition(".")[2])


def _outputs(feed: Feed) -> list[tuple[Indicator, str, str]]:
    """Return (indicator, attribute, name) of everything that is kept over a series; twins are named apart."""
    names: dict[str, int] = {}
    found = []
    for one in feed.indicators:
        length = getattr(one, "length", None)
        base = type(one).__name__.lower() + (f"({length})" if length is not None else "")
        for output in one.outputs:
            name = base if output == "value" else f"{base} {output}"
            names[name] = names.get(name, 0) + 1
            found.append((one, output, name if names[name] == 1 else f"{name} #{names[name]}"))
    return found


def _outcome(order: Order | None, text: str) -> Done:
    """Return what came of asking for *order*."""
    if order is None:
        return Done(False, "nothing_to_do", "there is nothing to do")
    if order.status in (OrderStatus.DENIED, OrderStatus.REJECTED):
        return Done(False, order.code or "denied", order.reason, order.id)
    return Done(True, "", text, order.id)


def _result(done: Done) -> str:
    return f"done: {done.text}" if done.ok else f"refused: {done.code}: {done.text}"


def _called(act: Act) -> tuple[str, str]:
    """Return the name of an act and what it is about, for the record."""
    told = msgspec.to_builtins(act)
    name = str(told.pop("act"))
    return f"control.{name}", " ".join(f"{key}={value}" for key, value in told.items() if value not in (None, "", False))
