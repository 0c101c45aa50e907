"""No secret in text: what was loaded as one is replaced wherever it would be written, in whatever form it got there.

`protect` remembers a value, `redact` replaces it: as it is, with the escapes of JSON, Python, HTML and URLs, one upon the other
as they may come, in base64 at any offset, and in hexadecimal. What a program writes to its terminal goes through
`RedactingStream`.

What this cannot do: recognise a value of fewer than six characters, or one that was cut up, encrypted or spelt backwards.
Code that wants to give a secret away does so; see docs/SECURITY.md.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any, TextIO, TypeVar

import msgspec

__all__ = [
    "MASK",
    "SHORTEST",
    "RedactingStream",
    "is_secret_name",
    "protect",
    "redact",
    "redact_packed",
    "redact_values",
]

T = TypeVar("T")

MASK = "***"
"""What stands where a secret stood."""
SHORTEST = 6
"""Characters; anything shorter would be found inside words and numbers that say something else."""
_SHORTEST_LINE = 12
"""Characters of one line of a longer secret, such as a key in PEM, that is recognised by itself."""
_SHORTEST_CORE = 4
_NAMES = re.compile(
    r"(?:.*[_.-])?(?:password|passwd|passphrase|pwd|secret|token|api_?key|private_?key|access_?key|authorization)", re.I
)
_BLANK = (  # texts are put on one line, and a form writes + for a blank
    r"(?:[ \t-\r+]|\\+(?:[nrtvf]|(?:x|u00)(?:20|0[9a-dA-D]))|%(?:25)*(?:20|0[9a-dA-D])|&(?:amp;)*#(?:32|9|1[0-3]);)+"
)
_LETTERS = {"\a": "a", "\b": "b", "\0": "0", "\x1b": "e"}
"""Of escapes such as ``\\b``."""
_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


class _Form:
    """One way in which a secret may stand in a text."""

    def __init__(self, value: str) -> None:
        self.value = value
        run = max(re.findall(r"[A-Za-z0-9]+", value), key=len, default="")
        # Letters and digits are never escaped: where these do not stand, nothing else need be looked for.
        self.core = run if len(run) >= _SHORTEST_CORE else ""
        self.raw = self.core.encode()

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What the value looks like behind any number of escapes; made when it is first needed."""
        return re.compile("".join(_escaped(self.value)))


# The one thing in Herald that belongs to a whole process: a traceback printed at its end no longer knows which run, config or
# plugin loaded what is in it. Replaced as a whole and never shortened, so that readers need no lock.
_forms: tuple[_Form, ...] = ()
_adding = Lock()


def protect(value: str) -> None:
    """Remember *value*, so that `redact` replaces it from now on in this process; one that is too short is left alone."""
    global _forms
    with _adding:
        known = {form.value: form for form in _forms}
        if len(value) < SHORTEST or value in known:
            return
        known |= {one: _Form(one) for one in _spellings(value) if len(one) >= SHORTEST and one not in known}
        _forms = tuple(sorted(known.values(), key=lambda one: (-len(one.value), one.value)))


def redact(text: str) -> str:
    """Return *text* with `MASK` in place of every secret that was loaded; costs nothing where none was."""
    for form in _forms:
        if form.core in text:
            text = form.pattern.sub(MASK, text)
    return text


def redact_packed(data: bytes) -> bytes:
    """Return *data*, a value in MessagePack, with its texts redacted; the very same bytes where there is nothing to hide."""
    if not any(form.raw in data for form in _forms):
        return data
    plain = msgspec.msgpack.decode(data)
    redacted = redact_values(plain)
    return data if redacted == plain else msgspec.msgpack.encode(redacted)


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
    """Yield *value*, its longer lines, and what they are in base64 and hexadecimal."""
    lines = [line.strip() for line in value.splitlines() if len(line.strip()) >= _SHORTEST_LINE]
    for one in dict.fromkeys([value, value.strip(), *lines]):
        yield one
        data = one.encode("utf-8", "surrogatepass")
        yield from (data.hex(), data.hex().upper())
        for text in _base64(data):
            yield from (text, text.replace("+", "-").replace("/", "_"))


def _base64(data: bytes) -> Iterator[str]:
    """Yield what *data* looks like in base64 alone, and the part that is always the same when other bytes stand around it."""
    yield base64.b64encode(data).decode()
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        begin = (before * 8 + 5) // 6
        yield text[begin:] if (before + len(data)) % 3 == 0 else text[begin:-1]


def _escaped(value: str) -> Iterator[str]:
    """Yield a regular expression for each part of *value*: one character, or a run of blanks or backslashes."""
    before = r"\\*"
    for part in re.findall(r"[ \t-\r]+|\\+|.", value, re.DOTALL):
        if part.isascii() and part.isalnum():
            yield part
        elif part[0] == "\\":
            yield r"(?:\\|%(?:25)*5[cC]|&(?:amp;)*#(?:92|[xX]5[cC]);)+"
        elif part[0] in " \t\n\v\f\r":
            yield _BLANK
        else:
            yield f"{before}(?:{'|'.join(_choices(part))})"
        # What may begin with a backslash stands behind one only once, or a row of them would be divided in every possible way.
        before = "" if part[0] == "\\" else r"\\*"


def _choices(one: str) -> Iterator[str]:
    """Yield what a character that is no letter or digit of ASCII may look like behind backslashes, if any; the longest first."""
    data, code = one.encode("utf-8", "surrogatepass"), ord(one)
    units = one.encode("utf-16-be", "surrogatepass")
    name = f"|{_ENTITIES[one]}" if one in _ENTITIES else ""
    yield "".join(f"%(?:25)*(?i:{byte:02x})" for byte in data)
    yield r"\\+".join(f"u(?i:{units[at : at + 2].hex()})" for at in range(0, len(units), 2))
    yield r"\\+".join(f"x(?i:{byte:02x})" for byte in data)
    yield f"U(?i:{code:08x})"
    if code < 256:
        yield f"x(?i:{code:02x})"
    yield f"&(?:amp;)*(?:#0*{code}|#[xX]0*(?i:{code:x}){name});"
    if one in _LETTERS:
        yield _LETTERS[one]
    yield re.escape(one)
