"""Argument variations for a module with MetaTrader5's interface: right ones, wrong ones and everything between."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["connected", "unconnected"]

SYMBOLS = (
    "'EURUSD'", "'GBPUSD'", "'nope'", "'eurusd'", "''", "'A'*28", "'A'*29", "'A'*30", "'A'*300", "'\\u20ac'*29", "'\\u20ac'*30",
    "'\\U0001F600'*14", "'\\U0001F600'*15", "'EUR\\0USD'", "None", "1", "1.5", "True", "b'EURUSD'", "['EURUSD']", "('EURUSD',)",
    "np.str_('EURUSD')", "np.float64(1)", "object()",
)  # fmt: skip
INTS = (
    "0", "1", "2", "7", "-1", "True", "False", "2**15", "2**31-1", "2**31", "-2**31", "-2**31-1", "2**40", "2**64", "1.0", "1.5", "'1'",
    "''", "None", "b'1'", "[]", "1j", "np.int8(1)", "np.int32(1)", "np.int64(1)", "np.uint64(1)",
    "np.float64(1)", "np.float32(1)", "float('nan')", "pathlib.PurePath('x')",
)  # fmt: skip
FRAMES = ("1", "5", "15", "30", "mt5.TIMEFRAME_H1", "mt5.TIMEFRAME_D1", "mt5.TIMEFRAME_MN1", *INTS)
FLAGS = ("mt5.COPY_TICKS_ALL", "mt5.COPY_TICKS_INFO", "mt5.COPY_TICKS_TRADE", "3", *INTS)
DATES = (
    "A", "B", "1", "1704153600", "1704153601.25", "1e9", "-5", "-5.5", "True", "2**31-1", "2**31", "2**31+0.5", "-2**31", "-2**31-1",
    "2**32", "2**63", "-2**63-1", "2**70", "1e10", "dt.datetime(1969,12,31,tzinfo=UTC)", "dt.datetime(2038,1,19,3,14,7,tzinfo=UTC)",
    "dt.datetime(2024,5,1,12,tzinfo=dt.timezone(dt.timedelta(hours=5,minutes=30)))", "dt.datetime(2024,3,31,2,30)",
    "dt.datetime(2024,1,2,3,4,5,678900,tzinfo=UTC)", "dt.date(2024,5,1)", "dt.time(1)", "dt.timedelta(1)", "A.timetuple()", "A.isoformat()",
    "None", "''", "b'1'", "[]", "1j", "np.int32(1704153600)", "np.uint64(1704153600)", "np.float32(1e6)", "np.float64(1704153600.5)",
    "np.datetime64('2024-01-02T03:04')", "np.bool_(True)", "np.array(1704153600)",
)  # fmt: skip
FLOATS = (
    "0", "0.0", "1", "0.1", "-0.1", "1e308", "1e400", "float('nan')", "True", "2**70", "2**2000", "'0.1'", "None", "b'1'", "[]", "1j",
    "np.float64(0.1)", "np.float32(0.1)", "np.int64(1)", "np.array(0.1)", "np.bool_(True)",
)  # fmt: skip
GROUPS = (
    "'*'",
    "'*USD*'",
    "'*,!EUR*'",
    "''",
    "'EURUSD,GBPUSD'",
    "'x'*1997",
    "'x'*1998",
    "'x'*5000",
    "None",
    "1",
    "b'*'",
    "[]",
    "True",
)
UNSIGNED = (
    "0", "1", "5", "True", "2**31", "2**32-1", "2**32", "2**63", "2**64-1", "2**64", "-1", "-2**63", "1.0", "'1'", "None", "b'1'", "[]",
    "np.int64(1)", "np.uint64(1)", "np.uint8(1)", "np.float64(1)", "float('nan')",
)  # fmt: skip
TEXTS = (
    "''", "'x'", "'c'*28", "'c'*29", "'c'*30", "'\\u20ac'*29", "'\\u20ac'*30", "'\\U0001F600'*14", "'\\U0001F600'*14+'x'", "'\\U0001F600'*15",
    "'a\\0b'", "None", "1", "b'x'", "[]", "np.str_('x')", "object()",
)  # fmt: skip
REAL = (
    "0.0", "1.5", "-1.5", "1e308", "float('inf')", "float('nan')", "np.float64(1.5)", "0", "1", "True", "None", "'1.5'", "2**70", "1j",
    "np.float32(1.5)", "np.int64(1)", "[]",
)  # fmt: skip
SIGNED = (*UNSIGNED, "-2**63-1", "2**62")
WORDS = (
    "'x'",
    "''",
    "'p'*253",
    "'p'*254",
    "'\\u20ac'*253",
    "'\\U0001F600'*127",
    "None",
    "5",
    "b'x'",
    "[]",
    "True",
    "np.str_('x')",
)
PATHS = (
    "'C:\\\\none\\\\terminal64.exe'", "''", "'terminal64.exe'", "'C:\\\\'+'a'*254", "'C:\\\\'+'a'*255", "'C:\\\\'+'a'*400", "None", "1", "b'x'",
    "pathlib.PureWindowsPath('C:/none')", "[]", "True",
)  # fmt: skip
TIMEOUTS = ("0", "1", "True", "1000", "2**31-1", "-1", "1.0", "'1'", "None", "2**32-1", "2**32", "2**64", "np.int64(1)", "[]")
REQUEST = {
    "action": UNSIGNED, "magic": UNSIGNED, "order": UNSIGNED, "symbol": SYMBOLS, "volume": REAL, "price": REAL, "stoplimit": REAL, "sl": REAL,
    "tp": REAL, "deviation": UNSIGNED, "type": UNSIGNED, "type_filling": UNSIGNED, "type_time": UNSIGNED, "expiration": SIGNED,
    "comment": TEXTS, "position": UNSIGNED, "position_by": UNSIGNED,
}  # fmt: skip

NOTHING = (
    "version", "terminal_info", "account_info", "symbols_total", "positions_total", "orders_total", "shutdown", "last_error",
)  # fmt: skip
POSITIONAL: dict[str, tuple[tuple[str, ...], ...]] = {
    "symbol_info": (SYMBOLS,),
    "symbol_info_tick": (SYMBOLS,),
    "symbol_select": (SYMBOLS, INTS),
    "market_book_add": (SYMBOLS,),
    "market_book_get": (SYMBOLS,),
    "market_book_release": (SYMBOLS,),
    "copy_rates_from": (SYMBOLS, FRAMES, DATES, INTS),
    "copy_rates_from_pos": (SYMBOLS, FRAMES, INTS, INTS),
    "copy_rates_range": (SYMBOLS, FRAMES, DATES, DATES),
    "copy_ticks_from": (SYMBOLS, DATES, INTS, FLAGS),
    "copy_ticks_range": (SYMBOLS, DATES, DATES, FLAGS),
    "history_orders_total": (DATES, DATES),
    "history_deals_total": (DATES, DATES),
    "order_calc_margin": (("0", "1", *INTS), SYMBOLS, FLOATS, FLOATS),
    "order_calc_profit": (("0", "1", *INTS), SYMBOLS, FLOATS, FLOATS, FLOATS),
}
NAMED: dict[str, dict[str, tuple[str, ...]]] = {
    "symbols_get": {"group": GROUPS},
    "positions_get": {"symbol": SYMBOLS, "ticket": UNSIGNED, "group": GROUPS},
    "orders_get": {"symbol": SYMBOLS, "ticket": UNSIGNED, "group": GROUPS},
    "history_orders_get": {"ticket": UNSIGNED, "position": UNSIGNED, "group": GROUPS},
    "history_deals_get": {"ticket": UNSIGNED, "position": UNSIGNED, "group": GROUPS},
    "login": {"login": UNSIGNED, "password": WORDS, "server": WORDS, "timeout": TIMEOUTS},
    "initialize": {
        "path": PATHS, "login": UNSIGNED, "password": WORDS, "server": WORDS, "timeout": TIMEOUTS, "portable": ("True", "0", "None", "[]"),
    },
}  # fmt: skip
ORDERS = ("order_send", "order_check")
MEMBERS = (
    "mt5.Buy({0},{1})",
    "mt5.Sell({0},{1},1.1)",
    "mt5.Close({0})",
    "mt5.Buy({0},{1},comment={2})",
    "mt5.Close({0},ticket={3})",
)


def unconnected(count: int, seed: int, taken: frozenset[str]) -> list[str]:
    """Return *count* different expressions for a module that has no connection, none of them in *taken*."""
    return _collect(count, seed, taken, with_connection=False)


def connected(count: int, seed: int, taken: frozenset[str]) -> list[str]:
    """Return *count* different expressions for a module that has one; none ends it or asks for another.

    A date of the epoch's first second is left out: the extension sends whatever was in memory for it.
    """
    return _collect(count, seed, taken, with_connection=True)


def _collect(count: int, seed: int, taken: frozenset[str], *, with_connection: bool) -> list[str]:
    draw = random.Random(seed)
    names = [*POSITIONAL, *NAMED, *ORDERS, *ORDERS, *NOTHING]
    if with_connection:
        names = [name for name in names if name not in ("shutdown", "initialize", "login")]
    else:
        names.append("members")
    found: dict[str, None] = {}
    while len(found) < count:
        for name in names:
            expr = next(_one(name, draw))
            if expr not in taken:
                found[expr] = None
    return list(found)[:count]


def _one(name: str, draw: random.Random) -> Iterator[str]:
    """Draw one call of the function *name*; "members" is one of the package's own helpers."""
    if name == "members":
        parts = [draw.choice(SYMBOLS), draw.choice(REAL), draw.choice(TEXTS), draw.choice(UNSIGNED)]
        yield draw.choice(MEMBERS).format(*parts)
    elif name in ORDERS:
        yield f"mt5.{name}({_request(draw)})"
    elif name in POSITIONAL:
        yield f"mt5.{name}({', '.join(_positional(name, draw))})"
    elif name in NAMED:
        yield f"mt5.{name}({', '.join(_named(name, draw))})"
    else:
        yield f"mt5.{name}({draw.choice(('', '', '1', 'None', 'x=1', '**{}', '*()', '1, 2', '[]'))})"


