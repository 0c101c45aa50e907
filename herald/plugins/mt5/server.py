"""The terminal process: the one program that imports MetaTrader5, and answers Herald over a socket.

The package blocks its whole process while a terminal thinks, has no deadline on any call, and knows one connection a process.
So it lives here, alone, in a process that can be killed: a hung terminal is a killed process and not a hung Herald.

This file stands on the standard library alone and runs on Python 3.8 and newer, so that it can be copied beside a terminal: to
the Python of a Windows machine, or of Wine.

    python server.py --listen 127.0.0.1:5005 --token-file token.txt

What it speaks. A frame is four bytes (length, big-endian) and so many bytes of JSON. Client and server first prove to each other
that they know the token, without sending it: each signs the other's random number (HMAC-SHA256). Then the client asks
``[id, function, [arguments], {keywords}, seconds]`` and the server answers one of

    [id, "ok", value, [code, text]]   with what ``last_error`` says
    [id, "raised", type, text]        the package refused the arguments; nothing was sent to the terminal
    [id, "refused", text]             no such function is served; nothing was called
    [id, "lost", text]                it was called, and what came of it cannot be told

An array follows its answer as a frame of raw records. Nothing is ever evaluated or unpickled. A call that takes much longer
than *seconds* ends this process, because nothing else can end the call.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import faulthandler
import hashlib
import hmac
import importlib
import inspect
import json
import math
import os
import platform
import queue
import secrets
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

__all__ = [
    "FRAME_SECONDS",
    "FUNCTIONS",
    "MAX_HELLO",
    "MAX_REQUEST",
    "MIN_TOKEN",
    "STRANGERS",
    "VERSION",
    "Bridge",
    "Caller",
    "Door",
    "Gone",
    "Record",
    "Refused",
    "Watch",
    "address_of",
    "admit",
    "check_token",
    "decode",
    "encode",
    "greet",
    "keep_alive",
    "listen",
    "load",
    "main",
    "read_request",
    "receive",
    "refuse",
    "send",
    "serve",
    "sign",
    "speaks",
    "tell",
]

VERSION = 1
MAX_REQUEST = 1 << 16
MAX_HELLO = 1 << 10
HELLO_SECONDS = 5.0
FRAME_SECONDS = 10.0
TURN_SECONDS = 0.5
STRANGERS = 8
MIN_TOKEN = 32
# A process that is so far past a deadline, and at most so far ahead of that, is ended from within.
GRACE_SECONDS = 1.0
AHEAD_SECONDS = 20.0
IDLE_SECONDS = 4.0
CALL_SECONDS = 900.0
LOCAL = ("127.0.0.1", "::1", "localhost")
_SERVED = (
    "initialize login shutdown version last_error terminal_info account_info symbols_total symbols_get symbol_info "
    "symbol_info_tick symbol_select market_book_add market_book_get market_book_release copy_rates_from copy_rates_from_pos "
    "copy_rates_range copy_ticks_from copy_ticks_range orders_total orders_get positions_total positions_get "
    "history_orders_total history_orders_get history_deals_total history_deals_get order_check order_send "
    "order_calc_margin order_calc_profit"
)
FUNCTIONS = frozenset(_SERVED.split())
# The extension sends what lies on its stack in place of the first second of 1970.
DATED = {
    "copy_rates_from": (2,),
    "copy_rates_range": (2, 3),
    "copy_ticks_from": (1,),
    "copy_ticks_range": (1, 2),
    "history_orders_total": (0, 1),
    "history_orders_get": (0, 1),
    "history_deals_total": (0, 1),
    "history_deals_get": (0, 1),
}


class Refused(Exception):
    """The other side is not served, or this process cannot serve; the text says why.

    Attributes:
        code: What it is, for a program: ``token``, ``version``, ``busy`` and ``down`` of a client; ``module``, ``options``,
            ``bridge``, ``address`` and ``token`` of this process; empty where nobody needs to tell it apart.
    """

    def __init__(self, text: str, code: str = "") -> None:
        """Keep both."""
        super().__init__(text)
        self.code = code


class Gone(Exception):
    """The other side is gone, or speaks something else."""


# --- frames -------------------------------------------------------------------------------------------


def receive(sock: socket.socket, most: int, end: float | None = None, now: Callable[[], float] = time.monotonic) -> bytes | None:
    """Return the next frame, at most *most* bytes long; None where the other side has closed.

    Args:
        sock: From it.
        most: Longest frame, bytes.
        end: When it must be there; ten seconds from now unless stated.
        now: The clock of *end*, seconds.

    Raises:
        Gone: It closed in the middle, took too long, or the length is more than that.
    """
    if end is None:
        end = now() + FRAME_SECONDS
    head = _exactly(sock, 4, end, now, True)
    if head is None:
        return None
    (length,) = struct.unpack(">I", head)
    if length > most:
        raise Gone(_stranger(head) or f"a frame of {length} bytes is more than {most}: this is not Herald's protocol")
    return _exactly(sock, length, end, now)


def _exactly(sock: socket.socket, count: int, end: float, now: Callable[[], float], may_end: bool = False) -> bytes | None:
    data = bytearray(count)
    view = memoryview(data)
    done = 0
    while done < count:
        left = end - now()
        if left <= 0:
            raise Gone("the time is over")
        sock.settimeout(left)
        try:
            got = sock.recv_into(view[done:])
        except socket.timeout:  # noqa: UP041 - not TimeoutError before Python 3.10
            raise Gone("the time is over") from None
        if not got:
            if may_end and not done:
                return None
            raise Gone("the connection ended in the middle of a frame")
        done += got
    return bytes(data)


def _stranger(head: bytes) -> str:
    if head[:3] in (b"GET", b"POS", b"PUT", b"HEA", b"OPT", b"CON", b"DEL", b"PAT", b"PRI", b"HTT"):
        return "this is HTTP; a terminal process and Herald speak a protocol of their own, not that of browsers and proxies"
    if head[:2] == b"\x16\x03":
        return "this is TLS; a terminal process speaks without it, through a tunnel (ssh -L)"
    if head[:3] == b"SSH":
        return "this is SSH; connect to the local end of a tunnel (ssh -L), not to the SSH server"
    return ""


def speaks(sock: socket.socket, seconds: float) -> bool:
    """Wait so long for the other side to say something, or to close; return whether it did."""
    if sys.platform == "win32":
        return bool(select.select([sock], [], [], seconds)[0])
    else:  # select knows no descriptor from 1024 on
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(seconds * 1_000))


def send(sock: socket.socket, *bodies: bytes) -> None:
    """Send *bodies* as frames, in one go."""
    sock.sendall(b"".join(struct.pack(">I", len(body)) + body for body in bodies))


def sign(token: str, role: str, *numbers: str) -> str:
    """Return the proof that *role* knows *token*, over both random numbers."""
    message = "\n".join(("herald-mt5", str(VERSION), role, *numbers))
    return hmac.new(token.encode("utf-8"), message.encode("utf-8"), hashlib.sha256).hexdigest()


# --- values -------------------------------------------------------------------------------------------


def encode(value: Any) -> tuple[Any, bytes | None]:
    """Return *value* as JSON can say it, and the raw records of an array (or None).

    Raises:
        TypeError: It is of a kind that the package never answers with.
    """
    if value is None or isinstance(value, (bool, str)):
        return value, None
    if isinstance(value, int):
        # JSON has numbers of any length; what reads them may not.
        return (int(value) if -(2**53) < value < 2**53 else {"$": "int", "v": str(int(value))}), None
    if isinstance(value, float):
        return (float(value) if math.isfinite(value) else {"$": "float", "v": repr(float(value))}), None
    dtype = getattr(value, "dtype", None)
    if dtype is not None and getattr(dtype, "names", None):
        kind = "rates" if "open" in dtype.names else "ticks"
        if dtype.itemsize != 60:
            raise TypeError(f"records of {dtype.itemsize} bytes, not 60")
        return {"$": kind, "n": len(value)}, value.tobytes()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {"$": _kind(value), "v": [encode(each)[0] for each in value]}, None
    if isinstance(value, (tuple, list)):
        names = {_kind(each) for each in value if hasattr(each, "_asdict")}
        if len(names) == 1 and all(hasattr(each, "_asdict") for each in value):
            return {"$": "tuple:" + names.pop(), "v": [[encode(part)[0] for part in each] for each in value]}, None
        return {"$": "tuple", "v": [encode(each)[0] for each in value]}, None
    if dtype is not None and hasattr(value, "item") and not getattr(value, "shape", None):
        return encode(value.item())
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent")


def _kind(value: Any) -> str:
    return value.kind if isinstance(value, Record) else type(value).__name__


def decode(value: Any) -> Any:
    """Return an argument as the package takes it: numbers that JSON cannot say come as tagged texts."""
    if isinstance(value, dict) and "$" in value:
        if value["$"] == "int":
            return int(value["v"])
        if value["$"] == "float":
            return float(value["v"])
        if value["$"] == "tuple":
            return tuple(decode(each) for each in value["v"])
        raise ValueError("an argument of kind {!r}".format(value["$"]))
    if isinstance(value, dict):
        return {key: decode(each) for key, each in value.items()}
    if isinstance(value, list):
        return [decode(each) for each in value]
    return value


# --- the module ---------------------------------------------------------------------------------------


def load(name: str, options: dict[str, Any]) -> Any:
    """Return the module with the package's functions.

    Args:
        name: ``MetaTrader5``; a module that stands in for it; or ``mt5linux`` or ``siliconmetatrader5``, whose object is made
            with *options* (host, port).
        options: For ``configure`` of a stand-in, or for that object.

    Raises:
        Refused: It cannot be had; the text says what to do.
    """
    if name in BRIDGES:
        return Bridge(name, options)
    try:
        module = importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        hint = f"run: {sys.executable} -m pip install MetaTrader5 (on Windows, or with Wine's Python)"
        raise Refused(f"no module {name!r} ({type(error).__name__}: {error}); {hint}", "module") from error
    if options:
        configure = getattr(module, "configure", None)
        if configure is None:
            raise Refused(f"module {name!r} takes no options; remove module_options", "options")
        try:
            configure(options)
        except (TypeError, ValueError) as error:
            raise Refused(f"module_options of {name}: {error}", "options") from error
    return module


BRIDGES = ("mt5linux", "siliconmetatrader5")


class Bridge:
    """The functions of the package at the other end of a bridge that somebody runs already, over its rpyc connection.

    What comes over such a bridge are references: every look at a field is a question to the other side. Here they become
    values at once, a record with one question.
    """

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        """Connect.

        Raises:
            Refused: The bridge is not installed, is one that cannot work, or is not there.
        """
        if name == "mt5linux":
            _check_mt5linux()
        try:
            kind = importlib.import_module(name).MetaTrader5
        except (ImportError, SyntaxError, AttributeError) as error:
            wanted = "mt5linux==1.0.11" if name == "mt5linux" else name
            hint = f"run: {sys.executable} -m pip install {wanted}"
            raise Refused(f"no module {name!r} ({type(error).__name__}: {error}); {hint}", "module") from error
        known = [key for key in inspect.signature(kind).parameters if key in ("host", "port", "timeout")]
        for key in options:
            if key not in known:
                raise Refused(f"module_options of {name}: it has no {key!r}; it takes {', '.join(known)}", "options")
        where = "{}:{}".format(options.get("host", "its default host"), options.get("port", "its default port"))
        try:
            self._remote = kind(**options)
        except Exception as error:
            what = f"the server of {name} at {where} is not there ({type(error).__name__}: {error})"
            raise Refused(f"{what}; start it, or correct module_options", "bridge") from error
        self._name = name
        connection = getattr(self._remote, "_MetaTrader5__conn", None)
        if connection is None:
            what = f"this version of {name} is another one than Herald knows; its connection is not where it was"
            raise Refused(f"{what}; install the version that the documentation names", "module")
        self._connection: Any = connection
        self._as_tuple: Any = connection.builtins.tuple
        self._type_of: Any = connection.builtins.type

    def __getattr__(self, name: str) -> Any:
        """Return a function of the package."""
        if name not in FUNCTIONS:
            raise AttributeError(name)
        function = getattr(self._remote, name)
        if name == "order_check" and self._name == "siliconmetatrader5":
            return self._check

        def call(*args: Any, **named: Any) -> Any:
            if self._name == "mt5linux":
                args = self._suited(name, args)
            return self._settled(function(*args, **named))

        return call

    def _check(self, request: dict[str, Any]) -> Any:
        """Check an order; siliconmetatrader5 calls this one function with an empty dict of keywords, which the package refuses.

        So does every call through rpyc, except one that the other side's `map` makes.
        """
        there = self._connection.builtins
        form = there.dict(tuple(request.items()))
        return self._settled(there.next(there.map(self._connection.modules.MetaTrader5.order_check, (form,))))

    @staticmethod
    def _suited(name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments as mt5linux wants them: it calls methods of the dates, and forgets to quote a name."""
        if name.startswith("copy_") or name.endswith("_total"):
            dates = DATED.get(name, ())
            utc = datetime.timezone.utc  # noqa: UP017 - datetime.UTC is not in Python 3.8
            return tuple(
                datetime.datetime.fromtimestamp(each, utc) if at in dates and isinstance(each, int) else each
                for at, each in enumerate(args)
            )
        return (repr(args[0]),) if name == "market_book_release" and args else args

    def _settled(self, value: Any) -> Any:
        if value is None or type(value) in (bool, int, float, str) or hasattr(value, "dtype"):
            return value
        if hasattr(value, "_asdict"):
            return Record(str(self._type_of(value).__name__), [self._settled(each) for each in self._as_tuple(value)])
        return tuple(self._settled(each) for each in value)


