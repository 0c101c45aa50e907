"""The thread that owns the journal: what is about to be done is on disk before it is done.

Whoever writes hands over records and what shall happen once they are kept. The thread takes everything that waits, keeps
it with one commit, and only then lets it happen, in order.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from herald.contracts import Journal
from herald.errors import JournalError
from herald.model import Record

__all__ = ["Spool"]

_MOST = 500
"""Entries of one commit: enough to share its price, few enough for the first not to wait for the last."""


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
    """

    def __init__(self, open_journal: Callable[[], Journal], trouble: Callable[[str], None]) -> None:
        """Prepare; the journal is opened by the thread, and again after a failure.

        Args:
            open_journal: Opens the journal.
            trouble: Told the first failure and every later change of it, in one line; called from the thread.
        """
        self.is_writable = True
        self.number = 0
        self._open = open_journal
        self._trouble = trouble
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
            failed: Called instead where they cannot be, with the reason.
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

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            batch: list[_Entry] = []
            works: list[Callable[[Journal], None]] = []
            entry = self._entries.get()
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
        if self._journal is not None:
            try:
                self._journal.close()
            except JournalError as error:
                self._trouble(str(error))

    def _keep(self, batch: list[_Entry]) -> None:
        if not batch:
            return
        records = [record for entry in batch for record in entry.records]
        try:
            if records:
                self.number = self._opened().append(records, durable=any(entry.durable for entry in batch))
        except JournalError as error:
            self._failed(str(error))
            if len(batch) > 1:  # one record that has no room must not keep the others, exits among them, from being kept
                for entry in batch:
                    self._keep([entry])
            elif batch[0].failed is not None:
                batch[0].failed(str(error))
            return
        self.is_writable = True
        for entry in batch:
            if entry.kept is not None:
                entry.kept()

    def _work(self, work: Callable[[Journal], None]) -> None:
        try:
            work(self._opened())
        except JournalError as error:
            self._failed(str(error))

    def _opened(self) -> Journal:
        if self._journal is None:
            self._journal = self._open()
        return self._journal

    def _failed(self, text: str) -> None:
        """Give the handle up: after a failed commit nobody knows what it holds."""
        self.is_writable = False
        journal, self._journal = self._journal, None
        if journal is not None:
            try:
                journal.close()
            except JournalError as error:
                text = f"{text}; closing it failed as well: {error}"
        self._trouble(text)
