"""The report: one file, nothing from outside, no text that becomes markup, data that decodes to the run's own."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from herald.clock import SECOND, SimClock
from herald.errors import NotFound
from herald.model import BarSeries, FloatArray
from herald.report import payload, write_report
from herald.report.html import Markup, element
from herald.report.payload import embed_json
from herald.report.sections import distribution, months, years
from herald.results import RunResult, load_run, write_run
from herald.statistics import LABELS, PeriodReturns, display, mt5_report
from tests.runs import MONDAY, FakePlan, make_bars, make_full_result, make_result, make_trade, run_flip

EVIL = "</script><img src=x onerror=alert(1)>&<b>"


def render(folder: Path, result: RunResult, plan: FakePlan | None = None) -> str:
    run = write_run(folder, FakePlan() if plan is None else plan, result, ["herald", EVIL], clock=SimClock(MONDAY))
    return write_report(run).read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Counts elements by name and collects attributes and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.values: dict[str, str] = {}
        self._key: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._key = dict(attrs).get("data-key")

    def handle_data(self, data: str) -> None:
        if self._key is not None:
            self.values[self._key] = data
            self._key = None


def embedded(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def unpack(packed: dict[str, Any]) -> FloatArray:
    """What the page's script does, in another language."""
    kind, text = packed["values"]
    numbers = np.frombuffer(base64.b64decode(text), {"i1": "<i1", "i2": "<i2", "i4": "<i4", "f8": "<f8"}[kind]).astype(np.float64)
    if kind == "f8":
        return numbers
    counts: FloatArray = (packed["first"] + np.cumsum(numbers * packed["unit"])) * packed["times"] / packed["over"]
    return counts


def test_the_page_shows_every_statistic_of_the_run(tmp_path: Path) -> None:
    page = render(tmp_path, run_flip(300))

    (folder,) = tmp_path.iterdir()
    numbers = load_run(folder).statistics
    assert {key: display(key, numbers[key]) for key in LABELS} == Elements(page).values


def test_the_page_shows_every_line_of_the_metatrader_tester_in_a_part_that_is_closed_at_first(tmp_path: Path) -> None:
    page = render(tmp_path, run_flip(300))

    (folder,) = tmp_path.iterdir()
    (part,) = re.findall(r'<details class="panel" id="mt5">(.*?)</details>', page, re.DOTALL)
    shown = re.findall(r"<dt[^>]*>([^<]*)</dt><dd>([^<]*)</dd>", part)
    assert [(line.name, text) for line, text in mt5_report(load_run(folder).statistics)] == shown


