"""A MetaTrader 5 preset (``.set``) as the settings of a strategy.

A preset is text, UTF-16 with a byte order mark, one ``Name=value`` a line; the tester adds what it optimises as
``Name=value||start||step||stop||Y``. A line that begins with ``;`` is a comment. Nothing is guessed: an input goes to
the setting that has its name in Herald's spelling (``InpFastPeriod`` to ``fast_period``), or to the one that the user
names for it, or is reported as not used. Sizes are lots in both worlds, so ``Lots`` means the setting ``size``.

Source:
    Files saved by MetaTrader 5 (build 4000 and later) and 4; MQL5 reference, "Input Variables", ``ENUM_TIMEFRAMES``.
"""

from __future__ import annotations

import codecs
import datetime as dt
import json
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from zoneinfo import ZoneInfo

from pydantic import SecretStr, ValidationError

from herald.components import Settings
from herald.errors import ConfigError, DataError, Problem
from herald.model import Timeframe

__all__ = ["Imported", "Input", "Sweep", "import_inputs", "read_inputs", "toml_table", "toml_value"]

_MOST = 1 << 20
"""Bytes of a preset; the largest that were seen have 100,000."""
_NAME = re.compile(r"[^\W\d]\w*")
_MT4 = re.compile(r"(?P<name>[^\W\d]\w*),(?P<part>[F123])")
_PREFIX = re.compile(r"^(?:(?:Inp|inp|Input|input|Ext|ext)_?(?=[A-Z])|(?:Inp|inp|input|ext|[gim])_(?=\w))")
_SAME = {"lots": "size", "lot": "size", "lotsize": "size", "volume": "size"}
"""Spellings that mean a setting of another name in every MQL5 program; both sides are lots."""
_ELSEWHERE = {
    "magic": "Herald marks its orders itself; `magic` of the mt5 connector is the mark",
    "slippage": "`deviation_points` of the mt5 connector limits slippage",
    "deviation": "`deviation_points` of the mt5 connector limits slippage",
    "stoploss": "a stop loss is an exit or the strategy's own; see [[exits]]",
    "takeprofit": "a take profit is an exit or the strategy's own; see [[exits]]",
    "trailingstop": "see the exit exits.trailing_stop",
    "comment": "Herald needs the comment of an order to find it again",
}
_MONTHS, _WEEKS, _HOURS, _COUNT = 0xC000, 0x8000, 0x4000, 0x3FFF
_DATE = re.compile(r"(\d{4})[.-](\d{1,2})[.-](\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?")


@dataclass(frozen=True, slots=True)
class Sweep:
    """What the tester goes through for one input, as it is written.

    Attributes:
        start: First value.
        step: From one to the next.
        stop: Last value.
        is_on: Whether the tester optimises it.
    """

    start: str
    step: str
    stop: str
    is_on: bool


@dataclass(frozen=True, slots=True)
class Input:
    """One input of an MQL5 program.

    Attributes:
        name: In the program's spelling.
        text: Its value as it is written.
        line: Where, counted from 1.
        sweep: Its range in the tester; None where the file has none.
    """

    name: str
    text: str
    line: int
    sweep: Sweep | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """The settings of a strategy from a preset.

    Attributes:
        values: By setting, in the settings' own order; valid for the strategy.
        sources: The input that each came from.
        sweeps: What the tester optimises, by setting.
        unused: One line for every input that no setting took.
        defaults: Settings that the file says nothing of.
    """

    values: Mapping[str, object]
    sources: Mapping[str, Input]
    sweeps: Mapping[str, Sweep]
    unused: Sequence[str]
    defaults: Sequence[str]


