"""Tell people what a run needs them to know, through whatever apprise can reach, from a process of its own.

See docs/alerts.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from herald.components import Component, component, hookimpl
from herald.contracts import PlanView, Problem, Service
from herald.plugins.alerts.service import Alerts
from herald.plugins.alerts.settings import AlertsSettings, QuietSettings, RuleSettings

__all__ = ["Alerts", "AlertsSettings", "QuietSettings", "RuleSettings", "herald_services", "herald_validate"]


@hookimpl
def herald_services() -> Iterable[Component[Service]]:
    """Offer the alerts."""
    yield component("alerts", AlertsSettings, Alerts, "Tell people what they must know: Telegram, e-mail and what else there is.")


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Report alerts that nobody could send, and two of them that would share one queue."""
    mine = [part for part in plan.chosen("service") if isinstance(part.settings, AlertsSettings)]
    if mine and find_spec("apprise") is None:
        yield Problem(mine[0].name, "needs apprise, which is not installed", "pip install 'herald-trading[notify]'")
    for part in mine[1:]:
        yield Problem(part.name, "would send the same alerts again", "keep one, and give its rules targets of their own")
