"""Fail when a test was skipped for a reason that is not in the checked-in list."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def main(report: str, allowed: str) -> int:
    lines = Path(allowed).read_text(encoding="utf-8").splitlines()
    patterns = [line.split("#", 1)[0].strip() for line in lines]
    patterns = [pattern for pattern in patterns if pattern]
    cases = ElementTree.parse(report).getroot().iter("testcase")
    skipped = [(case.get("classname", ""), case.get("name", ""), case.find("skipped")) for case in cases]
    bad = [
        f"{owner}::{name}: {node.get('message')}"
        for owner, name, node in skipped
        if node is not None and not any(pattern in f"{owner}::{name}" for pattern in patterns)
    ]
    print("\n".join(["skipped without a listed reason:", *bad]) if bad else "every skip has a listed reason")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