def read_inputs(data: bytes, source: str) -> tuple[Input, ...]:
    """Return the inputs of a preset, in its order.

    Args:
        data: The file's content; UTF-16 with a byte order mark, or UTF-8.
        source: Its name, for messages.

    Raises:
        DataError: It is no preset: its size, encoding or a line says so.
    """
    found: dict[str, Input] = {}
    ranges: dict[str, dict[str, str]] = {}
    for number, line in enumerate(_decode(data, source).splitlines(), 1):
        text = line.strip("\ufeff \t")
        if not text or text.startswith((";", "[")):
            continue
        name, mark, value = (part.strip() for part in text.partition("="))
        where = f"{source}, line {number}"
        if not mark:
            raise DataError(f"{where}: {_short(text)} is neither Name=value nor a comment; is this a .set file of MetaTrader?")
        if (old := _MT4.fullmatch(name)) is not None:
            ranges.setdefault(old["name"], {})[old["part"]] = value
            continue
        if _NAME.fullmatch(name) is None:
            raise DataError(f"{where}: {_short(name)} cannot be the name of an input; is this a .set file of MetaTrader?")
        if name in found:
            raise DataError(f"{where}: the input {_short(name)} stands on line {found[name].line} already; keep one of them")
        found[name] = _split(name, value, number)
    if not found:
        raise DataError(f"{source} holds no input; save it in MetaTrader 5: Inputs tab, context menu, Save")
    for name, parts in ranges.items():  # MetaTrader 4 writes ranges on lines of their own
        if name in found and {"1", "2", "3"} <= parts.keys():
            sweep = Sweep(parts["1"], parts["2"], parts["3"], parts.get("F") == "1")
            found[name] = Input(name, found[name].text, found[name].line, sweep)
    return tuple(found.values())


def import_inputs(
    inputs: Sequence[Input],
    settings: type[Settings],
    source: str,
    *,
    names: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    zone: ZoneInfo | None = None,
) -> Imported:
    """Return the settings of a strategy that a preset means.

    Args:
        inputs: What `read_inputs` found.
        settings: The strategy's settings model.
        source: The file's name, for messages.
        names: Setting by input, where the names do not tell; an empty setting leaves the input out.
        values: Text by setting that replaces what the file says, such as the name for the number of an enumeration.
        zone: Clock of the broker's server, in which a preset states times; only needed for a setting that is a time.

    Raises:
        ConfigError: An input does not fit its setting, two inputs mean one setting, a name that was given does not
            exist, or the settings are not valid together; every problem is listed.
    """
    names, values = dict(names or {}), dict(values or {})
    problems = _unknown(inputs, settings, names, values)
    taken, unused = _assign(inputs, settings, names, problems)
    found: dict[str, object] = {}
    for setting, one in taken.items():
        kind = _kind(settings, setting)
        where = f"line {one.line}: {one.name}"
        try:
            found[setting] = _convert(values.pop(setting, one.text), kind, setting, zone)
        except _Unfit as error:
            problems.append(Problem(where, f"{error} (setting {setting})", error.hint.replace("SETTING", setting)))
    for setting, text in values.items():
        try:
            if setting in settings.model_fields:
                found[setting] = _convert(text, _kind(settings, setting), setting, zone)
        except _Unfit as error:
            problems.append(Problem(f"value of {setting}", str(error), error.hint.replace("SETTING", setting)))
    found = {name: found[name] for name in settings.model_fields if name in found}
    if not problems:
        problems += _check(settings, found, taken)
    if problems:
        raise ConfigError(source, problems)
    defaults = tuple(name for name in settings.model_fields if name not in found)
    sweeps = {setting: one.sweep for setting, one in taken.items() if one.sweep is not None and one.sweep.is_on}
    return Imported(found, taken, sweeps, unused, defaults)


def toml_table(imported: Imported, table: str, use: str, source: str) -> str:
    """Return the table of a strategy in a config file, each setting with the input that it came from.

    Args:
        imported: What to write.
        table: The strategy's name in the config.
        use: The component.
        source: The preset's name.
    """
    lines = [f"# from {_line(source)}", f"[strategies.{table}]", f"use = {toml_value(use)}"]
    for name, value in imported.values.items():
        origin = imported.sources.get(name)
        lines.append(f"{name} = {toml_value(value)}" + (f"  # {origin.name}" if origin is not None else ""))
    lines.append('# still to write: connector = "...", symbols = ["..."], timeframe = "..."')
    lines += [f"# {name}: left at its default" for name in imported.defaults]
    for name, sweep in imported.sweeps.items():
        lines.append(f"# the tester optimised {name}: {_line(sweep.start)} to {_line(sweep.stop)}, step {_line(sweep.step)}")
    return "\n".join(lines) + "\n"


def toml_value(value: object) -> str:
    """Return a value as TOML writes it."""
    match value:
        case Enum():
            return toml_value(value.value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value)
        case dt.datetime():
            return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
        case dt.date() | dt.time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(toml_value(each) for each in value)}]"
        case _:
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


