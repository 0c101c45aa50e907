"""The dashboard in a browser: what it draws is what the interface says, and what a person does is what is asked of the run."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect

from herald.clock import SECOND
from herald.model import (
    AmendOrder,
    Bar,
    Charted,
    ClosePosition,
    Done,
    Fill,
    Holding,
    Order,
    OrderRequest,
    OrderStatus,
    PlaceOrder,
    ResumeTrading,
    Side,
    StopTrading,
    StrategyState,
    Usage,
    WithdrawOrder,
)
from tests.e2e.dashboard import (
    BARS,
    MINUTE,
    NOW,
    VIEWS,
    Opened,
    Site,
    halted,
    line,
    make_fills,
    make_state,
    open_dashboard,
    quotes,
)

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), ("EURUSD", "GBPUSD")) as one:
        yield one


@pytest.fixture(scope="module")
def shared(browser: Browser, site: Site) -> Iterator[Opened]:
    """One page for the tests that only look, or leave things as they were: to open one takes seconds on a slow machine."""
    one = open_dashboard(browser, site.address, "light", site.key)
    yield one
    one.close()


@pytest.fixture
def opened(shared: Opened) -> Iterator[Opened]:
    shared.page.get_by_role("tab", name="Positions").click()
    yield shared
    assert [] == shared.complaints
    assert [] == shared.elsewhere


@pytest.fixture(params=VIEWS)
def view(request: pytest.FixtureRequest, opened: Opened) -> Iterator[Opened]:
    opened.show(request.param)
    yield opened
    opened.show("light")


def ask(page: Page, path: str) -> Any:
    """Return what the interface answers to the page's session."""
    return page.evaluate("async (path) => (await fetch(`/api/v1/${path}`)).json()", path)


def rows(page: Page, box: str) -> int:
    return page.locator(f"#{box} tbody tr").count()


# --- what is shown --------------------------------------------------------------------------------


