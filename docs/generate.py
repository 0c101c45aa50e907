"""Write the pages that follow from the code: configuration, hooks, statistics, and the list of public names.

Run it after a change to settings, hooks, statistics or public names; a test compares.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from herald.host.config import HeraldConfig
from herald.host.discovery import discover
from herald.host.hookspecs import COLLECTED, HeraldHooks
from herald.host.registry import HOST_WORDS, Registry
from herald.statistics import LABELS, MT5_LINES

HERE = Path(__file__).parent
PUBLIC = (
    "herald",
    "herald.clock",
    "herald.components",
    "herald.contracts",
    "herald.errors",
    "herald.indicators",
    "herald.model",
    "herald.runtime",
    "herald.statistics",
    "herald.testing",
    "herald.utils",
)
TABLES = {
    "connector": "[connectors.NAME]",
    "middleware": "[[connectors.NAME.middleware]]",
    "cache": "[caches.NAME]",
    "journal": "[journal]",
    "audit": "[audit]",
    "metrics": "[metrics]",
    "strategy": "[strategies.NAME]",
    "sizer": "sizing",
    "risk": "[[risk]]",
    "exit": "[[exits]]",
    "observer": "[[observers]]",
    "format": "format",
    "secret source": "[[secrets]]",
    "service": "[[services]]",
}


def _rows(model: Any) -> Iterator[str]:
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key, field in model.model_fields.items():
        kind = _kind(field.annotation).replace("|", "\\|")
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
        if "Table" in default or len(default) > 40:
            default = ""
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{key}` | `{kind}` | {default} | {meaning} |"


def _kind(annotation: Any) -> str:
    """Return a type as a reader of a config sees it: without checks, the same in every version of Python."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "None"
    if origin is Annotated:
        return _kind(inner[0])
    if origin in (Union, UnionType):
        return " | ".join(_kind(one) for one in inner)
    if origin is Literal:
        return " | ".join(repr(one) for one in inner)
    if origin is not None:
        return f"{origin.__name__}[{', '.join('...' if one is Ellipsis else _kind(one) for one in inner)}]"
    return getattr(annotation, "__name__", str(annotation))


def configuration() -> str:
    """Return the page of every table and key."""
    lines = [
        "# Configuration",
        "",
        "One TOML file. Every key below; unknown keys and tables are errors, with the nearest right name. A variable such as",
        "`HERALD_BACKTEST__CASH=500` overrides `cash` in `[backtest]`. This page is written by `docs/generate.py`.",
        "",
        "## Herald's own tables",
    ]
    for name, field in HeraldConfig.model_fields.items():
        model = field.annotation
        inner = [a for a in getattr(model, "__args__", ()) if hasattr(a, "model_fields")]
        model = inner[0] if inner else model
        if hasattr(model, "model_fields"):
            lines += ["", f"### {name}", "", " ".join((model.__doc__ or "").split()), "", *_rows(model)]
            for nested in model.model_fields.values():
                if hasattr(nested.annotation, "model_fields"):
                    lines += ["", " ".join((nested.annotation.__doc__ or "").split()), "", *_rows(nested.annotation)]
    lines += ["", "## Components", "", "The tables below take `use` and the component's own keys, besides Herald's own:", ""]
    for kind, words in HOST_WORDS.items():
        lines.append(f"- {kind} (`{TABLES[kind]}`): " + ", ".join(f"`{word}`" for word in sorted(words)))
    registry = Registry(discover())
    own = [found.name for found in discover() if found.distribution == "herald-trading"]
    for name in own:
        registry.load(name)
    for kind in COLLECTED.values():
        for one in sorted(registry.of_kind(kind), key=lambda one: one.full_name):
            if one.origin.plugin in own:
                lines += ["", f"### {one.full_name} ({kind})", "", one.component.summary]
                if one.component.settings.model_fields:
                    lines += ["", *_rows(one.component.settings)]
    return "\n".join(lines) + "\n"


