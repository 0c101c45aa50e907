"""The terminal process: the one program that imports MetaTrader5, and answers Herald over a socket.

The package blocks its whole process while a terminal thinks, has no deadline on any call, and knows one connection a process.
So it lives here, alone, in a process that can be killed: a hung terminal is a killed process and not a hung Herald.

This file stands on the standard library alone and runs on Python 3.8 and newer, so that it can be copied beside a terminal: to
the Python of a Windows machine, or of Wine.

    python server.py --listen 127.0.0.1:5005 --token-file token.txt

What it speaks. A frame is four bytes (length, big-endian) and so many bytes of JSON. Client and server first prove to each other
that they know the token, without sending it: each signs the other's random number (HMAC-SHA256). Then the client asks
``[id, function, [arguments], {keywords}]`` and the server answers ``[id, "ok", value, [code, text]]`` with what ``last_error``
says, ``[id, "raised", type, text]``, or ``[id, "refused", text]`` for a function that is not on the list. An array follows its
answer as a frame of raw records. Nothing is ever evaluated or unpickled.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import importlib
import inspect
import json
import math
import os
import platform
import secrets
import socket
import struct
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

VERSION = 1
MAX_REQUEST = 1 << 16
MAX_HELLO = 1 << 10
HELLO_SECONDS = 5.0
MIN_TOKEN = 16
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
    """The other side is not served; the text says why."""


class Gone(Exception):
    """The other side is gone, or speaks something else."""


# --- frames -------------------------------------------------------------------------------------------


def receive(sock: socket.socket, most: int) -> bytes | None:
    """Return the next frame, at most *most* bytes long; None where the other side has closed.

    Raises:
        Gone: It closed in the middle, or the length is more than that.
    """
    head = _exactly(sock, 4, True)
    if head is None:
        return None
    (length,) = struct.unpack(">I", head)
    if length > most:
        raise Gone(f"a frame of {length} bytes is more than {most}: this is no client of Herald")
    return _exactly(sock, length, False)


def _exactly(sock: socket.socket, count: int, may_end: bool) -> bytes | None:
    parts: list[bytes] = []
    missing = count
    while missing:
        part = sock.recv(min(missing, 1 << 16))
        if not part:
            if may_end and missing == count:
                return None
            raise Gone("the connection ended in the middle of a frame")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


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
        return {"$": type(value).__name__, "v": [encode(each)[0] for each in value]}, None
    if isinstance(value, (tuple, list)):
        names = {type(each).__name__ for each in value if hasattr(each, "_asdict")}
        if len(names) == 1 and all(hasattr(each, "_asdict") for each in value):
            return {"$": "tuple:" + names.pop(), "v": [[encode(part)[0] for part in each] for each in value]}, None
        return {"$": "tuple", "v": [encode(each)[0] for each in value]}, None
    index = getattr(value, "__index__", None)
    if index is not None:
        return encode(index())
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent")


def decode(value: Any) -> Any:
    """Return an argument as the package takes it: numbers that JSON cannot say come as tagged texts."""
    if isinstance(value, dict) and "$" in value:
        if value["$"] == "int":
            return int(value["v"])
        if value["$"] == "float":
            return float(value["v"])
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
    try:
        module = importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        hint = f"run: {sys.executable} -m pip install MetaTrader5 (Windows, or Wine's Python)"
        if name == "mt5linux":
            hint = "install mt5linux 1.0.11; later ones do not import here"
        raise Refused(f"no module {name!r} ({type(error).__name__}: {error}); {hint}") from error
    if name in ("mt5linux", "siliconmetatrader5"):
        return _bridge(module, name, options)
    if options:
        configure = getattr(module, "configure", None)
        if configure is None:
            raise Refused(f"module {name!r} takes no options; remove module_options")
        try:
            configure(options)
        except (TypeError, ValueError) as error:
            raise Refused(f"module_options of {name}: {error}") from error
    return module


def _bridge(module: Any, name: str, options: dict[str, Any]) -> Any:
    """Return the object of a bridge that somebody runs already."""
    if name == "mt5linux":
        try:
            from importlib.metadata import version

            found = version("mt5linux")
        except Exception:  # a copy without metadata
            found = "0"
        if found.startswith("1.1"):
            raise Refused(
                f"mt5linux {found} sends the package's results through pickle, which they refuse, after the order was sent; "
                "install mt5linux==1.0.11, or point address at herald's own server"
            )
    known = inspect.signature(module.MetaTrader5).parameters
    return module.MetaTrader5(**{key: value for key, value in options.items() if key in known})


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
            if place < len(args) and args[place] in (0, False):
                return [number, "refused", "a date of 0 is not sent by the package (it sends garbage); use 1 or later"], None
        call = getattr(self.module, function)
        try:
            # Keywords only where there are some: an empty dict of them makes the extension refuse a request.
            value = call(*args, **named) if named else call(*args)
        except (SystemError, TypeError, ValueError, OverflowError, AttributeError) as error:
            cause = error.__cause__
            text = f"{error} ({type(cause).__name__}: {cause})" if cause is not None else str(error)
            return [number, "raised", type(error).__name__, text], None
        code, text = self.module.last_error()[:2]
        told, raw = encode(value)
        return [number, "ok", told, [int(code), str(text)]], raw

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


def greet(sock: socket.socket, token: str) -> None:
    """Let client and server prove to each other that they know the token.

    Raises:
        Refused: The client does not; it was told so.
        Gone: It is no client of Herald.
    """
    body = receive(sock, MAX_HELLO)
    if body is None:
        raise Gone("the client closed before it said anything")
    try:
        hello = json.loads(body.decode("utf-8"))
        protocol, theirs = hello["herald_mt5"], hello["nonce"]
        if not isinstance(theirs, str) or not 16 <= len(theirs) <= 128:
            raise ValueError("nonce")
    except (ValueError, KeyError, TypeError):
        raise Gone("what came is no greeting of Herald") from None
    if protocol != VERSION:
        text = f"this server speaks protocol {VERSION}, the client {protocol!r}; use the server.py of the client's Herald"
        _refuse(sock, text)
    ours = secrets.token_hex(16)
    send(sock, json.dumps({"nonce": ours, "proof": sign(token, "server", theirs, ours)}).encode("utf-8"))
    body = receive(sock, MAX_HELLO)
    if body is None:
        raise Gone("the client went away: its token is another one, or it is no client of Herald")
    try:
        proof = json.loads(body.decode("utf-8"))["proof"]
        is_right = hmac.compare_digest(str(proof), sign(token, "client", ours, theirs))
    except (ValueError, KeyError, TypeError):
        raise Gone("what came is no proof of Herald's") from None
    if not is_right:
        _refuse(sock, "the token is wrong; use the one that the server was started with")
    send(sock, json.dumps({"ready": True}).encode("utf-8"))


def _refuse(sock: socket.socket, text: str) -> NoReturn:
    with contextlib.suppress(OSError):
        send(sock, json.dumps({"refused": text}).encode("utf-8"))
    raise Refused(text)


def serve(sock: socket.socket, caller: Caller) -> None:
    """Answer one client until it goes away.

    Raises:
        Gone: It speaks something else, or closed in the middle.
    """
    while True:
        body = receive(sock, MAX_REQUEST)
        if body is None:
            return
        try:
            number, function, args, named = json.loads(body.decode("utf-8"))
            args, named = decode(args), decode(named)
            if not (isinstance(number, int) and isinstance(function, str) and isinstance(args, list) and isinstance(named, dict)):
                raise ValueError("shape")
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Gone("what came is no request of Herald's") from None
        if function == "$bye":
            return
        answer, raw = caller(number, function, args, named)
        bodies = [json.dumps(answer).encode("utf-8")]
        if raw is not None:
            bodies.append(raw)
        send(sock, *bodies)


# --- the process --------------------------------------------------------------------------------------


def tell(text: str) -> None:
    """Say something to whoever looks after this process."""
    sys.stderr.write(f"herald mt5 server: {text}\n")
    sys.stderr.flush()


def _die_with_parent() -> None:
    """End when the parent does: its end of our standard input closes with it."""
    try:
        while sys.stdin.buffer.read(1 << 12):
            pass
    except (OSError, ValueError):
        pass
    os._exit(0)


def listen(text: str, allow_remote: bool) -> socket.socket:
    """Return a socket that listens where *text* says, ``host:port``.

    Raises:
        Refused: It is no address, or one that others can reach, or it is in use.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise Refused(f"{text!r} is no address; write host:port, such as 127.0.0.1:5005")
    if host not in LOCAL and not allow_remote:
        raise Refused(
            f"{host} can be reached from other machines: the connection is not encrypted. Listen on 127.0.0.1 and use a tunnel "
            "(ssh -L 5005:127.0.0.1:5005 HOST); --allow-remote does it all the same"
        )
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name != "nt":  # there it means that two may listen at one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, int(port)))
        sock.listen(4)
    except OSError as error:
        sock.close()
        raise Refused(f"cannot listen at {text}: {error}; choose another port") from error
    return sock


