"""The store of metrics, what it counts of a run, its file, and the layer that measures calls."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as Client

from herald.contracts import Call, MetricsStore, NoMetrics, Operation, Services
from herald.errors import (
    AmbiguousError,
    CircuitOpenError,
    NotConnected,
    NotSent,
    NotSupported,
    RateLimitedError,
    RejectedError,
    TransientError,
)
from herald.host.plan import load_plan
from herald.model import (
    Alert,
    Connected,
    Disconnected,
    Event,
    Fill,
    Order,
    OrderDenied,
    OrderRequest,
    OrderStatus,
    RunStarted,
    RunStopped,
    Side,
)
from herald.plugins import metrics as plugin
from herald.plugins.metrics import MetricsLayer, MetricsLayerSettings, MetricsSettings, make_store
from herald.plugins.metrics.file import TextFile
from herald.plugins.metrics.store import BUCKETS
from herald.runtime.measures import Bystander
from herald.testing import FakeClock, FakeMetrics, make_services

REQUEST = OrderRequest("trend-000001", "trend", "EURUSD", Side.BUY, 0.5)


def services(folder: Path | None = None, clock: FakeClock | None = None, told: list[Event] | None = None) -> Services:
    emit = None if told is None else told.append
    return make_services("metrics", clock=clock, base=str(folder or "."), emit=emit)


def store(**settings: Any) -> MetricsStore:
    return make_store(MetricsSettings(**settings), services())


def shown(store: MetricsStore) -> dict[str, float]:
    """Return what is exposed: value by series."""
    lines = [line for line in store.expose().decode().splitlines() if not line.startswith("#")]
    return {series.removeprefix("herald_"): float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


# --- the store


def test_a_counter_is_the_bound_method_of_the_client() -> None:
    """A wrapper would double what an observation costs."""
    add = store().counter("things_total", "Things.").add

    assert ("inc", "prometheus_client.metrics") == (add.__name__, add.__module__)  # type: ignore[attr-defined]


def test_a_distribution_is_written_as_the_client_writes_its_own() -> None:
    kept, theirs = store(), CollectorRegistry()
    own = Client("herald_wait_seconds", "A wait.", ("to",), buckets=BUCKETS, registry=theirs)
    for value in (0.0, 1e-5, 0.000_011, 0.25, 3.0, 50.0, 50.1, 1e9):
        kept.histogram("wait_seconds", "A wait.", {"to": "a"}).observe(value)
        own.labels("a").observe(value)
    expected = [line for line in generate_latest(theirs).splitlines() if b"_created" not in line]

    assert expected == [line for line in kept.expose().splitlines() if b"herald_wait" in line]


def test_no_observation_of_a_distribution_is_lost_between_threads() -> None:
    kept = store()
    observe = kept.histogram("wait_seconds", "A wait.").observe
    threads = [threading.Thread(target=lambda: [observe(0.5) for _ in range(20_000)]) for _ in range(4)]

    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert (80_000.0, 40_000.0) == (shown(kept)["wait_seconds_count"], shown(kept)["wait_seconds_sum"])


def test_the_times_at_which_metrics_were_made_are_not_shown() -> None:
    kept = store()
    kept.counter("things_total", "Things.").add()
    kept.histogram("wait_seconds", "A wait.").observe(1.0)

    assert b"_created" not in kept.expose()


def test_a_distribution_reaches_from_microseconds_to_a_minute() -> None:
    kept = store()
    kept.histogram("wait_seconds", "A wait.").observe(0.00007)

    values = shown(kept)

    assert (1e-5, 50.0) == (BUCKETS[0], BUCKETS[-1])
    assert (0.0, 1.0) == (values['wait_seconds_bucket{le="5e-05"}'], values['wait_seconds_bucket{le="0.0001"}'])


def test_label_values_without_end_end_up_together_and_are_told_once() -> None:
    told: list[Event] = []
    kept = make_store(MetricsSettings(max_series=3), services(told=told))

    for number in range(10):
        kept.counter("things_total", "Things.", {"order": f"trend-{number}"}).add()

    values = shown(kept)
    assert {"0": 1.0, "1": 1.0, "2": 1.0} == {str(n): values[f'things_total{{order="trend-{n}"}}'] for n in range(3)}
    assert 7.0 == values['things_total{order="other"}']
    (alert,) = told
    assert isinstance(alert, Alert)
    assert ("metrics_overflow", True) == (alert.code, "more than 3 combinations of order" in alert.text)


def test_a_long_label_value_is_cut() -> None:
    kept = store()

    kept.gauge("level", "A level.", {"kind": "x" * 1_000}).set(1.0)

    assert f'level{{kind="{"x" * 120}"}}' in shown(kept)


@pytest.mark.parametrize("kept", [store(), NoMetrics(), FakeMetrics()], ids=["store", "none", "fake"])
@pytest.mark.parametrize(
    ("kind", "name", "labels", "words"),
    [
        ("counter", "things", None, "call it things_total"),
        ("gauge", "things_total", None, "make it a counter"),
        ("histogram", "wait_sum", None, "Prometheus' own"),
        ("gauge", "Level", None, "small letters"),
        ("gauge", "level", {"Kind": "a"}, "small letters"),
        ("gauge", "level", {"le": "a"}, "le and quantile"),
    ],
)
def test_every_kind_of_metrics_refuses_the_same(kept: Any, kind: str, name: str, labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        getattr(kept, kind)(name, "Text.", labels)


def test_without_prometheus_client_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "herald.plugins.metrics.store", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(NotSupported, match=r"pip install 'herald-trading\[metrics\]'"):
        make_store(MetricsSettings(), services())


# --- what it counts


def counted(*events: Event, clock: FakeClock | None = None) -> dict[str, float]:
    kept = make_store(MetricsSettings(), services(clock=clock))
    for event in events:
        kept.observe(event)
    return shown(kept)


def test_an_order_counts_once_for_every_status_it_comes_to() -> None:
    accepted = Order(REQUEST, OrderStatus.ACCEPTED, 1)
    partial = Order(REQUEST, OrderStatus.PARTIAL, 2, filled=0.1)

    values = counted(accepted, accepted, partial, partial, Order(REQUEST, OrderStatus.FILLED, 3))

    found = {series: value for series, value in values.items() if series.startswith("orders_total")}
    assert {f'orders_total{{status="{one}",strategy="trend"}}': 1.0 for one in ("accepted", "partial", "filled")} == found


def test_what_the_broker_refuses_counts_by_its_code() -> None:
    values = counted(Order(REQUEST, OrderStatus.REJECTED, 1, code="10019"))

    assert 1.0 == values['rejections_total{code="10019",strategy="trend"}']


def test_a_denial_counts_by_its_code_and_not_as_an_order() -> None:
    denied = Order(REQUEST, OrderStatus.DENIED, 1, code="max_position")

    values = counted(denied, OrderDenied(1, denied))

    assert 1.0 == values['denials_total{code="max_position",strategy="trend"}']
    assert not any(series.startswith("orders_total") for series in values)


def test_a_fill_belongs_to_the_strategy_whose_order_it_filled() -> None:
    values = counted(
        Fill("1", "my_trend-000017.1", "EURUSD", Side.BUY, 0.3, 1.1, 0.0, "USD", 1),
        Fill("2", "my_trend-000018.sl", "EURUSD", Side.BUY, 0.4, 1.1, 0.0, "USD", 1),
    )

    labels = 'side="buy",strategy="my_trend",symbol="EURUSD"'
    assert (2.0, pytest.approx(0.7)) == (values[f"fills_total{{{labels}}}"], values[f"traded_lots_total{{{labels}}}"])


def test_the_mean_times_between_failures_and_to_repair() -> None:
    """Up for 100 s and 50 s before each loss, down for 10 s and 20 s: 75 s between failures, 15 s to repair."""
    clock = FakeClock()
    kept = make_store(MetricsSettings(), services(clock=clock))
    kept.observe(Disconnected(0, "main", "not there yet"))  # it has not been up: no failure
    kept.observe(Connected(0, "main"))
    for up, down in ((100.0, 10.0), (50.0, 20.0)):
        clock.advance(up)
        kept.observe(Disconnected(0, "main", "gone"))
        kept.observe(Disconnected(0, "main", "still gone"))
        clock.advance(down)
        kept.observe(Connected(0, "main"))
        kept.observe(Connected(0, "main"))

    values = shown(kept)

    where = '{connector="main"}'
    assert (75.0, 15.0) == (values[f"connector_mtbf_seconds{where}"], values[f"connector_mttr_seconds{where}"])
    assert (2.0, 2.0) == (values[f"disconnects_total{where}"], values[f"reconnects_total{where}"])


def test_it_says_whether_the_run_trades() -> None:
    assert 1.0 == counted(RunStarted(1, "backtest"))["running"]
    assert 0.0 == counted(RunStarted(1, "backtest"), RunStopped(2, "completed"))["running"]


def test_a_backtest_tells_the_store_nothing_that_happens_often() -> None:
    """One that heard orders would take the short way from the backtest's loop."""
    heard = Bystander(store()).events

    assert RunStarted in heard
    assert OrderDenied in heard
    assert set() == {Order, Fill}.intersection(heard)


