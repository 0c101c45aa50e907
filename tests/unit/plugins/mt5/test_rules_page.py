"""The page of rules: every rule is there once, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "mt5-rules.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
RULES = [*map(str, range(1, 77)), *(f"P{number}" for number in range(1, 9))]


def rows(text: str) -> list[list[str]]:
    """Return number, words and tests of each rule."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    return [cells for cells in lines if re.fullmatch(r"P?\d+", cells[0])]


@cache
def defined(file: Path) -> set[str]:
    """Return the names of the test functions and classes of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if (isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))
        or (isinstance(node, ast.ClassDef) and node.name.startswith("Test"))
    }


def faults(text: str) -> list[str]:
    """Return what is wrong with the page."""
    found = rows(text)
    numbers = [cells[0] for cells in found]
    wrong = [f"rule {one} is missing" for one in RULES if one not in numbers]
    wrong += [f"rule {one} is there twice" for one in set(numbers) if numbers.count(one) > 1]
    for number, words, *rest in found:
        if len(rest) != 1 or not words:
            wrong.append(f"rule {number} has other cells than number, words and tests")
            continue
        names = TEST.findall(rest[0])
        reason = TEST.sub("", rest[0]).strip()
        if not names and len(reason.split()) < 5:
            wrong.append(f"rule {number} names no test and gives no reason")
        if "::" in reason or "test_" in reason:
            wrong.append(f"rule {number} names a test in another way than `file::name`: {reason}")
        for file, name in names:
            if not (ROOT / file).is_file() or name not in defined(ROOT / file):
                wrong.append(f"rule {number} names {file}::{name}, which does not exist")
    return wrong


def test_every_rule_is_on_the_page_once_and_every_test_that_it_names_exists() -> None:
    assert [] == faults(PAGE.read_text(encoding="utf-8"))


def test_the_check_of_the_page_notices_what_it_is_for() -> None:
    text = PAGE.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| 3 |"))
    name = TEST.findall(row)[0][1]

    assert ["rule 3 is missing"] == faults(text.replace(row, ""))
    assert ["rule 3 is there twice"] == faults(f"{text}\n{row}\n")
    assert "does not exist" in faults(text.replace(row, row.replace(name, "test_nothing")))[0]
    assert "gives no reason" in faults(text.replace(row, "| 3 | words | none |"))[0]
    assert "in another way" in faults(text.replace(row, row.replace("`", "")))[-1]
