"""Metrics that a test can look into."""

from __future__ import annotations

from collections.abc import Mapping

from herald.contracts import Counter, Gauge, Histogram, check_metric

__all__ = ["FakeMetrics"]


class _Handle:
    """One metric: counters and gauges have one value, distributions every value that was observed."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def add(self, value: float = 1.0) -> None:
        assert value >= 0, f"a counter only grows; {value} was added"
        self.values = [sum(self.values) + value]

    def set(self, value: float) -> None:
        self.values = [value]

    def observe(self, value: float) -> None:
        self.values.append(value)


class FakeMetrics:
    """Keeps what is counted, by name and labels; checks names and labels as every store does.

    Attributes:
        texts: What the asker said is counted, by name.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.texts: dict[str, str] = {}
        self._handles: dict[tuple[str, str, frozenset[tuple[str, str]]], _Handle] = {}
        self._kinds: dict[str, tuple[str, frozenset[str]]] = {}

    def counter(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Counter:
        """Return the counter *name*."""
        check_metric(name, labels, is_counter=True)
        return self._handle("counter", name, text, labels or {})

    def gauge(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Gauge:
        """Return the gauge *name*."""
        check_metric(name, labels, is_counter=False)
        return self._handle("gauge", name, text, labels or {})

    def histogram(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> Histogram:
        """Return the histogram *name*."""
        check_metric(name, labels, is_counter=False)
        return self._handle("histogram", name, text, labels or {})

    def value(self, name: str, **labels: str) -> float:
        """Return the value of a counter or gauge; 0.0 where nothing was counted.

        Raises:
            KeyError: Nobody asked for that metric.
        """
        values = self.observed(name, **labels)
        return values[-1] if values else 0.0

    def observed(self, name: str, **labels: str) -> list[float]:
        """Return everything that a distribution observed, in order.

        Raises:
            KeyError: Nobody asked for that metric.
        """
        kind, _ = self._kinds[name]
        return list(self._handles[kind, name, frozenset(labels.items())].values)

    def _handle(self, kind: str, name: str, text: str, labels: Mapping[str, str]) -> _Handle:
        known = self._kinds.setdefault(name, (kind, frozenset(labels)))
        if known != (kind, frozenset(labels)):
            raise ValueError(f"metric {name!r} is a {known[0]} with the labels {sorted(known[1])} already; choose another name")
        self.texts.setdefault(name, text)
        return self._handles.setdefault((kind, name, frozenset(labels.items())), _Handle())
