"""Take a file out of its wrapping: compression by content, then characters."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from typing import IO

from herald.plugins.files.refusal import refuse

__all__ = ["decode", "unpack"]

_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
_DAMAGES = (OSError, EOFError, ValueError, LookupError, RuntimeError, lzma.LZMAError, zlib.error, zipfile.BadZipFile)
"""What the four libraries raise; an encrypted or exotic zip is a RuntimeError, a member without a name an IndexError."""
_ALWAYS = 64 << 20
"""Bytes that any file may unpack to."""
_TIMES = 200
"""So many times its own size a larger file may unpack to: prices reach 5 to 30, a file that is made to fill the memory 1,000."""


def unpack(name: str, data: bytes) -> tuple[str, bytes]:
    """Return the file's name without a compression suffix, and its content decompressed.

    gzip, bzip2, xz and a zip with one member are known by their first bytes, whatever the name says.

    Raises:
        DataError: The file is damaged, unpacks to far more than prices do, or is a zip that holds not exactly one file.
    """
    plain = name
    for suffix in _SUFFIXES:
        plain = plain[: -len(suffix)] if plain.lower().endswith(suffix) else plain
    try:
        if data.startswith(b"\x1f\x8b"):
            return plain, _bounded(gzip.GzipFile(fileobj=io.BytesIO(data)), len(data))
        if data.startswith(b"BZh"):
            return plain, _bounded(bz2.BZ2File(io.BytesIO(data)), len(data))
        if data.startswith(b"\xfd7zXZ\x00"):
            return plain, _bounded(lzma.LZMAFile(io.BytesIO(data)), len(data))
        if data.startswith(b"PK\x03\x04"):
            return _only_member(data)
    except _DAMAGES as error:
        raise refuse(0, "damaged", f"cannot be decompressed ({error})", "fetch or compress the file again") from error
    return name, data


def _only_member(data: bytes) -> tuple[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = [info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
        if len(files) != 1:
            raise refuse(0, "many_members", f"is a zip with {len(files)} files", "unpack it and name the folder")
        return files[0].filename, _bounded(archive.open(files[0]), len(data))


def _bounded(packed: IO[bytes] | gzip.GzipFile, size: int) -> bytes:
    """Return what *packed*, a file of *size* bytes, unpacks to, without unpacking more than may be."""
    most = max(_ALWAYS, _TIMES * size)
    with packed:
        data = packed.read(most + 1)
    if len(data) > most:
        what = f"unpacks to more than {most:,} bytes, from {size:,}"
        raise refuse(0, "too_large", what, "prices do not; if these are, unpack it yourself")
    return data


def decode(data: bytes) -> str:
    """Return *data* as text with newlines only: UTF-8 with or without a mark, or UTF-16 as MetaTrader writes it.

    Raises:
        DataError: It is not text.
    """
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = data.decode("utf-16")
        elif data[1:2] == b"\x00" and data[3:4] == b"\x00":
            text = data.decode("utf-16-le")
        else:
            text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")  # names in a Western code page; digits are the same everywhere
    if "\x00" in text:
        raise refuse(0, "not_text", "is not a text file", "name a file with columns of text, or a .parquet file")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
