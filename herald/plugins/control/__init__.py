"""A control server beside a paper or live run: an HTTP interface and a dashboard, in a process of its own.

See docs/control.md.
"""

from collections.abc import Iterable

from herald.components import Component, component, hookimpl
from herald.contracts import Service
from herald.plugins.control.service import ControlService
from herald.plugins.control.settings import ControlSettings

__all__ = ["ControlService", "ControlSettings", "herald_services"]


@hookimpl
def herald_services() -> Iterable[Component[Service]]:
    """Offer the control server."""
    yield component("control", ControlSettings, ControlService, "HTTP interface and dashboard, in a process of its own.")
