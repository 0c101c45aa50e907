"""Verbs that talk to a run under way, through its control server."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import urllib.parse
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from herald.cli.control import file_of, reason, state_folder
from herald.clock import SECOND, WallClock, format_time
from herald.errors import HeraldError, NotFound

if TYPE_CHECKING:
    from herald.plugins.control.access import KeyFile

__all__ = ["Remote", "cancel", "close", "control", "orders", "positions", "status", "trade"]

_SECONDS = 20.0
_SETTLE_SECONDS = 5.0


class Remote:
    """The control server of a run."""

    def __init__(self, address: str, key: str, certificate: str = "") -> None:
        """Talk to *address* with *key*."""
        self.address = address
        self._key = key
        self._certificate = certificate

    @classmethod
    def of(cls, file: Path) -> Remote:
        """Return the server of the run of the config *file*.

        ``HERALD_CONTROL_URL`` and ``HERALD_CONTROL_KEY`` name another one, such as on another machine.

        Raises:
            NotFound: Nothing runs there, or it has no control server.
        """
        address, key = os.environ.get("HERALD_CONTROL_URL"), os.environ.get("HERALD_CONTROL_KEY")
        if address and key:
            return cls(address.rstrip("/"), key)
        place = state_folder(file) / "control.json"
        try:
            told = json.loads(place.read_text(encoding="utf-8"))
            return cls(told["address"], told["key"], told.get("certificate", ""))
        except FileNotFoundError:
            what = f"no run of {str(file)!r} is under way that can be asked"
            hint = 'start it, with [[services]] use = "control" in the file; `herald state` and `herald halt` work without'
            raise NotFound(f"{what}; {hint}") from None
        except (OSError, ValueError, KeyError) as error:
            raise NotFound(f"{str(place)!r} cannot be read: {error}; start the run again") from error

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return what the server answers.

        Raises:
            HeraldError: It refuses, with its reason.
            NotFound: Nobody answers.
        """
        connection = self._connection()
        headers = {"Authorization": f"Bearer {self._key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotFound(f"nobody answers at {self.address}: {error or type(error).__name__}; does the run go on?") from error
        finally:
            connection.close()
        try:
            told = json.loads(text)
        except ValueError:
            told = {"error": {"code": str(response.status), "text": "it is no control server of Herald's"}}
        if response.status >= 400:
            error_told = told.get("error", {}) if isinstance(told, dict) else {}
            raise HeraldError(f"{error_told.get('code', response.status)}: {error_told.get('text', 'refused')}")
        return told

    def _connection(self) -> http.client.HTTPConnection:
        parts = urllib.parse.urlsplit(self.address)
        host, port = parts.hostname or "127.0.0.1", parts.port
        if parts.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=_SECONDS)
        try:
            # Its own certificate, by its file, where it is on this machine: nothing else is trusted for it.
            context = ssl.create_default_context(cafile=self._certificate or None)
        except OSError as error:
            raise NotFound(f"the certificate {self._certificate!r} cannot be read: {error}; start the run again") from error
        context.check_hostname = not self._certificate
        return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_why_option = click.option(
    "--why", default="by hand", show_default=True, callback=reason, metavar="TEXT", help="The reason; it is kept."
)


@click.command()
@file_of
@_json_option
def status(file: Path, as_json: bool) -> None:
    """Show how the run of FILE stands: account, positions, strategies, connectors."""
    told = Remote.of(file).ask("GET", "/api/v1/state")
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    currency = told["currency"]
    drawdown = 1 - told["equity"] / told["peak"] if told["peak"] else 0.0
    click.echo(f"{told['mode']} run of {told['source']}, {told['trading']}, {_stamp(told['time'])}")
    money = [f"{name} {_money(told[key])}" for name, key in (("equity", "equity"), ("balance", "balance"), ("peak", "peak"))]
    click.echo(f"account    {', '.join(money)} {currency}, drawdown {drawdown:.2%}, margin used {_money(told['margin_used'])}")
    for one in told["scopes"]:
        click.echo(f"stopped    {one['scope']} is {one['state']} by {one['who']}: {one['why']}")
    for one in told["connectors"]:
        ready = "ready" if one["ready"] else "NOT READY"
        health = "".join(f", {name.removeprefix('connectors.')} {state}" for name, state in one["health"].items())
        click.echo(f"connector  {one['name']} ({one['use']}) {ready}{health}")
    for one in told["strategies"]:
        what = f"{one['state']}, {one['trades']} trades, {one['realized']:+,.2f} {currency}"
        failed = f", stopped: {one['failed']}" if one["failed"] else ""
        click.echo(f"strategy   {one['name']} on {', '.join(one['symbols'])}: {what}{failed}")
    if told["unresolved"]:
        click.echo(f"in doubt   {', '.join(told['unresolved'])}")
    _positions(told)
    click.echo(f"orders     {len(told['orders'])} working")


