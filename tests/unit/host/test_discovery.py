"""Discovery reads metadata, imports nothing, and names both parties of a quarrel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from herald.errors import PluginError
from herald.host import discovery, hookspecs
from herald.host.discovery import Catalog, discover, discover_commands

from .conftest import Install


def test_installed_plugins_are_found_without_being_imported(install: Install) -> None:
    install("aaa", "raise SystemExit('imported')", module="mod_never")

    found = discover().find("aaa")

    assert ("dist-aaa", "1.2", 1, "mod_never") == (found.distribution, found.version, found.api, found.value)
    assert "mod_never" not in sys.modules


def test_built_ins_are_found_like_everybody_else() -> None:
    assert {"files", "risk", "strategies"} <= set(discover().names())
    assert "herald-trading" == discover().find("files").distribution


def test_two_distributions_that_claim_one_name_are_both_named(install: Install) -> None:
    install("twin", dist="first-dist", version="1.0")
    install("twin", dist="second-dist", version="2.0")

    with pytest.raises(PluginError, match=r"claimed by .*(first-dist 1.0 and second-dist|second-dist 2.0 and first-dist)"):
        discover().find("twin")


def test_same_distribution_twice_on_the_path_is_no_quarrel(install: Install) -> None:
    install("once", dist="same-dist", version="1.0")
    install("once", dist="Same_Dist", version="2.0")

    assert "2.0" == discover().find("once").version


def test_plugin_for_another_api_says_which_and_what_to_do(install: Install) -> None:
    install("late", group="herald.v2")

    with pytest.raises(PluginError, match=r"'late' of dist-late 1.2 speaks API 2; this Herald speaks 1; upgrade herald-trading"):
        discover().find("late")


def test_distribution_may_offer_both_apis(install: Install) -> None:
    install("both", dist="one-dist", group="herald.v2")
    install("both", dist="other-dist", group="herald.v1")

    assert "other-dist" == discover().find("both").distribution


def test_unknown_plugin_gets_the_nearest_name() -> None:
    with pytest.raises(PluginError, match=r"plugin .filez. is not installed; did you mean files\?"):
        discover().find("filez")


def test_empty_catalog_says_that_a_checkout_must_be_installed() -> None:
    with pytest.raises(PluginError, match=r"pip install -e \."):
        Catalog([]).find("files")


def test_folder_of_local_plugins(tmp_path: Path) -> None:
    (tmp_path / "one.py").touch()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "__init__.py").touch()
    (tmp_path / "_private.py").touch()
    (tmp_path / "notes.txt").touch()

    catalog = discover([tmp_path])

    assert (tmp_path / "one.py").as_posix() == catalog.find("one").distribution
    assert "two" in catalog
    assert not {"_private", "notes"} & set(catalog.names())


def test_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="nowhere is not a folder"):
        discover([tmp_path / "nowhere"])


def test_verbs_are_listed_without_import(install: Install) -> None:
    install("greet", "raise SystemExit", group="herald.v1.commands", module="mod_greet")

    found = discover_commands().find("greet")
    assert ("mod_greet", "dist-greet") == (found.value, found.distribution)
    assert "mod_greet" not in sys.modules


def test_verb_that_two_distributions_claim_names_both(install: Install) -> None:
    install("greet", "", group="herald.v1.commands", dist="one-dist")
    install("greet", "", group="herald.v1.commands", dist="other-dist")

    with pytest.raises(PluginError, match=r"verb name 'greet' is claimed by .*one-dist 1.2.*; uninstall one of them") as caught:
        discover_commands().find("greet")
    assert "other-dist 1.2" in str(caught.value)


def test_damaged_metadata_of_a_stranger_stops_nobody_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "site" / "ragged-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ragged\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[herald.v1]\nno equals sign\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    catalog = discover()

    assert ("ragged",) == catalog.unreadable
    assert "risk" in catalog
    with pytest.raises(PluginError, match=r"plugin 'ragged' is not installed \(the entry points of ragged cannot be read\)"):
        catalog.find("ragged")


def test_discovery_and_hookspecs_agree_on_the_api() -> None:
    assert hookspecs.API_VERSION == discovery._OWN_API
