"""``herald plugins lock | trust | verify | key``: say which plugins may be imported, and check that they are still the same.

To write a lock is a privileged act: where the config has an audit log, it is recorded there first, or not done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from herald.cli import exit_code
from herald.errors import NotFound, PluginError
from herald.host.config import read_config
from herald.host.discovery import Catalog, Found, discover
from herald.host.lock import (
    Lock,
    Locked,
    check_signature,
    lock_bytes,
    new_key,
    public_text,
    read_key,
    read_lock,
    write_lock,
)
from herald.host.lookalike import looks_like
from herald.host.trust import OWN, Trust, difference, is_older, key_of, measure, open_lock
from herald.host.uses import named_plugins, needs_lock

if TYPE_CHECKING:
    from herald.host.tables import HeraldConfig

__all__ = ["lock", "make_key", "trust", "verify"]

_CONFIG = "herald.toml"
_AT_START = ("sitecustomize.py", "usercustomize.py")
"""Modules that Python imports of its own accord, as it does the lines of a .pth file that begin with import."""


@dataclass(frozen=True)
class _Ground:
    """What a command works on: the config, its lock's place and what is installed."""

    file: Path
    config: HeraldConfig
    lock: Path
    catalog: Catalog


def _ground(file: Path) -> _Ground:
    config = read_config(file).config
    base = file.resolve().parent
    catalog = discover([base / Path(stated).expanduser() for stated in config.plugins.paths])
    for name in catalog.unreadable:
        click.echo(f"herald: the entry points of {name} cannot be read, so it is left out; install it again", err=True)
    return _Ground(file, config, base / config.plugins.lock, catalog)


_file = click.argument("file", type=click.Path(path_type=Path), default=_CONFIG)
_of = click.option("--file", type=click.Path(path_type=Path), default=_CONFIG, show_default=True, help="The config.")


@dataclass(frozen=True)
class _Options:
    """What the commands that write a lock have in common."""

    signer: Path | None
    downgrade: bool
    alike: tuple[str, ...]
    why: str
    unrecorded: bool


