"""What Herald depends on, as files that a person can review: locked versions with hashes, a bill of materials, licences.

    python .ci/supply_chain.py           write all of them anew from pyproject.toml (needs uv)
    python .ci/supply_chain.py --check   compare the bill of materials and the licences with the lock (needs nothing)
    python .ci/supply_chain.py --advisories   ask for known vulnerabilities of everything locked (needs pip-audit and its service)

A change of any of them is a change of what runs with money: it belongs in a commit of its own, and is read.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
CORE, DEVELOPMENT = LOCKS / "core.txt", LOCKS / "dev.txt"
SERVER, BUILD = LOCKS / "server.txt", LOCKS / "build.txt"
MATERIALS, LICENCES = LOCKS / "sbom.cdx.json", LOCKS / "licences.md"
_PROJECT, _TESTED = "pyproject.toml", ("--constraint", "requirements/dev.txt")
EXTRAS = {
    CORE: [_PROJECT],
    DEVELOPMENT: [_PROJECT, "--extra", "test", "--group", "lint", "--group", "docs", "--group", "build", "--group", "security"],
    # What the Dockerfile installs, and what it builds Herald with, in the versions that the tests ran with.
    SERVER: [_PROJECT, *(f"--extra={extra}" for extra in ("web", "metrics", "notify", "otel")), *_TESTED],
    BUILD: ["--group", "wheel", *_TESTED],
}

PERMISSIVE = {"MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0", "PSF-2.0", "Zlib", "CC0-1.0", "ISC"}
"""What a distribution of the core may be under: nothing that asks something of those who use Herald."""
STATED = {"win32-setctime": "MIT", "colorama": "BSD-3-Clause", "tzdata": "Apache-2.0"}
"""Licences of what is only installed on other systems, or does not name its licence by an identifier; from their repositories."""
CLASSIFIERS = {
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
}


def locked(path: Path) -> list[dict[str, Any]]:
    """Return name, version, marker, hashes and users of everything in a lock, in its order."""
    found: list[dict[str, Any]] = []
    in_users = False
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==(\S+?)(?: ; (.*?))? \\$", line)
        if match:
            found.append({"name": match[1], "version": match[2], "marker": match[3] or "", "hashes": [], "via": []})
            in_users = False
        elif digest := re.search(r"--hash=sha256:([0-9a-f]{64})", line):
            found[-1]["hashes"].append(digest[1])
        elif users := re.match(r"\s+#\s+(via)?\s*(.*)", line):
            in_users = in_users or users[1] is not None
            if in_users and users[2]:
                found[-1]["via"].append(users[2].partition(" ")[0])
        elif line.strip():
            raise SystemExit(f"{path.name}: a line that is not understood: {line!r}; write it anew")
    return found


def licence_of(name: str) -> str:
    """Return the SPDX expression of a distribution's licence."""
    if name in STATED:
        return STATED[name]
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        raise SystemExit(f"{name} is not installed here, so its licence is not known; add it to STATED") from None
    expression = metadata.get("License-Expression") or metadata.get("License") or ""
    known = {*CLASSIFIERS.values(), *PERMISSIVE}
    if re.fullmatch(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*", expression) and set(parts(expression)) & known:
        return expression
    stated = [CLASSIFIERS[one] for one in metadata.get_all("Classifier") or () if one in CLASSIFIERS]
    if not stated:
        raise SystemExit(f"{name} does not name its licence ({expression!r}); look it up, then add it to STATED")
    return stated[0]


def parts(expression: str) -> list[str]:
    """Return the licences that an SPDX expression names."""
    return [one for one in re.split(r"[ ()]+", expression) if one not in ("AND", "OR", "WITH", "")]


def materials(rows: list[dict[str, Any]], licences: dict[str, str], project: dict[str, Any]) -> str:
    """Return a bill of materials in CycloneDX 1.5; the same lock gives the same bytes."""
    root = f"pkg:pypi/{project['name']}@{project['version']}"
    ref = {row["name"]: f"pkg:pypi/{row['name']}@{row['version']}" for row in rows}
    used: dict[str, set[str]] = {root: set(), **{f"pkg:pypi/{row['name']}@{row['version']}": set() for row in rows}}
    for row in rows:
        for user in row["via"]:
            used[root if user == project["name"] else ref[user]].add(f"pkg:pypi/{row['name']}@{row['version']}")
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": project["name"],
                "version": project["version"],
                "purl": root,
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": [
            {
                "type": "library",
                "bom-ref": f"pkg:pypi/{row['name']}@{row['version']}",
                "name": row["name"],
                "version": row["version"],
                "purl": f"pkg:pypi/{row['name']}@{row['version']}",
                "licenses": [{"expression": licences[row["name"]]}],
                **({"properties": [{"name": "marker", "value": row["marker"]}]} if row["marker"] else {}),
                "externalReferences": [
                    {
                        "type": "distribution",
                        "url": f"https://pypi.org/project/{row['name']}/{row['version']}/",
                        "hashes": [{"alg": "SHA-256", "content": one} for one in sorted(row["hashes"])],
                    }
                ],
            }
            for row in rows
        ],
        "dependencies": [{"ref": one, "dependsOn": sorted(uses)} for one, uses in sorted(used.items())],
    }
    return json.dumps(document, indent=1) + "\n"


