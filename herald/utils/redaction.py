"""No secret in text: what was loaded as one is replaced wherever it would be written, in whatever form it got there.

`protect` remembers a value, `redact` replaces it: as it is, in base64 at any offset, in hexadecimal, percent-encoded, and with
the escapes of JSON, HTML and Python. What a program writes to its terminal goes through `RedactingStream`.

What this cannot do: recognise a value of fewer than six characters, or one that was cut up, encrypted or spelt backwards.
Code that wants to give a secret away does so; see docs/SECURITY.md.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from threading import Lock
from typing import Any, TextIO, TypeVar
from urllib.parse import quote, quote_plus

__all__ = [
    "MASK",
    "SHORTEST",
    "RedactingStream",
    "child_environment",
    "holds_secret",
    "is_secret_name",
    "protect",
    "redact",
    "redact_values",
]

T = TypeVar("T")

MASK = "***"
"""What stands where a secret stood."""
SHORTEST = 6
"""Characters; anything shorter would be found inside words and numbers that say something else."""
_SHORTEST_LINE = 12
"""Characters of one line of a longer secret, such as a key in PEM, that is recognised by itself."""
_NAMES = re.compile(
    r"(?:.*[_.-])?(?:password|passwd|passphrase|pwd|secret|token|api_?key|private_?key|access_?key|authorization)", re.I
)

# The one thing in Herald that belongs to a whole process: a traceback printed at its end no longer knows which run, config or
# plugin loaded what is in it. Replaced as a whole and never shortened, so that readers need no lock.
_forms: tuple[str, ...] = ()
_raw_forms: tuple[bytes, ...] = ()
_adding = Lock()


def protect(value: str) -> None:
    """Remember *value*, so that `redact` replaces it from now on in this process; one that is too short is left alone."""
    global _forms, _raw_forms
    if len(value) < SHORTEST or value in _forms:
        return
    new = {one for one in _spellings(value) if len(one) >= SHORTEST}
    with _adding:
        _forms = tuple(sorted({*_forms, *new}, key=lambda one: (-len(one), one)))
        _raw_forms = tuple(one.encode("utf-8", "surrogatepass") for one in _forms)


def redact(text: str) -> str:
    """Return *text* with `MASK` in place of every secret that was loaded; costs nothing where none was."""
    for form in _forms:
        if form in text:
            text = text.replace(form, MASK)
    return text


def holds_secret(data: bytes) -> bool:
    """Return whether *data*, text in UTF-8 between other things, holds what `redact` would replace."""
    return any(form in data for form in _raw_forms)


def child_environment() -> dict[str, str]:
    """Return the variables that a child process is to be given: those of this one that hold no secret that was loaded."""
    return {name: value for name, value in os.environ.items() if redact(value) == value}


def redact_values(value: T) -> T:
    """Return *value* with every text inside its tables and lists redacted, and whole texts under names such as ``password``.

    Numbers stay what they are, so that JSON made of it is still JSON.
    """
    redacted: Any = _redacted(value)
    return redacted  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Return whether nobody is to see what stands under this name: ``password``, ``bot_token``; but not ``key_file``."""
    return _NAMES.fullmatch(name) is not None


class RedactingStream:
    """A text stream, such as standard error, that never passes on what `redact` replaces.

    Bytes written to its ``buffer`` are not looked into. It has none on Windows, where click would write to the console past it.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to *stream*."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write *text* without its secrets, and return its length."""
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write every one of *lines*."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Return whatever else the stream has."""
        if name == "_stream" or (name == "buffer" and os.name == "nt"):
            raise AttributeError(name)
        return getattr(self._stream, name)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {_redacted(key): _shown(key, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        inner = [_redacted(one) for one in value]
        return inner if isinstance(value, list) else tuple(inner)
    return value


def _shown(key: object, value: Any) -> Any:
    if isinstance(key, str) and isinstance(value, str) and is_secret_name(key):
        return MASK if value.strip("*") else value  # there is none, or somebody hid it already
    return _redacted(value)


def _spellings(value: str) -> Iterator[str]:
    """Yield the forms in which *value* may stand in a text."""
    lines = [line for line in value.splitlines() if len(line) >= _SHORTEST_LINE]
    for one in dict.fromkeys([value, value.strip(), " ".join(value.split()), *lines]):
        yield one
        data = one.encode("utf-8", "surrogatepass")
        escaped = json.dumps(one)[1:-1]
        yield from (escaped, json.dumps(one, ensure_ascii=False)[1:-1], json.dumps(escaped)[1:-1])
        yield from (repr(one)[1:-1], repr(data)[2:-1], ascii(one)[1:-1])
        yield from (html.escape(one), html.escape(one, quote=False), html.escape(one).replace("&#x27;", "&#39;"))
        yield from (data.hex(), data.hex().upper())
        for percent in (quote(data, safe=""), quote(data), quote_plus(data)):
            yield from (percent, re.sub("%..", lambda found: found[0].lower(), percent))
        for text in _base64(data):
            yield from (text, text.replace("+", "-").replace("/", "_"))


def _base64(data: bytes) -> Iterator[str]:
    """Yield what *data* looks like in base64 alone, and the part that is always the same when other bytes stand around it."""
    yield base64.b64encode(data).decode()
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        begin = (before * 8 + 5) // 6
        yield text[begin:] if (before + len(data)) % 3 == 0 else text[begin:-1]
