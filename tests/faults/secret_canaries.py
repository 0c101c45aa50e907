"""Secrets that nobody may see: fifty of them, put on purpose into every error that a component can raise, and looked for everywhere.

``python tests/faults/secret_canaries.py --paths 200`` runs Herald once for every way in which a component can go wrong. The
component has fifty secrets, from variables and from a vault (an observer from a table that stands encrypted as a whole), and puts
all of them into what it raises, prints, logs, notes or asks for, each in another form. Then everything that the run left behind is
read byte for byte: terminal, run folder, report, log file, journal, audit log, state folder, list of processes. A planted leak shows
that a secret would be found.

The forms looked for are written down here by themselves; nothing of `herald.utils.redaction` is used.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

COUNT = 50
PATIENCE = 120.0
LENGTHS = (0.7, 6.0, 40.0)
"""Seconds of a run, tried in turn until the component was reached: a busy machine gets to the third price late."""


def secret(number: int) -> str:
    """Return one of the secrets: a part that no form changes between signs that every form changes."""
    return f"p\"{number:02d}/+Kq7Zv{number * 7919 + 104729:09d}Wj3Xu&ä\\<'% {number}"


def core(number: int) -> bytes:
    """Return the part of a secret that stands in every form of it that is text."""
    return f"Kq7Zv{number * 7919 + 104729:09d}Wj3Xu".encode()


def traces() -> dict[bytes, int]:
    """Return what to look for, with the number of the secret: its core as text, in base64 at any offset, in hexadecimal."""
    found: dict[bytes, int] = {}
    for number in range(COUNT):
        plain = core(number)
        found[plain] = found[plain.hex().encode()] = found[plain.hex().upper().encode()] = number
        for before in range(3):
            text = base64.b64encode(bytes(before) + plain)
            found[text[(before * 8 + 5) // 6 : -4]] = number
    return found


HOSTILE = '''
"""Components that tell everybody what they know."""

import base64
import html
import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.parse
import warnings

from pydantic import SecretStr, model_validator

from herald import Instrument, Quote, Settings, Strategy, component, hookimpl
from herald.contracts import Capabilities, Denial, Operation
from herald.errors import *
from herald.errors import RejectedError
from herald.utils import redaction
from herald.model import Account, AccountMode, BarSeries, Fill, Order, OrderStatus, OrderType, RunStarted, Side, SystemEvent

PLACE, _, WAY = os.environ.get("HOSTILE", "nowhere:ValueError").partition(":")
FORMS = (
    str, repr, json.dumps, urllib.parse.quote, urllib.parse.quote_plus, html.escape,
    lambda one: urllib.parse.quote(one, safe=""),
    lambda one: base64.b64encode(one.encode()).decode(),
    lambda one: base64.b64encode(b"user:" + one.encode() + b"@").decode(),
    lambda one: base64.urlsafe_b64encode(b"u" + one.encode()).decode(),
    lambda one: repr(one.encode()), lambda one: one.encode().hex(), lambda one: json.dumps({"a": json.dumps(one)}),
)


class Fields(Settings):
    secrets: dict[str, SecretStr] = {}


class Careless(Fields):
    """Repeats what it was given while it checks it."""

    @model_validator(mode="after")
    def _checked(self):
        said(self, "settings")
        return self


def words(settings):
    return [FORMS[i % len(FORMS)](one.get_secret_value()) for i, one in enumerate(settings.secrets.values())]


def said(settings, place, ctx=None):
    """Give everything away, if this is the place; in the way that was asked for."""
    if place != PLACE:
        return
    with open("hit", "a") as file:
        file.write(place + "\\n")
    text = " ".join(words(settings))
    if WAY == "deaf":  # the planted fault: as if nothing had been remembered
        redaction._forms = ()
        raise ValueError(text)
    if WAY == "print":
        print(text)
        print(*words(settings), sep="\\n", file=sys.stderr)
    elif WAY == "logging":
        logging.getLogger("stranger").error("login failed: %s", text)
    elif WAY == "loguru":
        from loguru import logger
        try:
            raise ValueError(text)
        except ValueError:
            logger.exception("login failed: {}", text)
    elif WAY == "warn":
        warnings.warn(text)
    elif WAY == "thread":
        def run(password=text):
            raise RuntimeError(password)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    elif WAY == "log" and ctx is not None:
        ctx.log(text)
    elif WAY == "SystemExit":
        raise SystemExit(text)
    elif WAY == "RejectedError":
        raise RejectedError("10013", text)
    elif WAY == "PermitError":
        raise PermitError("token_missing", text)
    elif WAY == "cause":
        try:
            raise KeyError(text)
        except KeyError as error:
            raise RuntimeError("it failed") from error
    elif WAY == "note":
        error = RuntimeError("it failed")
        error.add_note(text)
        raise error
    elif WAY == "group":
        raise ExceptionGroup(text, [ValueError(text), OSError(5, text, text)])
    elif WAY == "OSError":
        raise OSError(5, text, words(settings)[0])
    elif WAY == "plain":
        with open("plain.txt", "w", encoding="utf-8") as file:  # the planted leak: past everything that Herald does
            file.write(text)
    elif WAY:
        raise {**globals(), **vars(__builtins__ if not isinstance(__builtins__, dict) else __import__("builtins"))}[WAY](text)


class Broker:
    """A connector with a book of its own."""

    def __init__(self, settings, services):
        self.settings = settings
        said(settings, "connector.build")
        self.clock = services.clock
        self.sent = []
        self.told = 0
        self.held = 0.0
        self.count = 0

    def _now(self):
        return self.clock.now()

    def connect(self):
        said(self.settings, "connector.connect")

    def disconnect(self):
        said(self.settings, "connector.disconnect")

    def ping(self):
        said(self.settings, "connector.ping")

    def capabilities(self):
        said(self.settings, "connector.capabilities")
        return Capabilities(
            trading=True, history=True, streaming=True, order_types=frozenset(OrderType), modes=frozenset(AccountMode),
            settle_seconds=0.1, modify=True, brackets=True,
        )

    def instruments(self):
        said(self.settings, "connector.instruments")
        return [Instrument(symbol="AAA", quote="USD", price_step=0.01, size_step=0.01, min_size=0.01, max_size=100.0)]

    def account(self):
        said(self.settings, "connector.account")
        return Account(
            id="1001", server=os.environ["HOSTILE_SERVER"], real=False, currency="USD", mode=AccountMode.NETTING, balance=1e5, equity=1e5,
            margin_used=0.0, margin_free=1e5, leverage=30.0, time=self._now(),
        )

    def positions(self):
        said(self.settings, "connector.positions")
        return []

    def open_orders(self):
        said(self.settings, "connector.open_orders")
        return []

    def subscribe(self, feeds):
        said(self.settings, "connector.subscribe")

    def quote(self, symbol):
        said(self.settings, "connector.quote")
        return Quote(symbol, self._now(), 10.0, 10.01)

    def bars(self, symbol, timeframe, start, end):
        said(self.settings, "connector.bars")
        raise NotSupported("no history is kept")

    def submit(self, request):
        said(self.settings, "connector.submit")
        raise RejectedError("10018", "the market is closed: " + " ".join(words(self.settings)))

    def modify(self, broker_id, request):
        said(self.settings, "connector.modify")

    def cancel(self, broker_id):
        said(self.settings, "connector.cancel")

    def find(self, client_tag, since):
        said(self.settings, "connector.find")
        return []

    def fills(self, since):
        said(self.settings, "connector.fills")
        return []

    def poll(self):
        said(self.settings, "connector.poll")
        self.count += 1
        return [Quote("AAA", self._now(), 10.0, 10.01)]


class Layer:
    def __init__(self, settings, services):
        self.settings = settings
        said(settings, "middleware.build")

    def __call__(self, call, proceed):
        said(self.settings, "middleware." + call.operation.method)
        return proceed(call)

    def tick(self, proceed):
        said(self.settings, "middleware.tick")


class Teller(Strategy):
    def __init__(self, settings, services):
        super().__init__(settings, services)
        said(settings, "strategy.build")

    def warmup(self):
        said(self.settings, "strategy.warmup")
        return 0

    def on_start(self, ctx):
        said(self.settings, "strategy.on_start", ctx)
        self.seen = 0

    def on_quote(self, quote, ctx):
        said(self.settings, "strategy.on_quote", ctx)
        self.seen += 1
        if self.seen == 3:
            tag = words(self.settings)[0] if PLACE == "strategy.tag" else ""
            if tag:
                said(self.settings, "strategy.tag", None) if WAY != "tag" else open("hit", "a").write("tag")
            ctx.buy("AAA", 1.0 if PLACE != "sizer.size" else None, tag=tag)

    def on_bar(self, bar, ctx):
        said(self.settings, "strategy.on_bar", ctx)

    def on_order(self, order, ctx):
        said(self.settings, "strategy.on_order", ctx)

    def on_stop(self, ctx):
        said(self.settings, "strategy.on_stop", ctx)


class Sizer:
    def __init__(self, settings, services):
        self.settings = settings
        said(settings, "sizer.build")

    def size(self, intent, view):
        said(self.settings, "sizer.size")
        return 1.0


class Check:
    exempts_reductions = False

    def __init__(self, settings, services):
        self.settings = settings
        said(settings, "risk.build")

    def check(self, request, view):
        if PLACE == "risk.denial":
            with open("hit", "a") as file:
                file.write(PLACE)
            return Denial("refused", " ".join(words(self.settings)))
        said(self.settings, "risk.check")
        return None


class Listener:
    events = (SystemEvent, Order, Quote)

    def __init__(self, settings, services):
        self.settings = settings
        said(settings, "observer.build")

    def observe(self, event):
        said(self.settings, "observer.observe")

    def close(self):
        said(self.settings, "observer.close")


class Source:
    def __init__(self, settings, services):
        self.settings = settings
        said(settings, "source.build")

    def get(self, name):
        said(self.settings, "source.get")
        return None

    def place(self, name):
        said(self.settings, "source.place")
        return "here"


@hookimpl
def herald_connectors():
    yield component("broker", Fields, Broker)


@hookimpl
def herald_middleware():
    yield component("layer", Fields, Layer)


@hookimpl
def herald_strategies():
    yield component("teller", Careless if PLACE == "settings" else Fields, Teller)


@hookimpl
def herald_sizers():
    yield component("sizer", Fields, Sizer)


@hookimpl
def herald_risk_checks():
    yield component("check", Fields, Check)


@hookimpl
def herald_observers():
    yield component("listener", Fields, Listener)


@hookimpl
def herald_secret_sources():
    yield component("source", Fields, Source)
'''

CONFIG = """
[herald]
mode = "{mode}"

