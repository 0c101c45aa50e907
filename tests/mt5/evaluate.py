"""Ask a module with MetaTrader5's interface questions: ``python evaluate.py MODULE OPTIONS < exprs.json > answers.json``.

Runs under the Windows Python too, so it stands on the standard library and NumPy alone. OPTIONS is a JSON object for
the module's ``configure`` and stays empty for the genuine one, which has none.
"""

import datetime as dt
import hashlib
import importlib
import json
import pathlib
import sys
from typing import Any

import numpy as np

__all__ = ["answer", "describe", "namespace"]


def namespace(module: Any) -> dict[str, Any]:
    """Return the names that an expression may use."""
    good: dict[str, Any] = {
        "action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.1, "deviation": 10,
        "magic": 1, "comment": "x", "type_time": 0, "type_filling": 0,
    }  # fmt: skip
    return {
        "mt5": module,
        "np": np,
        "dt": dt,
        "pathlib": pathlib,
        "UTC": dt.timezone.utc,  # noqa: UP017 - the name of the recorded namespace
        "GOOD": good,
        "V": lambda **changes: dict(good, **changes),
        "A": dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc),  # noqa: UP017
        "B": dt.datetime(2024, 2, 1, tzinfo=dt.timezone.utc),  # noqa: UP017
    }


def answer(expr: str, names: dict[str, Any]) -> dict[str, Any]:
    """Return what an expression gives: value and kind, or the exception, and last_error after it."""
    found: dict[str, Any] = {"expr": expr}
    try:
        value = eval(expr, names)
    except Exception as error:
        found["raises"] = type(error).__name__
        found["message"] = str(error)
        found["cause"] = type(error.__cause__).__name__ if error.__cause__ is not None else None
    else:
        found["kind"] = describe(value)
        found["value"] = repr(value) if value is None or type(value) in (bool, int, str) else None
        found["whole"] = repr(plain(value))
    code, text = names["mt5"].last_error()
    found["last_error"] = [code, text]
    return found


def describe(value: Any) -> str:
    """Return the kind of a value: its type, for arrays the record too, for tuples the kinds of their members."""
    if isinstance(value, np.ndarray):
        return f"ndarray {value.dtype.descr} {value.dtype.itemsize} {value.ndim} {value.flags.writeable}"
    if type(value) is tuple:
        return f"tuple of {sorted({describe(each) for each in value})}"
    if isinstance(value, tuple):
        fields = [f"{name}:{describe(each)}" for name, each in value._asdict().items()]  # type: ignore[attr-defined]
        return f"{type(value).__name__}({', '.join(fields)})"
    return type(value).__name__


def plain(value: Any) -> Any:
    """Return a value as nested tuples of numbers and texts; an array as a digest of its bytes."""
    if isinstance(value, np.ndarray):
        return f"{len(value)} rows {hashlib.sha256(value.tobytes()).hexdigest()}"
    return tuple(plain(each) for each in value) if isinstance(value, tuple) else value


def main() -> None:
    """Answer every expression of the standard input."""
    module = importlib.import_module(sys.argv[1])
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if options:
        module.configure(options)
    names = namespace(module)
    json.dump([answer(expr, names) for expr in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
