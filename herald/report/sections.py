"""The parts of the report that need no script: key figures, tables of returns, the histogram, statistics, facts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from herald.model import FloatArray
from herald.report.html import Markup, element, join
from herald.statistics import GROUPS, LABELS, PeriodReturns, Statistic, Unit, display, mt5_report

__all__ = ["banner", "cards", "distribution", "facts", "months", "mt5_table", "statistics", "years"]

_CARDS = ("total_return", "cagr", "max_drawdown", "sharpe", "profit_factor", "total_trades", "win_rate", "final_equity")
_COLORED = frozenset({"total_return", "cagr", "max_drawdown"})
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SHADES = (0.01, 0.03, 0.06)
"""A month beyond the first is shaded more strongly than within it, and so on."""


def banner(manifest: Mapping[str, Any]) -> Markup:
    """Return what went wrong; nothing for a completed run without errors."""
    status, errors = manifest["status"], manifest["errors"]
    if status == "completed" and not errors:
        return Markup("")
    words = {
        "failed": "This run failed. What it did until then is shown below.",
        "interrupted": "This run was interrupted. What it did until then is shown below.",
    }
    lines = element("ul", *(element("li", error) for error in errors)) if errors else Markup("")
    head = element("b", words.get(status, f"This run is {status}."))
    return element("div", head, lines, class_=f"banner {status}", role="alert", id="banner")


def cards(numbers: Mapping[str, Statistic], currency: str) -> Markup:
    """Return the key figures."""
    return join(
        *(
            element(
                "div",
                element("span", LABELS[key].label + (f", {currency}" if LABELS[key].unit is Unit.MONEY else "")),
                element("b", display(key, numbers.get(key)), class_=_sign(numbers.get(key)) if key in _COLORED else None),
                class_="card",
            )
            for key in _CARDS
        )
    )


def months(returns: PeriodReturns, by_year: PeriodReturns) -> Markup:
    """Return a table of years and months, shaded by return."""
    if not returns.period:
        return element("p", "The run has no month.", class_="empty")
    found = dict(zip(returns.period, returns.returns.tolist(), strict=True))
    heading = element(
        "tr", element("th", ""), *(element("th", name, scope="col") for name in _MONTHS), element("th", "Year", scope="col")
    )
    rows = []
    for year, total in zip(by_year.period, by_year.returns.tolist(), strict=True):
        cells = [_month(f"{year}-{month:02}", found) for month in range(1, 13)]
        rows.append(
            element("tr", element("th", year, scope="row"), *cells, element("td", _percent(total), class_=f"sum {_sign(total)}"))
        )
    return element("table", element("thead", heading), element("tbody", *rows), class_="heat", data_months=len(found))


def years(returns: PeriodReturns) -> Markup:
    """Return a bar for every year."""
    values = [0.0 if math.isnan(value) else value for value in returns.returns.tolist()]
    if not values:
        return element("p", "The run has no year.", class_="empty")
    low, high = min(0.0, *values), max(0.0, *values)
    width = (high - low) or 1.0
    zero = -low / width * 100
    rows = []
    for year, value in zip(returns.period, values, strict=True):
        left = zero if value >= 0 else zero + value / width * 100
        size = f"left:{left:.2f}%;width:{abs(value) / width * 100:.2f}%"
        rows += [
            element("span", year),
            element("div", element("i", class_=_sign(value), style=size), class_="bar", style=f"--zero:{zero:.2f}%"),
            element("b", f"{_percent(value)} %", class_=_sign(value)),
        ]
    return element("div", *rows, class_="bars", data_years=len(values))


def distribution(profits: FloatArray, currency: str) -> tuple[Markup, str]:
    """Return a histogram of the profits of the trades, and one line about it.

    Args:
        profits: After fees and swap, account currency, shape (n,).
        currency: Of the account.
    """
    if len(profits) == 0:
        return element("p", "No trade was closed.", class_="empty"), ""
    edges = _edges(profits)
    counts, _ = np.histogram(profits, edges)
    tallest = int(counts.max())
    low, high = float(edges[0]), float(edges[-1])
    across = 1000.0 / (high - low)
    shapes = [element("line", x1=0, y1=f"{y}", x2=1000, y2=f"{y}") for y in (50, 100, 150)]
    for left, right, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
        height = count / tallest * 192
        kind = "down" if right <= 0 else "up" if left >= 0 else "flat"
        about = f"{count} trade{'' if count == 1 else 's'} from {left:,.2f} to {right:,.2f} {currency}"
        x, wide = (left - low) * across, (right - left) * across
        box = {
            "x": f"{x + wide * 0.06:.2f}",
            "y": f"{200 - height:.2f}",
            "width": f"{wide * 0.88:.2f}",
            "height": f"{height:.2f}",
        }
        shapes.append(element("rect", element("title", about), class_=kind, data_count=count, **box))
    mean = (float(profits.mean()) - low) * across
    shapes.append(element("line", class_="mean", x1=f"{mean:.2f}", y1=0, x2=f"{mean:.2f}", y2=200))
    picture = element(
        "svg", *shapes, class_="histogram", viewBox="0 0 1000 200", preserveAspectRatio="none", role="img",
        aria_label="Histogram of the profit of each trade", data_trades=len(profits),
    )  # fmt: skip
    ticks = element("div", *(element("span", f"{value:,.0f}") for value in np.linspace(low, high, 5).tolist()), class_="ticks")
    middle = float(np.median(profits))
    note = f"net profit of each trade, {currency}; mean {float(profits.mean()):,.2f} (dashed), median {middle:,.2f}"
    return join(picture, ticks), note


def statistics(numbers: Mapping[str, Statistic]) -> Markup:
    """Return every statistic under its heading, with the formula behind its name."""
    groups = []
    for group in GROUPS:
        rows = [_row(key, label.label, numbers.get(key), label.formula) for key, label in LABELS.items() if label.group == group]
        groups.append(element("div", element("h3", group), element("dl", *rows), class_="group"))
    return join(*groups)


def mt5_table(numbers: Mapping[str, Statistic]) -> Markup:
    """Return the lines of the MetaTrader 5 tester's report, with the meaning behind each name."""
    rows = []
    for line, text in mt5_report(numbers):
        about = f"{line.meaning}. Differs: {line.differs}" if line.differs else line.meaning
        rows.append(element("div", element("dt", line.name, data_formula=about), element("dd", text), class_="stat"))
    note = "Names, order and brackets are the tester's; point at a name for its meaning and for what may differ there."
    return join(element("dl", *rows, class_="slim"), element("p", note, class_="hint"))


