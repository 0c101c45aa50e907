"""Every page of the documentation does what it says: Python runs, configs are right, commands end with 0."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from herald.cli import herald as command
from herald.host.plan import load_plan

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`((?:[\w-]+/)*[\w-]+\.(?:py|toml))`[^`]*\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; *file* is the last file that the paragraph above it names, if it ends with that."""

    language: str
    text: str
    line: int
    file: str


def blocks(page: str) -> list[Block]:
    text = PAGES[page].read_text(encoding="utf-8")
    found, end = [], 0
    for match in FENCE.finditer(text):
        above = text[end : match.start()].strip().rpartition("\n\n")[2]
        named = NAMED.search(above)
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(match[1], match[2], line, named[1] if named else ""))
        end = match.end()
    return found


def having(language: str, word: str = "") -> Sequence[str]:
    return [page for page in PAGES if any(one.language == language and word in one.text for one in blocks(page))]


def run(arguments: Sequence[str], folder: Path, env: dict[str, str], where: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    assert done.returncode == 0, f"{where}: {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the prices that the pages speak of."""
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    return tmp_path


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/tutorial.md", "docs/plugins.md", "docs/testing.md"} <= set(having("python"))
    assert {"README.md", "docs/tutorial.md", "docs/data.md"} <= set(having("toml", "[strategies."))
    assert {"docs/tutorial.md", "docs/cli.md", "docs/reports.md"} <= set(having("console", "$ herald"))


@pytest.mark.parametrize("page", having("python"))
def test_the_python_of_a_page_runs_as_one_module(page: str, folder: Path, clean_env: dict[str, str]) -> None:
    code = "\n\n".join(one.text for one in blocks(page) if one.language == "python")
    (folder / "test_page.py").write_text(code, encoding="utf-8")

    run(["test_page.py"], folder, clean_env, page)
    if "class Test" in code:
        out = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"], folder, clean_env, page)
        assert re.search(r"\b[1-9]\d* passed", out), out


@pytest.mark.parametrize("page", having("toml", "[strategies."))
def test_the_configs_of_a_page_are_right(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for number, one in enumerate(blocks(page)):
        if one.file and one.language == "python":
            write(folder, one)
        if one.language == "toml" and "[strategies." in one.text:
            file = folder / f"block{number}.toml"
            file.write_text(one.text, encoding="utf-8")

            assert load_plan(str(file)).strategies, f"{page}:{one.line}"


@pytest.mark.parametrize("page", having("console", "$ herald"))
def test_the_commands_of_a_page_work_in_their_order(page: str, folder: Path, clean_env: dict[str, str]) -> None:
    count = 0
    for one in blocks(page):
        if one.file:
            write(folder, one)
        if one.language != "console":
            continue
        for line in one.text.splitlines():
            if line.startswith("$ herald "):
                run(["-m", "herald", *shlex.split(line)[2:]], folder, clean_env, f"{page}:{one.line}")
                count += 1

    assert count


def test_the_config_of_the_readme_trades(folder: Path, clean_env: dict[str, str]) -> None:
    (config,) = [one.text for one in blocks("README.md") if one.language == "toml" and "[strategies." in one.text]
    (folder / "first.toml").write_text(config, encoding="utf-8")

    run(["-m", "herald", "backtest", "first.toml", "--quiet", "--no-report"], folder, clean_env, "README.md")

    (trades,) = folder.glob("runs/*/trades.csv")
    assert len(trades.read_text(encoding="utf-8").splitlines()) > 20


@pytest.mark.parametrize("page", PAGES)
def test_every_verb_that_a_page_names_exists(page: str) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    context = click.Context(command)
    for verb, second in re.findall(r"(?:`|^\$ |&& )herald ([a-z][a-z0-9]*)(?: ([a-z]+))?", text, re.MULTILINE):
        found = command.get_command(context, verb)
        assert found is not None, f"{page} names `herald {verb}`"
        if second and isinstance(found, click.Group):
            assert second in found.commands, f"{page} names `herald {verb} {second}`"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    text = FENCE.sub("", PAGES[page].read_text(encoding="utf-8"))
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]

    assert [] == [one for one in targets if one and "://" not in one and not (PAGES[page].parent / one).exists()]


def test_every_page_is_in_the_table_of_contents() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = {line for tree in re.findall(r"```\{toctree\}(.*?)```", text, re.DOTALL) for line in tree.splitlines()}

    assert {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"} == {
        line for line in listed if line and line[0] != ":"
    }


def write(folder: Path, block: Block) -> None:
    path = folder / block.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