# --- the file


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert not [thread for thread in threading.enumerate() if thread.name == "herald-metrics-file"]


def test_a_backtest_writes_the_file_once_at_its_end(folder: Path) -> None:
    kept = make_store(MetricsSettings(file="out/metrics.prom"), services(folder))

    kept.observe(RunStarted(1, "backtest"))
    kept.observe(RunStopped(2, "completed"))
    before = list(folder.iterdir())
    kept.close()

    assert [] == before
    assert b"herald_running 0.0\n" in (folder / "out" / "metrics.prom").read_bytes()
    assert ["metrics.prom"] == [one.name for one in (folder / "out").iterdir()]  # what it was written by is gone


def test_a_live_run_writes_the_file_now_and_then_from_a_thread_of_its_own(folder: Path) -> None:
    written = threading.Semaphore(0)
    threads: set[str] = set()

    def content() -> bytes:
        threads.add(threading.current_thread().name)
        written.release()
        return b"x 1\n"

    file = TextFile(folder / "m.prom", content, 0.01, lambda code, text: None)
    file.start()
    for _ in range(3):
        assert written.acquire(timeout=10)
    file.close()
    file.close()

    assert {"herald-metrics-file", threading.current_thread().name} == threads
    assert b"x 1\n" == (folder / "m.prom").read_bytes()


