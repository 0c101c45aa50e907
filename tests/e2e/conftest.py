"""The browser of the end-to-end tests, started once a module: while it is there, its event loop runs in this thread."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

# Quiet and deterministic: no first-run pages, no updates, no request of the browser's own.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on the PATH; install it, these tests decide about the report and the dashboard")
        pytest.skip("no chromium on the PATH: the pages are not looked at")
    with sync_playwright() as play:
        program = play.chromium.launch(executable_path=found, args=FLAGS)
        yield program
        program.close()
