"""The plugin lock: what is refused and why, and that nothing but what was locked runs."""

from __future__ import annotations

import importlib
import importlib.util
import os
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald.errors import NotFound, PluginError
from herald.host.discovery import Found, discover
from herald.host.imports import import_plugin
from herald.host.lock import Lock, Locked, check_signature, new_key, read_key, read_lock, signature_of, write_lock
from herald.host.lookalike import looks_like
from herald.host.registry import Registry
from herald.host.trust import LockedFinder, Trust, difference, is_older, measure, open_lock
from tests.wheels import install, make_wheel, source


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder on the path, and forget afterwards what came from it."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before, finders = set(sys.modules), list(sys.meta_path)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]
    sys.meta_path[:] = finders


def put(site: Path, version: str = "1.2", name: str = "herald-holder", plugin: str = "holder", **files: str) -> Found:
    """Install a distribution whose plugin is the package ``PLUGIN_mod``."""
    module = f"{plugin}_mod"
    content = {f"{module}/__init__.py": source(plugin)} | {f"{module}/{one}.py": text for one, text in files.items()}
    wheels = site.parent / "wheels"
    wheels.mkdir(exist_ok=True)
    install(make_wheel(wheels, name, version, content, {plugin: module}), site)
    importlib.invalidate_caches()
    return discover().find(plugin)


def trust(*found: Found) -> Trust:
    return Trust(Lock.here([measure(one) for one in found]), "plugins.lock", discover())


def load(found: Found, trusted: Trust) -> ModuleType:
    return import_plugin(found, trusted.check(found))


# --- what is locked is imported, and nothing else


def test_a_locked_plugin_is_imported_with_its_parts(site: Path) -> None:
    found = put(site, part="VALUE = 7\n")
    module = load(found, trust(found))

    assert 7 == importlib.import_module("holder_mod.part").VALUE
    assert "holder" == next(iter(module.herald_strategies())).name


def test_the_registry_asks_before_it_imports(site: Path, tmp_path: Path) -> None:
    put(site)
    registry = Registry(discover(), Trust(Lock.here(()), "plugins.lock", discover()))

    with pytest.raises(
        PluginError, match=r"plugin 'holder' \(herald-holder 1.2\) is not imported: it is not in plugins.lock; if"
    ):
        registry.load("holder")
    assert "holder_mod" not in sys.modules


def test_herald_itself_stands_in_the_lock_or_is_refused() -> None:
    own = discover().find("risk")

    assert "" == trust(own).reason(own)
    assert "it is not in plugins.lock" in Trust(Lock.here(()), "plugins.lock", discover()).reason(own)


def changed(site: Path) -> str:
    (site / "holder_mod" / "__init__.py").write_text(source("holder") + "\n", encoding="utf-8")
    return "holder_mod/__init__.py was changed"


def added_module(site: Path) -> str:
    (site / "holder_mod" / "extra.py").write_text("", encoding="utf-8")
    return "holder_mod/extra.py was added"


def added_extension(site: Path) -> str:
    (site / "holder_mod" / "part.cpython-311-x86_64-linux-gnu.so").write_bytes(b"\x7fELF")
    return "part.cpython-311-x86_64-linux-gnu.so was added"


def removed(site: Path) -> str:
    (site / "holder_mod" / "part.py").unlink()
    return "holder_mod/part.py was removed"


def changed_record(site: Path) -> str:
    record = site / "herald_holder-1.2.dist-info" / "RECORD"
    record.write_text(record.read_text(encoding="utf-8") + "../../../bin/evil,,\n", encoding="utf-8")
    return "its RECORD was changed"


def changed_with_its_record(site: Path) -> str:
    text = source("holder") + "# other\n"
    (site / "holder_mod" / "__init__.py").write_text(text, encoding="utf-8")
    record = site / "herald_holder-1.2.dist-info" / "RECORD"
    lines = record.read_text(encoding="utf-8").splitlines()
    record.write_text("\n".join(one for one in lines if "__init__" not in one) + "\n", encoding="utf-8")
    return "holder_mod/__init__.py was changed, its RECORD was changed"