[plugins]
paths        = ["."]
require_lock = false

[[secrets]]
use = "environment"

[[secrets]]
use      = "encrypted_config"
key_file = "vault.key"

[[secrets]]
use = "hostile.source"
{secrets}

[connectors.main]
use          = "hostile.broker"
poll_seconds = 0.01
{lacking}
[[connectors.main.middleware]]
use = "hostile.layer"
{secrets}

[strategies.teller]
use       = "hostile.teller"
symbols   = ["AAA"]
timeframe = "1m"
sizing    = {{ use = "hostile.sizer", {secrets} }}
{secrets}

[[risk]]
use  = "risk.max_order_size"
lots = 1000
[[risk]]
use      = "risk.max_daily_loss"
fraction = 0.99
[[risk]]
use      = "risk.max_drawdown"
fraction = 0.99
[[risk]]
use = "hostile.check"
{secrets}

[[observers]]
use       = "hostile.listener"
encrypted = "listener"
[[observers]]
use    = "log"
file   = "herald.log"
level  = "DEBUG"
events = ["SystemEvent", "Order", "OrderDenied", "Fill"]

[audit]

[live]
account     = "1001"
server      = "{server}"
real        = false
warmup_bars = 0
"""

ERRORS = ("ValueError", "OSError", "KeyError", "cause", "note", "group", "SystemExit")
TROUBLES = (
    "TransientError",
    "NotSent",
    "AmbiguousError",
    "RejectedError",
    "NotConnected",
    "ConnectorError",
    "DataError",
    "NotSupported",
)
SAYS = ("print", "logging", "loguru", "warn", "thread")
PLACES = {
    "connector": ("build", "connect", "capabilities", "instruments", "account", "positions", "open_orders", "subscribe", "poll",
                  "submit", "disconnect", "fills"),
    "middleware": ("build", "connect", "instruments", "account", "poll", "submit", "tick"),
    "strategy": ("build", "warmup", "on_start", "on_quote", "on_order", "on_stop"),
    "sizer": ("build", "size"),
    "risk": ("build", "check"),
    "observer": ("build", "observe", "close"),
    "source": ("build", "get", "place"),
}  # fmt: skip


class Wrong(NamedTuple):
    """One way in which a run goes wrong: where, and how."""

    place: str
    way: str

    def __str__(self) -> str:
        """Return both."""
        return f"{self.place}:{self.way}"


def paths() -> list[Wrong]:
    """Return every path, so mixed that any first part of the list has something of everything."""
    rows = []
    for kind, methods in PLACES.items():
        for method in methods:
            ways = [*ERRORS, *(TROUBLES if kind in ("connector", "middleware") else ())]
            if method != "build" and kind != "source":
                ways += SAYS[len(rows) % 3 :: 3]
            rows.append([Wrong(f"{kind}.{method}", way) for way in ways])
    extra = [Wrong("strategy.on_quote", "log"), Wrong("strategy.tag", "tag"), Wrong("risk.denial", "denial")]
    extra += [Wrong("strategy.on_start", one) for one in SAYS] + [Wrong("source.get", "SecretError")]
    # A row begins with another way than the one before it.
    turned = [row[index % len(row) :] + row[: index % len(row)] for index, row in enumerate(rows)]
    mixed = (one for column in itertools.zip_longest(*turned) for one in column if one is not None)
    return list(dict.fromkeys([*extra, *mixed]))


def prepare(folder: Path, place: str, mode: str = "live") -> dict[str, str]:
    """Write plugin, config and vault; return the variables that hold the other half of the secrets.

    Where *place* is the third source, one more secret is asked for, which the first two do not have.
    """
    from herald.utils.vault import Vault, make_key_file

    folder.mkdir(mode=0o700, parents=True)
    (folder / "hostile.py").write_text(HOSTILE, encoding="utf-8")
    lacking = ', absent = "secret:absent"' if place.startswith("source") else ""
    table = ", ".join(f's{one:02d} = "secret:s{one:02d}"' for one in range(COUNT))
    server = server_of(folder)
    text = CONFIG.format(
        mode=mode, server=server, secrets=f"secrets = {{ {table} }}", lacking=f"secrets = {{ {table}{lacking} }}"
    )
    (folder / "herald.toml").write_text(text, encoding="utf-8")
    vault = Vault.create(folder / "herald.vault", make_key_file(folder / "vault.key"))
    whole = "".join(f"s{one:02d} = {json.dumps(secret(one), ensure_ascii=False)}\n" for one in range(COUNT))
    vault.update({f"s{one:02d}": secret(one) for one in range(COUNT // 2, COUNT)} | {"listener": f"[secrets]\n{whole}"})
    return {f"HERALD_SECRET_S{one:02d}": secret(one) for one in range(COUNT // 2)} | {"HOSTILE_SERVER": server}


def server_of(folder: Path) -> str:
    """Return the broker of the run in *folder*: two runs at one time would wait for one another's account."""
    return f"Sim-Demo-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def everything(
    folder: Path, skipped: tuple[str, ...] = ("herald.vault", "vault.key", "hostile.py")
) -> Iterator[tuple[str, bytes]]:
    """Yield every file that is there now, with its name."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name not in skipped:
            yield file.relative_to(folder).as_posix(), file.read_bytes()


def leaks(folder: Path, known: dict[bytes, int]) -> list[str]:
    """Return where a secret stands, with its number."""
    return [
        f"{name}: secret {number} as {trace!r}: ...{data[max(data.index(trace) - 60, 0) : data.index(trace) + 60]!r}"
        for name, data in everything(folder)
        for trace, number in known.items()
        if trace in data
    ]


def seen_processes(root: int) -> Iterator[bytes]:
    """Yield the command lines of a process and its children, as ``ps`` shows them, and the variables of the children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    waiting = [root]
    while waiting:
        number = waiting.pop()
        waiting += children.get(number, [])
        try:
            line = Path(f"/proc/{number}/cmdline").read_bytes()
            yield line
            # One that has just been forked is the run itself, with its environment, until it becomes what it is to be.
            if number != root and line != Path(f"/proc/{root}/cmdline").read_bytes():
                yield Path(f"/proc/{number}/environ").read_bytes()
        except OSError:
            continue


