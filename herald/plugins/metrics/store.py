"""The store: prometheus-client's metrics in a registry of its own, behind Herald's handles."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

import prometheus_client
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from herald.components import Services
from herald.contracts import Counter, Gauge, Histogram, check_metric
from herald.model import Alert, Event, RunStarted
from herald.plugins.metrics.file import TextFile
from herald.plugins.metrics.tally import Tally

__all__ = ["BUCKETS", "PrometheusStore"]

BUCKETS = tuple(step * 10.0**power for power in range(-5, 2) for step in (1.0, 2.5, 5.0))
"""Upper bounds of every distribution, seconds: 10 microseconds to 50 seconds, three a decade."""
_BOUNDS = (*map(str, BUCKETS), "+Inf")
_LONGEST = 120
"""Characters of a label value; more is cut off."""


class _Counter:
    """A handle that is nothing but the bound method of the client's metric: an observation costs no call more."""

    __slots__ = ("add",)

    def __init__(self, metric: prometheus_client.Counter) -> None:
        self.add: Callable[..., None] = metric.inc


class _Gauge:
    __slots__ = ("set",)

    def __init__(self, metric: prometheus_client.Gauge) -> None:
        self.set: Callable[[float], None] = metric.set


class _Histogram:
    """A distribution; the client's own looks through its bounds one by one and takes two locks for each observation."""

    __slots__ = ("_counts", "_lock", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count *value*."""
        place = bisect_left(BUCKETS, value)
        with self._lock:
            self._counts[place] += 1
            self._sum += value

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Return the buckets, each with how many were at most its bound, and the sum."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        return list(zip(_BOUNDS, accumulate(counts), strict=True)), total


class _Histograms(Collector):
    """All distributions of one name, as the client's registry asks for them."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._described = name, text, labels
        self._rows: dict[tuple[str, ...], _Histogram] = {}

    def labels(self, *values: str) -> _Histogram:
        """Return the distribution with the label *values*."""
        return self._rows.setdefault(values, _Histogram())

    def collect(self) -> Iterable[prometheus_client.Metric]:
        """Yield them as one family."""
        name, text, labels = self._described
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, row in list(self._rows.items()):
            buckets, total = row.read()
            family.add_metric(values, buckets, total)
        yield family


_Metric: TypeAlias = prometheus_client.Counter | prometheus_client.Gauge | _Histograms


@dataclass(slots=True)
class _Family:
    """All metrics of one name.

    Attributes:
        word: counter, gauge or histogram.
        labels: Names, sorted.
        metric: The client's.
        handles: By the values of the labels.
    """

    word: str
    labels: tuple[str, ...]
    metric: Any
    handles: dict[tuple[str, ...], Any] = field(default_factory=dict)


class _WithoutBirthdays(Collector):
    """A registry as it is shown: without the times at which its metrics were made, which double the text and serve nobody.

    The client has a switch for that, but it is one for the whole process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[prometheus_client.Metric]:
        """Yield every family of metrics."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class PrometheusStore:
    """Keeps metrics, counts what happens in the run, and writes everything to a file where it is told one.

    Attributes:
        events: What of a run it counts.
    """

    def __init__(self, file: str | None, file_seconds: float, max_series: int, services: Services) -> None:
        """Start empty; no file is touched and no thread runs before the run does.

        Args:
            file: Where the metrics are written as well, relative to ``services.base``; None for nowhere.
            file_seconds: How often, while a paper or live run goes on.
            max_series: Most combinations of label values of one metric.
            services: Of the component.
        """
        self._services = services
        self._max_series = max_series
        self._registry = CollectorRegistry(auto_describe=False)
        self._shown = _WithoutBirthdays(self._registry)
        self._families: dict[str, _Family] = {}
        self._lock = threading.Lock()
        self._tally = Tally(self, services.clock)
        self.events = self._tally.events
        self._file = None if file is None else TextFile(Path(services.base, file), self.expose, file_seconds, self._tell)

    # --- handles ----------------------------------------------------------------------------------

    def counter(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Counter:
        """Return the counter *name*."""
        check_metric(name, labels, is_counter=True)
        made: Counter = self._handle("counter", name, text, labels or {})
        return made

    def gauge(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Gauge:
        """Return the gauge *name*."""
        check_metric(name, labels, is_counter=False)
        made: Gauge = self._handle("gauge", name, text, labels or {})
        return made

    def histogram(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Histogram:
        """Return the histogram *name*."""
        check_metric(name, labels, is_counter=False)
        made: Histogram = self._handle("histogram", name, text, labels or {})
        return made

    def _handle(self, word: str, name: str, text: str, labels: Mapping[str, str]) -> Any:
        names = tuple(sorted(labels))
        values = tuple(str(labels[one])[:_LONGEST] for one in names)
        with self._lock:
            family = self._families.get(name)
            if family is None:
                family = self._families[name] = _Family(word, names, _make(word, f"herald_{name}", text, names, self._registry))
            if (family.word, family.labels) != (word, names):
                theirs, mine = _described(family.word, family.labels), _described(word, names)
                raise ValueError(f"metric {name!r} is a {theirs} already and cannot be a {mine}; choose another name")
            handle = family.handles.get(values)
            if handle is not None:
                return handle
            is_full = len(family.handles) >= self._max_series
            if is_full:
                values = ("other",) * len(names)
            tells = is_full and values not in family.handles
            if values not in family.handles:
                family.handles[values] = _bound(word, family.metric, values)
            handle = family.handles[values]
        if tells:
            what = f"metric {name!r} has more than {self._max_series} combinations of {', '.join(names)}"
            self._tell("metrics_overflow", f"{what}; what comes beyond is counted together as 'other'")
        return handle

    # --- the run ----------------------------------------------------------------------------------

    def observe(self, event: Event) -> None:
        """Count *event*."""
        self._tally.observe(event)
        if self._file is not None and type(event) is RunStarted and event.mode != "backtest":
            self._file.start()

    def expose(self) -> bytes:
        """Return every metric in Prometheus' text format 0.0.4; from any thread."""
        return prometheus_client.generate_latest(self._shown)

    def close(self) -> None:
        """Write the file a last time."""
        if self._file is not None:
            self._file.close()

    def _tell(self, code: str, text: str) -> None:
        self._services.emit(Alert(self._services.clock.now(), code, text))


def _make(word: str, name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry) -> _Metric:
    if word == "counter":
        return prometheus_client.Counter(name, text, labels, registry=registry)
    if word == "gauge":
        return prometheus_client.Gauge(name, text, labels, registry=registry)
    made = _Histograms(name, text, labels)
    registry.register(made)
    return made


def _bound(word: str, metric: Any, values: tuple[str, ...]) -> _Counter | _Gauge | _Histogram:
    if word == "histogram":
        made: _Histogram = metric.labels(*values)
        return made
    bound = metric.labels(*values) if values else metric
    return _Counter(bound) if word == "counter" else _Gauge(bound)


def _described(word: str, labels: tuple[str, ...]) -> str:
    return f"{word} with the labels {', '.join(labels)}" if labels else f"{word} without labels"
