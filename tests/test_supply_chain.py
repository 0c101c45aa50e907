"""The locks fit the project, the bill of materials fits the locks, and CI installs by hash."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def chain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("supply_chain", ROOT / ".ci" / "supply_chain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["CORE", "DEVELOPMENT"])
def test_everything_is_locked_to_one_version_with_hashes(name: str, chain: ModuleType) -> None:
    rows = chain.locked(getattr(chain, name))

    assert len(rows) > 20
    assert [] == [row["name"] for row in rows if not row["hashes"]]
    assert [] == re.findall(r"https?://|file:|^-", getattr(chain, name).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", ["CORE", "DEVELOPMENT"])
def test_the_lock_is_one_that_the_project_allows(name: str, chain: ModuleType) -> None:
    locked: dict[str, list[str]] = {}
    for row in chain.locked(getattr(chain, name)):
        locked.setdefault(canonicalize_name(row["name"]), []).append(row["version"])
    stated = list(PROJECT["project"]["dependencies"])
    if name == "DEVELOPMENT":
        stated += PROJECT["project"]["optional-dependencies"]["test"]
        for group in ("lint", "docs", "build", "security"):
            stated += [one for one in PROJECT["dependency-groups"][group] if isinstance(one, str)]
    wanted = [Requirement(one) for one in stated]

    missing = [one.name for one in wanted if canonicalize_name(one.name) not in locked]
    wrong = [
        f"{one}: {version}"
        for one in wanted
        for version in locked.get(canonicalize_name(one.name), [])
        if not one.specifier.contains(version, prereleases=True)
    ]

    assert ([], []) == (missing, wrong), "python .ci/supply_chain.py, and read what changed"


def test_the_bill_of_materials_and_the_licences_follow_from_the_lock(chain: ModuleType) -> None:
    rows = chain.locked(chain.CORE)
    licences = {row["name"]: chain.licence_of(row["name"]) for row in rows}

    assert chain.materials(rows, licences, PROJECT["project"]) == chain.MATERIALS.read_text(encoding="utf-8")
    assert chain.table(rows, licences) == chain.LICENCES.read_text(encoding="utf-8")


def test_the_bill_of_materials_is_whole(chain: ModuleType) -> None:
    document = json.loads(chain.MATERIALS.read_text(encoding="utf-8"))
    refs = {one["bom-ref"] for one in document["components"]} | {document["metadata"]["component"]["bom-ref"]}
    used = {one for row in document["dependencies"] for one in row["dependsOn"]}
    direct = next(row["dependsOn"] for row in document["dependencies"] if "herald-trading" in row["ref"])

    assert ("CycloneDX", "1.5") == (document["bomFormat"], document["specVersion"])
    assert {row["ref"] for row in document["dependencies"]} == refs
    assert used <= refs
    assert {one.partition("@")[0] for one in direct} == {
        f"pkg:pypi/{canonicalize_name(Requirement(one).name)}" for one in PROJECT["project"]["dependencies"]
    }


def test_nothing_that_asks_something_of_users_is_in_the_core(chain: ModuleType) -> None:
    assert not {"GPL-3.0-only", "LGPL-3.0-only", "AGPL-3.0-only", "MPL-2.0"} & chain.PERMISSIVE
    assert [] == [
        row["name"] for row in chain.locked(chain.CORE) if not set(chain.parts(chain.licence_of(row["name"]))) <= chain.PERMISSIVE
    ]


def test_ci_installs_by_hash_and_looks_for_secrets() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert "--require-hashes" in text
    assert "secret_scan.py" in text
    assert "supply_chain.py --check" in text


SERVICE = """#!{python}
import json, re, sys
from pathlib import Path
names = re.findall(r"^([a-z0-9-]+)(?:\\[[a-z0-9,-]*\\])?==(\\S+)", Path(sys.argv[-1]).read_text(), re.MULTILINE)
rows = [{{"name": name, "version": version, "vulns": []}} for name, version in names]
{change}
print(json.dumps({{"dependencies": rows, "fixes": []}}))
"""
TOLD = {
    "": "",
    'rows[0]["vulns"] = [{"id": "PYSEC-1", "fix_versions": ["9.9"]}]': r"core\.txt: annotated-types \S+ has PYSEC-1; mended in 9\.9",
    "del rows[0]": r"core\.txt: nothing was told of annotated-types",
    'rows[0] = {"name": rows[0]["name"], "skip_reason": "not found"}': r"core\.txt: nothing was told of annotated-types",
    'sys.exit("ERROR: the service does not answer")': r"core\.txt: nothing was told of it: ERROR: the service does not answer",
}


@pytest.mark.skipif(os.name == "nt", reason="Windows starts no script by its first line")
@pytest.mark.parametrize("change", TOLD)
def test_a_known_vulnerability_or_no_answer_fails_and_only_an_answer_for_all_passes(
    change: str, chain: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = tmp_path / "pip-audit"
    service.write_text(SERVICE.format(python=sys.executable, change=change), encoding="utf-8")
    service.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    try:
        told = "\n".join(chain.advisories(chain.CORE))
    except SystemExit as stop:
        told = str(stop)

    assert re.fullmatch(TOLD[change], told)


def test_without_the_tool_nothing_passes(chain: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SystemExit, match="pip-audit is not installed, so nothing was asked"):
        chain.advisories(chain.CORE)


def test_every_lock_is_asked_about_every_night() -> None:
    text = (ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8")

    assert re.search(r"schedule: \[\{ cron:", text)
    assert "python .ci/supply_chain.py --advisories" in text


def test_every_known_false_alarm_was_looked_at() -> None:
    baseline = json.loads((ROOT / ".secrets.baseline").read_text(encoding="utf-8"))

    assert [] == [name for name, many in baseline["results"].items() if any(one.get("is_secret") is not False for one in many)]