class _Unfit(Exception):
    """A text that is no value of its setting."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


def _decode(data: bytes, source: str) -> str:
    if len(data) > _MOST:
        raise DataError(f"{source} has {len(data):,} bytes; a .set file of MetaTrader has a few thousand")
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = data.decode("utf-16")
        elif b"\0" in data:
            text = data.decode("utf-16-be" if data[:1] == b"\0" else "utf-16-le")
        else:
            text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source} is neither UTF-16 nor UTF-8 at byte {error.start}; save it in MetaTrader 5 again, or as UTF-8"
        ) from error
    if "\0" in text:
        raise DataError(f"{source} is no text; is this a .set file of MetaTrader?")
    return text


def _split(name: str, value: str, line: int) -> Input:
    parts = value.split("||")
    if len(parts) == 5 and parts[4].strip().upper() in ("Y", "N"):
        text, start, step, stop, flag = (part.strip() for part in parts)
        return Input(name, text, line, Sweep(start, step, stop, flag.upper() == "Y"))
    return Input(name, value, line)


def _unknown(
    inputs: Sequence[Input], settings: type[Settings], names: Mapping[str, str], values: Mapping[str, str]
) -> list[Problem]:
    """Return what the user named and is not there."""
    there = ", ".join(settings.model_fields) or "none"
    known = {one.name for one in inputs}
    problems = [Problem("", f"the file has no input {name!r}", "look for its spelling") for name in names if name not in known]
    wanted = [setting for setting in names.values() if setting]
    twice = sorted({setting for setting in wanted if wanted.count(setting) > 1})
    problems += [Problem("", f"several inputs are given to the setting {setting!r}", "leave one --map") for setting in twice]
    return problems + [
        Problem("", f"the strategy has no setting {setting!r}", f"there are: {there}")
        for setting in dict.fromkeys([*wanted, *values])
        if setting not in settings.model_fields
    ]


def _assign(
    inputs: Sequence[Input], settings: type[Settings], names: Mapping[str, str], problems: list[Problem]
) -> tuple[dict[str, Input], list[str]]:
    """Return which input each setting takes, and a line for each that none takes."""
    spelled = {_flat(name): name for name in settings.model_fields}
    claimed = {setting: name for name, setting in names.items()}
    taken: dict[str, Input] = {}
    unused: list[str] = []
    for one in inputs:
        if one.name in names:
            if (setting := names[one.name]) in settings.model_fields:
                taken[setting] = one
            continue
        plain = _flat(_PREFIX.sub("", one.name, count=1))
        spellings = (_flat(one.name), plain, _SAME.get(plain, ""))
        found = next((spelled[each] for each in spellings if each in spelled), None)
        if found is None:
            elsewhere = (text for word, text in _ELSEWHERE.items() if plain.startswith(word))
            hint = next(elsewhere, f"--map {one.name}=SETTING gives it one")
            unused.append(f"line {one.line}: {one.name} = {_short(one.text)} is not used: no setting of that name; {hint}")
        elif found in claimed:
            unused.append(f"line {one.line}: {one.name} = {_short(one.text)} is not used: {claimed[found]} gives {found}")
        elif found in taken:
            what = f"means the setting {found}, and so does {taken[found].name} on line {taken[found].line}"
            hint = f"say which, with --map {one.name}= for the one to leave out"
            problems.append(Problem(f"line {one.line}: {one.name}", what, hint))
        else:
            taken[found] = one
    return taken, unused


def _flat(name: str) -> str:
    return name.replace("_", "").lower()


def _kind(settings: type[Settings], setting: str) -> object:
    """Return the type of a setting, without the None that it may be as well."""
    kind = settings.model_fields[setting].annotation
    while typing.get_origin(kind) in (typing.Union, types.UnionType, typing.Annotated):
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
            continue
        options = [each for each in typing.get_args(kind) if each is not type(None)]
        if len(options) != 1:
            return kind
        kind = options[0]
    return kind


def _convert(text: str, kind: object, setting: str, zone: ZoneInfo | None) -> object:
    """Return *text* as a value of *kind*."""
    if typing.get_origin(kind) is typing.Literal:
        return _choice(text, {str(each): each for each in typing.get_args(kind)})
    if typing.get_origin(kind) in (list, tuple, typing.get_origin(Sequence[str])):
        each_kind = next(iter(typing.get_args(kind)), str)
        return [_convert(each.strip(), each_kind, setting, zone) for each in text.split(",") if each.strip()]
    if not isinstance(kind, type):
        raise _Unfit(f"{_short(text)} cannot be imported: the setting takes several types", f"write {setting} by hand")
    if issubclass(kind, Enum):
        by_name = {str(each.value): each for each in kind} | {each.name: each for each in kind}
        return _choice(text, by_name)
    if issubclass(kind, bool):
        if text.lower() not in ("true", "false", "1", "0"):
            raise _Unfit(f"{_short(text)} is neither true nor false")
        return text.lower() in ("true", "1")
    if issubclass(kind, int):
        return _whole(text)
    if issubclass(kind, float):
        return _number(text)
    if issubclass(kind, SecretStr):
        raise _Unfit(
            "a secret does not belong into a config file", "put it where `secret:NAME` finds it, and leave the input out"
        )
    if issubclass(kind, dt.datetime | dt.date | dt.time):
        return _time(text, kind, zone)
    if issubclass(kind, str):
        return _timeframe(text) if "timeframe" in setting else text
    raise _Unfit(f"{_short(text)} cannot be imported: the setting is a {kind.__name__}", f"write {setting} by hand")


def _choice(text: str, choices: Mapping[str, object]) -> object:
    found = {name.lower(): value for name, value in choices.items()}.get(text.lower())
    if found is not None:
        return found
    there = ", ".join(dict.fromkeys(name.lower() for name in choices))
    # MetaTrader saves the number of an enumeration; only its source tells what the number means.
    raise _Unfit(f"{_short(text)} is none of {there}", "say which, with --value SETTING=CHOICE")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if "_" in text or not math.isfinite(value):
        raise _Unfit(f"{_short(text)} is not a number")
    return value


def _whole(text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,20}", text, re.ASCII):
        return int(text)
    value = _number(text)
    if value != int(value):
        raise _Unfit(f"{_short(text)} is not a whole number")
    return int(value)


def _timeframe(text: str) -> str:
    """Return a time frame in Herald's spelling, from the number of ``ENUM_TIMEFRAMES`` or from a name."""
    if re.fullmatch(r"\d{1,6}", text, re.ASCII):
        number = int(text)
        unit, count = number & _MONTHS, number & _COUNT
        if count == 0:
            raise _Unfit(f"{text} means the time frame of the chart", "state one: --value SETTING=15m")
        if unit == _MONTHS or number > _MONTHS:
            raise _Unfit(f"{text} is no time frame that Herald has", "state another: --value SETTING=1w")
        return str(Timeframe(count * {0: 60, _HOURS: 3600, _WEEKS: 604_800}[unit]))
    try:
        return str(Timeframe.parse(text.upper().removeprefix("PERIOD_")))
    except ValueError as error:
        raise _Unfit(str(error)) from error