def test_bars_markers_points_and_rows_are_those_of_the_interface(view: Opened) -> None:
    page = view.page

    drawn = view.read()
    series = ask(page, "series/EURUSD?bars=1000")
    fills = [one for one in ask(page, "fills")["fills"] if one["time"] >= series["rows"][0][0] - MINUTE]

    assert BARS == len(series["rows"]) == drawn["bars"]
    assert len(fills) == drawn["markers"] > 20
    assert len(ask(page, "equity")["rows"]) == drawn["points"] == drawn["falls"]
    for place, name in enumerate(series["lines"]):
        assert sum(row[6 + place] is not None for row in series["rows"]) == drawn["lines"][name]
    state = ask(page, "state")
    held = state["positions"][0]
    levels = dict(drawn["levels"])
    assert {"entry trend": 1.1, "stop_loss trend": 1.09, "take_profit trend": 1.15, "limit manual-000001": 1.05} == levels
    assert (len(state["positions"]), len(state["orders"])) == (rows(page, "book-positions"), rows(page, "book-orders"))
    assert [f"{held['price']:.5f}", "+50.00"] == [
        page.locator("#book-positions tbody tr td").nth(place).inner_text() for place in (4, 8)
    ]
    assert "10,050.00 USD" == page.locator("#equity-now").inner_text()
    assert "−0.50 %" == page.locator("#fall").inner_text()  # 10,050 after a peak of 10,100
    assert ["4.9", "83.3"] == [
        f"{100 * used / limit:.1f}"
        for used, limit in page.locator("[role=meter]").evaluate_all(
            "(found) => found.map((one) => [Number(one.ariaValueNow), Number(one.ariaValueMax)])"
        )
    ]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_pictures_can_be_taken(view: Opened, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """With ``DOCS_PICTURES=docs/images`` these become the pictures of the documentation."""
    view.read()
    path = Path(os.environ.get("DOCS_PICTURES", tmp_path)) / f"dashboard-{request.node.callspec.params['view']}.png"

    view.page.screenshot(path=path)

    assert path.stat().st_size > 20_000


def test_charts_are_painted(view: Opened) -> None:
    view.read()
    counts = view.page.evaluate(
        """() => ["price", "equity"].map((id) => Math.max(...[...document.querySelectorAll(`#${id} canvas`)].map((canvas) => {
            if (!canvas.width || !canvas.height) return 0;
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data, found = new Set();
            for (let i = 0; i < pixels.length; i += 4) found.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
            return found.size;
        })))"""
    )

    assert all(count > 10 for count in counts), counts


def test_the_theme_follows_the_system_until_it_is_chosen_and_is_kept(opened: Opened) -> None:
    page, background = opened.page, "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    opened.show("dark")
    dark = page.evaluate(background)

    page.get_by_label("Switch between light and dark").click()
    page.reload()
    opened.wait()

    assert dark != light == page.evaluate(background)
    page.evaluate("localStorage.removeItem('herald.theme')")
    page.reload()  # the session goes on, too
    opened.wait()
    assert dark == page.evaluate(background)
    opened.show("light")


# --- news and gaps --------------------------------------------------------------------------------


@pytest.fixture
def changing(browser: Browser, tmp_path: Path) -> Iterator[tuple[Site, Opened]]:
    """A run of the test's own, to which news may be added; the page's clock can be put forward."""
    with Site(tmp_path, ("EURUSD", "GBPUSD")) as site:
        one = open_dashboard(browser, site.address, clock=True, key=site.key)
        yield site, one
        assert [] == one.complaints
        one.close()


def charted(minutes: int) -> Charted:
    bar = Bar("EURUSD", NOW + minutes * MINUTE, 1.1, 1.101, 1.099, 1.1005, 100.0)
    return Charted(bar, "1m", {"sma(10)": 1.1, "rsi(14)": 50.0})


def test_news_reach_the_page_as_they_come(changing: tuple[Site, Opened]) -> None:
    site, opened = changing
    page, before = opened.page, opened.read()
    site.tell(quotes=quotes(("EURUSD", "GBPUSD"), 5))
    expect(page.locator("#quote")).to_contain_text("bid 1.10035 ask 1.10045 spread 10")
    assert before["bars"] == opened.read()["bars"]  # the one that forms is no bar yet
    last = make_fills("EURUSD", 1)[0]
    fill = Fill("later", "trend-9", "EURUSD", Side.SELL, 0.1, last.price, 0.0, "USD", NOW + 30 * SECOND)
    ended = Order(site.state.orders[0].request, OrderStatus.CANCELLED, NOW, "17")
    site.tell(
        bars=[charted(1)],
        fills=[fill],
        orders=[ended],
        said=[line(1, "first"), line(2, "take care", "WARNING")],
        state=make_state(("EURUSD", "GBPUSD"), orders=site.state.orders[1:], equity=9_800.0, time=NOW + SECOND),
    )
    expect(page.locator("#equity-now")).to_have_text("9,800.00 USD")
    expect(page.locator("#open-profit")).to_have_text("−200.00")

    wanted = {name: before[name] + 1 for name in ("bars", "markers", "points")}
    for _ in range(50):  # the charts are drawn a few times a second, each by itself
        drawn = opened.read()
        if wanted == {name: drawn[name] for name in wanted}:
            break
        page.wait_for_timeout(100)

    assert wanted == {name: drawn[name] for name in wanted}
    assert "limit manual-000001" in dict(before["levels"])
    assert "limit manual-000001" not in dict(drawn["levels"])
    assert 1 == rows(page, "book-orders")
    page.get_by_role("tab", name="Ended orders").click()
    assert "cancelled" in page.locator("#book-ended tbody tr").first.inner_text()
    page.get_by_role("tab", name="GBPUSD").click()
    expect(page.locator("#price-note")).to_contain_text("0 fills")
    assert ("GBPUSD", BARS, 0) == tuple(opened.read()[name] for name in ("symbol", "bars", "markers"))
    page.get_by_role("tab", name="EURUSD").click()
    expect(page.locator("#price-note")).to_contain_text(f"{drawn['markers']} fills")


def test_the_log_can_be_filtered_and_held(changing: tuple[Site, Opened]) -> None:
    site, opened = changing
    page, texts = opened.page, opened.page.locator("#log p span")
    site.tell(said=[line(3, "a note"), line(4, "a warning", "WARNING")])
    expect(texts.last).to_have_text("a warning")
    page.get_by_label("Least level").select_option("WARNING")
    shown = texts.all_inner_texts()
    page.locator("#log-pause").click()
    site.tell(said=[line(5, "an error", "ERROR")])
    expect(page.locator("#log-note")).to_have_text("1 new")
    held = texts.all_inner_texts()
    page.locator("#log-pause").click()

    assert "a warning" in shown
    assert "a note" not in shown
    assert shown == held
    assert [*shown, "an error"] == texts.all_inner_texts()
    page.get_by_label("Least level").select_option("INFO")
    assert "a note" in texts.all_inner_texts()


def test_after_a_gap_everything_is_fetched_anew(changing: tuple[Site, Opened]) -> None:
    site, opened = changing
    page, before = opened.page, opened.read()
    site.call(site.model.hub.end)
    expect(page.locator("#link")).to_contain_text("again in")
    site.tell(bars=[charted(i) for i in (2, 3, 4)], said=[line(6, "missed")])
    missed = Fill("missed", "trend-10", "EURUSD", Side.BUY, 0.1, 1.1, 0.0, "USD", NOW + 3 * MINUTE)
    site.tell(fills=[missed], state=make_state(("EURUSD",), positions=(), time=NOW + 2 * SECOND))

    expect(page.locator("#count-positions")).to_have_text("0")

    drawn = opened.read()
    assert (len(ask(page, "series/EURUSD?bars=1000")["rows"]), before["markers"] + 1) == (drawn["bars"], drawn["markers"])
    assert drawn["bars"] > before["bars"]
    assert "missed" == page.locator("#log p span").last.inner_text()
    expect(page.locator("#link")).to_have_text("live")


def test_a_run_that_falls_silent_is_told(changing: tuple[Site, Opened]) -> None:
    site, opened = changing
    page, banner = opened.page, opened.page.locator("[data-banner=link]")
    page.clock.fast_forward(8_000)

    expect(banner).to_contain_text("The run is not heard")
    expect(page.locator("#link")).to_contain_text("silent for")
    assert "stale" in (page.locator("body").get_attribute("class") or "")
    site.tell(state=make_state(("EURUSD",), time=NOW + 3 * SECOND))
    expect(banner).to_have_count(0)
    expect(page.locator("#link")).to_have_text("live")


# --- who may --------------------------------------------------------------------------------------


def test_keys_that_are_not_good_may_little_or_are_taken_back(browser: Browser, site: Site) -> None:
    key = site.keys.add("eve", "viewer", "test")[0]
    opened = open_dashboard(browser, site.address)
    page = opened.page
    page.get_by_label("API key").fill(key[:-1] + "x")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#login-error")).to_have_text("the key is not good; make one: herald control keys add")

    opened.login(key)
    assert "eve · viewer" == page.locator("#who").inner_text()
    for name in ("Kill switch", "Reconcile", "Close", "Pause"):
        button = page.get_by_role("button", name=name, exact=True).first
        expect(button).to_be_disabled()
        assert "The role viewer may not" in (button.get_attribute("title") or "")
    page.locator("#kill").dispatch_event("click")
    expect(page.locator("#notes")).to_contain_text("The role viewer may not stop trading")
    assert 0 == page.locator("dialog").count()

    site.keys.revoke("eve")
    page.get_by_role("tab", name="Runs").click()
    expect(page.locator("#login-error")).to_have_text("the session is over; log in again")
    expect(page.locator("#app")).to_be_hidden()
    opened.close()


# --- hostile text -----------------------------------------------------------------------------------

EVIL = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>&lt;b&gt;"


def test_hostile_text_is_shown_as_text_wherever_it_stands(browser: Browser, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "20240101-000000-x-1"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"mode": EVIL, "status": EVIL}))
    (run / "report.html").write_text("<script>alert(3)</script>")
    symbol, name = f"S{EVIL}", f"trend{EVIL}"
    base = make_state((symbol,), name)
    denied = Order(
        OrderRequest(f"o{EVIL}", name, symbol, Side.BUY, 0.1, tag=EVIL), OrderStatus.DENIED, NOW, "", 0.0, code=EVIL, reason=EVIL
    )
    working = Order(OrderRequest(f"w{EVIL}", name, symbol, Side.BUY, 0.1, tag=EVIL), OrderStatus.ACCEPTED, NOW)
    state = make_state(
        (symbol,),
        name,
        source=f"{EVIL}.toml",
        currency=EVIL,
        trading=EVIL,
        orders=(working,),
        positions=(Holding(name, symbol, 0.1, 1.1, 1.1, 1.0, NOW),),
        strategies=(StrategyState(name, EVIL, (symbol,), (EVIL,), EVIL, True, EVIL, exits=(EVIL,)),),
        limits=(Usage(EVIL, EVIL, 1.0, 2.0),),
        scopes=(halted(f"strategy:{EVIL}", EVIL),),
        unresolved=(EVIL,),
        external={EVIL: 1.0},
    )
    plugins = [{"name": EVIL, "distribution": EVIL, "version": EVIL}]
    more = {"plan_text": EVIL, "plan": {EVIL: EVIL}, "plugins": plugins, "state": state, "fills": make_fills(symbol, 3)}
    assert base.orders
    with Site(tmp_path, (symbol,), **more) as site:
        opened = open_dashboard(browser, site.address, "light", site.key)
        page = opened.page
        site.desk.answer = Done(False, EVIL, EVIL)
        site.tell(orders=[denied], said=[line(1, EVIL), line(2, EVIL, EVIL)], quotes=quotes((symbol,), 1))
        expect(page.locator("#log p span").first).to_have_text(EVIL)
        for tab in ("Fills", "Ended orders", "Working orders", "Positions", "Plan", "Runs", "Overview"):
            page.get_by_role("tab", name=tab).click()
        expect(page.locator("#runs tbody tr td").nth(1)).to_have_text(EVIL)
        assert EVIL in page.locator("#plan").text_content()  # type: ignore[operator]
        page.locator("#ticket [name=size]").fill("1")
        page.locator("#ticket [name=why]").fill(EVIL)
        page.locator("#place").click()
        expect(page.locator("#messages")).to_contain_text(EVIL)
        page.get_by_role("button", name="Dismiss").click()
        for label in ("Close", "Rearm", "Kill switch"):
            page.get_by_role("button", name=label, exact=True).first.click()
            page.get_by_role("dialog").get_by_label("Reason").fill(EVIL)
            page.keyboard.press("Escape")

        shown = page.locator("body").inner_text()
        texts = [
            page.locator(place).first.text_content() or "" for place in ("#symbols", "#book-positions", "#banners", "#limits")
        ]

        assert all(EVIL in text for text in texts), texts
        assert f"{EVIL}.toml" == page.locator("#run").get_attribute("title")
        assert "onerror" in shown
        assert 0 == page.locator("img").count()
        assert 2 == page.locator("script").count()
        assert isinstance(site.desk.acts[0][0], PlaceOrder)
        assert (symbol, EVIL) == (site.desk.acts[0][0].symbol, site.desk.acts[0][1])
        # The browser itself notes an answer of 409; nothing else may stand there.
        assert ["409"] == [text.partition("status of ")[2][:3] for text in opened.complaints]
        assert [] == opened.elsewhere
        opened.close()


