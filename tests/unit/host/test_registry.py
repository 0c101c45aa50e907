"""Loading a plugin: only what is named is imported, and what breaks a rule is refused with its name."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

from herald.errors import PluginError
from herald.host.discovery import discover
from herald.host.hookspecs import COLLECTED, HeraldHooks
from herald.host.registry import HOST_WORDS, Registry

from .conftest import Install

HEAD = "from herald import Settings, Strategy, component, hookimpl\nclass S(Settings):\n    length: int = 20\nclass X(Strategy):\n    pass\n"
OFFER = "@hookimpl\ndef herald_strategies():\n    yield component(NAME, S, X)\n"


@pytest.fixture
def registry() -> Registry:
    return Registry(discover())


def test_only_what_is_named_is_imported(install: Install) -> None:
    install("used", module="mod_used")
    install("unused", "raise SystemExit('imported')", module="mod_unused")

    Registry(discover()).find("strategy", "used")

    assert "mod_used" in sys.modules
    assert "mod_unused" not in sys.modules


def test_component_keeps_its_origin(install: Install) -> None:
    install("mine", version="3.4")

    found = Registry(discover()).find("strategy", "mine")

    assert ("mine", "dist-mine 3.4", "mine") == (found.full_name, str(found.origin), found.origin.plugin)


def test_one_of_several_components_is_picked_by_its_full_name(registry: Registry) -> None:
    assert "risk.max_position" == registry.find("risk", "risk.max_position").full_name


def test_bare_name_is_accepted_where_one_component_has_it(registry: Registry) -> None:
    assert "exits.trailing_stop" == registry.find("exit", "trailing_stop").full_name


def test_misspelt_component_gets_the_nearest_name(registry: Registry) -> None:
    with pytest.raises(PluginError, match=r"plugin 'risk' has no risk 'risk.max_positon'; did you mean risk.max_position\?"):
        registry.find("risk", "risk.max_positon")


def test_plugin_without_such_a_component_says_what_it_offers(registry: Registry) -> None:
    with pytest.raises(PluginError, match="plugin 'files' has no strategy 'files'; it offers: no strategy at all"):
        registry.find("strategy", "files")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import nowhere_at_all", "'bad' (dist-bad 1.2) cannot be imported from mod_bad: ModuleNotFoundError: No module named"),
        ("raise SystemExit(0)", "cannot be imported from mod_bad: SystemExit: 0"),
        ("def herald_strategies():\n    return []", "herald_strategies is not marked; write @hookimpl above it"),
        (
            "@hookimpl\ndef herald_strategies(plan):\n    return []",
            "herald_strategies asks for 'plan'; the hook gives nothing, remove it",
        ),
        (
            "@hookimpl\ndef herald_validate(plan, *more):\n    return []",
            "herald_validate asks for '*more'; the hook gives plan, remove it",
        ),
        (
            "@hookimpl\ndef herald_strategies():\n    pass",
            "herald_strategies raised TypeError: 'NoneType' object is not iterable",
        ),
        (
            "@hookimpl\ndef herald_exits():\n    yield component('a', dict, X)",
            "the settings of 'a' are no class derived from herald.Settings",
        ),
        (
            "@hookimpl\ndef herald_exits():\n    yield component('a', S, 5)",
            "'a' cannot be built by a int; give a class or a function",
        ),
        ("@hookimpl\ndef herald_risk_profiles():\n    yield 5", "yields a int as a risk profile; make it with RiskProfile(...)"),
        (
            "from herald import RiskProfile\n@hookimpl\ndef herald_risk_profiles():\n    yield RiskProfile('a', '', ())\n    yield RiskProfile('a', '', ())",
            "offers the risk profile 'a' twice; rename one of them",
        ),
        ("raise RuntimeError('on import')", "cannot be imported from mod_bad: RuntimeError: on import"),
        (
            "@hookimpl\ndef herald_strategy():\n    return []",
            "implements the unknown hook herald_strategy; did you mean herald_strategies?",
        ),
        (
            "@hookimpl(wrapper=True)\ndef herald_strategies():\n    return (yield)",
            "herald_strategies is a wrapper; Herald's hooks cannot be wrapped",
        ),
        ("@hookimpl(hookwrapper=True)\ndef herald_exits():\n    yield", "herald_exits is a wrapper"),
        ("@hookimpl\nasync def herald_strategies():\n    return []", "herald_strategies is async"),
        ("@hookimpl\ndef herald_validate(plan=None):\n    return []", "gives parameter 'plan' a default; hooks have none"),
        ("@hookimpl\ndef herald_strategies():\n    yield X", "yields a type as a strategy; make it with herald.component"),
        ("@hookimpl\ndef herald_strategies():\n    yield component('Bad Name', S, X)", "'Bad Name' is no component name"),
        (
            "@hookimpl\ndef herald_strategies():\n    1 / 0\n    yield",
            "herald_strategies raised ZeroDivisionError: division by zero",
        ),
        (
            "@hookimpl\ndef herald_strategies():\n    yield component('a', S, X)\n    yield component('a', S, X)",
            "strategy 'bad.a' is offered by dist-bad 1.2 and again by dist-bad 1.2",
        ),
        (
            "class T(Settings):\n    symbols: int = 1\n@hookimpl\ndef herald_strategies():\n    yield component('a', T, X)",
            "the settings of 'a' use symbols, Herald's own key of a strategy; rename it",
        ),
    ],
)
def test_broken_plugin_is_refused_in_one_line(install: Install, body: str, words: str) -> None:
    install("bad", HEAD + body, module="mod_bad")

    with pytest.raises(PluginError) as caught:
        Registry(discover()).load("bad")

    assert words in str(caught.value)
    assert "bad" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plugin_that_breaks_a_rule_leaves_nothing_behind(install: Install) -> None:
    install(
        "bad", HEAD + "@hookimpl\ndef herald_strategies():\n    yield component('good', S, X)\n    yield component('Bad', S, X)\n"
    )
    registry = Registry(discover())

    with pytest.raises(PluginError, match="'Bad' is no component name"):
        registry.load("bad")

    assert ((), []) == (registry.origins, [one.full_name for one in registry.of_kind("strategy")])
    with pytest.raises(PluginError, match="'Bad' is no component name"):
        registry.find("strategy", "bad.good")


def test_plugin_that_fails_is_run_once(install: Install) -> None:
    install(
        "bad", "import builtins\nbuiltins.herald_count = getattr(builtins, 'herald_count', 0) + 1\nraise OSError('no card')\n"
    )
    registry = Registry(discover())

    for _ in range(3):
        with pytest.raises(PluginError, match="OSError: no card"):
            registry.load("bad")

    import builtins

    assert 1 == vars(builtins).pop("herald_count")


def test_one_module_cannot_be_two_plugins(install: Install) -> None:
    install("one", HEAD, module="mod_same", dist="dist-a")
    install("two", HEAD, module="mod_same", dist="dist-b")
    registry = Registry(discover())
    registry.load("one")

    with pytest.raises(PluginError, match=r"plugin 'two' \(dist-b 1.2\) cannot be registered: .*mod_same"):
        registry.load("two")


def test_entry_point_names_a_module_and_nothing_in_it(install: Install) -> None:
    install("inner", HEAD, module="mod_inner:plugin")

    with pytest.raises(PluginError, match=r"plugin 'inner' \(dist-inner 1.2\) names 'plugin' in mod_inner; a plugin is a module"):
        Registry(discover()).load("inner")


def test_local_package_may_import_its_own_parts(tmp_path: Path) -> None:
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "__init__.py").write_text(HEAD + "from .part import NAME\n" + OFFER, encoding="utf-8")
    (tmp_path / "packed" / "part.py").write_text("NAME = 'packed'\n", encoding="utf-8")
    registry = Registry(discover([tmp_path]))

    assert "packed" == registry.find("strategy", "packed").full_name


def test_local_plugin_that_fails_leaves_no_half_made_module(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text("x = 1\nraise ValueError('half way')\n", encoding="utf-8")

    with pytest.raises(PluginError, match="half way"):
        Registry(discover([tmp_path])).load("half")

    assert "herald_local_half" not in sys.modules


def test_profiles_are_found_by_full_and_bare_name(registry: Registry) -> None:
    assert registry.profile("balanced") == registry.profile("risk.balanced")
    with pytest.raises(PluginError, match=r"no risk profile is called 'balancd'; did you mean balanced\?"):
        registry.profile("balancd")


def test_hook_specs_have_no_defaults_and_say_when_they_were_added() -> None:
    for name, spec in vars(HeraldHooks).items():
        if name.startswith("herald_"):
            assert all(p.default is p.empty for p in inspect.signature(spec).parameters.values()), name
            assert "Added in API 1." in (spec.__doc__ or ""), name
            assert "@hookimpl" in (spec.__doc__ or ""), name


def test_every_kind_has_its_host_words() -> None:
    assert set(COLLECTED.values()) == set(HOST_WORDS)