def test_a_file_that_cannot_be_written_is_told_once_and_tried_again(folder: Path) -> None:
    told: list[tuple[str, str]] = []
    (folder / "m.prom").mkdir()  # nothing can take the place of a folder
    file = TextFile(folder / "m.prom", lambda: b"x 1\n", 5.0, lambda code, text: told.append((code, text)))

    file.write()
    file.write()
    (folder / "m.prom").rmdir()
    file.write()
    content = (folder / "m.prom").read_bytes()
    (folder / "m.prom").unlink()
    (folder / "m.prom").mkdir()
    file.write()

    assert b"x 1\n" == content
    assert ["metrics_file", "metrics_file"] == [code for code, _ in told]
    assert "cannot be written to" in told[0][1]
    assert ["m.prom"] == [one.name for one in folder.iterdir()]


# --- the layer


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (TransientError("x"), "transient"),
        (NotSent("x"), "not_sent"),
        (AmbiguousError("x"), "ambiguous"),
        (RejectedError("1", "x"), "rejected"),
        (NotConnected("x"), "not_connected"),
        (CircuitOpenError("x", 1.0), "circuit_open"),
        (RateLimitedError("x", 1.0), "rate_limited"),
        (NotSupported("x"), "not_supported"),
        (ValueError("x"), "error"),
        (KeyboardInterrupt(), "error"),
    ],
)
def test_the_layer_counts_how_a_call_ends_and_how_long_it_took(error: BaseException | None, outcome: str) -> None:
    clock, kept = FakeClock(), FakeMetrics()
    layer = MetricsLayer(MetricsLayerSettings(), make_services("connectors.main.middleware[0]", clock=clock, metrics=kept))

    def proceed(call: Call) -> object:
        clock.advance(0.25)
        if error is not None:
            raise error
        return "answer"

    for _ in range(2):
        if error is None:
            assert "answer" == layer(Call(Operation.QUOTE, ("EURUSD",)), proceed)
        else:
            with pytest.raises(type(error)):
                layer(Call(Operation.QUOTE, ("EURUSD",)), proceed)

    assert 2.0 == kept.value("connector_calls_total", connector="main", operation="quote", outcome=outcome)
    assert [0.25, 0.25] == kept.observed("connector_call_seconds", connector="main", operation="quote")


