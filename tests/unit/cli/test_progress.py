"""The progress bar: only for a terminal, and only once a run has taken a second."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
import rich.console

from herald.cli import backtest
from herald.testing import FakeClock


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """Show on a terminal that writes into a text."""
    text = StringIO()
    real = rich.console.Console

    def console(**options: Any) -> rich.console.Console:
        return real(**(options | {"file": text, "stderr": False, "force_terminal": True, "width": 80}))

    monkeypatch.setattr(rich.console, "Console", console)
    return text


def test_short_run_shows_no_bar(screen: StringIO) -> None:
    clock = FakeClock()

    with backtest._progress(clock, shown=True) as progress:
        assert progress is not None
        clock.advance(0.9)
        progress(0.5)

    assert "" == screen.getvalue()


def test_long_run_shows_how_far_it_is(screen: StringIO) -> None:
    clock = FakeClock()

    with backtest._progress(clock, shown=True) as progress:
        assert progress is not None
        progress(0.1)
        clock.advance(1.5)
        progress(0.42)

    assert "42%" in screen.getvalue()


def test_bar_is_taken_away_when_the_run_raises(screen: StringIO) -> None:
    clock = FakeClock()

    def interrupted() -> None:
        with backtest._progress(clock, shown=True) as progress:
            assert progress is not None
            clock.advance(2)
            progress(0.5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert screen.getvalue().endswith("\x1b[2K")  # the line is erased


def test_nothing_is_shown_where_there_is_no_terminal(screen: StringIO) -> None:
    with backtest._progress(FakeClock(), shown=False) as progress:
        assert progress is None

    assert "" == screen.getvalue()


def test_what_takes_an_unknown_time_is_named_at_once(screen: StringIO) -> None:
    with backtest._progress(FakeClock(), shown=True) as progress:
        assert progress is not None
        progress.say("writing results")

    assert "writing results" in screen.getvalue()
