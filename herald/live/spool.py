"""The thread that owns the journal: what is about to be done is on disk before it is done.

Whoever writes hands over records and what shall happen once they are kept. The thread takes everything that waits, keeps
it with one commit, and only then lets it happen, in order. What cannot be kept does not happen; what has happened already
is kept later, before anything else, as soon as the journal can be written again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from herald.clock import stopwatch
from herald.contracts import Journal
from herald.errors import JournalError
from herald.live.crashpoints import crash_point
from herald.live.timing import Times
from herald.model import Record

__all__ = ["Spool"]

_MOST = 500
"""Entries of one commit: enough to share its price, few enough for the first not to wait for the last."""
_MOST_OWED = 100_000
"""Facts that wait for a journal that cannot be written; beyond that only a snapshot can make up for them."""
_AGAIN_SECONDS = 1.0
"""Between two attempts to keep what is owed while nothing else is to be kept."""


class _Entry:
    """Records, and what follows when they are kept or cannot be."""

    __slots__ = ("durable", "failed", "kept", "records")

    def __init__(
        self,
        records: Sequence[Record],
        durable: bool,
        kept: Callable[[], None] | None,
        failed: Callable[[str], None] | None,
    ) -> None:
        self.records = records
        self.durable = durable
        self.kept = kept
        self.failed = failed


class Spool:
    """Writes to a journal from one thread.

    Attributes:
        is_writable: Whether the last commit succeeded. Read by others.
        number: Of the last record kept. Read by others.
        is_behind: Facts were given up, and only a snapshot of everything makes up for them. Read by others.
    """

    def __init__(self, open_journal: Callable[[], Journal], trouble: Callable[[str], None], times: Times | None = None) -> None:
        """Prepare; the journal is opened by the thread, and again after a failure.

        Args:
            open_journal: Opens the journal.
            trouble: Told the first failure and every later change of it, in one line; called from the thread.
            times: Told how long a commit takes; None where nobody measures.
        """
        self.is_writable = True
        self.number = 0
        self.is_behind = False
        self._owed: list[_Entry] = []
        self._reason = ""
        self._before_commit = crash_point("before_commit")
        self._open = open_journal
        self._trouble = trouble
        self._times = times
        self._journal: Journal | None = None
        self._entries: queue.SimpleQueue[_Entry | Callable[[Journal], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="herald-journal", daemon=True)

    def start(self, journal: Journal) -> None:
        """Take over *journal*, which nobody else may use from now on."""
        self._journal = journal
        self._thread.start()

    def write(
        self,
        records: Sequence[Record],
        *,
        durable: bool = False,
        kept: Callable[[], None] | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """Keep *records*; from any thread, never blocks.

        Args:
            records: In order.
            durable: *kept* must not happen before they would survive a loss of power.
            kept: Called from the journal's thread once they are kept.
            failed: Called instead where they cannot be, with the reason. Records without it are facts, and kept later.
        """
        self._entries.put(_Entry(records, durable, kept, failed))

    def run(self, work: Callable[[Journal], None]) -> None:
        """Call *work* with the journal between two commits, such as for a snapshot."""
        self._entries.put(work)

    def stop(self, timeout: float) -> bool:
        """Keep what waits, close the journal and end; return whether that came about within *timeout* seconds."""
        self._entries.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def backlog(self) -> int:
        """Return about how many entries wait to be kept."""
        return self._entries.qsize() + len(self._owed)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            batch: list[_Entry] = []
            works: list[Callable[[Journal], None]] = []
            try:
                entry = self._entries.get(timeout=_AGAIN_SECONDS if self._owed else None)
            except queue.Empty:
                self._pay()
                continue
            while True:
                if entry is None:
                    going = False
                    break
                if isinstance(entry, _Entry):
                    batch.append(entry)
                else:
                    works.append(entry)
                if len(batch) >= _MOST or works:
                    break
                try:
                    entry = self._entries.get_nowait()
                except queue.Empty:
                    break
            self._keep(batch)
            for work in works:
                self._work(work)
        if self._owed:
            self._pay()
        if self._journal is not None:
            try:
                self._journal.close()
            except JournalError as error:
                self._trouble(str(error))

    def _keep(self, batch: list[_Entry]) -> None:
        if not batch:
            return
        self._before_commit()
        if self._owed and not self._pay():
            for entry in batch:
                self._refuse(entry, self._reason)
            return
        records = [record for entry in batch for record in entry.records]
        try:
            if records:
                began = 0.0 if self._times is None else stopwatch()
                self.number = self._opened().append(records, durable=any(entry.durable for entry in batch))
                if self._times is not None:
                    self._times.commit.observe(stopwatch() - began)
        except JournalError as error:
            self._failed(str(error))
            if len(batch) > 1:  # one record that has no room must not keep the others, exits among them, from being kept
                for entry in batch:
                    self._keep([entry])
            else:
                self._refuse(batch[0], str(error))
            return
        self.is_writable = True
        self._happen(batch)

    def _refuse(self, entry: _Entry, reason: str) -> None:
        """Say of an entry that it could not be kept; what has happened all the same is kept later."""
        if entry.failed is not None:
            entry.failed(reason)
        elif not entry.records:
            if entry.kept is not None:
                entry.kept()
        elif len(self._owed) < _MOST_OWED:
            self._owed.append(entry)
        else:
            self.is_behind = True

    def _pay(self) -> bool:
        """Keep what is owed, in its order, before anything that came later; return whether nothing is owed any more."""
        while self._owed:
            entries = self._owed[:_MOST]
            try:
                self.number = self._opened().append([record for entry in entries for record in entry.records], durable=False)
            except JournalError as error:
                self._failed(str(error))
                if len(entries) > 1 and self._pay_first():
                    continue
                return False
            del self._owed[: len(entries)]
            self._happen(entries)
        self.is_writable = True
        return True

    def _pay_first(self) -> bool:
        """Keep the first entry that is owed, so that one that is too large or can never be kept does not hold up the rest."""
        entry = self._owed[0]
        try:
            self.number = self._opened().append(entry.records, durable=False)
        except JournalError as error:
            if not isinstance(error.__cause__, ValueError):
                self._failed(str(error))
                return False
            self._failed(f"given up: {error}")
        del self._owed[0]
        self._happen([entry])
        return True

    def _happen(self, entries: Sequence[_Entry]) -> None:
        for entry in entries:
            if entry.kept is not None:
                entry.kept()

    def _work(self, work: Callable[[Journal], None]) -> None:
        try:
            work(self._opened())
            self.is_behind = False
        except JournalError as error:
            self._failed(str(error))

    def _opened(self) -> Journal:
        if self._journal is None:
            self._journal = self._open()
        return self._journal

    def _failed(self, text: str) -> None:
        """Give the handle up: after a failed commit nobody knows what it holds."""
        self.is_writable = False
        self._reason = text
        journal, self._journal = self._journal, None
        if journal is not None:
            try:
                journal.close()
            except JournalError as error:
                text = f"{text}; closing it failed as well: {error}"
        self._trouble(text)
