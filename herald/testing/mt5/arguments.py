"""How the MetaTrader5 extension reads its arguments: what it takes, what it refuses, and how it says so.

The extension reads arguments in three ways. Functions whose arguments stand in a row read them as C values: a number that
does not convert leaves a Python exception behind a result, which the interpreter turns into a ``SystemError``. Functions with
named arguments look at the type of each and name the first that is wrong. Dates are read through ``timestamp()`` and go on as
32 bits; one that does not fit leaves its exception behind and the call goes on all the same.

Source: answers of the package 5.0.6231 to the calls of ``tests/mt5``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

__all__ = [
    "Bad",
    "Late",
    "date",
    "double",
    "integer",
    "masked",
    "no_arguments",
    "no_keywords",
    "spoilt",
    "text",
    "units",
    "unsigned",
]


class Bad(Exception):
    """An argument is refused before anything is sent; ``last_error`` becomes (-2, the text).

    Attributes:
        words: What ``last_error`` says.
        left: A Python exception that the conversion left behind, or None.
    """

    def __init__(self, words: str = "Invalid arguments", left: BaseException | None = None) -> None:
        """Keep both."""
        super().__init__(words)
        self.words = words
        self.left = left


class Late(Exception):
    """An argument did not convert, but the call goes on: its result is lost to the exception *left* behind."""

    def __init__(self, left: BaseException) -> None:
        """Keep it."""
        super().__init__(str(left))
        self.left = left


def spoilt(name: str, left: BaseException) -> NoReturn:
    """Raise what the interpreter makes of a result with an exception set."""
    raise SystemError(f"<built-in function {name}> returned a result with an exception set") from left


def no_arguments(name: str, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Refuse every argument, as the interpreter does."""
    if named:
        raise TypeError(f"MetaTrader5._core.{name}() takes no keyword arguments")
    if args:
        raise TypeError(f"MetaTrader5._core.{name}() takes no arguments ({len(args)} given)")


def no_keywords(name: str, named: Mapping[str, Any]) -> None:
    """Refuse keywords, as the interpreter does."""
    if named:
        raise TypeError(f"{name}() takes no keyword arguments")


def units(value: str) -> int:
    """Return how many UTF-16 code units a text takes."""
    return len(value.encode("utf-16-le", "surrogatepass")) // 2


def text(value: Any, most: int, words: str = "Invalid arguments") -> str:
    """Return a text of at most *most* code units, as C has it: what follows a NUL is not seen.

    Raises:
        Bad: It is none, or longer.
    """
    if not isinstance(value, str) or units(value) > most:
        raise Bad(words)
    return str(value).partition("\0")[0]


def integer(value: Any, bits: int = 32) -> int:
    """Return a C integer from anything that stands for one (`operator.index`).

    Raises:
        Bad: It does not convert, and leaves a TypeError; or it does not fit, and leaves an OverflowError.
    """
    try:
        number = value.__index__() if not isinstance(value, float) else None
    except (AttributeError, TypeError):
        number = None
    if number is None:
        kind = type(value).__name__
        raise Bad(left=TypeError(f"'{kind}' object cannot be interpreted as an integer"))
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        what = "signed integer is greater than maximum" if number > 0 else "signed integer is less than minimum"
        raise Bad(left=OverflowError(what))
    return int(number)


def double(value: Any) -> float:
    """Return a C double from anything that stands for one.

    Raises:
        Bad: It does not convert, and leaves a TypeError; or it does not fit, and leaves an OverflowError.
    """
    try:
        if isinstance(value, str | bytes | bytearray):
            raise TypeError
        number = value.__float__() if hasattr(value, "__float__") else float(value.__index__())
    except OverflowError as error:
        raise Bad(left=error) from None
    except (AttributeError, TypeError):
        raise Bad(left=TypeError(f"must be real number, not {type(value).__name__}")) from None
    return float(number)


def unsigned(value: Any, bits: int, words: str) -> int:
    """Return a Python int (no number of NumPy's) that fits into so many bits.

    Raises:
        Bad: It is none; or it does not fit, and leaves an OverflowError.
    """
    if not isinstance(value, int):
        raise Bad(words)
    if value < 0:
        raise Bad(words, OverflowError("can't convert negative int to unsigned"))
    if value >= 2**bits:
        raise Bad(words, OverflowError("int too big to convert"))
    return int(value)


def masked(value: Any) -> int:
    """Return the low 32 bits of a Python int (no number of NumPy's), whatever its size.

    Raises:
        Bad: It is none, and leaves a TypeError.
    """
    if not isinstance(value, int):
        raise Bad(left=TypeError(f"must be int, not {type(value).__name__}"))
    return value & 0xFFFF_FFFF


def date(value: Any, left: BaseException | None = None) -> int:
    """Return whole seconds of a datetime, an int or a float.

    Args:
        value: What is read; a float that does not fit into 32 bits becomes the least of them, as C makes it.
        left: What an earlier date left behind. With that set no method can be called, so a datetime is refused.

    Raises:
        Bad: It is none of them; *left* stays behind.
        Late: It does not fit into 32 bits; the call goes on.
    """
    if isinstance(value, dt.datetime):
        if left is not None:
            raise Bad(left=SystemError("<built-in method timestamp> returned a result with an exception set"))
        value = value.timestamp()
    if isinstance(value, float):
        return int(value) if -(2**31) <= value < 2**31 else -(2**31)
    if not isinstance(value, int):
        raise Bad(left=left)
    if not -(2**31) <= value < 2**31:
        raise Late(OverflowError("Python int too large to convert to C long"))
    return int(value)
