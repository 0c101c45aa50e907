"""``python -m herald.testing.simbroker --book FILE``: serve until killed; the first line of output says where."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from herald.testing.simbroker.process import make_terms
from herald.testing.simbroker.server import Server
from herald.testing.simbroker.terms import Terms


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; return the exit code: 2 where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m herald.testing.simbroker", description="A simulated broker for tests.")
    parser.add_argument("--book", required=True, type=Path, help="file of its book; made where there is none")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes any that is free")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--terms", default="", help="JSON file with fields of Terms, or - for one line of standard input")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    given = parser.parse_args(arguments)
    try:
        server = Server(_terms(given.terms, given.book), given.book, host=given.host, port=given.port)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        sys.stderr.write(f"simbroker: {error}\n")
        return 2
    terms = server.terms
    ready = {"address": server.address, "pid": os.getpid(), "book": str(given.book), "account": terms.account}
    if not given.terms:  # whoever gave the tokens knows them
        ready |= {"token": terms.token, "control_token": terms.control_token}
    sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
    sys.stdout.flush()
    if given.with_parent:
        threading.Thread(target=_follow_parent, args=(server,), daemon=True).start()
    try:
        server.run()
    except KeyboardInterrupt:
        server.stop()
    return 0


def _terms(source: str, book: Path) -> Terms:
    if not source:
        return make_terms(book)
    text = sys.stdin.buffer.readline() if source == "-" else Path(source).read_bytes()
    return msgspec.json.decode(text, type=Terms)


def _follow_parent(server: Server) -> None:
    while sys.stdin.buffer.readline():
        pass
    server.loop.stop()


if __name__ == "__main__":
    sys.exit(main())
