"""``herald alerts test``: find out whether the alerts of a config reach anybody, before they must."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from herald.clock import WallClock, format_time
from herald.errors import ConfigError, NotFound, Problem

if TYPE_CHECKING:
    from herald.live.state import Change
    from herald.plugins.alerts import Alerts

__all__ = ["alerts", "tell_of_halt"]

_FAILED = 1
_HALT_SECONDS = 20.0
"""How long a watchdog that ends waits for its last words to be sent."""


@click.group()
def alerts() -> None:
    """Look after the alerts of a config."""


@alerts.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--target", "names", multiple=True, metavar="NAME", help="This target only; may be given again.")
@click.option("--seconds", type=click.FloatRange(min=1, max=600), default=30.0, show_default=True, help="How long to wait.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def test(file: Path, names: tuple[str, ...], seconds: float, as_json: bool) -> None:
    """Send a text to every target of FILE, once, and say what came of it. Exit code 1: one of them failed.

    Rules, quiet hours and what waits to be sent have no part in it.
    """
    service = _service(file)
    if service is None:
        hint = 'add [[services]] with use = "alerts"; see docs/alerts.md'
        raise ConfigError(str(file), [Problem("services", "there are no alerts", hint)])
    known = service.targets
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
            raise NotFound(f"the alerts of {str(file)!r} have no target {name!r}; {hint}")
    results = service.test(tuple(dict.fromkeys(names)) or known, seconds)
    if as_json:
        click.echo(json.dumps({name: {"ok": not why, "why": why} for name, why in results.items()}, indent=2))
    else:
        width = max(len(name) for name in results)
        for name, why in results.items():
            click.echo(f"{name:{width}}  {f'failed: {why}' if why else 'ok'}")
    if any(results.values()):
        raise click.exceptions.Exit(_FAILED)


def tell_of_halt(file: Path, halt: Change) -> str:
    """Send the alert that the watchdog halted the account of *file*, for the run that would have done it is gone.

    Returns:
        What came of it, on one line; empty where nobody wants to be told.
    """
    service = _service(file)
    if service is None:
        return ""
    text = f"the watchdog halted {halt.scope}: {halt.why}; it stays so until somebody resumes [{format_time(halt.time)}, {file}]"
    is_sent = service.announce("crash_loop", "halted by the watchdog", text, _HALT_SECONDS)
    if is_sent is None:
        return ""
    return "alert sent" if is_sent else "the alert could not be sent yet; the next run sends it"


def _service(file: Path) -> Alerts | None:
    """Return the alerts of *file*; None where it has none.

    Raises:
        ConfigError: The file is wrong, or a secret is missing.
    """
    from herald.host.plan import load_plan
    from herald.plugins.alerts import Alerts, AlertsSettings
    from herald.runtime.building import Builder

    plan, clock = load_plan(file), WallClock()
    part = next((one for one in plan.services if isinstance(one.settings, AlertsSettings)), None)
    if part is None:
        return None
    built = Builder(plan, clock, lambda event: None, clock, is_measured=False)(part, clock=clock)
    assert isinstance(built, Alerts)  # noqa: S101 - what its component builds
    return built