def _positional(name: str, draw: random.Random) -> list[str]:
    """Return arguments of which most are right: with several wrong ones only the first would be looked at."""
    pools = POSITIONAL[name]
    wrong = draw.randrange(len(pools))
    args = [draw.choice(pool) if at == wrong or draw.random() < 0.1 else pool[draw.randrange(2)] for at, pool in enumerate(pools)]
    kind = draw.random()
    if kind < 0.08:
        return args[: draw.randrange(len(args))]
    if kind < 0.14:
        return [*args, draw.choice(INTS)]
    if kind < 0.18:
        return [*args, "foo=1"]
    if kind < 0.22:
        return [*args[:-1], f"date_to={args[-1]}"]
    return args


def _named(name: str, draw: random.Random) -> list[str]:
    pools = NAMED[name]
    keys = draw.sample(list(pools), draw.randrange(1, min(3, len(pools)) + 1))
    named = [f"{key}={draw.choice(pools[key])}" for key in keys]
    if draw.random() < 0.1:
        named.append(f"foo={draw.choice(INTS)}")
    if name.startswith("history"):
        kind = draw.random()
        dates = [draw.choice(DATES), draw.choice(DATES)] if draw.random() < 0.5 else [draw.choice(("A", "B")), draw.choice(DATES)]
        if kind < 0.5:
            return dates
        if kind < 0.7:
            return [*dates, *named[:1]]
        if kind < 0.75:
            return [*dates[:1], *named[:1]]
        if kind < 0.8:
            return [*dates, draw.choice(GROUPS)]
        return named
    if name in ("login", "initialize", "symbols_get") and draw.random() < 0.4:
        order = list(pools)[: draw.randrange(1, 5)]
        return [draw.choice(pools[key]) for key in order] + ([] if draw.random() < 0.7 else named[:1])
    # The words of a failed start hold the path in the code page of the machine, so none here has letters beyond ASCII.
    if draw.random() < 0.05 and name != "initialize":
        return [draw.choice(SYMBOLS)]
    return named


def _request(draw: random.Random) -> str:
    """Return a request: a good one with some fields changed, fields as keywords, or no request at all."""
    keys = draw.sample(list(REQUEST), draw.choice((1, 1, 1, 2)))
    changes = ", ".join(f"{key}={draw.choice(REQUEST[key])}" for key in keys)
    kind = draw.random()
    if kind < 0.70:
        return f"V({changes})"
    if kind < 0.80:
        return f"**V({changes})"
    if kind < 0.85:
        return f"request=V({changes})"
    if kind < 0.90:
        return changes
    return draw.choice(
        (
            f"V({changes}), 1", f"V({changes}), {changes}", f"[V({changes})]", f"tuple(V({changes}).items())", f"dict({changes})",
            f"request={draw.choice(INTS)}", draw.choice(INTS), f"V({changes}), **{{}}", f"type('D', (dict,), {{}})({changes})",
            f"{{1: 2, **V({changes})}}",
        )
    )  # fmt: skip
