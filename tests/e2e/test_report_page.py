"""The report in a browser with the network off: what it draws and says is what the run's files hold."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from herald.clock import SimClock
from herald.report import write_report
from herald.results import write_run
from herald.statistics import LABELS, Unit
from tests.runs import MONDAY, FakePlan, Flip, make_bars, make_result, run_flip

pytestmark = pytest.mark.e2e

VIEWS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}


@dataclass
class Opened:
    """A report in a browser, and everything that should not happen there."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def open_report(browser: Browser, folder: Path, view: str) -> Opened:
    context = browser.new_context(offline=True, **VIEWS[view])
    opened = Opened(context.new_page())
    opened.page.on("console", lambda message: opened.complaints.append(message.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("dialog", lambda dialog: opened.complaints.append(f"dialog {dialog.message}"))
    context.on("request", lambda request: opened.requests.append(request.url))
    opened.page.goto((folder / "report.html").as_uri())
    opened.page.wait_for_function("window.__herald && window.__herald.ready")
    # Charts paint in the next frames.
    opened.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return opened


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = run_flip(6_000)
    folder = write_run(tmp_path_factory.mktemp("runs"), FakePlan(), result, ["herald"], clock=SimClock(MONDAY))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def reports(browser: Browser, run: Path) -> Iterator[Callable[[str], Opened]]:
    """One page a view for the whole module: a browser takes seconds to open one, and no test needs it fresh."""
    pages: dict[str, Opened] = {}

    def get(view: str) -> Opened:
        if view not in pages:
            pages[view] = open_report(browser, run, view)
        return pages[view]

    yield get
    for each in pages.values():
        each.page.context.close()


@pytest.fixture(params=VIEWS)
def opened(request: pytest.FixtureRequest, reports: Callable[[str], Opened]) -> Opened:
    return reports(request.param)


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def test_bars_points_and_markers_are_those_of_the_files(opened: Opened, run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    trades, equity = rows(run, "trades.csv"), rows(run, "equity.csv")

    drawn: dict[str, Any] = opened.page.evaluate("window.__herald")
    price, curve = opened.page.locator("#price"), opened.page.locator("#equity")

    bars = manifest["data"][0]["rows"]
    marks = 2 * len(trades) + len(manifest["positions"])
    assert len(trades) > 500
    assert 1 == len(manifest["positions"])
    assert (bars, marks, len(equity), len(trades)) == (drawn["bars"], drawn["markers"], drawn["points"], drawn["trades"])
    assert str(bars) == price.get_attribute("data-bars")
    assert str(marks) == price.get_attribute("data-markers")
    assert str(len(equity)) == curve.get_attribute("data-points") == curve.get_attribute("data-drawdown-points")
    assert f"{bars:,} bars" in opened.page.locator("#price-note").inner_text()


def test_candles_are_as_many_as_the_line(opened: Opened, run: Path) -> None:
    opened.page.locator("[data-kind=line]").click()
    line = opened.page.evaluate("window.__herald.bars")
    opened.page.locator("[data-kind=candles]").click()

    assert line == opened.page.evaluate("window.__herald.bars") == len(rows(run, "equity.csv"))


def test_charts_are_painted(opened: Opened) -> None:
    colors = opened.page.evaluate(
        """() => ["price", "equity"].map((id) => Math.max(...[...document.querySelectorAll(`#${id} canvas`)].map((canvas) => {
            if (!canvas.width || !canvas.height) return 0;
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data, found = new Set();
            for (let i = 0; i < pixels.length; i += 4) found.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
            return found.size;
        })))"""
    )

    # Background, grid and text alone have a few dozen shades.
    assert all(count > 100 for count in colors), colors


def test_every_displayed_statistic_is_the_files_number(opened: Opened, run: Path) -> None:
    numbers = json.loads((run / "statistics.json").read_text(encoding="utf-8"))

    shown: dict[str, str] = opened.page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('dd[data-key]')].map((each) => [each.dataset.key, each.innerText]))"
    )

    assert list(numbers) == list(shown)
    for key, value in numbers.items():
        assert agree(value, shown[key], LABELS[key].unit), (key, value, shown[key])


def agree(value: float | str | None, text: str, unit: Unit) -> bool:
    """Read *text* as a person would and compare it with the number in the file."""
    if value is None:
        return text == "-"
    if isinstance(value, str):
        return text in (value, value.replace("inf", "∞"), value.replace("T", " ").removesuffix("Z"))
    if unit is Unit.SECONDS:
        sizes = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
        told = sum(int(count) * sizes[name] for count, name in re.findall(r"(\d+) (d|h|min|s)\b", text))
        return abs(told - value) <= max(0.5, 0.1 * value)
    number = float(text.replace(",", "").removesuffix(" %"))
    if unit is Unit.FRACTION:
        return text.endswith(" %") and abs(number / 100 - value) <= 0.51e-4
    return abs(number - value) <= (0.51 if unit is Unit.COUNT else 0.0051)


def test_key_figures_are_those_of_the_files(opened: Opened, run: Path) -> None:
    numbers = json.loads((run / "statistics.json").read_text(encoding="utf-8"))

    cards = dict(text.split("\n") for text in opened.page.locator(".card").all_inner_texts())

    assert pytest.approx(numbers["total_return"], abs=0.51e-4) == float(cards["Return"].removesuffix(" %")) / 100
    assert pytest.approx(numbers["max_drawdown"], abs=0.51e-4) == float(cards["Max. drawdown"].removesuffix(" %")) / 100
    assert f"{numbers['total_trades']:,}" == cards["Trades"]