def run(folder: Path, path: Wrong, env: dict[str, str]) -> tuple[bool, list[str]]:
    """Run one path below *folder*, longer each time until the component is reached; return whether it was, and what leaked."""
    known = traces()
    for number, seconds in enumerate(LENGTHS):
        place = folder / str(number)
        _run_once(place, path, env, seconds)
        if (place / "hit").exists():
            return True, leaks(folder, known)
    return False, leaks(folder, known)


def _run_once(folder: Path, path: Wrong, env: dict[str, str], seconds: float) -> None:
    variables = prepare(folder, path.place)
    given = {**env, **variables, "HOSTILE": str(path), "HERALD_TRACEBACK": "1", "PYTHONUTF8": "1"}
    words = ("live", "herald.toml", "--demo-only", "--for", str(seconds)) + (() if len(path.way) % 2 else ("--json",))
    with open(folder / "terminal.txt", "wb") as terminal, open(folder / "processes.txt", "wb") as processes:
        child = subprocess.Popen(
            [sys.executable, "-m", "herald", *words], cwd=folder, env=given, stdout=terminal, stderr=terminal
        )
        end = time.monotonic() + PATIENCE
        while child.poll() is None and time.monotonic() < end:
            if os.path.isdir("/proc/self"):
                processes.write(b"\n".join(seen_processes(child.pid)))
            time.sleep(0.1)
        child.kill()
        child.wait()
        del given["HOSTILE"]
        for more in (("plan", "herald.toml"), ("journal", "verify", "state/journal.sqlite")) if path.way == "ValueError" else ():
            subprocess.run(
                [sys.executable, "-m", "herald", *more], cwd=folder, env=given, stdout=terminal, stderr=terminal, check=False
            )


def run_all(
    folder: Path, chosen: Sequence[Wrong], env: dict[str, str], workers: int = os.cpu_count() or 1
) -> Iterator[tuple[Wrong, bool, list[str]]]:
    """Run *chosen*, some at a time, each below *folder*; yield each with what `run` returns, in their order."""
    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(run, folder / f"{number:03d}", one, env) for number, one in enumerate(chosen)]
        for one, future in zip(chosen, waiting, strict=True):
            yield one, *future.result()


def main() -> None:
    """Run as many paths as were asked for, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=10_000, help="how many")
    parser.add_argument("--only", default="", help="those whose name holds this")
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    chosen = [one for one in paths() if options.only in str(one)][: options.paths]
    hit = leaked = 0
    for number, (one, reached, found) in enumerate(run_all(options.folder, chosen, dict(os.environ))):
        hit += reached
        leaked += bool(found)
        print(f"{number:3d} {one!s:40s} {'hit' if reached else 'NOT REACHED'} {len(found)} leaks", flush=True)
        for each in found[:5]:
            print("     ", each, flush=True)
    print(json.dumps({"paths": len(chosen), "reached": hit, "secrets": COUNT, "leaking": leaked}))


if __name__ == "__main__":
    main()
