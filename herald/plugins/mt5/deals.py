"""Which deals are news, and from when on the terminal has to be asked for more.

The terminal pushes nothing: every poll asks for a stretch of the history and compares it with what was told before. To ask for
the whole day each time would cost more with every deal, so what is asked for follows the newest deal that was told.

All times here are the **server's** own, seconds as if they were UTC, on deals as on the bounds of a question: what follows a deal
does not depend on the zone of the server being known or right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from herald.plugins.mt5.records import TradeDeal

__all__ = ["FULL_SECONDS", "LOOK_BACK", "OVERLAP", "DealWatch", "Look"]

OVERLAP = 5_400
"""So long before the newest deal is asked for, seconds: an hour in which the server's clock may have been put back, and half an
hour for deals that come into the history later than newer ones."""
LOOK_BACK = 86_400
"""So far back a full look goes at least, seconds."""
FULL_SECONDS = 600.0
"""After so long everything of the last day is looked at again, whatever the newest deal is."""


class Look(msgspec.Struct, frozen=True):
    """A question to the history.

    Attributes:
        start: From when on, seconds of the server's clock.
        is_full: It goes back by `LOOK_BACK`, further where the last full look is longer ago, and not beyond the beginning.
    """

    start: int
    is_full: bool


class DealWatch:
    """Remembers which deals were told.

    A poll that fails must lose nothing, so nothing is remembered before `keep` is called.
    """

    def __init__(self) -> None:
        """Know nothing; `begin` comes first."""
        self._known: dict[int, int] = {}
        self._floor = 0
        self._newest = 0
        self._looked = 0
        self._next_full = 0.0
        self._is_due = False

    @staticmethod
    def first_look(shown: int) -> Look:
        """Return what to ask for before `begin`: more than any later look reaches back to.

        Args:
            shown: What the server's clock shows now; less than that where its zone is not certain, never more.
        """
        return Look(max(shown - LOOK_BACK - OVERLAP, 1), True)

    def begin(self, deals: Iterable[TradeDeal], shown: int) -> None:
        """Take *deals* as told; what happens from here on is news, and so is what comes up late from shortly before.

        Args:
            deals: The answer to `first_look`.
            shown: As that was made with.
        """
        self._known = {deal.ticket: deal.time for deal in deals}
        self._floor = self._newest = self._looked = shown
        self._is_due = True

    def look_at_all(self) -> None:
        """Make the next look a full one: the connection was gone."""
        self._is_due = True

    def next_look(self, shown: int, monotonic: float) -> Look:
        """Return what to ask for now.

        Args:
            shown: As of `first_look`.
            monotonic: Seconds.
        """
        if not self._is_due and monotonic < self._next_full:
            return Look(max(self._newest - OVERLAP, 1), False)
        return Look(max(max(min(self._looked, shown - LOOK_BACK), self._floor) - OVERLAP, 1), True)

    def news(self, deals: Sequence[TradeDeal]) -> list[TradeDeal]:
        """Return those of *deals* that were not told yet, in their order."""
        return [deal for deal in deals if deal.ticket not in self._known]

    def keep(self, look: Look, news: Iterable[TradeDeal], shown: int, monotonic: float) -> None:
        """Count *news* as told.

        Args:
            look: What had been asked for.
            news: What `news` made of the answer.
            shown: As *look* was made with.
            monotonic: The same.
        """
        for deal in news:
            self._known[deal.ticket] = deal.time
            self._newest = max(self._newest, deal.time)
        if look.is_full:
            # What no question reaches any more need not be remembered; so none may reach there, whatever *shown* says by then.
            self._floor = max(self._floor, look.start + OVERLAP)
            self._known = {ticket: time for ticket, time in self._known.items() if time >= look.start}
            self._newest = max(self._newest, shown)
            self._looked = shown
            self._next_full = monotonic + FULL_SECONDS
            self._is_due = False
