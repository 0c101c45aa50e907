"""Bars from files: the connector ``files`` and the formats ``files.csv``, ``files.mt5`` and ``files.parquet``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from herald.components import Component, component, hookimpl
from herald.contracts import Connector, DataFormat, PlanView
from herald.errors import Problem
from herald.plugins.files.connector import FilesConnector
from herald.plugins.files.csv import CsvFormat
from herald.plugins.files.locate import is_pattern, names_symbol
from herald.plugins.files.mt5 import Mt5Format
from herald.plugins.files.parquet import ParquetFormat
from herald.plugins.files.settings import FilesSettings, FormatSettings, TextSettings

__all__ = ["CsvFormat", "FilesConnector", "FilesSettings", "Mt5Format", "ParquetFormat", "TextSettings"]


@hookimpl
def herald_connectors() -> Iterable[Component[Connector]]:
    """Offer the connector."""
    yield component("files", FilesSettings, FilesConnector, "History from files: CSV, MetaTrader 5 exports, Parquet.")


@hookimpl
def herald_formats() -> Iterable[Component[DataFormat]]:
    """Offer the formats."""
    yield component("mt5", FormatSettings, Mt5Format, "Bars exported by MetaTrader 5.")
    yield component("parquet", FormatSettings, ParquetFormat, "Columns in Parquet; needs the extra 'data'.")
    yield component("csv", TextSettings, CsvFormat, "Columns of text with a header.")


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Report paths that cannot hold every symbol that strategies ask for; no file is looked at."""
    for planned in plan.chosen("connector"):
        if isinstance(planned.settings, FilesSettings):
            symbols = list(dict.fromkeys(symbol for symbol, _ in plan.feeds(planned.name.removeprefix("connectors."))))
            yield from _problems(planned.name, planned.settings, symbols)


def _problems(where: str, settings: FilesSettings, symbols: list[str]) -> Iterable[Problem]:
    if settings.paths:
        for symbol in symbols:
            if symbol not in settings.paths:
                yield Problem(f"{where}.paths", f"no path for symbol {symbol!r}", f"add {symbol} to paths")
        return
    others: list[Any] = [symbol for symbol in symbols if symbol != settings.symbol]
    if settings.symbol and others and not is_pattern(settings.path):
        what = f"holds {settings.symbol!r}, and strategies ask for {', '.join(map(repr, others))} too"
        yield Problem(f"{where}.symbol", what, 'use a pattern such as "data/{symbol}.csv", or paths')
        return
    name = PurePath(settings.path).name
    named = [symbol for symbol in symbols if names_symbol(name, symbol)]
    if len(symbols) > 1 and len(named) == 1 and not is_pattern(settings.path) and PurePath(name).suffix:
        rest = ", ".join(repr(symbol) for symbol in symbols if symbol not in named)
        what = f"{name} holds {named[0]!r}, and strategies ask for {rest} too"
        yield Problem(f"{where}.path", what, 'use a pattern such as "data/{symbol}.csv", or paths')