class Record(tuple):  # type: ignore[type-arg]
    """A record with the name of its type.

    Attributes:
        kind: The name.
    """

    kind: str

    def __new__(cls, kind: str, fields: Sequence[Any]) -> Record:
        """Keep both."""
        made = super().__new__(cls, fields)
        made.kind = kind
        return made

    def _asdict(self) -> dict[str, Any]:
        raise NotImplementedError("only its name and its order count")


def _check_mt5linux() -> None:
    from importlib import metadata

    try:
        found = metadata.version("mt5linux")
    except metadata.PackageNotFoundError:
        return  # the import tells
    if found.split(".")[:2] != ["1", "0"]:
        raise Refused(
            f"mt5linux {found} sends results through pickle, which the package's own refuse after an order was carried out: "
            "the order stands and its answer is lost. Install mt5linux==1.0.11, or run `herald mt5 serve` beside the terminal",
            "module",
        )


class Caller:
    """Calls the module, one call at a time, with what `last_error` says right behind it."""

    def __init__(self, module: Any, name: str) -> None:
        """Take the module."""
        self.module = module
        self.name = name

    def __call__(self, number: int, function: str, args: list[Any], named: dict[str, Any]) -> tuple[list[Any], bytes | None]:
        """Return the frames that answer a request."""
        if function == "$ping":
            return [number, "ok", None, [1, "Success"]], None
        if function == "$versions":
            return [number, "ok", self.versions(), [1, "Success"]], None
        if function not in FUNCTIONS:
            return [number, "refused", f"{function!r} is no function of MetaTrader5 that is served here"], None
        for place in DATED.get(function, ()):
            if place < len(args) and isinstance(args[place], (int, float)) and -1 < args[place] < 1:
                return [number, "refused", "a date of 0 is not sent by the package (it sends garbage); use 1 or later"], None
        call = getattr(self.module, function, None)
        if call is None:
            return [number, "refused", f"this version of {self.name} has no function {function!r}; update it"], None
        try:
            # Keywords only where there are some: an empty dict of them makes the extension refuse a request.
            value = call(*args, **named) if named else call(*args)
        except (SystemError, TypeError, ValueError, OverflowError) as error:
            cause = error.__cause__
            text = f"{error} ({type(cause).__name__}: {cause})" if cause is not None else str(error)
            if isinstance(self.module, Bridge):  # it may have broken on the way back
                return [number, "lost", f"{self.name} raised {type(error).__name__}: {text}"], None
            return [number, "raised", type(error).__name__, text], None
        except Exception as error:
            return [number, "lost", f"{self.name} raised {type(error).__name__}: {error}"], None
        try:
            code, text = self.module.last_error()[:2]
            told, raw = encode(value)
            return [number, "ok", told, [int(code), str(text)]], raw
        except Exception as error:
            return [number, "lost", f"the answer of {function} cannot be told: {type(error).__name__}: {error}"], None

    def versions(self) -> dict[str, Any]:
        """Return what runs here."""
        return {
            "$": "dict",
            "v": {
                "python": platform.python_version(),
                "platform": platform.platform(),
                "module": self.name,
                "package": str(getattr(self.module, "__version__", "")),
                "pid": os.getpid(),
                "protocol": VERSION,
            },
        }