class Door:
    """Lets one client in at a time; others are told so while that one is served."""

    def __init__(self, sock: socket.socket, token: str) -> None:
        """Guard *sock*."""
        self.sock = sock
        self.token = token
        self.busy: str | None = None
        self.lock = threading.Lock()
        self.waiting = threading.Semaphore(0)
        self.next: tuple[socket.socket, str] | None = None

    def run(self) -> None:
        """Take connections; the main thread serves them, for the package belongs to one thread."""
        while True:
            try:
                client, address = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._meet, args=(client, address), daemon=True).start()

    def _meet(self, client: socket.socket, address: Any) -> None:
        name = "{}:{}".format(*address[:2])
        try:
            client.settimeout(HELLO_SECONDS)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            greet_as = None
            with self.lock:
                if self.busy is not None:
                    greet_as = self.busy
                else:
                    self.busy = name
            if greet_as is not None:
                _refuse(client, f"the terminal serves the client at {greet_as}; one at a time")
            try:
                greet(client, self.token)
            except BaseException:
                with self.lock:
                    self.busy = None
                raise
            client.settimeout(None)
            self.next = client, name
            self.waiting.release()
        except (Gone, Refused, OSError) as error:
            tell(f"{name}: {error}")
            client.close()

    def take(self) -> tuple[socket.socket, str]:
        """Wait for a client that has shown who it is; return its socket and name."""
        self.waiting.acquire()
        client = self.next
        if client is None:
            raise RuntimeError("nobody waits at the door")
        return client

    def leave(self) -> None:
        """Be free for the next one."""
        with self.lock:
            self.busy = None


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the process is ended; return an exit code."""
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
        options = json.loads(given.module_options)
        sock = listen(given.listen, given.allow_remote)
        caller = Caller(load(given.module, options), given.module)
    except (Refused, OSError, ValueError) as error:
        tell(str(error))
        return 2
    if not given.stay:
        threading.Thread(target=_die_with_parent, daemon=True).start()
    host, port = sock.getsockname()[:2]
    sys.stdout.write(json.dumps({"listening": f"{host}:{port}", "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    door = Door(sock, token)
    threading.Thread(target=door.run, daemon=True).start()
    try:
        while True:
            client, name = door.take()
            try:
                serve(client, caller)
            except (Gone, OSError) as error:
                tell(f"{name}: {error}")
            finally:
                client.close()
                door.leave()
    except KeyboardInterrupt:
        return 0


def _token(path: str | None) -> str:
    if path:
        with open(path, encoding="utf-8") as file:
            token = file.read().strip()
    else:
        token = os.environ.pop("HERALD_MT5_TOKEN", "").strip()
    if len(token) < MIN_TOKEN:
        raise Refused(
            f"the token has {len(token)} characters; at least {MIN_TOKEN} are needed, in --token-file or HERALD_MT5_TOKEN"
        )
    return token


if __name__ == "__main__":
    sys.exit(main())
