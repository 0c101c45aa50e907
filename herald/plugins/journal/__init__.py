"""The journal: what a paper or live run is about to do and what came of it, in one SQLite file."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from herald.components import Component, Services, component, hookimpl
from herald.contracts import Journal, PlanView, Problem
from herald.plugins.journal.copies import backup, restore
from herald.plugins.journal.inspection import JournalFile, Verified, verify
from herald.plugins.journal.sqlite import JournalSettings, SqliteJournal

__all__ = [
    "JournalFile",
    "JournalSettings",
    "SqliteJournal",
    "Verified",
    "backup",
    "herald_journals",
    "herald_validate",
    "restore",
    "verify",
]


@hookimpl
def herald_journals() -> Iterable[Component[Journal]]:
    """Offer the journal."""
    build: Callable[[JournalSettings, Services], Journal] = SqliteJournal
    yield component("sqlite", JournalSettings, build, "One SQLite file on this machine, checked by a chain of hashes.")


@hookimpl
def herald_validate(plan: PlanView) -> Iterable[Problem]:
    """Refuse real money with a journal that a loss of power may shorten."""
    for one in plan.chosen("journal"):
        if one.use == "journal.sqlite" and one.settings.synchronous != "full" and plan.mode == "live":
            what = "normal: a loss of power may lose the record of orders that were sent (journal-not-durable)"
            yield Problem(f"{one.name}.synchronous", what, 'write "full"')