def hooks() -> str:
    """Return the page of every hook, from its specification."""
    lines = [
        "# Hooks",
        "",
        "Every question Herald asks its plugins. All are asked before a run starts. This page is written by `docs/generate.py` from",
        "`herald/host/hookspecs.py`.",
    ]
    for name, spec in vars(HeraldHooks).items():
        if name.startswith("herald_"):
            arguments = [p for p in inspect.signature(spec).parameters if p != "self"]
            text = inspect.getdoc(spec) or ""
            before, _, rest = text.partition("\n    @hookimpl")
            example, _, after = ("    @hookimpl" + rest).partition("\n\nAdded")
            code = inspect.cleandoc(example)
            lines += [
                "",
                f"## {name}({', '.join(arguments)})",
                "",
                before.strip(),
                "",
                "```text",
                code,
                "```",
                "",
                "Added" + after,
            ]
    return "\n".join(lines) + "\n"


def statistics() -> str:
    """Return the page of every statistic with its formula."""
    lines = [
        "# Statistics",
        "",
        "What `statistics.json`, `herald runs show` and the report say, and the formula of each. Returns are those of whole UTC days; the",
        "number of such days a year is that of the data itself (`periods_per_year`). This page is written by `docs/generate.py`.",
    ]
    group = ""
    for key, label in LABELS.items():
        if label.group != group:
            group = label.group
            lines += ["", f"## {group}", "", "| key | name | formula |", "|---|---|---|"]
        lines.append(f"| `{key}` | {label.label} | {' '.join(label.formula.split())} |".replace("|x|", "abs(x)"))
    return "\n".join(lines) + "\n"


def mt5_statistics() -> str:
    """Return the page of the MetaTrader 5 tester's report."""
    lines = [
        "# The MetaTrader 5 tester's report",
        "",
        "Every run has the figures that the MetaTrader 5 strategy tester shows, under its names and in its order: in the report below",
        "*The same in the words of the MetaTrader 5 tester*, on screen with `herald runs show last --mt5`. They follow from the",
        "[statistics](statistics.md) that `statistics.json` holds, so there is one figure behind both names. A trade is a closing deal",
        "against the average entry price, its profit is after fees and swap, won is a profit above 0 and lost one below. A figure that the run",
        "does not define is `-`. The last column says why the tester may show another figure for the same trades. This page is written",
        "by `docs/generate.py`.",
        "",
        "| line | in `statistics.json` | meaning | the tester may differ: |",
        "|---|---|---|---|",
    ]
    for line in MT5_LINES:
        keys = ", ".join(f"`{key}`" for key in line.keys) or "-"
        lines.append(f"| {line.name} | {keys} | {line.meaning} | {line.differs or '-'} |")
    return "\n".join(lines) + "\n"


def api() -> str:
    """Return every public name with its signature."""
    lines = []
    for module_name in PUBLIC:
        module = importlib.import_module(module_name)
        for name in sorted(module.__all__):
            value = getattr(module, name)
            if inspect.ismodule(value) or name == "__version__":
                lines.append(f"{module_name}.{name}")
                continue
            lines.append(f"{module_name}.{name}{_signature(value)}")
            if inspect.isclass(value) and value.__module__.startswith("herald"):
                for member, function in sorted(vars(value).items()):
                    if not member.startswith("_") and inspect.isfunction(function):
                        lines.append(f"    {member}{_signature(function)}")
    return "\n".join(lines) + "\n"


def _signature(value: Any) -> str:
    # How an enumeration is called is not Herald's to say, and changes with Python's version.
    if not callable(value) or (inspect.isclass(value) and issubclass(value, Enum)):
        return ""
    try:
        return _stable(str(inspect.signature(value)))
    except (TypeError, ValueError):
        return ""


def _stable(text: str) -> str:
    """Drop the addresses of objects, which are others in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


PAGES = {
    "configuration.md": configuration,
    "hooks.md": hooks,
    "statistics.md": statistics,
    "mt5-statistics.md": mt5_statistics,
    "api.txt": api,
}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