def changed_entry_points(site: Path) -> str:
    entries = site / "herald_holder-1.2.dist-info" / "entry_points.txt"
    entries.write_text("[herald.v1]\nholder = holder_mod.part\n", encoding="utf-8")
    return "entry_points.txt was changed"


def downgraded(site: Path) -> str:
    info = site / "herald_holder-1.2.dist-info"
    metadata = info / "METADATA"
    metadata.write_text(metadata.read_text(encoding="utf-8").replace("1.2", "1.1"), encoding="utf-8")
    return "it was downgraded: 1.1 is installed, 1.2 is locked"


def upgraded(site: Path) -> str:
    metadata = site / "herald_holder-1.2.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text(encoding="utf-8").replace("Version: 1.2", "Version: 1.10"), encoding="utf-8")
    return "version 1.10 is installed, 1.2 is locked"


def shadowed(site: Path) -> str:
    earlier = site.parent / "earlier"
    earlier.mkdir()
    (earlier / "holder_mod.py").write_text("raise SystemExit('shadow')", encoding="utf-8")
    sys.path.insert(0, str(earlier))
    importlib.invalidate_caches()
    return "was added"


CHANGES = (
    changed,
    added_module,
    added_extension,
    removed,
    changed_record,
    changed_with_its_record,
    changed_entry_points,
    downgraded,
    upgraded,
    shadowed,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_what_is_not_as_it_was_is_refused_with_the_reason(change, site: Path) -> None:
    found = put(site, part="")
    lock = Lock.here([measure(found)])
    expected = change(site)

    reason = Trust(lock, "plugins.lock", discover()).reason(discover().find("holder"))

    assert expected in reason
    assert "if you know why: herald plugins trust holder" in reason
    assert "holder_mod" not in sys.modules


def test_an_unlisted_plugin_of_a_locked_name_is_told_to_be_a_look_alike(site: Path) -> None:
    good = put(site)
    evil = put(site, name="herald-ho1der", plugin="h0lder")
    other = put(site, name="quite-different", plugin="resk")

    trusted = trust(good)

    assert "its name is like 'herald-holder': it only differs in characters that look alike" in trusted.reason(evil)
    assert "; uninstall it if it is not what you meant" in trusted.reason(evil)
    assert "if you trust it: herald plugins trust resk" in trusted.reason(other)


# --- between the check and the import, and beside it


def test_what_changes_after_the_check_is_not_run(site: Path, tmp_path: Path) -> None:
    found, canary = put(site, part=""), tmp_path / "canary"
    trusted = trust(found)
    finder = trusted.check(found)
    (site / "holder_mod" / "part.py").write_text(f"open({str(canary)!r}, 'w')", encoding="utf-8")
    import_plugin(found, finder)

    with pytest.raises(ImportError, match="part.py' was changed after it was checked"):
        importlib.import_module("holder_mod.part")
    assert not canary.exists()


def test_a_module_that_appears_after_the_check_is_not_run(site: Path) -> None:
    found = put(site)
    load(found, trust(found))
    (site / "holder_mod" / "late.py").write_text("", encoding="utf-8")
    importlib.invalidate_caches()

    with pytest.raises(ImportError, match=r"holder_mod.late would come from .*late.py', which is not in the plugin lock"):
        importlib.import_module("holder_mod.late")


def test_cached_bytecode_that_says_something_else_is_not_run(site: Path, tmp_path: Path) -> None:
    found, canary = put(site), tmp_path / "canary"
    module = site / "holder_mod" / "__init__.py"
    good, times = module.read_bytes(), module.stat()
    evil = f"open({str(canary)!r}, 'w').close()\n".encode()
    module.write_bytes(evil + b"#" * (len(good) - len(evil)))  # of the same size and time: the cache looks current
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
    py_compile.compile(str(module), doraise=True)
    module.write_bytes(good)
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))

    load(found, trust(found))

    assert not canary.exists()
    del sys.modules["holder_mod"]
    import_plugin(found)  # without a lock Python believes its cache
    assert canary.exists()