def table(rows: list[dict[str, Any]], licences: dict[str, str]) -> str:
    """Return the licences as a page."""
    lines = [
        "# Licences of what Herald's core depends on",
        "",
        "Written by `.ci/supply_chain.py` from `core.txt`. All are permissive; nothing under a copyleft licence is needed to run Herald.",
        "",
        "| distribution | version | licence | where |",
        "|---|---|---|---|",
    ]
    lines += [f"| {row['name']} | {row['version']} | {licences[row['name']]} | {row['marker'] or 'everywhere'} |" for row in rows]
    return "\n".join(lines) + "\n"


def write_locks() -> None:
    """Resolve the newest versions that pyproject.toml allows, and write them with the hashes of their files."""
    common = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header", "--quiet"]
    for path, extra in EXTRAS.items():
        command = [
            "uv",
            "pip",
            "compile",
            *extra,
            *common,
            "--upgrade",
            "--output-file",
            str(path.relative_to(ROOT)),
        ]
        subprocess.run(command, cwd=ROOT, check=True)


def advisories(path: Path) -> list[str]:
    """Return the known vulnerabilities of what the lock *path* installs here, one line each.

    Raises:
        SystemExit: It was not told for all of it: nothing known is not the same as not asked.
    """
    command = ["pip-audit", "--strict", "--disable-pip", "--require-hashes", "--format", "json", "--requirement", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        answers = {row["name"]: row for row in json.loads(done.stdout)["dependencies"]}
    except FileNotFoundError:
        raise SystemExit("pip-audit is not installed, so nothing was asked; python -m pip install pip-audit") from None
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SystemExit(f"{path.name}: nothing was told of it: {last}") from None
    needed = {row["name"] for row in locked(path) if not row["marker"]}
    unknown = sorted(
        {name for name in needed if "vulns" not in answers.get(name, {})} | {n for n, a in answers.items() if "vulns" not in a}
    )
    if unknown:
        raise SystemExit(f"{path.name}: nothing was told of {', '.join(unknown)}")
    return [
        f"{path.name}: {name} {row['version']} has {one['id']}; mended in {', '.join(one['fix_versions']) or 'no version yet'}"
        for name, row in sorted(answers.items())
        for one in row["vulns"]
    ]


def main() -> None:
    """Write the files, compare them, or ask for vulnerabilities."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--advisories", action="store_true")
    options = parser.parse_args()
    if options.advisories:
        found = [line for path in EXTRAS for line in advisories(path)]
        if found:
            sys.exit("\n".join(found))
        print("no vulnerability is known of anything that is locked")
        return
    if not options.check:
        LOCKS.mkdir(exist_ok=True)
        write_locks()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = locked(CORE)
    licences = {row["name"]: licence_of(row["name"]) for row in rows}
    strange = {name: text for name, text in licences.items() if not set(parts(text)) <= PERMISSIVE}
    if strange:
        raise SystemExit(f"not permissive: {strange}; the core must not depend on it")
    for path, text in ((MATERIALS, materials(rows, licences, project)), (LICENCES, table(rows, licences))):
        if not options.check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(
                f"{path.relative_to(ROOT)} is not what follows from the lock; python .ci/supply_chain.py, and read what changed"
            )
    print(f"{len(rows)} distributions, all locked, all under permissive licences")


if __name__ == "__main__":
    main()
