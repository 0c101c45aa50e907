"""The broker as a server: connections, logins, requests, faults. See `herald.testing.simbroker` for the protocol."""

from __future__ import annotations

import hmac
import random
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from herald.clock import DAY, SECOND, Clock, WallClock
from herald.testing.simbroker.book import Book, Entry, State
from herald.testing.simbroker.exchange import Exchange, Refusal, Wanted
from herald.testing.simbroker.loop import Loop, listen, reset
from herald.testing.simbroker.terms import OPERATIONS, Fault, Terms
from herald.testing.simbroker.wire import MAX_FRAME, VERSION, FrameError, Frames, decode, encode

__all__ = ["Server", "Timeline"]

_UNKNOWN_LIMIT = 4096
"""Most bytes of a frame from someone who has not said hello."""
_BACKLOG = 16 * MAX_FRAME
"""Bytes that wait for a client that does not read; then it is cut off."""
_PAGE = 5_000
_BIND_SECONDS = 5.0


class Timeline:
    """A clock that can be moved forward: the machine's, or a test's, and an offset."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Run on *clock*, the machine's where there is none."""
        self._clock: Clock = WallClock() if clock is None else clock
        self._ahead = 0.0

    def now(self) -> int:
        """Return nanoseconds UTC."""
        return self._clock.now() + round(self._ahead * SECOND)

    def monotonic(self) -> float:
        """Return seconds; never goes back."""
        return self._clock.monotonic() + self._ahead

    def sleep(self, seconds: float) -> None:
        """Wait on the clock beneath."""
        self._clock.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass at once.

        Raises:
            ValueError: *seconds* is negative or no number.
        """
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"seconds must be 0 or more, not {seconds!r}")
        self._ahead += seconds


class _Active:
    """A fault that is set, and how often it has hit."""

    def __init__(self, fault: Fault, since: float, draw: random.Random) -> None:
        self.fault = fault
        self._begins = since + fault.after_seconds
        self._ends = None if fault.lasts_seconds is None else self._begins + fault.lasts_seconds
        self._draw = draw
        self._skip = fault.skip
        self._left = fault.times

    def hits(self, operation: str, now: float) -> bool:
        fault = self.fault
        if self._left == 0 or not fault.concerns(operation):
            return False
        if now < self._begins or (self._ends is not None and now >= self._ends):
            return False
        if fault.chance < 1 and self._draw.random() >= fault.chance:
            return False
        if self._skip:
            self._skip -= 1
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def wait(self) -> float:
        return self.fault.seconds + (self._draw.uniform(0, self.fault.jitter_seconds) if self.fault.jitter_seconds else 0.0)


class _Peer:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.role = ""
        self.frames = Frames(_UNKNOWN_LIMIT)
        self.out = bytearray()
        self.is_open = True
        self.is_closing = False


class _Answer(msgspec.Struct):
    """An answer on its way, and what is to become of it."""

    id: int
    is_good: bool
    body: Any
    operation: str
    faults: list[_Active]

    def frame(self) -> bytes:
        return encode([self.id, self.is_good, self.body])

    def of(self, kind: str) -> _Active | None:
        return next((one for one in self.faults if one.fault.kind == kind), None)


class Server:
    """One broker on one book; everything happens in the thread of `loop`.

    Attributes:
        address: ``host:port``, chosen when it is built.
        loop: What it runs on.
        counts: How often what happened: ``connections``, ``requests``, ``bad_frames``, ``refused_logins``,
            ``internal_errors``, and each operation by its name.
    """

    def __init__(
        self, terms: Terms, book: Path | str, *, host: str = "127.0.0.1", port: int = 0, clock: Clock | None = None
    ) -> None:
        """Open the book and the port; nobody is served before `start` or `run`.

        Args:
            terms: Of the broker.
            book: File of its book; made where there is none.
            host: Address to bind; only the machine itself can be served.
            port: 0 takes any that is free; one that was just in use is waited for.
            clock: What time it is; the machine's clock where there is none.

        Raises:
            ValueError: *host* is not of this machine only, or the book cannot be used.
            OSError: The port is taken.
        """
        if not (host == "localhost" or host.startswith("127.")):
            raise ValueError(f"host must be a loopback address such as 127.0.0.1, not {host!r}: this broker is for tests")
        self.terms = terms
        self.clock = Timeline(clock)
        now = self.clock.now()
        origin = now - round(terms.history_days * DAY)
        # Two books are told apart by when and where they began; that is a name, no secret.
        fresh = State(id=f"{Path(book).name}-{now:x}", start=terms.balance, balance=terms.balance, origin=origin, mode=terms.mode)
        self._book = Book(book, fresh)
        self.exchange = Exchange(terms, self._book)
        self.exchange.publish = self._publish
        self._random = random.Random(f"{terms.seed}:faults")
        self._active: list[_Active] = []
        self._operation = ""
        self._event_faults: list[_Active] = []
        self._held: list[tuple[int, str, bytes]] = []
        self._scripts: list[list[_Active]] = []
        self.counts: dict[str, int] = {}
        self.loop = Loop(self.clock)
        self.loop.turned = self._turned
        self._peers: set[_Peer] = set()
        self._listener = self._bind(host, port)
        name, number = self._listener.getsockname()[:2]
        self.address = f"{name}:{number}"
        self.exchange.recover(now)
        self.set_faults(terms.faults)
        self.loop.watch(self._listener, self._accept)

    def _bind(self, host: str, port: int) -> socket.socket:
        clock = WallClock()
        until = clock.monotonic() + _BIND_SECONDS
        while True:
            try:
                return listen(host, port)
            except OSError:
                if port == 0 or clock.monotonic() >= until:
                    self._book.close()
                    self.loop.stop()
                    raise
                clock.sleep(0.02)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve from a thread of its own."""
        self.loop.start("simbroker")

    def run(self) -> None:
        """Serve until `stop`, in this thread."""
        self.loop.run()
        self._close()

    def stop(self) -> None:
        """End, and close everything; twice is harmless."""
        self.loop.stop()
        self._close()

    def _close(self) -> None:
        for peer in list(self._peers):
            peer.is_open = False
            peer.sock.close()
        self._peers.clear()
        self._listener.close()
        self._book.close()

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # --- faults -----------------------------------------------------------------------------------

    def set_faults(self, faults: tuple[Fault, ...] | list[Fault]) -> None:
        """Replace all faults and scripts by *faults*; each counts from now."""
        self._active = []
        self._scripts = []
        self.add_faults(faults)

    def add_faults(self, faults: tuple[Fault, ...] | list[Fault]) -> None:
        """Set *faults* besides those that are set."""
        self._active += self._begin(faults)

    def add_script(self, faults: tuple[Fault, ...] | list[Fault]) -> None:
        """Let *faults* hit one request each, in order: the next that concerns the first of them takes it."""
        self._scripts.append(self._begin(faults))

    def _begin(self, faults: tuple[Fault, ...] | list[Fault]) -> list[_Active]:
        now = self.clock.monotonic()
        return [_Active(one, now, random.Random(self._random.getrandbits(64))) for one in faults]

    def _hit(self, operation: str) -> list[_Active]:
        """Return the faults that this request meets."""
        now = self.clock.monotonic()
        found = [one for one in self._active if one.hits(operation, now)]
        return found + [script.pop(0) for script in self._scripts if script and script[0].hits(operation, now)]

    # --- connections ------------------------------------------------------------------------------

    def _accept(self, mask: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # it went away again
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = _Peer(sock)
        self._peers.add(peer)
        self._count("connections")
        self.loop.watch(sock, lambda mask: self._ready(peer, mask))

    def _drop(self, peer: _Peer, *, hard: bool = False) -> None:
        if not peer.is_open:
            return
        peer.is_open = False
        self._peers.discard(peer)
        self.loop.forget(peer.sock)
        if hard:
            reset(peer.sock)
        else:
            peer.sock.close()

    def _ready(self, peer: _Peer, mask: int) -> None:
        if peer.out:
            self._flush(peer)
        if not peer.is_open:
            return
        try:
            data = peer.sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(peer)
            return
        if peer.is_closing:
            return  # it was told its last; what it still says is read and forgotten
        try:
            for body in peer.frames.feed(data):
                self._request(peer, body)
        except FrameError:
            self._count("bad_frames")
            self._drop(peer)

    def _write(self, peer: _Peer, data: bytes, *, last: bool = False) -> None:
        if not peer.is_open:
            return
        peer.out += data
        peer.is_closing = peer.is_closing or last
        if len(peer.out) > _BACKLOG:
            self._drop(peer, hard=True)
            return
        self._flush(peer)

    def _flush(self, peer: _Peer) -> None:
        try:
            while peer.out:
                del peer.out[: peer.sock.send(peer.out)]
        except BlockingIOError:
            pass  # the rest goes when there is room
        except OSError:
            self._drop(peer)
            return
        if not peer.out and peer.is_closing:
            self._drop(peer)
        else:
            self.loop.watch(peer.sock, lambda mask: self._ready(peer, mask), write=bool(peer.out))

    # --- requests ---------------------------------------------------------------------------------

    def _request(self, peer: _Peer, body: bytes) -> None:
        if not peer.is_open or peer.is_closing:
            return
        message = decode(body)
        if len(message) != 3 or type(message[0]) is not int or type(message[1]) is not str or type(message[2]) is not dict:
            raise FrameError("a request is an array of a number, an operation and an object")
        number, operation, given = message
        self._count("requests")
        if not peer.role:
            self._hello(peer, number, operation, given)
        elif peer.role == "control":
            self._answer(peer, _Answer(number, *self._control(operation, given), operation, []))
        elif operation not in OPERATIONS or operation == "hello":
            no = {"code": "unknown_operation", "text": f"no operation {operation!r}"}
            self._answer(peer, _Answer(number, False, no, operation, []))
        else:
            self._trade(peer, number, operation, given)

    def _hello(self, peer: _Peer, number: int, operation: str, given: dict[str, Any]) -> None:
        if operation != "hello":
            raise FrameError("the first request is hello")
        role, token = given.get("role", "trade"), given.get("token")
        mine = {"trade": self.terms.token, "control": self.terms.control_token}.get(role)
        faults = self._hit("hello") if role == "trade" else []
        answer = _Answer(number, True, {}, operation, faults)
        if answer.of("hang") is not None:
            return
        refused = answer.of("refuse")
        account = given.get("account") or self.terms.account
        if given.get("version") != VERSION:
            no = ("version", f"this broker speaks version {VERSION} of the protocol, not {given.get('version')!r}")
        elif mine is None or not isinstance(token, str) or not hmac.compare_digest(mine.encode(), token.encode()):
            no = ("bad_token", f"no {role!r} login with this token")
        elif account != self.terms.account:
            no = ("unknown_account", f"no account {account!r} on {self.terms.server}")
        elif refused is not None:
            no = (refused.fault.code, refused.fault.text or "logins are refused at present")
        else:
            peer.role = role
            peer.frames.limit = MAX_FRAME
            answer.body = self._greeting()
            self._later(peer, answer)
            return
        self._count("refused_logins")
        answer.is_good, answer.body = False, {"code": no[0], "text": no[1]}
        peer.is_closing = True  # nothing more is read from it
        self._answer(peer, answer, last=True)

    def _greeting(self) -> dict[str, Any]:
        terms = self.terms
        return {
            "version": VERSION,
            "server": terms.server,
            "account": terms.account,
            "real": terms.real,
            "currency": terms.currency,
            "mode": self._book.state.mode,
            "idempotent": terms.idempotent,
            "settle_seconds": terms.settle_seconds,
            "book": self._book.state.id,
            "sequence": self._book.last_news(),
            "time": self.clock.now(),
        }

    def _trade(self, peer: _Peer, number: int, operation: str, given: dict[str, Any]) -> None:
        self._count(operation)
        answer = _Answer(number, True, {}, operation, self._hit(operation))
        if answer.of("hang") is not None:
            return
        refused = answer.of("refuse")
        if refused is not None:
            answer.is_good = False
            answer.body = {"code": refused.fault.code, "text": refused.fault.text or "the broker refuses"}
            self._later(peer, answer)
            return
        delay = answer.of("execution_delay")

        def execute() -> None:
            answer.is_good, answer.body = self._execute(answer, given)
            self._later(peer, answer)

        if delay is None:
            execute()
        else:
            # From here on it happens, whether the client waits for it or is long gone.
            self.loop.after(delay.wait(), execute)

    def _execute(self, answer: _Answer, given: dict[str, Any]) -> tuple[bool, Any]:
        """Do what is asked; what it wrote is committed when this returns."""
        handler: Callable[[dict[str, Any], _Answer], Any] = getattr(self, f"_do_{answer.operation}")
        try:
            self.exchange.match(self.clock.now())
            self._operation = answer.operation
            self._event_faults = [one for one in answer.faults if one.fault.is_of_events]
            return True, handler(given, answer)
        except Refusal as no:
            return False, {"code": no.code, "text": no.text}
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            return False, {"code": "bad_request", "text": f"{answer.operation} cannot be read: {type(error).__name__}: {error}"}
        except Exception as error:  # the broker must outlive whatever a client sends
            self._count("internal_errors")
            return False, {"code": "busy", "text": f"{type(error).__name__}: {error}"}
        finally:
            self._operation, self._event_faults = "", []

    # --- answers ----------------------------------------------------------------------------------

    def _later(self, peer: _Peer, answer: _Answer) -> None:
        delay = answer.of("reply_delay")
        if delay is None:
            self._answer(peer, answer)
        else:
            self.loop.after(delay.wait(), lambda: self._answer(peer, answer))

    def _answer(self, peer: _Peer, answer: _Answer, *, last: bool = False) -> None:
        if answer.of("lost_reply") is not None:
            return
        if answer.of("reset") is not None:
            self._drop(peer, hard=True)
            return
        if answer.of("misaddressed") is not None:
            answer.id += 1
        if answer.of("wrong_id") is not None and answer.is_good:
            answer.body = {**answer.body, "order": answer.body["order"] + 5_000_000}
        try:
            data = answer.frame()
        except FrameError as error:
            data = encode([answer.id, False, {"code": "too_long", "text": str(error)}])
        drip = answer.of("slow_drip")
        if answer.of("garbage") is not None:
            draw = self._random
            self._write(peer, bytes(draw.randrange(128, 256) for _ in range(32)), last=last)
        elif answer.of("half_frame") is not None:
            self._write(peer, data[: len(data) // 2], last=True)
        elif drip is not None:
            self._drip(peer, deque(data), drip)
        else:
            self._write(peer, data, last=last)

    def _drip(self, peer: _Peer, rest: deque[int], drip: _Active) -> None:
        if rest and peer.is_open:
            self._write(peer, bytes([rest.popleft()]))
            self.loop.after(drip.wait(), lambda: self._drip(peer, rest, drip))

    # --- news -------------------------------------------------------------------------------------

    def _publish(self, time: int, kind: str, body: bytes) -> None:
        """Write a line of news, as the faults of the running request let it."""
        faults = self._event_faults if self._operation else [one for one in self._hit("") if one.fault.is_of_events]
        kinds = {one.fault.kind: one for one in faults}
        late = kinds.get("late_event")
        if "lost_event" in kinds:
            return
        if late is not None:
            self.loop.after(late.wait(), lambda: self._tell_later(time, kind, body))
            return
        if "reordered_event" in kinds:
            self._held.append((time, kind, body))
            return
        self._book.tell(time, kind, body)
        if "duplicate_event" in kinds:
            self._book.tell(time, kind, body)
        held, self._held = self._held, []
        for line in held:
            self._book.tell(*line)

    def _tell_later(self, time: int, kind: str, body: bytes) -> None:
        with self._book.transaction():
            self._book.tell(time, kind, body)

    def _turned(self) -> None:
        self.exchange.match(self.clock.now())

    # --- operations: questions --------------------------------------------------------------------

    def _do_ping(self, given: dict[str, Any], answer: _Answer) -> Any:
        return {"time": self.clock.now()}

    def _do_instruments(self, given: dict[str, Any], answer: _Answer) -> Any:
        return [
            {
                "symbol": one.symbol,
                "base": one.base,
                "quote": one.quote,
                "price_step": round(10.0**-one.digits, one.digits),
                "size_step": one.size_step,
                "min_size": one.size_step,
                "max_size": one.max_size,
                "contract_size": one.contract_size,
            }
            for one in self.terms.symbols
        ]

    def _do_account(self, given: dict[str, Any], answer: _Answer) -> Any:
        return self.exchange.account(self.clock.now())

    def _do_positions(self, given: dict[str, Any], answer: _Answer) -> Any:
        return list(self._book.holdings.values())

    def _do_orders(self, given: dict[str, Any], answer: _Answer) -> Any:
        return self._listed(list(self._book.working.values()), answer)

    def _do_find(self, given: dict[str, Any], answer: _Answer) -> Any:
        tag = str(given["tag"])
        found = {one.number: one for one in self._book.tagged(tag, int(given.get("since", 0)))}
        for held in self._book.holdings.values():  # what a position says about the order that opened it counts as well
            entry = self._book.order(held.ticket) if held.tag == tag else None
            if entry is not None:
                found.setdefault(entry.number, entry)
        return self._listed([found[number] for number in sorted(found)], answer)

    def _listed(self, entries: list[Entry], answer: _Answer) -> list[Entry]:
        entries = [one.shown() for one in entries]
        hidden = answer.of("unlisted")
        if hidden is None:
            return entries
        latest = self.clock.now() - round(hidden.wait() * SECOND)
        return [one for one in entries if one.placed <= latest]

    def _do_deals(self, given: dict[str, Any], answer: _Answer) -> Any:
        limit = min(int(given.get("limit", _PAGE)), _PAGE)
        return self._book.deals(int(given.get("since", 0)), int(given.get("after", 0)), limit)

    def _do_quote(self, given: dict[str, Any], answer: _Answer) -> Any:
        symbol = self.exchange.symbol(given["symbol"]).symbol
        tick = self.exchange.market.tick(symbol, self.clock.now())
        return {"symbol": symbol, "time": tick.time, "bid": tick.bid, "ask": tick.ask}

    def _do_bars(self, given: dict[str, Any], answer: _Answer) -> Any:
        return self._candles(given["symbol"], int(given["seconds"]), given.get("start"), given.get("end"))

    def _candles(self, name: str, seconds: int, start: int | None, end: int | None) -> Any:
        symbol = self.exchange.symbol(name).symbol
        step = self.terms.tick_seconds
        if not step <= seconds <= 86_400 or abs(seconds / step - round(seconds / step)) > 1e-9:
            raise Refusal("bad_timeframe", f"no bars of {seconds} s of {symbol}: whole ticks of {step:g} s, up to a day")
        now = self.exchange.market.time(self.clock.now())
        last = now if end is None else min(end, now)
        return self.exchange.market.walk(symbol).candles(seconds * SECOND, start or 0, last, _PAGE)

    def _do_poll(self, given: dict[str, Any], answer: _Answer) -> Any:
        limit = min(int(given.get("limit", 1_000)), 1_000)
        since, now = int(given.get("since", 0)), self.exchange.market.time(self.clock.now())
        news = self._book.news(int(given["after"]), limit + 1)
        bars: list[Any] = []
        quotes: list[Any] = []
        for symbol, seconds in given.get("feeds", ()):
            if seconds is None:
                quote = self._do_quote({"symbol": symbol}, answer)
                if quote["time"] > since:
                    quotes.append(quote)
            else:
                bars += [[symbol, seconds, one] for one in self._candles(symbol, int(seconds), since, now)]
        return {"news": news[:limit], "more": len(news) > limit, "bars": bars, "quotes": quotes, "time": now}

    # --- operations: orders -----------------------------------------------------------------------

    def _do_submit(self, given: dict[str, Any], answer: _Answer) -> Any:
        wanted = msgspec.convert(given, Wanted)
        if self.terms.idempotent:
            first = self._book.first_asked(wanted.tag)
            if first is not None:
                if first.status == "rejected":
                    raise Refusal(first.code, first.text)
                return {"order": first.number, "status": first.status, "repeated": True}
        now, partial, doomed = self.clock.now(), answer.of("partial"), answer.of("reject_later")
        refusal: Refusal | None = None
        with self._book.transaction():
            begin = self._book.last_news()
            try:
                entry = self.exchange.submit(
                    wanted,
                    _altered(wanted.tag, answer.of("altered_tag")),
                    now,
                    share=None if partial is None else partial.fault.share,
                    holds=doomed is not None,
                )
            except Refusal as no:
                refusal = no
            if answer.of("ack_after_fill") is not None:
                self._fills_first(begin)
        if refusal is not None:
            raise refusal
        number = entry.number
        if doomed is not None:
            code, text = doomed.fault.code, doomed.fault.text or "refused after it was accepted"
            self.loop.after(doomed.wait(), lambda: self._act(lambda: self.exchange.reject(number, code, text, self.clock.now())))
        if partial is not None:
            self.loop.after(partial.wait(), lambda: self._act(lambda: self._finish(number)))
        return {"order": number, "status": entry.status, "repeated": False}

    def _finish(self, number: int) -> None:
        entry = self._book.working.get(number)
        if entry is not None and entry.type == "market":
            self.exchange.finish(number, self.clock.now())

    def _fills_first(self, begin: int) -> None:
        """Rewrite the news since line *begin*: executions before orders."""
        news = self._book.news(begin, -1)
        self._book.forget_news(begin)
        for line in sorted(news, key=lambda one: one.kind != "deal"):
            self._book.tell(self.clock.now(), line.kind, bytes(line.body))

    def _act(self, action: Callable[[], None]) -> None:
        with self._book.transaction():
            action()

    def _do_modify(self, given: dict[str, Any], answer: _Answer) -> Any:
        with self._book.transaction():
            self.exchange.modify(
                _number(given["order"]),
                size=float(given["size"]),
                price=given.get("price"),
                stop_loss=given.get("stop_loss"),
                take_profit=given.get("take_profit"),
                expires=given.get("expires"),
                now=self.clock.now(),
            )
        return {}

    def _do_cancel(self, given: dict[str, Any], answer: _Answer) -> Any:
        number, racing, late = _number(given["order"]), answer.of("partial_cancel"), answer.of("fill_after_cancel")
        with self._book.transaction():
            if racing is not None and number in self._book.working:
                self.exchange.trade_some(number, racing.fault.share, self.clock.now())
            was_working = self.exchange.cancel(number, self.clock.now())
        if late is not None and was_working:
            share = late.fault.share
            self.loop.after(late.wait(), lambda: self._act(lambda: self.exchange.trade_some(number, share, self.clock.now())))
        return {"was_working": was_working}

    # --- the control ------------------------------------------------------------------------------

    def _control(self, operation: str, given: dict[str, Any]) -> tuple[bool, Any]:
        """Do what the control says; its requests meet no faults."""
        try:
            match operation:
                case "ping":
                    return True, {"time": self.clock.now()}
                case "set_faults":
                    self.set_faults(msgspec.convert(given["faults"], list[Fault]))
                case "add_faults":
                    self.add_faults(msgspec.convert(given["faults"], list[Fault]))
                case "add_script":
                    self.add_script(msgspec.convert(given["faults"], list[Fault]))
                case "set_price":
                    self.exchange.set_price(given["symbol"], given.get("bid"), given.get("ask"), self.clock.now())
                case "freeze":
                    self.exchange.market.frozen_at = self.clock.now() if given["on"] else None
                case "advance":
                    self.clock.advance(given["seconds"])
                case "disconnect_all":
                    return True, {"count": self._disconnect_all()}
                case "set_account":
                    stated = {name: given[name] for name in ("account", "server", "real") if name in given}
                    terms = msgspec.structs.replace(self.terms, **stated)
                    self.terms = self.exchange.terms = msgspec.convert(msgspec.to_builtins(terms), Terms)
                case "bust":
                    with self._book.transaction():
                        return True, {"deal": self.exchange.bust(_number(given["deal"]), self.clock.now()).number}
                case "status":
                    connected = sum(1 for one in self._peers if one.role == "trade")
                    return True, {"counts": self.counts, "clients": connected, "time": self.clock.now()}
                case "stop":
                    self.loop.after(0.0, self.loop.stop)
                case _:
                    return False, {"code": "unknown_operation", "text": f"no operation {operation!r} of the control"}
        except Refusal as no:
            return False, {"code": no.code, "text": no.text}
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
            return False, {"code": "bad_request", "text": f"{operation} cannot be read: {type(error).__name__}: {error}"}
        return True, {}

    def _disconnect_all(self) -> int:
        trading = [one for one in self._peers if one.role != "control"]
        for peer in trading:
            self._drop(peer, hard=True)
        return len(trading)


def _altered(tag: str, fault: _Active | None) -> str:
    """Return the client tag as the broker shows it."""
    if fault is None:
        return tag
    return tag[: fault.fault.length] if fault.fault.length is not None else fault.fault.text


def _number(given: Any) -> int:
    """Return a ticket; whatever is no number is a ticket that does not exist."""
    try:
        return int(given)
    except (TypeError, ValueError):
        return -1