# --- one client ---------------------------------------------------------------------------------------


def greet(sock: socket.socket, token: str, seconds: float = HELLO_SECONDS) -> None:
    """Let client and server prove to each other that they know the token; `admit` or `refuse` comes next.

    Raises:
        Refused: The client does not; it was told so.
        Gone: It is no client of Herald, or too slow.
    """
    end = time.monotonic() + seconds
    body = receive(sock, MAX_HELLO, end)
    if body is None:
        raise Gone("it closed before it said anything")
    try:
        hello = json.loads(body.decode("utf-8"))
        protocol, theirs = hello["herald_mt5"], hello["nonce"]
        if not isinstance(theirs, str) or not 16 <= len(theirs) <= 128:
            raise ValueError("nonce")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Gone("what came is no greeting of Herald's") from None
    if protocol != VERSION:
        refuse(
            sock, f"it speaks protocol {VERSION}, the client {protocol!r}; use the server.py of the client's Herald", "version"
        )
    ours = secrets.token_hex(16)
    send(sock, json.dumps({"nonce": ours, "proof": sign(token, "server", theirs, ours)}).encode("utf-8"))
    body = receive(sock, MAX_HELLO, end)
    if body is None:
        raise Gone("it went away before its proof: its token is another one")
    try:
        proof = json.loads(body.decode("utf-8"))["proof"]
        is_right = hmac.compare_digest(str(proof).encode("utf-8"), sign(token, "client", ours, theirs).encode("utf-8"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Gone("what came is no proof of Herald's") from None
    if not is_right:
        refuse(sock, "the token is wrong; use the one that the server was started with", "token")


def admit(sock: socket.socket) -> None:
    """Tell a client that it is served now."""
    send(sock, json.dumps({"ready": True}).encode("utf-8"))


def refuse(sock: socket.socket, text: str, code: str) -> NoReturn:
    """Tell a client why it is not served; see `Refused`.

    Raises:
        Refused: Always.
    """
    with contextlib.suppress(OSError):
        send(sock, json.dumps({"refused": text, "code": code}).encode("utf-8"))
    raise Refused(text, code)


def read_request(body: bytes) -> tuple[int, str, list[Any], dict[str, Any], float]:
    """Return number, function, arguments, keywords and seconds of a request.

    Raises:
        Gone: It is none.
    """
    try:
        number, function, args, named, *rest = json.loads(body.decode("utf-8"))
        seconds = float(rest[0]) if rest else CALL_SECONDS
        args, named = decode(args), decode(named)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise Gone("what came is no request of Herald's") from None
    is_request = isinstance(number, int) and isinstance(function, str) and isinstance(args, list) and isinstance(named, dict)
    if not is_request or len(rest) > 1 or not 0 < seconds < 1e6:
        raise Gone("what came is no request of Herald's")
    return number, function, args, named, seconds


def serve(sock: socket.socket, caller: Caller) -> None:
    """Answer one client until it goes away.

    Raises:
        Gone: It speaks something else, or closed in the middle.
    """
    with Watch() as watch:
        while True:
            watch.feed(3 * IDLE_SECONDS)
            while not speaks(sock, IDLE_SECONDS):
                watch.feed(3 * IDLE_SECONDS)
            watch.feed(2 * FRAME_SECONDS)
            body = receive(sock, MAX_REQUEST)
            if body is None:
                return
            number, function, args, named, seconds = read_request(body)
            if function == "$bye":
                return
            watch.feed(seconds)
            answer, raw = caller(number, function, args, named)
            bodies = [json.dumps(answer).encode("utf-8")]
            if raw is not None:
                bodies.append(raw)
            most = FRAME_SECONDS + len(bodies[-1]) / 100_000
            watch.feed(2 * most)
            sock.settimeout(most)
            send(sock, *bodies)


class Watch:
    """Ends the process when a call is long past its deadline and nobody outside has done it.

    A call of the package holds the lock that every thread of Python's needs, so that none of them could; the module
    faulthandler has a thread of C's. To set it costs as much as many calls, so it is set ahead and seldom.
    """

    def __init__(self) -> None:
        """Watch over nothing yet."""
        self.ends = 0.0
        self.nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Watch:
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """Watch no more."""
        faulthandler.cancel_dump_traceback_later()
        self.nowhere.close()

    def feed(self, seconds: float) -> None:
        """Let the process live for *seconds* more, at least."""
        wanted = time.monotonic() + seconds + GRACE_SECONDS
        if not wanted <= self.ends <= wanted + AHEAD_SECONDS:
            self.ends = wanted + AHEAD_SECONDS / 2
            faulthandler.dump_traceback_later(self.ends - time.monotonic(), exit=True, file=self.nowhere)


# --- the process --------------------------------------------------------------------------------------


def tell(text: str) -> None:
    """Say something to whoever looks after this process."""
    sys.stderr.write(f"herald mt5 server: {text}\n")
    sys.stderr.flush()


def _die_with_parent() -> None:
    """End when the parent does: its end of our standard input closes with it."""
    with contextlib.suppress(OSError):
        while os.read(0, 1 << 12):  # not through sys.stdin, whose lock a thread may not hold at the end
            pass
    os._exit(0)


def listen(text: str, allow_remote: bool) -> socket.socket:
    """Return a socket that listens where *text* says, ``host:port``.

    Raises:
        Refused: It is no address, or one that others can reach, or it is in use.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise Refused(f"{text!r} is no address; write host:port, such as 127.0.0.1:5005", "address")
    if host not in LOCAL and not allow_remote:
        raise Refused(
            f"{host} can be reached from other machines: the connection is not encrypted. Listen on 127.0.0.1 and use a tunnel "
            "(ssh -L 5005:127.0.0.1:5005 HOST); --allow-remote does it all the same",
            "address",
        )
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # On Windows the first option means that two may listen at one port; there the second one forbids it.
        option = "SO_EXCLUSIVEADDRUSE" if os.name == "nt" else "SO_REUSEADDR"
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
        sock.bind((host, int(port)))
        sock.listen(STRANGERS)
    except OSError as error:
        sock.close()
        raise Refused(f"cannot listen at {text}: {error}; choose another port", "address") from error
    return sock


def address_of(sock: socket.socket) -> str:
    """Return where *sock* listens, ``host:port``."""
    host, port = sock.getsockname()[:2]
    return "{}:{}".format(f"[{host}]" if ":" in host else host, port)


class Door:
    """Lets one client in at a time, once it has shown that it knows the token; others learn who is inside.

    Attributes:
        closed: Why nobody is let in for now; empty where somebody is.
    """

    def __init__(self, sock: socket.socket, token: str, say: Callable[[str], None] = tell) -> None:
        """Guard *sock*; *say* is given a line for everybody who is not let in."""
        self.sock = sock
        self.say = say
        self.token = token
        self.inside: str | None = None
        self.closed = ""
        self.seat = threading.Condition()
        self.admitted: queue.Queue[tuple[socket.socket, str]] = queue.Queue()
        self.room = threading.Semaphore(STRANGERS)

    def run(self) -> None:
        """Take connections until the socket is closed; whoever serves them takes them from `take`."""
        while True:
            try:
                client, address = self.sock.accept()
            except ConnectionError:  # it went away while it waited
                continue
            except OSError:
                if self.sock.fileno() < 0:
                    return
                time.sleep(0.1)  # no descriptors left, for the moment
                continue
            if not self.room.acquire(blocking=False):
                client.close()  # so many have not shown who they are; they have seconds for it
                continue
            threading.Thread(target=self._meet, args=(client, address), daemon=True).start()

    def _meet(self, client: socket.socket, address: Any) -> None:
        name = "{}:{}".format(*address[:2])
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(client)
            greet(client, self.token)
            with self.seat:
                # One that has just hung up, perhaps to come back, is still being shown out.
                self.seat.wait_for(lambda: self.inside is None, TURN_SECONDS)
                if self.closed:
                    refuse(client, self.closed, "down")
                if self.inside is not None:
                    refuse(client, f"it serves the client at {self.inside}, and one at a time; stop that one first", "busy")
                self.inside = name
            try:
                admit(client)
            except BaseException:
                self.leave()
                raise
            self.admitted.put((client, name))
        except (Gone, Refused, OSError) as error:
            self.say(f"a client at {name} was not let in: {error}")
            client.close()
        finally:
            self.room.release()

    def take(self, seconds: float) -> tuple[socket.socket, str] | None:
        """Wait for a client that has shown who it is; return its socket and name, or None when the time is over."""
        try:
            return self.admitted.get(block=seconds > 0, timeout=seconds or None)
        except queue.Empty:
            return None

    def leave(self) -> None:
        """Be free for the next one."""
        with self.seat:
            self.inside = None
            self.seat.notify()


def keep_alive(sock: socket.socket) -> None:
    """Find out within a minute that the other machine is gone, where the system can."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the process is ended; return 2 where it cannot."""
    parser = argparse.ArgumentParser(description="Serve MetaTrader5 to Herald.")
    parser.add_argument("--listen", default="127.0.0.1:5005", metavar="HOST:PORT", help="port 0 takes any that is free")
    parser.add_argument("--allow-remote", action="store_true", help="listen where other machines reach it; use a tunnel instead")
    parser.add_argument("--token-file", metavar="FILE", help="has the token; else HERALD_MT5_TOKEN does")
    parser.add_argument("--module", default="MetaTrader5", help="with the functions of MetaTrader5")
    parser.add_argument("--module-options", default="{}", metavar="JSON", help="for a module that takes options")
    parser.add_argument("--stay", action="store_true", help="go on when the standard input ends")
    given = parser.parse_args(argv)
    try:
        token = _token(given.token_file)
        try:
            options = json.loads(given.module_options)
        except ValueError as error:
            raise Refused(f"--module-options is no JSON: {error}", "options") from None
        if not isinstance(options, dict):
            raise Refused("--module-options must be an object, such as {}", "options")
        sock = listen(given.listen, given.allow_remote)
        caller = Caller(load(given.module, options), given.module)
    except (Refused, OSError, ValueError) as error:
        tell(str(error))
        _print({"refused": str(error), "code": getattr(error, "code", "")})
        return 2
    if not given.stay:
        # Not before the module is there: on Windows an import that looks at the standard input waits for this thread.
        threading.Thread(target=_die_with_parent, daemon=True).start()
    _print({"listening": address_of(sock), "pid": os.getpid()})
    door = Door(sock, token)
    threading.Thread(target=door.run, daemon=True).start()
    while True:
        found = door.take(1.0)  # not for ever: on Windows, Ctrl-C waits until a wait is over
        if found is None:
            continue
        client, name = found
        try:
            serve(client, caller)
        except (Gone, OSError) as error:
            tell(f"the client at {name}: {error}")
        finally:
            client.close()
            door.leave()


def _print(line: dict[str, Any]) -> None:
    """Tell the program that started this one where it listens, or why it does not."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _token(path: str | None) -> str:
    if path:
        with open(path, encoding="utf-8") as file:
            token = file.read().strip()
    else:
        token = os.environ.pop("HERALD_MT5_TOKEN", "").strip()
    check_token(token)
    return token


def check_token(token: str) -> None:
    """Refuse what can be guessed.

    Raises:
        Refused: It has fewer than 128 bits, taken for hexadecimal digits.
    """
    if len(token) < MIN_TOKEN or len(set(token)) < 8:
        raise Refused(
            f"the token ({len(token)} characters) can be guessed; put at least {MIN_TOKEN} random ones into --token-file or "
            'HERALD_MT5_TOKEN, such as: python -c "import secrets; print(secrets.token_hex(32))"',
            "token",
        )


if __name__ == "__main__":
    # Python looks beside the script first, where other files of Herald's lie.
    if sys.path and os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):
        del sys.path[0]
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