@click.command()
@file_of
@_json_option
def positions(file: Path, as_json: bool) -> None:
    """List the open positions of the run of FILE."""
    told = Remote.of(file).ask("GET", "/api/v1/state")
    if as_json:
        click.echo(json.dumps(told["positions"], indent=2))
        return
    _positions(told, none="no open positions")


@click.command()
@file_of
@click.option("--ended", is_flag=True, help="List the last ones that are at an end instead.")
@_json_option
def orders(file: Path, ended: bool, as_json: bool) -> None:
    """List the working orders of the run of FILE."""
    told = Remote.of(file).ask("GET", f"/api/v1/orders?state={'ended' if ended else 'working'}")["orders"]
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    rows = []
    for one in told:
        request = one["request"]
        terms = [f"{name} {request[key]:g}" for name, key in _TERMS if request[key] is not None]
        side = "buy" if request["side"] > 0 else "sell"
        filled = f"{one['filled']:g}/{request['size']:g}"
        what = f"{one['status']} {one['code']}".strip()
        rows.append([request["id"], side, request["symbol"], filled, request["type"], ", ".join(terms), what])
    _table(["order", "side", "symbol", "filled", "type", "terms", "status"], rows, none="no orders")


_TERMS = (("limit", "limit"), ("stop", "stop"), ("sl", "stop_loss"), ("tp", "take_profit"))


@click.command()
@file_of
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("symbol")
@click.argument("size", type=float)
@click.option("--limit", type=float, help="Limit price.")
@click.option("--stop", type=float, help="Stop price.")
@click.option("--stop-loss", type=float, help="Price of the protective stop.")
@click.option("--take-profit", type=float, help="Price of the target.")
@click.option("--reduce-only", is_flag=True, help="Never open, add to or turn the position of that book.")
@_why_option
@_json_option
def trade(file: Path, side: str, symbol: str, size: float, why: str, as_json: bool, **terms: Any) -> None:
    """Place an order by hand in the run of FILE: SIZE lots, through the same checks, managed by the same exits.

    It is held in the book `manual`. A market order is waited for, up to a few seconds.
    """
    remote = Remote.of(file)
    body = {"side": side, "symbol": symbol, "size": size, "why": why} | {k: v for k, v in terms.items() if v not in (None, False)}
    done = remote.ask("POST", "/api/v1/orders", body)
    order = _settled(remote, done["order"])
    if as_json:
        click.echo(json.dumps({"done": done, "order": order}, indent=2))
    else:
        click.echo(_told(done, order))
    if order is not None and order["status"] in ("rejected", "denied"):
        raise click.exceptions.Exit(1)


@click.command()
@file_of
@click.argument("strategy")
@click.argument("symbol")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True, help="Part of it.")
@_why_option
@_json_option
def close(file: Path, strategy: str, symbol: str, share: float, why: str, as_json: bool) -> None:
    """Close what STRATEGY holds of SYMBOL in the run of FILE, at market."""
    remote = Remote.of(file)
    body = {"strategy": strategy, "symbol": symbol, "share": share, "why": why}
    done = remote.ask("POST", "/api/v1/positions/close", body)
    order = _settled(remote, done["order"])
    click.echo(json.dumps({"done": done, "order": order}, indent=2) if as_json else _told(done, order))


@click.command()
@file_of
@click.argument("order")
@_why_option
@_json_option
def cancel(file: Path, order: str, why: str, as_json: bool) -> None:
    """Withdraw the working order ORDER of the run of FILE."""
    done = Remote.of(file).ask("POST", f"/api/v1/orders/{urllib.parse.quote(order, safe='')}/cancel", {"why": why})
    click.echo(json.dumps(done, indent=2) if as_json else done["text"])


# --- keys -----------------------------------------------------------------------------------------


@click.group()
def control() -> None:
    """Keys of a control server, and its dashboard."""


@control.command("open")
@file_of
@click.option("--print", "only_print", is_flag=True, help="Print the address instead of opening a browser.")
def open_(file: Path, only_print: bool) -> None:
    """Open the dashboard of the run of FILE in a browser."""
    address = Remote.of(file).address
    if only_print or not webbrowser.open(address):
        click.echo(address)


@control.group()
def keys() -> None:
    """Make, list and take back API keys."""


@keys.command("add")
@file_of
@click.argument("name")
@click.option("--role", default="viewer", show_default=True, help="metrics, viewer, trader, risk or admin.")
@click.option("--days", type=click.FloatRange(0, min_open=True), default=90.0, show_default=True, help="How long it is good.")
@click.option("--from", "networks", multiple=True, metavar="NETWORK", help="Where it may be used, such as 10.0.0.0/8.")
@_json_option
def add(file: Path, name: str, role: str, days: float, networks: Sequence[str], as_json: bool) -> None:
    """Make a key for NAME. It is shown once, here, and nowhere else.

    The run of FILE knows it at once. Its scopes follow from its role: a viewer sees, a trader places and closes, risk stops
    and lets go on, an admin may do all of it, metrics only scrapes.
    """
    kind = "live" if _is_real(file) else "test"
    text, key = _changed(
        file, "control.keys.add", f"{name} role={role}", lambda found: found.add(name, role, kind, days * 86_400, networks)
    )
    if as_json:
        click.echo(json.dumps({"key": text, "id": key.id, "name": key.name, "role": key.role, "expires": key.expires}, indent=2))
        return
    click.echo(text)
    click.echo(f"key {key.id} of {name}, role {role}, good until {_stamp(key.expires)}; it is not shown again", err=True)