def put_files(site: Path, module: str, files: dict[str, str]) -> Found:
    """Install a distribution whose plugin ``holder`` is *module*, with other files of its own."""
    install(make_wheel(site.parent, "herald-holder", "1.2", files, {"holder": module}), site)
    importlib.invalidate_caches()
    return discover().find("holder")


def hostile(folder: Path, name: str, canary: Path) -> None:
    """Write a module that leaves a file the moment it is imported."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"open({str(canary)!r}, 'w').close()\n", encoding="utf-8")
    importlib.invalidate_caches()


def test_every_module_of_a_locked_wheel_is_guarded_and_not_only_its_plugin(site: Path, tmp_path: Path) -> None:
    found = put_files(
        site, "holder_mod", {"holder_mod.py": source("holder", more="import holder_core"), "holder_core.py": "", "it's.py": ""}
    )
    trusted = trust(found)
    hostile(tmp_path / "earlier", "holder_core.py", tmp_path / "canary")
    sys.path.insert(0, str(tmp_path / "earlier"))

    with pytest.raises(
        PluginError, match=r"holder_core would come from .*earlier/holder_core.py', which is not in the plugin lock"
    ):
        load(found, trusted)
    assert not (tmp_path / "canary").exists()
    sys.path.remove(str(tmp_path / "earlier"))
    importlib.invalidate_caches()
    assert load(found, trusted).herald_strategies


def test_a_plugin_in_a_namespace_runs_and_the_namespace_gets_no_code(site: Path, tmp_path: Path) -> None:
    files = {"shared/holder_mod/__init__.py": source("holder"), "shared/holder_mod/part.py": "VALUE = 7\n"}
    found = put_files(site, "shared.holder_mod", files)
    finder = trust(found).check(found)
    assert {"shared.holder_mod"} == finder.tops
    hostile(tmp_path / "earlier" / "shared", "__init__.py", tmp_path / "canary")  # after the check, before the import
    sys.path.insert(0, str(tmp_path / "earlier"))

    with pytest.raises(PluginError, match="shared would come from .*__init__.py', which is not in the plugin lock"):
        import_plugin(found, finder)
    assert "was added" in trust_again(found, site)
    assert not (tmp_path / "canary").exists()
    sys.path.remove(str(tmp_path / "earlier"))
    importlib.invalidate_caches()
    import_plugin(found, finder)
    assert 7 == importlib.import_module("shared.holder_mod.part").VALUE


def trust_again(found: Found, site: Path) -> str:
    """Return what a new check says, by a lock of the files as they are in *site* alone."""
    path, sys.path[:] = sys.path[:], [str(site), *(one for one in sys.path if "earlier" not in one)]
    importlib.invalidate_caches()
    lock = Lock.here([measure(found)])
    sys.path[:] = path
    importlib.invalidate_caches()
    return Trust(lock, "plugins.lock", discover()).reason(found)


def test_what_was_imported_before_it_was_checked_is_refused(site: Path) -> None:
    found = put(site, part="")
    importlib.import_module("holder_mod.part")
    trusted = trust(found)

    with pytest.raises(PluginError, match=r"holder_mod(\.part)? was imported already, by something that did not ask the lock"):
        load(found, trusted)
    for name in ("holder_mod", "holder_mod.part"):
        del sys.modules[name]
    assert load(found, trusted) is load(found, trust(found))  # twice through the lock is fine


def test_one_distribution_does_not_lift_the_guard_of_another(site: Path) -> None:
    one, other = put(site), put(site, name="quite-different", plugin="other")
    trusted = trust(one, other)

    load(one, trusted)
    load(other, trusted)

    assert [other.distribution, one.distribution] == [item.owner[1] for item in sys.meta_path if isinstance(item, LockedFinder)]


def test_a_local_plugin_is_locked_too(tmp_path: Path, site: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "own.py").write_text(source("own"), encoding="utf-8")
    found = discover([folder]).find("own")
    lock = Lock.here([measure(found)])
    assert "local" == lock.distributions[0].kind
    assert load(found, Trust(lock, "plugins.lock", discover([folder]))).herald_strategies

    (folder / "own.py").write_text(source("own") + "\n", encoding="utf-8")

    assert "own.py was changed" in Trust(lock, "plugins.lock", discover([folder])).reason(found)
    assert not any(isinstance(one, LockedFinder) for one in sys.meta_path if import_plugin(found) is None)


def test_an_import_without_a_lock_forgets_an_earlier_lock(tmp_path: Path, site: Path) -> None:
    found = put(site)
    load(found, trust(found))
    changed(site)
    del sys.modules["holder_mod"]

    assert import_plugin(found).herald_strategies


def test_what_the_installer_did_not_write_cannot_be_locked(site: Path) -> None:
    found = put(site)
    changed(site)

    with pytest.raises(PluginError, match="holder_mod/__init__.py of herald-holder is not what was installed; find out why"):
        measure(found)


def test_a_module_that_is_nowhere_is_said(site: Path) -> None:
    found = put(site)
    (site / "holder_mod" / "__init__.py").unlink()
    (site / "holder_mod").rmdir()
    importlib.invalidate_caches()

    with pytest.raises(PluginError, match="its module 'holder_mod' is nowhere to be found"):
        measure(found)


# --- the file


def lock_of(**terms: object) -> Lock:
    one = Locked(name="a", version="1", kind="wheel", entry_points={"a": "a"}, record="", files={"a.py": "00"})
    return Lock(python="3.11", platform="linux-x86_64", distributions=(one,), **terms)  # type: ignore[arg-type]


def test_the_file_is_the_same_whatever_the_order(tmp_path: Path) -> None:
    two = [Locked(name=name, version="1", kind="wheel", entry_points={}, record="", files={}) for name in ("b", "a")]
    write_lock(tmp_path / "one", Lock.here(two))
    write_lock(tmp_path / "two", Lock.here(two[::-1]))

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_lock(tmp_path / "one")[0] == Lock.here(two)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is no plugin lock"),
        ("{", "is no plugin lock"),
        ("[]", "is no plugin lock"),
        ('{"distributions": [{"name": 1}]}', "is no plugin lock"),
        ('{"other": 1}', "is no plugin lock: .*other"),
        ('{"format": 2}', "has format 2, and this Herald reads 1"),
        ('{"format": 1, "distributions": "' + "x" * 10, "is no plugin lock"),
        ("[" * 100_000, "is no plugin lock"),
    ],
)
def test_what_is_no_lock_is_said_in_one_line(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "plugins.lock"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)

    with pytest.raises(PluginError, match=expected) as caught:
        read_lock(path)
    assert "\n" not in str(caught.value)


def test_a_lock_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no"):
        open_lock(tmp_path / "plugins.lock", None, discover())


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps permissions elsewhere")
def test_a_lock_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plugins.lock"
    write_lock(path, lock_of())
    path.chmod(0o666)

    with pytest.raises(PluginError, match="may be written by everybody"):
        read_lock(path)


def test_a_lock_of_another_machine_says_so(site: Path) -> None:
    found = put(site)
    locked = measure(found)
    other = Lock(python="3.99", platform="plan9", distributions=(locked,))
    assert "" == Trust(other, "plugins.lock", discover()).reason(found)
    changed(site)

    reason = Trust(other, "plugins.lock", discover()).reason(found)

    assert "holder_mod/__init__.py was changed; it was made for Python 3.99 on plan9, this is Python" in reason


# --- signatures


def test_a_signed_lock_is_accepted_and_a_changed_one_is_not(tmp_path: Path) -> None:
    path, key = tmp_path / "plugins.lock", tmp_path / "key.pem"
    public = new_key(key)
    write_lock(path, lock_of(), read_key(key))
    data = path.read_bytes()

    check_signature(path, data, public)

    with pytest.raises(PluginError, match="the lock was changed after it was signed, or another key signed it"):
        check_signature(path, data + b" ", public)
    with pytest.raises(PluginError, match="the lock was changed after it was signed, or another key signed it"):
        check_signature(path, data, new_key(tmp_path / "other.pem"))


def test_an_unsigned_lock_is_refused_where_a_signature_is_asked_for(tmp_path: Path) -> None:
    path, public = tmp_path / "plugins.lock", new_key(tmp_path / "key.pem")
    write_lock(path, lock_of(), read_key(tmp_path / "key.pem"))
    write_lock(path, lock_of())  # without a key the old signature goes

    with pytest.raises(PluginError, match="is not signed, and the config asks for it"):
        open_lock(path, public, discover())


@pytest.mark.parametrize("public", ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:é", "x" * 50])
def test_what_is_no_public_key_is_refused(public: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="is no public key"):
        check_signature(tmp_path / "plugins.lock", b"", public)


def test_a_signature_that_is_no_signature_is_refused(tmp_path: Path) -> None:
    path, public = tmp_path / "plugins.lock", new_key(tmp_path / "key.pem")
    write_lock(path, lock_of())
    for text, expected in (("*", "cannot be read"), ("AAAA", "is wrong"), ("", "is wrong")):
        signature_of(path).write_text(text, encoding="utf-8")
        with pytest.raises(PluginError, match=expected):
            open_lock(path, public, discover())


def test_a_private_key_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    new_key(path)

    with pytest.raises(PluginError, match="is there already, and a key is never overwritten"):
        new_key(path)
    if os.name != "nt":
        assert 0o600 == path.stat().st_mode & 0o777
        path.chmod(0o644)
        with pytest.raises(PluginError, match="others may read the private key"):
            read_key(path)
    with pytest.raises(NotFound, match="there is no key"):
        read_key(tmp_path / "nothing")


def test_what_is_no_private_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", encoding="utf-8")

    with pytest.raises(PluginError, match="holds no private key"):
        read_key(path)


# --- names and versions


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("herald_trading", "herald-trading", ""),  # the same name to an index
        ("Herald.Trading", "herald-trading", ""),
        ("herald-tradlng", "herald-trading", "one letter"),
        ("hera1d-trading", "herald-trading", "look alike"),
        ("heraldtrading", "herald-trading", "look alike"),
        ("herald-tradnig", "herald-trading", "one letter"),  # two neighbours swapped
        ("hеrald-trading", "herald-trading", "look alike"),  # a Cyrillic e
        ("herald-trаdlng", "herald-trading", "one letter"),
        ("herald-trainig", "herald-trading", "two letters"),
        ("ccxt-mexc-futures", "ccxt", ""),  # a longer name is another kind of trick; only the lock stops it
        ("simbr0ker", "simbroker", "look alike"),
        ("syrnbol", "symbol", "look alike"),
        ("ema", "sma", ""),  # short names are near to each other by nature
        ("momentum", "risk", ""),
    ],
)
def test_names_that_could_be_mistaken(name: str, known: str, expected: str) -> None:
    found = looks_like(name, [known])

    assert (expected in found) if expected else found == ""


@given(st.text(max_size=12), st.text(max_size=12))
def test_likeness_never_fails_and_a_name_is_not_like_itself(one: str, other: str) -> None:
    looks_like(one, [other])

    assert "" == looks_like(one, [one, other])


ORDERED = [
    "1.0.dev1",
    "1.0a1.dev2",
    "1.0a1",
    "1.0a2",
    "1.0b1",
    "1.0rc1",
    "1.0",
    "1.0.post1",
    "1.1.dev1",
    "1.1",
    "1.9",
    "1.10",
    "2",
    "1!0.1",
]


def test_versions_are_ordered_as_pep_440_orders_them() -> None:
    assert [] == [
        (one, other)
        for place, one in enumerate(ORDERED)
        for later, other in enumerate(ORDERED)
        if is_older(one, other) is not (place < later)
    ]
    assert not is_older("1.0", "1")
    assert not is_older("1", "1.0.0")
    assert not is_older("1.0+local", "1.0")


def test_a_difference_names_few_files_and_counts_the_rest() -> None:
    base = Locked(name="a", version="1", kind="wheel", entry_points={}, record="", files={f"f{n}.py": "0" for n in range(9)})
    now = Locked(name="a", version="1", kind="editable", entry_points={}, record="", files={f"f{n}.py": "1" for n in range(8)})

    text = "f0.py, f1.py, f2.py and 5 more were changed, f8.py was removed, it was installed as wheel and is editable now"
    assert text == difference(base, now)