def facts(manifest: Mapping[str, Any]) -> Markup:
    """Return where the run came from: command, data, versions, hashes."""
    run, versions = manifest["run"], manifest["versions"]
    plugins = sorted({f"{each['distribution']} {each['version']}".strip() for each in versions["plugins"]})
    names = ", ".join(each["plugin"] for each in versions["plugins"])
    took = f", {run['duration_seconds']:.1f} s" if run.get("duration_seconds") is not None else ""
    pairs: list[tuple[str, object]] = [
        ("Run", run["name"]),
        ("Command", " ".join(run["command"])),
        ("Written", f"{run['written'][:19].replace('T', ' ')} UTC{took}"),
        ("Mode, seed", f"{manifest['mode']}, {manifest['seed']}"),
        ("Config", f"{run['source']}, SHA-256 {manifest['config_sha256']}"),
    ]
    pairs += [
        (
            f"Data {each['symbol']} {each['timeframe']}",
            f"{each['rows']:,} bars, {each['first']} to {each['last']}, SHA-256 {each['sha256']}",
        )
        for each in manifest["data"]
    ]
    pairs += [
        (
            "Versions",
            f"Herald {versions['herald']}, Python {versions['python']}, NumPy {versions['numpy']}, {versions['platform']}",
        ),
        ("Plugins", f"{names} ({', '.join(plugins)})" if plugins else "none"),
    ]
    return join(*(join(element("dt", name), element("dd", text)) for name, text in pairs))


def config_text(manifest: Mapping[str, Any]) -> str:
    """Return the resolved configuration, indented."""
    return json.dumps(manifest["config"], indent=2, ensure_ascii=False)


def _row(key: str, label: str, value: Statistic, formula: str) -> Markup:
    name = element("dt", label.removeprefix("... "), data_formula=formula, class_="more" if label.startswith("... ") else None)
    return element("div", name, element("dd", display(key, value), data_key=key), class_="stat")


def _month(period: str, found: Mapping[str, float]) -> Markup:
    value = found.get(period)
    if value is None or math.isnan(value):
        return element("td", "", class_="none")
    shade = "" if round(value, 3) == 0 else f"{'u' if value > 0 else 'd'}{1 + sum(abs(value) > edge for edge in _SHADES)}"
    return element("td", _percent(value), class_=shade or None, title=f"{period}: {_percent(value, 2)} %")


def _percent(value: float, digits: int = 1) -> str:
    text = f"{value * 100:.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def _sign(value: Statistic) -> str | None:
    if not isinstance(value, int | float) or value == 0 or math.isnan(value):
        return None
    return "up" if value > 0 else "down"


def _edges(profits: FloatArray) -> FloatArray:
    """Return 10 to 60 bins of a round width, one edge of which is 0: no bin mixes profits and losses."""
    low, high = min(0.0, float(profits.min())), max(0.0, float(profits.max()))
    span = (high - low) or 1.0
    quarter, three = np.quantile(profits, (0.25, 0.75))
    width = 2.0 * float(three - quarter) / len(profits) ** (1 / 3)  # Freedman and Diaconis, 1981
    width = min(max(width, span / 60), span / 10)
    power = 10.0 ** math.floor(math.log10(width))
    width = next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= width * (1 - 1e-9))
    first, last = math.floor(low / width), math.ceil(high / width)
    # A trade of exactly the last edge belongs to the last bin already; a lone zero needs one bin.
    return np.arange(first, max(last, first + 1) + 1, dtype=np.float64) * width
