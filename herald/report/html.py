"""Text that may stand in HTML, and nothing else."""

from __future__ import annotations

from html import escape
from typing import Any

__all__ = ["Markup", "element", "join"]


class Markup(str):
    """Text that is HTML already; every other text is escaped before it gets into a page."""

    __slots__ = ()


def element(tag: str, *content: object, **attributes: Any) -> Markup:
    """Return ``<tag attributes>content</tag>``.

    Args:
        tag: Its name.
        content: `Markup` stands as it is; anything else is escaped.
        attributes: Values are escaped; None leaves one out. ``_`` in a name stands for ``-``, and a ``_`` at the end
            is dropped (``class_``).
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for name, value in attributes.items() if value is not None
    )
    return Markup(f"<{tag}{named}>{join(*content)}</{tag}>")


def join(*content: object) -> Markup:
    """Return *content* in a row; `Markup` stands as it is, anything else is escaped."""
    return Markup("".join(each if isinstance(each, Markup) else escape(str(each)) for each in content))
