"""The page: its template, filled with the parts of a run."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from herald.errors import DataError
from herald.report import sections
from herald.report.html import join
from herald.report.payload import embed_json, make_payload
from herald.results import StoredRun, load_run
from herald.statistics import daily_returns, display, period_returns

__all__ = ["render_report", "write_report"]

_CHARTS = "lightweight-charts.standalone.production.js"
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder: one file that opens offline and asks nobody for anything.

    Args:
        folder: A run folder; see `herald.results.write_run`.

    Returns:
        The page.

    Raises:
        NotFound: It is no run folder, or a table is missing.
        DataError: A table cannot be read, or the page cannot be written.
    """
    page = folder / "report.html"
    text = render_report(load_run(folder))
    partial = folder / ".report.html.partial"
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        os.replace(partial, page)
    except OSError as error:
        raise DataError(
            f"the report cannot be written to {page}: {error.strerror or error}; free it or close its reader"
        ) from error
    return page


def render_report(run: StoredRun) -> str:
    """Return the page of a run as HTML; raises as `write_report`."""
    manifest, numbers = run.manifest, run.statistics
    trades, curve, market = run.trades(), run.equity(), run.market()
    currency, cash = str(manifest["account"]["currency"]), float(manifest["account"]["cash"])
    daily = daily_returns(curve.time, curve.equity, cash)
    by_year = period_returns(daily, cash, "year")
    picture, note = sections.distribution(np.array([trade.net for trade in trades], np.float64), currency)
    charts, script = _static(_CHARTS), _static("report.js")
    strategies = ", ".join(manifest["config"].get("strategies", {})) or "Run"
    version = str(manifest["versions"]["herald"])
    return _fill(
        _static("report.html"),
        {
            "script_hashes": f"{_hash(charts)} {_hash(script)}",
            "version": join(version),
            "title": join(f"{strategies} · {run.name} · Herald"),
            "css": _static("report.css"),
            "heading": join(strategies),
            "subtitle": join(_subtitle(run)),
            "status": join(str(manifest["status"])),
            "banner": sections.banner(manifest),
            "cards": sections.cards(numbers, currency),
            "months": sections.months(period_returns(daily, cash, "month"), by_year),
            "years": sections.years(by_year),
            "distribution": picture,
            "distribution_note": join(note),
            "periods": join(display("periods_per_year", numbers.get("periods_per_year"))),
            "statistics": sections.statistics(numbers),
            "mt5": sections.mt5_table(numbers),
            "facts": sections.facts(manifest),
            "config": join(sections.config_text(manifest)),
            "footer": join(
                f"Herald {version} · {run.name}. A backtest says what these rules would have done on this data at these costs;"
                " it does not say what they will do."
            ),
            "charts_version": join(_charts_version()),
            "data": embed_json(make_payload(run, trades, curve, market)),
            "charts": charts,
            "script": script,
        },
    )


def _subtitle(run: StoredRun) -> str:
    manifest, numbers = run.manifest, run.statistics
    data, account = manifest["data"], manifest["account"]
    names = [f"{each['symbol']} {each['timeframe']}" for each in data]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    start, end = numbers.get("start"), numbers.get("end")
    period = f"{str(start)[:10]} to {str(end)[:10]}, " if start and end else ""
    terms = f"{account['cash']:,.2f} {account['currency']}, leverage 1:{account['leverage']:g}"
    return f"{shown or 'no data'} · {period}{display('bars', numbers.get('bars'))} bars · {terms} · {manifest['mode']}"


def _fill(template: str, parts: Mapping[str, str]) -> str:
    """Put each part in its place, in one go: what is put in is not searched again."""
    return _PLACE.sub(lambda place: parts[place[1]], template)


def _static(name: str) -> str:
    return (files("herald.report") / "static" / name).read_text(encoding="utf-8").removesuffix("\n")


def _charts_version() -> str:
    vendored: list[dict[str, Any]] = tomllib.loads(_static("VENDORED.toml"))["file"]
    return str(next(each["version"] for each in vendored if each["path"] == _CHARTS))


def _hash(script: str) -> str:
    """Return the word by which the page's policy lets exactly this script run."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"