def test_months_and_histogram_count_what_the_files_hold(opened: Opened, run: Path) -> None:
    # A moment is the end of a bar, so midnight belongs to the day before.
    moments = [datetime.fromisoformat(row["time"]) - timedelta(microseconds=1) for row in rows(run, "equity.csv")]
    months = {(moment.year, moment.month) for moment in moments}

    filled = opened.page.locator(".heat td:not(.none):not(.sum)").count()
    bins = opened.page.evaluate("[...document.querySelectorAll('.histogram rect')].map((bar) => Number(bar.dataset.count))")

    assert len(months) == filled
    assert len(rows(run, "trades.csv")) == sum(bins)


def test_the_table_shows_500_trades_and_sorts_them_all(opened: Opened, run: Path) -> None:
    nets = [float(row["net"]) for row in rows(run, "trades.csv")]
    column = opened.page.locator("#trades tbody td:nth-child(12)")

    opened.page.get_by_role("button", name="Net profit").click()
    lowest = column.first.inner_text()
    opened.page.get_by_role("button", name="Net profit").click()
    highest = column.first.inner_text()

    assert 500 == column.count()
    assert f"500 of {len(nets):,} trades" in opened.page.locator("#trades-note").inner_text()
    found = sorted(float(text.replace(",", "")) for text in (lowest, highest))
    assert [min(nets), max(nets)] == pytest.approx(found, abs=0.0051)


def test_a_row_leads_to_its_trade_on_the_chart(opened: Opened) -> None:
    opened.page.locator("#trades tbody tr").nth(5).click()

    assert "true" == opened.page.locator("[data-kind=candles]").get_attribute("aria-pressed")
    assert opened.page.locator("#price").is_visible()


def test_nothing_is_wider_than_the_window_and_nothing_complains(opened: Opened, run: Path) -> None:
    width, window = opened.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")

    opened.page.locator("#theme").click()
    opened.page.locator("#mt5 summary").click()
    opened.page.locator("#config-panel summary").click()
    opened.page.locator("[data-days='31']").click()
    opened.page.locator("dt[data-formula]").nth(3).focus()

    assert width <= window
    assert [] == opened.complaints
    assert [(run / "report.html").as_uri()] == opened.requests


def test_the_theme_follows_the_system_until_it_is_chosen(browser: Browser, run: Path) -> None:
    opened = open_report(browser, run, "dark")
    shown = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    theme = opened.page.locator("html")

    assert "dark" == theme.get_attribute("data-theme")
    opened.page.locator("#theme").click()
    assert "light" == theme.get_attribute("data-theme")
    assert shown != opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    opened.page.emulate_media(color_scheme="light")
    opened.page.emulate_media(color_scheme="dark")
    assert "light" == theme.get_attribute("data-theme")
    opened.page.context.close()


def test_hostile_text_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)><script>alert(2)</script>"
    plan = FakePlan(source=f"{evil}.toml", config={"strategies": {evil: {"use": evil}}, evil: evil})
    folder = write_run(tmp_path, plan, run_flip(300, symbol=evil), [evil], clock=SimClock(MONDAY))
    write_report(folder)

    opened = open_report(browser, folder, "light")

    page = opened.page
    assert evil in page.locator("h1").inner_text()
    assert Flip.tag == page.locator("#trades tbody tr").first.locator("td").last.inner_text()
    assert evil == page.locator("#trades tbody tr").first.locator("td").nth(1).inner_text()
    assert evil in page.locator("#price-legend").inner_text()
    page.locator("#config-panel summary").click()
    assert evil in json.loads(page.locator("#config").inner_text())
    assert 0 == page.locator("img").count()
    assert 3 == page.locator("script").count()
    assert [] == opened.complaints
    assert [(folder / "report.html").as_uri()] == opened.requests
    page.context.close()


def test_a_failed_run_says_so_and_shows_what_there_is(browser: Browser, tmp_path: Path) -> None:
    bars = make_bars([(100, 101, 99, 100), (100, 102, 100, 101)])
    result = make_result([100.0, 101.0], bars=bars, status="failed", errors=("strategy 'trend' was stopped: ValueError",))
    folder = write_run(tmp_path, FakePlan(), result, ["herald"], clock=SimClock(MONDAY))
    write_report(folder)

    opened = open_report(browser, folder, "phone")

    assert "strategy 'trend' was stopped: ValueError" in opened.page.get_by_role("alert").inner_text()
    assert "failed" == opened.page.locator("#status").inner_text()
    assert 2 == opened.page.evaluate("window.__herald.bars")
    assert "no trade was closed" == opened.page.locator("#trades-note").inner_text()
    assert [] == opened.complaints
    opened.page.context.close()


def test_a_run_of_nothing_opens_without_complaint(browser: Browser, tmp_path: Path) -> None:
    folder = write_run(tmp_path, FakePlan(), make_result([]), ["herald"], clock=SimClock(MONDAY))
    write_report(folder)

    opened = open_report(browser, folder, "light")

    assert not opened.page.locator("#price-panel").is_visible()
    assert [] == opened.complaints
    opened.page.context.close()