def test_the_embedded_data_is_the_runs_own(tmp_path: Path) -> None:
    result = run_flip(300)

    data = embedded(render(tmp_path, result))

    bars = result.market["TEST"]
    (symbol,) = data["symbols"]
    np.testing.assert_array_equal((bars.time - bars.span) // SECOND, unpack(symbol["time"]))
    for name in ("open", "high", "low", "close"):
        # A walk is on no grid; seven digits are kept.
        np.testing.assert_allclose(unpack(symbol[name]), getattr(bars, name), rtol=1e-6)
    np.testing.assert_array_equal(result.equity.time // SECOND, unpack(data["equity"]["time"]))
    np.testing.assert_allclose(unpack(data["equity"]["equity"]), result.equity.equity, atol=0.005)
    assert [trade.exit_time // SECOND for trade in result.trades] == data["trades"]["exit_time"]
    assert [round(trade.net, 6) for trade in result.trades] == data["trades"]["net"]
    assert 1 == len(data["open"])


def test_prices_on_a_grid_are_exact(tmp_path: Path) -> None:
    rows = [(1.58611, 1.58618, 1.58572, 1.58599), (1.58597, 1.58628, 1.58573, 1.58573)]

    (symbol,) = embedded(render(tmp_path, make_result([100.0, 101.0], bars=make_bars(rows))))["symbols"]

    # The test's price step of 0.01 is coarser than these prices: they fall back to seven digits, still exact here.
    assert [1.58599, 1.58573] == unpack(symbol["close"]).tolist()


@pytest.mark.parametrize(("limit", "expected"), [(7, 7), (100, 40)])
def test_many_bars_are_merged_without_losing_an_extreme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, expected: int
) -> None:
    monkeypatch.setattr(payload, "MAX_POINTS", limit)
    draw = np.random.default_rng(1)
    rows = [(100.0, 100 + float(a), 100 - float(b), 100.0) for a, b in draw.integers(0, 5000, (40, 2)) / 100]
    equity = (100 + draw.integers(-3000, 3000, 40) / 100).tolist()

    data = embedded(render(tmp_path, make_result(equity, bars=make_bars(rows))))

    (symbol,) = data["symbols"]
    assert expected == len(unpack(symbol["close"]))  # 40 bars in sixes make 7, in ones 40
    assert pytest.approx(max(row[1] for row in rows)) == unpack(symbol["high"]).max()
    assert pytest.approx(min(row[2] for row in rows)) == unpack(symbol["low"]).min()
    drawn = unpack(data["equity"]["equity"])
    assert (max(equity), min(equity), equity[-1]) == pytest.approx((drawn.max(), drawn.min(), drawn[-1]))
    assert len(drawn) <= max(2 * limit, 40)


def test_hostile_text_adds_no_element_and_no_handler(tmp_path: Path) -> None:
    tame = Elements(render(tmp_path / "tame", make_full_result("tag")))
    config = {"strategies": {EVIL: {"use": EVIL}}, EVIL: [EVIL]}
    result = make_full_result(EVIL, symbol=EVIL)

    wild = Elements(page := render(tmp_path / "wild", result, FakePlan(source=f"x/{EVIL}.toml", config=config)))

    assert tame.counts == wild.counts
    assert [] == [each for each in wild.attributes if each[1].startswith("on")]
    assert "<img" not in page
    assert EVIL in embedded(page)["trades"]["exit_tag"]


def test_embedded_json_cannot_end_its_element() -> None:
    text = embed_json({"a": "</script><!--  &"})

    assert not set("<>&") & set(text)
    assert {"a": "</script><!--  &"} == json.loads(text)


def test_only_the_two_scripts_of_the_page_may_run(tmp_path: Path) -> None:
    page = render(tmp_path, make_full_result())

    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert 2 == len(scripts)
    assert "default-src 'none'; script-src " + " ".join(f"'sha256-{digest}'" for digest in digests) in policy[1]


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    page = Elements(render(tmp_path, make_full_result()))

    loads = [(tag, value) for tag, name, value in page.attributes if name in ("src", "srcset", "action", "data") or tag == "link"]
    assert [("link", "icon"), ("link", "data:,")] == loads
    links = [value for tag, name, value in page.attributes if tag == "a" and name == "href"]
    assert ["https://www.tradingview.com/"] == links  # the notice that the licence of the charts asks for


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_did_not_complete_says_so_first(tmp_path: Path, status: str) -> None:
    page = render(tmp_path, make_result([100.0], status=status, errors=(f"boom {EVIL}",)))

    assert f'<div class="banner {status}" role="alert" id="banner">' in page
    assert "boom &lt;/script&gt;" in page


def test_a_completed_run_has_no_banner(tmp_path: Path) -> None:
    assert 'id="banner"' not in render(tmp_path, make_full_result())


def test_a_run_without_anything_has_a_page(tmp_path: Path) -> None:
    page = render(tmp_path, make_result([]))

    assert "No trade was closed." in page
    assert [] == embedded(page)["symbols"]


def test_nine_years_of_hours_stay_below_three_megabytes(tmp_path: Path) -> None:
    n = 57_600
    steps = np.random.default_rng(1).integers(-200, 200, n).cumsum() + 150_000
    close = steps / 100
    bars = BarSeries("TEST", 1, MONDAY + 3_600 * SECOND * np.arange(n), close, close + 0.5, close - 0.5, close)
    result = make_result((close * 7).tolist(), hours=range(n), bars=bars, trades=[make_trade(float(i)) for i in range(2_000)])

    page = render(tmp_path, result)

    assert len(page.encode()) < 3_000_000
    np.testing.assert_array_equal(close, unpack(embedded(page)["symbols"][0]["close"]))


def test_the_page_of_the_same_run_is_the_same(tmp_path: Path) -> None:
    assert render(tmp_path / "a", run_flip(200)) == render(tmp_path / "b", run_flip(200))


def test_a_folder_that_is_no_run_gets_no_page(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is no run folder"):
        write_report(tmp_path)

    assert [] == list(tmp_path.iterdir())


# --- sections -------------------------------------------------------------------------------------


def test_text_is_escaped_and_markup_is_not() -> None:
    assert '<p title="&lt;&quot;">&lt;b&gt;<i>x</i></p>' == element("p", "<b>", Markup("<i>x</i>"), title='<"')


def test_months_stand_in_their_year_and_column() -> None:
    returns = PeriodReturns(("2023-12", "2024-02"), np.array([0.02, -0.051]))

    table = months(returns, PeriodReturns(("2023", "2024"), np.array([0.02, -0.051])))

    first, second = re.findall(r"<tr><th scope=\"row\">.*?</tr>", table)
    assert 12 == re.findall("<td[^>]*>([^<]*)", first).index("2.0") + 1
    assert 2 == re.findall("<td[^>]*>([^<]*)", second).index("-5.1") + 1
    assert 'class="u2"' in first
    assert 'class="d3"' in second


def test_the_bar_of_a_year_is_as_long_as_its_return() -> None:
    # From -10 % to +30 %: the zero stands at a quarter, the gain takes the other three.
    bars = years(PeriodReturns(("2023", "2024"), np.array([-0.1, 0.3])))

    assert ["left:0.00%;width:25.00%", "left:25.00%;width:75.00%"] == re.findall(r"left:[^\"]*", bars)


@pytest.mark.parametrize("profits", [[1.0], [0.0], [-5.0, 5.0], [0.001, 1e6], list(np.random.default_rng(2).normal(0, 50, 500))])
def test_every_trade_is_in_one_bin_and_no_bin_mixes_wins_and_losses(profits: list[float]) -> None:
    picture, _ = distribution(np.array(profits), "USD")

    bins = re.findall(r'class="(up|down|flat)" data-count="(\d+)"', picture)
    assert len(profits) == sum(int(count) for _, count in bins)
    assert "flat" not in {kind for kind, _ in bins}
    assert sum(profit < 0 for profit in profits) == sum(int(count) for kind, count in bins if kind == "down")


# --- files of others ------------------------------------------------------------------------------


def test_vendored_files_are_as_published() -> None:
    static = files("herald.report") / "static"
    vendored = tomllib.loads((static / "VENDORED.toml").read_text(encoding="utf-8"))["file"]

    for each in vendored:
        assert each["sha256"] == hashlib.sha256((static / each["path"]).read_bytes()).hexdigest(), each["path"]
        assert each["licence"] == "Apache-2.0"
    assert "TradingView" in (static / "lightweight-charts.NOTICE").read_text(encoding="utf-8")