@keys.command("list")
@file_of
@_json_option
def list_(file: Path, as_json: bool) -> None:
    """List the keys of FILE, without their secrets."""
    found = _keys(file).keys()
    if as_json:
        shown = [
            {"id": one.id, "name": one.name, "role": one.role, "expires": one.expires, "revoked": one.revoked} for one in found
        ]
        click.echo(json.dumps(shown, indent=2))
        return
    rows = [[one.id, one.name, one.role, _standing(one), ", ".join(one.networks) or "anywhere"] for one in found]
    _table(["id", "name", "role", "standing", "from"], rows, none="no keys; herald control keys add FILE NAME makes one")


@keys.command("revoke")
@file_of
@click.argument("key")
def revoke(file: Path, key: str) -> None:
    """Take KEY, an id or a name, back at once."""
    gone = _changed(file, "control.keys.revoke", key, lambda found: found.revoke(key))
    click.echo(f"key {gone.id} of {gone.name} is not good any more")


def _keys(file: Path) -> KeyFile:
    from herald.plugins.control.access import KEYS_NAME, KeyFile

    return KeyFile(state_folder(file) / KEYS_NAME, WallClock().now)


def _changed(file: Path, act: str, what: str, change: Callable[[KeyFile], Any]) -> Any:
    """Change the keys, after that is recorded."""
    from herald.cli.control import recorded

    folder = state_folder(file)
    folder.mkdir(parents=True, exist_ok=True)
    with recorded(folder, file, act, what, "by hand"):
        return change(_keys(file))


def _is_real(file: Path) -> bool:
    import tomllib

    table = tomllib.loads(file.read_text(encoding="utf-8")).get("live", {})
    return isinstance(table, dict) and table.get("real") is True


def _standing(key: Any) -> str:
    if key.revoked:
        return f"revoked {_stamp(key.revoked)}"
    if key.expires and WallClock().now() >= key.expires:
        return f"expired {_stamp(key.expires)}"
    return f"until {_stamp(key.expires)}" if key.expires else "for ever"


# --- what is printed ------------------------------------------------------------------------------


def _settled(remote: Remote, order: str) -> dict[str, Any] | None:
    """Return the order as it stands when it is neither pending nor on its way, or after a few seconds in any case."""
    clock = WallClock()
    end = clock.monotonic() + _SETTLE_SECONDS
    found: dict[str, Any] | None = None
    while order:
        try:
            found = remote.ask("GET", f"/api/v1/orders/{urllib.parse.quote(order, safe='')}")
        except HeraldError:
            found = None
        if (found is not None and not _is_moving(found)) or clock.monotonic() >= end:
            break
        clock.sleep(0.1)
    return found


def _is_moving(order: dict[str, Any]) -> bool:
    """Return whether more is about to become of *order* by itself."""
    moving = ("pending", "sent", "accepted", "partial") if order["request"]["type"] == "market" else ("pending", "sent")
    return order["status"] in moving


def _told(done: dict[str, Any], order: dict[str, Any] | None) -> str:
    if order is None:
        return str(done["text"])
    request = order["request"]
    side = "bought" if request["side"] > 0 else "sold"
    if order["status"] == "filled":
        return f"{side} {order['filled']:g} {request['symbol']} at {order['average_price']:.10g} ({request['id']})"
    reason_told = f": {order['code']} {order['reason']}".rstrip() if order["reason"] else ""
    return f"order {request['id']} is {order['status']}{reason_told}"


def _positions(told: dict[str, Any], none: str = "") -> None:
    rows = []
    for one in told["positions"]:
        levels = [f"{name} {one[key]:.10g}" for name, key in (("sl", "stop_loss"), ("tp", "take_profit")) if one[key] is not None]
        profit = "?" if one["profit"] is None else f"{one['profit']:+,.2f}"
        price = "?" if one["price"] is None else f"{one['price']:.10g}"
        rows.append(
            [
                one["strategy"],
                one["symbol"],
                f"{one['size']:+g}",
                f"{one['average_price']:.10g}",
                price,
                profit,
                ", ".join(levels),
            ]
        )
    if rows or none:
        _table(["book", "symbol", "lots", "entry", "price", f"profit {told['currency']}", "protection"], rows, none=none)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> None:
    if not rows:
        click.echo(none)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        is_number = heading in ("lots", "entry", "price") or heading.startswith("profit")
        table.add_column(heading, overflow="fold", justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def _money(value: float | None) -> str:
    return "?" if value is None else f"{value:,.2f}"


def _stamp(time_ns: int) -> str:
    return format_time(time_ns // SECOND * SECOND)
