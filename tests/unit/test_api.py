"""The public face, and the pages that follow from the code."""

from __future__ import annotations

import importlib
import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import herald

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("herald_docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["api.txt", "configuration.md", "hooks.md", "mt5-statistics.md", "statistics.md"])
def test_a_generated_page_is_what_the_code_says_now(name: str) -> None:
    made = generator().PAGES[name]()
    kept = (DOCS / name).read_text(encoding="utf-8")

    changed = sorted(set(made.splitlines()) ^ set(kept.splitlines()))
    assert made == kept, f"docs/{name} is out of date; run `python docs/generate.py`; it differs in {changed[:10]}"


def test_every_generated_page_is_compared() -> None:
    assert {"api.txt", "configuration.md", "hooks.md", "mt5-statistics.md", "statistics.md"} == set(generator().PAGES)


def test_the_everyday_names_are_sorted() -> None:
    assert sorted(herald.__all__) == herald.__all__
    assert herald.__all__ == dir(herald)


@pytest.mark.parametrize("name", herald.__all__)
def test_an_everyday_name_can_be_imported(name: str) -> None:
    assert getattr(importlib.import_module("herald"), name) is not None


def test_the_lazy_table_and_the_list_of_names_agree() -> None:
    assert {*herald._HOME, "__version__"} == set(herald.__all__)
    for name, home in herald._HOME.items():
        assert name in importlib.import_module(home).__all__, f"{home}.__all__ lacks {name}"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'herald' has no attribute 'Strategie'"):
        herald.Strategie  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["version"] == herald.__version__