# --- acting -----------------------------------------------------------------------------------------


def fill_dialog(page: Page, confirm: str, **fields: str) -> None:
    dialog = page.get_by_role("dialog")
    for label, value in fields.items():
        dialog.get_by_label(label.replace("_", " ")).fill(value)
    dialog.get_by_role("button", name=confirm, exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_every_act_says_exactly_what_was_asked(opened: Opened, site: Site) -> None:
    page = opened.page
    site.desk.acts.clear()
    page.get_by_role("tab", name="Positions").click()

    page.get_by_role("button", name="Half").click()
    fill_dialog(page, "Close at market", Reason="enough")
    page.get_by_role("tab", name="Working orders").click()
    page.locator("#book-orders tbody tr", has_text="manual-000001").get_by_role("button", name="Cancel").click()
    fill_dialog(page, "Cancel the order", Reason="no longer")
    page.locator("#book-orders tbody tr", has_text="manual-000001").get_by_role("button", name="Amend").click()
    fill_dialog(page, "Amend the order", Limit="1.06", Reason="nearer")
    page.locator("#strategies tbody tr").first.get_by_role("button", name="Pause").click()
    fill_dialog(page, "Pause", Reason="lunch")
    page.get_by_label("Sell").check()
    for name, value in {"size": "0,3", "limit": "1.2", "stop_loss": "1.25", "why": "by hand"}.items():
        page.locator(f"#ticket [name={name}]").fill(value)
    page.locator("#place").click()
    expect(page.locator("#ticket [name=why]")).to_have_value("")
    page.locator("#kill").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("panic")
    dialog.get_by_label("Close the positions at market").check()
    stop = dialog.get_by_role("button", name="Stop trading")
    for word in ("", "kill", "KILL "):
        dialog.get_by_label("Type KILL to confirm").fill(word)
        expect(stop).to_be_disabled()
    fill_dialog(page, "Stop trading", Type_KILL_to_confirm="KILL")
    site.tell(state=make_state(("EURUSD", "GBPUSD"), trading="HALTED", scopes=(halted(),), time=NOW + SECOND))
    page.get_by_role("button", name="Rearm").click()
    fill_dialog(page, "Rearm", Reason="calm")

    assert [
        (ClosePosition(strategy="trend", symbol="EURUSD", share=0.5), "enough"),
        (WithdrawOrder(order="manual-000001"), "no longer"),
        (AmendOrder(order="manual-000001", limit=1.06), "nearer"),
        (StopTrading(scope="strategy:trend", state="REDUCING"), "lunch"),
        (PlaceOrder(symbol="EURUSD", side="sell", size=0.3, limit=1.2, stop_loss=1.25), "by hand"),
        (StopTrading(scope="account", state="HALTED", cancel_all=True, flatten=True), "panic"),
        (ResumeTrading(scope="account"), "calm"),
    ] == site.desk.acts
    site.tell(state=make_state(("EURUSD", "GBPUSD"), time=NOW + SECOND))
    expect(page.locator("[data-banner='scope account']")).to_have_count(0)


def test_a_refusal_stays_until_it_is_dismissed(opened: Opened, site: Site) -> None:
    page, complaints = opened.page, opened.complaints
    site.desk.answer = Done(False, "max_order_size", "1.5 lots are more than 1")
    page.locator("#ticket [name=size]").fill("much")
    page.locator("#ticket [name=why]").fill("x")
    page.locator("#place").click()
    expect(page.locator("#messages")).to_contain_text("Size must be a number above 0")
    page.locator("#ticket [name=size]").fill("1.5")
    page.locator("#place").click()
    expect(page.locator("#messages")).to_contain_text("max_order_size")
    page.get_by_role("button", name="Close", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("x")
    dialog.get_by_role("button", name="Close at market").click()
    expect(dialog.get_by_role("alert")).to_have_text("1.5 lots are more than 1")
    dialog.get_by_role("button", name="Back").click()

    assert 2 == page.locator(".message").count()
    for _ in range(2):
        page.get_by_role("button", name="Dismiss").first.click()
    assert 0 == page.locator(".message").count()
    assert "1.5" == page.locator("#ticket [name=size]").input_value()  # nothing that was typed is lost
    site.desk.answer = Done(True, "", "it is done")
    assert 2 == len(complaints)  # the browser's own notes of two answers of 409
    complaints.clear()


def test_real_money_is_marked_and_an_order_is_asked_about_twice(opened: Opened, site: Site) -> None:
    page, one = opened.page, site.state.connectors[0]
    replace = msgspec.structs.replace
    real = replace(one, account=replace(one.account, real=True))
    site.tell(state=make_state(("EURUSD", "GBPUSD"), mode="live", connectors=(real,), time=NOW + 2 * SECOND))
    site.desk.acts.clear()
    expect(page.locator("#mode")).to_have_text("LIVE · REAL MONEY")
    page.locator("#ticket [name=size]").fill("0.1")
    page.locator("#ticket [name=why]").fill("x")
    page.get_by_label("Buy").check()
    page.locator("#place").click()
    page.get_by_role("dialog").get_by_role("button", name="Back").click()
    assert [] == site.desk.acts

    page.locator("#place").click()
    page.get_by_role("dialog").get_by_role("button", name="Place it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)

    assert [PlaceOrder(symbol="EURUSD", side="buy", size=0.1)] == [act for act, _ in site.desk.acts]
    site.tell(state=make_state(("EURUSD", "GBPUSD"), time=NOW + 3 * SECOND))
    expect(page.locator("#mode")).to_have_text("PAPER")


def test_everything_can_be_done_with_the_keyboard_alone(opened: Opened, site: Site) -> None:
    page, press = opened.page, opened.page.keyboard.press
    site.desk.acts.clear()
    page.get_by_role("button", name="Log out").focus()
    press("Enter")
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type(site.key)
    press("Enter")
    expect(page.locator("#app")).to_be_visible()
    expect(page.locator("#main")).to_be_focused()
    seen = []
    while not seen or (seen[-1] != "Pause" and len(seen) < 60):
        press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", seen
    assert {"tab-positions", "Half", "Close", "Pause"} <= set(seen)
    page.locator("#symbols [aria-selected=true]").focus()
    press("ArrowRight")
    expect(page.locator("#symbols [aria-selected=true]")).to_contain_text("GBPUSD")
    press("ArrowLeft")
    page.locator("#kill").focus()
    press("Enter")
    for _ in range(9):  # more than the dialog has places
        press("Tab")
        assert page.evaluate("document.activeElement === document.body || Boolean(document.activeElement.closest('dialog'))")
    press("Escape")
    assert "kill" == page.evaluate("document.activeElement.id")
    press("Enter")
    page.keyboard.type("panic")
    press("Tab")
    page.keyboard.type("KILL")
    press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)

    assert [(StopTrading(scope="account", state="HALTED", cancel_all=True), "panic")] == site.desk.acts


# --- files of others ----------------------------------------------------------------------------------


def test_vendored_files_are_as_published() -> None:
    static = files("herald.plugins.control") / "static"
    vendored = tomllib.loads((static / "VENDORED.toml").read_text(encoding="utf-8"))["file"]

    assert "lightweight-charts.standalone.production.mjs" in [one["path"] for one in vendored]
    for one in vendored:
        assert one["sha256"] == hashlib.sha256((static / one["path"]).read_bytes()).hexdigest(), one["path"]
        assert one["licence"] == "Apache-2.0"
    notice = (static / "lightweight-charts.NOTICE").read_text(encoding="utf-8")
    page = (static / "index.html").read_text(encoding="utf-8")
    assert notice.splitlines()[0].strip() in f"{page}"[page.index("<footer") :].replace(
        "TradingView Lightweight Charts™, ", "TradingView Lightweight Charts™\n"
    )
    assert 'href="https://www.tradingview.com/"' in page