def _writing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `_Options`."""
    for option in (
        click.option("--unrecorded", is_flag=True, help="Do it although the audit log of the config cannot be opened."),
        click.option("--why", default="by hand", show_default=True, help="The reason, for the audit log."),
        click.option(
            "--alike", multiple=True, metavar="NAME", help="Accept NAME although it is like another name; may be repeated."
        ),
        click.option("--downgrade", is_flag=True, help="Accept an older version than the locked one."),
        click.option("--key", "signer", type=click.Path(path_type=Path), help="Private key to sign the lock with."),
    ):
        function = option(function)
    return function


@click.command(short_help="Lock the plugins that a config names.")
@_file
@_writing
def lock(file: Path, **options: Any) -> None:
    """Write the lock of FILE: Herald and every plugin that FILE names, with the hash of each of their files.

    Prints what is new or changed since the last lock, and records it in the audit log of FILE, where it has one. Nothing
    that is locked is imported but what writes that log. A live run imports nothing that is not in the lock, or is not as
    it was.
    """
    ground = _ground(file)
    try:
        old = _old(ground)
    except PluginError as error:  # what nobody vouches for is no ground to say that nothing changed
        click.echo(f"herald: all is listed as new, for the lock that is there cannot be believed: {error}", err=True)
        old = None
    new = _measured(named_plugins(ground.config, ground.catalog))
    _write(ground, "lock", old, new, _Options(**options))


@click.command(short_help="Add plugins to the lock, or accept a change.")
@click.argument("names", nargs=-1, required=True)
@_of
@_writing
def trust(names: tuple[str, ...], file: Path, **options: Any) -> None:
    """Put the plugins NAMES, as they are now, into the lock of the config; the rest of it stays as it is."""
    ground = _ground(file)
    old = _old(ground)
    new = {one.key: one for one in old.distributions} if old is not None else _measured(_own(ground.catalog))
    new |= _measured([ground.catalog.find(name) for name in names])
    _write(ground, "trust", old, new, _Options(**options))


@click.command(short_help="Compare what is installed with the lock.")
@_file
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(file: Path, as_json: bool) -> None:
    """Compare everything in the lock of FILE, and every plugin that FILE names, with what is installed; nothing is imported."""
    ground = _ground(file)
    trusted = open_lock(ground.lock, ground.config.plugins.lock_key, ground.catalog)
    known, data = read_lock(ground.lock)
    by_key: dict[tuple[bool, str], list[Found]] = {}
    for found in ground.catalog:
        by_key.setdefault(key_of(found), []).append(found)
    findings: dict[str, str] = {}
    for one in known.distributions:
        reasons = [trusted.reason(found) for found in by_key.get(one.key, ())] or ["it is not installed any more"]
        findings[_called(one)] = next(filter(None, reasons), "")
    for found in named_plugins(ground.config, ground.catalog):
        if known.find(key_of(found)) is None:
            findings[f"plugin {found.name} ({found.origin})"] = trusted.reason(found)
    signed = "signed" if ground.config.plugins.lock_key else "not signed"
    digest = hashlib.sha256(data).hexdigest()
    if as_json:
        document = {"lock": str(ground.lock), "sha256": digest, "signed": signed == "signed", "findings": findings}
        click.echo(json.dumps(document, indent=2))
    else:
        for name, reason in findings.items():
            click.echo(f"{name}: {reason or 'ok'}")
        click.echo(f"{ground.lock.name}: sha256 {digest}, {signed}")
    if any(findings.values()):
        raise click.exceptions.Exit(exit_code(PluginError()))


@click.command("key", short_help="Make a key that signs locks.")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def make_key(path: Path) -> None:
    """Write a new private key to PATH and print what the config says of it. Keep it away from the machine that trades."""
    public = new_key(path)
    click.echo(f'[plugins]\nlock_key = "{public}"')


# --- inside ---------------------------------------------------------------------------------------


def _old(ground: _Ground) -> Lock | None:
    """Return the lock as it is; None where there is none.

    Raises:
        PluginError: It is none, or was not signed by the owner of the key that the config names.
    """
    try:
        old, data = read_lock(ground.lock)
    except NotFound:
        return None
    if ground.config.plugins.lock_key is not None:
        check_signature(ground.lock, data, ground.config.plugins.lock_key)
    return old


def _own(catalog: Catalog) -> list[Found]:
    return [found for found in catalog if found.distribution == OWN]


def _measured(found: Iterable[Found]) -> dict[tuple[bool, str], Locked]:
    """Return every distribution and local plugin once."""
    new: dict[tuple[bool, str], Locked] = {}
    for one in found:
        if key_of(one) not in new:
            new[key_of(one)] = measure(one)
    return new


def _write(ground: _Ground, act: str, old: Lock | None, new: dict[tuple[bool, str], Locked], options: _Options) -> None:
    """Say what changes, refuse what looks wrong, and write the lock after that is recorded."""
    before = {} if old is None else {one.key: one for one in old.distributions}
    public = ground.config.plugins.lock_key
    if public is not None and options.signer is None:
        raise PluginError(f"{str(ground.file)!r} asks for a signed lock; give --key FILE, or do this where the key is")
    private = None if options.signer is None else read_key(options.signer)
    if private is not None and public not in (None, public_text(private)):
        raise PluginError(f"{str(options.signer)!r} is not the key that {str(ground.file)!r} names; give the right one")
    lines = []
    for one in sorted(new.values(), key=lambda one: one.key):
        was = before.get(one.key)
        if was is None:
            _refuse_alike(one, new.values(), ground.catalog, options.alike)
            lines.append(f"+ {_called(one)}: {_size(one)}; offers {', '.join(one.entry_points)}{_early(one)}")
            continue
        if not options.downgrade and is_older(one.version, was.version):
            hint = f"install {was.version} again, or if you mean it: --downgrade"
            raise PluginError(f"{one.name} was downgraded: {one.version} is installed, {was.version} is locked; {hint}")
        what = difference(was, one)
        if what:
            lines.append(f"~ {_called(one)}: {what}{_early(one)}")
    lines += [f"- {_called(one)}" for where, one in sorted(before.items()) if where not in new]
    lines = lines or ["nothing changed"]
    made = Lock.here(tuple(new.values()))
    signed = "" if private is None else ", signed"
    with _recorded(ground, act, made, f"{signed.lstrip(', ')} {'; '.join(lines)}".strip(), options):
        write_lock(ground.lock, made, private)
    for line in lines:
        click.echo(line)
    click.echo(f"{ground.lock}: {len(new)} locked{signed}")


def _recorded(ground: _Ground, act: str, made: Lock, what: str, options: _Options) -> AbstractContextManager[None]:
    """Record what is locked; the new lock says itself whether the plugin that does so may be imported."""
    from herald.cli.control import recorded, recorded_unless, state_folder

    digest = hashlib.sha256(lock_bytes(made)).hexdigest()[:16]  # as a run states it when it begins
    scope = f"{ground.lock} {digest}: {what}"
    trusted = Trust(made, ground.lock.name, ground.catalog) if needs_lock(ground.config, ground.config.herald.mode) else None
    hint = "does it all the same, as where an image is built and its log is elsewhere"
    return recorded_unless(
        options.unrecorded,
        hint,
        lambda: recorded(state_folder(ground.file), ground.file, f"plugins.{act}", scope, options.why, trusted),
    )


def _refuse_alike(one: Locked, others: Iterable[Locked], catalog: Catalog, accepted: Sequence[str]) -> None:
    names = {OWN, *(found.name for found in catalog if found.distribution == OWN)}
    for other in others:
        if other.key != one.key:
            names |= {*other.entry_points, *([] if other.kind == "local" else [other.name])}
    if one.name == OWN:
        return
    for name in dict.fromkeys([one.name, *one.entry_points]):
        like = "" if name in accepted else looks_like(name, names)
        if like:
            raise PluginError(f"the name {name!r} of {_called(one)} is like {like}; if it is what you mean: --alike {name}")


def _early(one: Locked) -> str:
    """Say which files of *one* no lock can hold back."""
    names = [name for name in one.files if "/" not in name and (name.endswith(".pth") or name in _AT_START)]
    return f"; BEWARE: {', '.join(names)} runs whenever this Python starts, before any lock is read" if names else ""


def _called(one: Locked) -> str:
    return f"{one.name} {one.version}".strip() if one.kind != "local" else f"local plugin {one.name}"


def _size(one: Locked) -> str:
    where = {"wheel": "", "editable": " of an editable installation", "local": ""}[one.kind]
    return f"{len(one.files)} file{'' if len(one.files) == 1 else 's'}{where}"
