"""The rules of a store of metrics."""

from __future__ import annotations

import re
import threading
from typing import ClassVar

import pytest

from herald.components import Component
from herald.contracts import MetricsStore, Observer
from herald.testing.contracts.observer import ObserverContract
from herald.testing.market import make_services

__all__ = ["MetricsStoreContract"]

_LINE = re.compile(r'(?:#.*|[a-z_][a-z0-9_]*(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\})? (?:[-+.0-9e]+|NaN|[-+]Inf))\n')


class MetricsStoreContract(ObserverContract):
    """Subclass it as ``TestX``; set `store` (the component) and `settings`, or override `observer`."""

    store: ClassVar[Component[MetricsStore]]

    def observer(self) -> Observer:
        """Return a fresh store."""
        return self.fresh()

    def fresh(self) -> MetricsStore:
        """Return a fresh store; override it where it needs more than settings, such as a folder."""
        return self.store.build(self.settings, make_services("metrics"))

    def test_it_shows_what_was_counted(self) -> None:
        """Counters, gauges and distributions appear under their names behind ``herald_``, with their labels."""
        store = self.fresh()

        store.counter("things_total", "Things.", {"kind": "a"}).add(2)
        store.gauge("level", "A level.").set(-1.5)
        store.histogram("wait_seconds", "A wait.").observe(0.25)

        lines = store.expose().decode().splitlines()
        assert 'herald_things_total{kind="a"} 2.0' in lines
        assert "herald_level -1.5" in lines
        assert {"herald_wait_seconds_count 1.0", "herald_wait_seconds_sum 0.25"} <= set(lines)

    def test_every_line_is_of_the_text_format(self) -> None:
        """Whatever stands in a text or a label, the exposition stays readable."""
        store = self.fresh()

        store.counter("odd_total", 'quotes " and\nlines', {"kind": 'a"}\\\n{'}).add()

        text = store.expose().decode()
        assert "odd_total" in text
        assert _LINE.sub("", text) == ""

    def test_the_same_name_and_labels_are_the_same_metric(self) -> None:
        """Two components that ask for one metric count together; other labels are another metric."""
        store = self.fresh()

        store.counter("things_total", "Things.", {"a": "1", "b": "2"}).add()
        store.counter("things_total", "Things.", {"b": "2", "a": "1"}).add()
        store.counter("things_total", "Things.", {"a": "1", "b": "3"}).add()

        values = sorted(line.rpartition(" ")[2] for line in store.expose().decode().splitlines() if "things_total{" in line)
        assert values == ["1.0", "2.0"]

    def test_a_name_that_could_not_be_shown_is_refused(self) -> None:
        """A name or label that breaks the rules of `Metrics` raises ``ValueError`` when it is asked for."""
        store = self.fresh()

        for name in ("Upper_total", "no-dash_total", "things", "ö_total"):
            with pytest.raises(ValueError, match="total"):
                store.counter(name, "")
        for name in ("level_total", "level_count", "level_bucket"):
            with pytest.raises(ValueError, match="level"):
                store.gauge(name, "")
        with pytest.raises(ValueError, match="le"):
            store.histogram("wait_seconds", "", {"le": "1"})

    def test_one_name_is_one_kind_with_one_set_of_labels(self) -> None:
        """What would make the exposition ambiguous is refused where it is asked for."""
        store = self.fresh()
        store.gauge("level", "A level.", {"kind": "a"})

        with pytest.raises(ValueError, match="level"):
            store.gauge("level", "A level.")
        with pytest.raises(ValueError, match="level"):
            store.histogram("level", "A level.", {"kind": "a"})

    def test_nothing_is_lost_between_threads(self) -> None:
        """Handles count exactly from many threads, while others read."""
        store = self.fresh()

        def count(number: int) -> None:
            for _ in range(500):
                store.counter("things_total", "Things.", {"thread": str(number % 2)}).add()

        threads = [threading.Thread(target=count, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert _LINE.sub("", store.expose().decode()) == ""
        for thread in threads:
            thread.join()

        lines = store.expose().decode().splitlines()
        assert {'herald_things_total{thread="0"} 1000.0', 'herald_things_total{thread="1"} 1000.0'} <= set(lines)