# --- the config

FILE = """
[herald]
mode = "{mode}"
[connectors.main]
use   = "synthetic"
seed  = 1
{middleware}
[strategies.trend]
use       = "strategies.sma_cross"
symbols   = ["EURUSD"]
timeframe = "1h"
size      = 0.1
[[risk]]
use   = "risk.max_daily_loss"
fraction = 0.5
[[risk]]
use   = "risk.max_drawdown"
fraction = 0.5
{metrics}
"""
EXPLICIT = 'middleware = [{ use = "retry" }, { use = "circuit_breaker" }]'
FIRST = 'middleware = [{ use = "metrics" }, { use = "retry" }]'


def problems(folder: Path, *, mode: str = "paper", middleware: str = "", metrics: str = "[metrics]") -> list[str]:
    from herald.errors import ConfigError

    file = folder / "run.toml"
    file.write_text(FILE.format(mode=mode, middleware=middleware, metrics=metrics), encoding="utf-8")
    try:
        load_plan(file, environ={})
    except ConfigError as error:
        return [f"{one.where}: {one.what}" for one in error.problems]
    return []


def layers(folder: Path, **terms: str) -> list[str]:
    assert [] == problems(folder, **terms)
    return [layer.use for layer in load_plan(folder / "run.toml", environ={}).layers("main")]


def test_with_metrics_the_layer_is_outside_the_usual_ones(tmp_path: Path) -> None:
    usual = ["health_monitor", "retry", "circuit_breaker", "rate_limiter"]

    assert ["metrics", *usual] == layers(tmp_path)
    assert usual == layers(tmp_path, metrics="")
    assert [] == layers(tmp_path, mode="backtest")


def test_stated_layers_without_it_are_a_problem_that_can_be_accepted(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, middleware=EXPLICIT)

    assert problem.startswith("connectors.main.middleware: lacks the metrics layer")
    assert [] == problems(tmp_path, middleware=EXPLICIT, metrics='[metrics]\n[plugins]\naccept = ["metrics-no-layer"]')
    assert [] == problems(tmp_path, middleware=FIRST)
    assert [] == problems(tmp_path, middleware="middleware = []")


def test_a_layer_that_counts_for_nobody_or_twice_is_a_problem(tmp_path: Path) -> None:
    (nobody,) = problems(tmp_path, middleware=FIRST, metrics="")
    (twice,) = problems(tmp_path, middleware=FIRST.replace("retry", "metrics"))

    assert "connectors.main.middleware[0]: counts for nobody" in nobody
    assert "connectors.main.middleware[1]: is listed twice" in twice


def test_a_missing_client_is_a_problem_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "find_spec", lambda name: None)

    (problem,) = problems(tmp_path)

    assert "metrics: needs prometheus-client" in problem


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[metrics]\nfiel = 'x'", "did you mean file"),
        ("[metrics]\nuse = 'metrix'", "metrix"),
        ("[metrics]\nfile_seconds = 0.1", "file_seconds"),
        ("[metrics]\nmax_series = 0", "max_series"),
        ("metrics = 5", "metrics"),
    ],
)
def test_a_mistake_in_the_table_is_told(tmp_path: Path, table: str, words: str) -> None:
    from herald.errors import ConfigError

    file = tmp_path / "run.toml"
    text = FILE.format(mode="paper", middleware="", metrics="")
    file.write_text(table + "\n" + text if "=" in table.splitlines()[0] else text + table, encoding="utf-8")

    with pytest.raises(ConfigError, match=words):
        load_plan(file, environ={})


def test_the_plan_shows_the_store(tmp_path: Path) -> None:
    assert [] == problems(tmp_path, metrics='[metrics]\nfile = "m.prom"')
    plan = load_plan(tmp_path / "run.toml", environ={})

    assert "metrics  metrics(file=m.prom) [herald-trading" in plan.describe()
    assert {"use": "metrics", "file": "m.prom", "file_seconds": 5.0, "max_series": 1000} == plan.to_dict()["metrics"]
    assert ["metrics"] == [one.use for one in plan.chosen("metrics")]
