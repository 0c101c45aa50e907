"""Look for passwords and keys in what is under version control: `python .ci/secret_scan.py`.

detect-secrets finds what looks like one; `.secrets.baseline` lists what was looked at and is none. A line number may
change, so files are compared by what was found and not by where in the file. `--update` writes the list anew, for a person to read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / ".secrets.baseline"
LEFT_OUT = ("requirements/", "herald/report/static/", "tests/fuzz/corpus/", ".secrets.baseline")
"""Hashes of files, files of others as they published them, bytes without meaning."""
MADE_UP = r"^(secret|wrong|test|very-secret)[a-z0-9_:-]*$"
"""How passwords of tests and examples begin, so that nobody has to wonder."""


def scan() -> dict[str, Any]:
    """Return what detect-secrets finds in every file under version control."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    files = [one for one in listed if one and not one.startswith(LEFT_OUT) and (ROOT / one).is_file()]
    command = ["detect-secrets", "scan", "--exclude-secrets", MADE_UP, *files]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def found(document: dict[str, Any]) -> dict[tuple[str, str, str], int]:
    """Return line by (file, kind, hash)."""
    return {
        (name.replace("\\", "/"), one["type"], one["hashed_secret"]): one.get("line_number", 0)
        for name, many in document["results"].items()
        for one in many
    }


def main() -> None:
    """Compare with the list, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    document = scan()
    if options.update:
        kept = {"version": document["version"], "plugins_used": document["plugins_used"], "results": document["results"]}
        for many in kept["results"].values():
            for one in many:
                one["is_secret"] = False
        BASELINE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(f"{len(found(document))} entries; read what changed before it is committed")
        return
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))
    known = found(baseline)
    new = {key: line for key, line in found(document).items() if key not in known}
    for (name, kind, _), line in sorted(new.items()):
        print(f"{name}:{line}: {kind}: if it is a secret, take it out and make a new one; if not: --update")
    confirmed = [one for many in baseline["results"].values() for one in many if one.get("is_secret") is not False]
    if new or confirmed:
        sys.exit(f"{len(new)} new, {len(confirmed)} not looked at")
    print(f"no secret in the source; {len(known)} known false alarms")


if __name__ == "__main__":
    main()