def _time(text: str, kind: type, zone: ZoneInfo | None) -> object:
    """Return a time: seconds since 1970 or a date, both on the clock of the broker's server."""
    try:
        if issubclass(kind, dt.time):
            return dt.time.fromisoformat(text.zfill(5))
        if (match := _DATE.fullmatch(text)) is not None:
            moment = dt.datetime(*(int(part or 0) for part in match.groups()))  # type: ignore[arg-type]
        else:
            moment = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=_whole(text))
    except (ValueError, OverflowError) as error:
        raise _Unfit(f"{_short(text)} is no time") from error
    if not issubclass(kind, dt.datetime):
        return moment.date()
    if zone is None:
        raise _Unfit(f"{_short(text)} is a time of the broker's server", "name its clock: --zone Europe/Athens")
    return moment.replace(tzinfo=zone).astimezone(dt.UTC)


def _check(settings: type[Settings], found: Mapping[str, object], taken: Mapping[str, Input]) -> list[Problem]:
    """Return what the settings themselves say against their values."""
    try:
        settings.model_validate(dict(found))
    except ValidationError as error:
        problems = []
        for each in error.errors(include_url=False, include_context=False):
            setting = str(each["loc"][0]) if each["loc"] else ""
            one = taken.get(setting)
            where = f"line {one.line}: {one.name}" if one is not None else setting
            what = f"the strategy needs {setting} and no input gives it" if each["type"] == "missing" else each["msg"]
            hint = f"--value {setting}=..." if each["type"] == "missing" else ""
            problems.append(Problem(where, " ".join(what.split()), hint))
        return problems
    return []


def _line(text: str) -> str:
    """Return *text* as it may stand in a comment: without an end of line and other marks that TOML forbids there."""
    return "".join(mark if mark.isprintable() else "?" for mark in text)


def _short(text: str) -> str:
    """Return *text* quoted, on one line and not too long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
