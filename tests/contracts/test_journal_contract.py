from __future__ import annotations

from pathlib import Path

from herald.contracts import Journal
from herald.plugins.journal import JournalSettings, SqliteJournal
from herald.testing import make_services
from herald.testing.contracts.journal import JournalContract


class TestSqlite(JournalContract):
    def open_journal(self, folder: Path) -> Journal:
        services = make_services("journal", base=str(folder))
        return SqliteJournal(JournalSettings(file="journal.sqlite", reserve_bytes=4_096), services)
