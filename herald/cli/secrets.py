"""``herald secrets``: write, read and look after a vault; values never stand on the command line, which others can see."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from herald.clock import DAY, WallClock, format_time, parse_time
from herald.errors import NotFound, SecretError

if TYPE_CHECKING:
    from herald.utils.vault import Vault, VaultKey

__all__ = ["secrets"]

_FAILED = 1
_SHORTEST = 12
"""Characters of a pass-phrase that somebody makes up now."""
_SOON_DAYS = 14
_LARGEST_ENV = 1_000_000
_CONFIG = "herald.toml"
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")


@click.group()
def secrets() -> None:
    """Keep passwords and keys in an encrypted file, for secret:NAME in a config.

    A vault is opened with a pass-phrase, which is asked for, or with --passphrase-file or --key-file.
    """


@dataclass(frozen=True, slots=True)
class _Access:
    """Which vault is meant, and what opens it."""

    vault: Path
    passphrase_files: tuple[Path, ...]
    key_files: tuple[Path, ...]

    def open(self) -> Vault:
        """Return the vault, opened; without a key the pass-phrase is asked for."""
        from herald.utils.vault import Vault, VaultKey, read_key_file

        if not self.vault.exists():
            raise NotFound(f"there is no vault {str(self.vault)!r}; name it with --vault, or make it: herald secrets init")
        keys = [read_key_file(one) for one in self.key_files]
        keys += [VaultKey.from_passphrase(_phrase_in(one)) for one in self.passphrase_files]
        return Vault(self.vault, *(keys or [VaultKey.from_passphrase(_ask(f"Pass-phrase of {self.vault}"))]))


@dataclass(frozen=True, slots=True)
class _Log:
    """Where it is recorded that a vault was changed or a value of it shown."""

    config: Path | None
    unrecorded: bool

    @contextmanager
    def recorded(self, act: str, vault: Path, what: str = "") -> Iterator[None]:
        """Do it after that is in the audit log of the config, where it has one."""
        from herald.cli.control import recorded, recorded_unless, state_folder

        file = vault.parent / _CONFIG if self.config is None else self.config
        if self.config is None and not file.exists():
            yield
            return
        scope = f"{vault}: {what}" if what else str(vault)
        hint = "does it all the same, as when the key of the log is kept in this vault"
        with recorded_unless(
            self.unrecorded, hint, lambda: recorded(state_folder(file), file, f"secrets.{act}", scope, "by hand")
        ):
            yield


def _opened(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which vault is meant and what opens it; *function* gets it as `access`."""

    @wraps(function)
    def command(vault: Path, passphrase_file: tuple[Path, ...], key_file: tuple[Path, ...], **others: Any) -> Any:
        return function(access=_Access(vault, passphrase_file, key_file), **others)

    path = click.Path(path_type=Path)
    given: Callable[..., Any] = command
    for option in (
        click.option("--key-file", type=path, multiple=True, help="A file with a key that opens it."),
        click.option("--passphrase-file", type=path, multiple=True, help="A file with a pass-phrase that opens it."),
        click.option("--vault", type=path, default=Path("herald.vault"), show_default=True, help="The vault."),
    ):
        given = option(given)
    return given


_kdf = click.option(
    "--kdf",
    type=click.Choice(["argon2id", "scrypt"]),
    help="How a key is made of the new pass-phrase.  [default: argon2id where this machine has it]",
)


def _audited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says where the act is recorded; *function* gets it as `log`."""

    @wraps(function)
    def command(config: Path | None, unrecorded: bool, **others: Any) -> Any:
        return function(log=_Log(config, unrecorded), **others)

    given: Callable[..., Any] = command
    for option in (
        click.option("--unrecorded", is_flag=True, help="Do it although the audit log of the config cannot be opened."),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help=f"Whose [audit] records it.  [default: {_CONFIG} beside the vault, if it is there]",
        ),
    ):
        given = option(given)
    return given


@secrets.command()
@click.option("--vault", type=click.Path(path_type=Path), default=Path("herald.vault"), show_default=True, help="The vault.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Open it with a key, which is written to this new file.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Open it with the pass-phrase in this file.")
@_kdf
@_audited
def init(
    vault: Path,
    key_file: Path | None,
    passphrase_file: Path | None,
    kdf: Literal["argon2id", "scrypt"] | None,
    log: _Log,
) -> None:
    """Make an empty vault."""
    from herald.utils.vault import Vault

    if vault.exists():
        raise SecretError(f"{str(vault)!r} is there already, and a vault is never overwritten; name another with --vault")
    with (
        log.recorded("init", vault),
        _new_key(vault, key_file, passphrase_file, kdf) as key,
    ):
        Vault.create(vault, key)
    opener = f"the key in {key_file}" if key_file else "that pass-phrase"
    click.echo(f"{vault} is opened with {opener}; keep a copy of both, apart from each other: without it nothing can be read")


@secrets.command("set")
@click.argument("name")
@click.option(
    "--section", is_flag=True, help='It is a table in TOML, for encrypted = "NAME" in a config; keys are asked for, too.'
)
@click.option("--expires", metavar="DATE", help="When it should have been replaced; `doctor` warns two weeks before.")
@_opened
@_audited
def set_(
    name: str,
    section: bool,
    expires: str | None,
    access: _Access,
    log: _Log,
) -> None:
    """Keep a value under NAME: it is asked for without being shown, or read from standard input up to the end.

    With --section it is the table of a config that says encrypted = "NAME": lines such as token = "..." and timeout = 5.
    """
    try:
        end = None if expires is None else parse_time(expires)
    except ValueError as error:
        raise click.UsageError(f"--expires: {expires!r} is no date; write 2027-01-31") from error
    opened = access.open()
    if _is_terminal():
        value = _ask_section() if section else _ask(f"Value of {name}", confirm=True)
    else:
        value = sys.stdin.read(1_000_000).removesuffix("\n").removesuffix("\r")
    if section:
        _check_section(name, value)
    with log.recorded("set", access.vault, name):
        opened.set(name, value, end)
    click.echo(f"{name} is kept, version {opened.info(name).version}")


@secrets.command()
@click.argument("name")
@click.option("--reveal", is_flag=True, help="Yes, show it: what stands on a screen is seen and kept by others.")
@_opened
@_audited
def get(name: str, reveal: bool, access: _Access, log: _Log) -> None:
    """Print the value of NAME, if --reveal says so."""
    if not reveal:
        raise click.UsageError("a secret is only shown with --reveal; `herald secrets list` shows what there is")
    opened = access.open()
    with log.recorded("get", access.vault, name):
        value = opened.get(name)
    click.echo(value)


@secrets.command("list")
@_opened
def list_(access: _Access) -> None:
    """List the names, with when each was set and expires."""
    opened = access.open()
    for name in opened.names():
        info = opened.info(name)
        expires = "" if info.expires is None else f", expires {format_time(info.expires)[:10]}"
        click.echo(f"{name}  version {info.version}, set {format_time(info.changed)[:10]}{expires}")
    if not opened.names():
        click.echo("the vault is empty; herald secrets set NAME")


@secrets.command()
@click.argument("name")
@_opened
@_audited
def remove(
    name: str,
    access: _Access,
    log: _Log,
) -> None:
    """Forget the secret NAME."""
    opened = access.open()
    with log.recorded("remove", access.vault, name):
        opened.remove(name)
    click.echo(f"{name} is removed; copies of the vault still have it")


@secrets.command()
@click.option("--new-key-file", type=click.Path(path_type=Path), help="Open it with a key, which is written to this new file.")
@click.option("--new-passphrase-file", type=click.Path(path_type=Path), help="Open it with the pass-phrase in this file.")
@_kdf
@click.option("--finish", is_flag=True, help="Let only the newest key open it from now on.")
@_opened
@_audited
def rotate(
    new_key_file: Path | None,
    new_passphrase_file: Path | None,
    kdf: Literal["argon2id", "scrypt"] | None,
    finish: bool,
    access: _Access,
    log: _Log,
) -> None:
    """Let a new key or pass-phrase open the vault, beside the old one until --finish."""
    if finish and (new_key_file or new_passphrase_file or kdf):
        raise click.UsageError("--finish takes no new key; open the vault with the new one")
    opened = access.open()
    if finish:
        with log.recorded("rotate", access.vault, "finish"):
            retired = opened.retire_keys()
        click.echo("the old key opens it no longer" if retired else "only one key opens it; there was nothing to finish")
        return
    if len(opened.keys) > 1:
        raise SecretError(f"two keys open the vault {str(access.vault)!r} already; first: herald secrets rotate --finish")
    with (
        log.recorded("rotate", access.vault),
        _new_key(access.vault, new_key_file, new_passphrase_file, kdf) as key,
    ):
        opened.add_key(key)
    click.echo("both keys open it now; give the new one to all that read it, then: herald secrets rotate --finish")


@secrets.command("import", short_help="Take the values of a .env file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Replace secrets that are there already.")
@_opened
@_audited
def import_(
    file: Path,
    replace: bool,
    access: _Access,
    log: _Log,
) -> None:
    """Take every NAME=VALUE of FILE, a .env file, under the name in small letters: all of them, or none."""
    values = _env(file)
    opened = access.open()
    known = [name for name in values if name in opened]
    if known and not replace:
        raise SecretError(f"{', '.join(known)}: there already; --replace replaces, or take the line out of {str(file)!r}")
    with log.recorded("import", access.vault, ", ".join(values)):
        opened.update(values)
    for name in values:
        click.echo(f'{name} is kept; write "secret:{name}" in the config')
    click.echo(f"{len(values)} secrets are in {access.vault}; delete {file} now, and replace what others could have read there")


@secrets.command(short_help="Copy secrets to a new vault with a key of its own.")
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1)
@click.option("--new-key-file", type=click.Path(path_type=Path), help="Open OUT with a key, which is written to this new file.")
@click.option("--new-passphrase-file", type=click.Path(path_type=Path), help="Open OUT with the pass-phrase in this file.")
@_kdf
@_opened
@_audited
def export(
    out: Path,
    names: tuple[str, ...],
    new_key_file: Path | None,
    new_passphrase_file: Path | None,
    kdf: Literal["argon2id", "scrypt"] | None,
    access: _Access,
    log: _Log,
) -> None:
    """Copy NAMES, or every secret, to OUT, a new vault with a pass-phrase or key of its own; nothing is written in plain text."""
    from herald.utils.vault import Vault

    opened = access.open()
    chosen = dict.fromkeys(names or opened.names())
    values = {name: (opened.get(name), opened.info(name).expires) for name in chosen}
    if out.exists():
        raise SecretError(f"{str(out)!r} is there already, and a vault is never overwritten; name another file")
    with (
        log.recorded("export", access.vault, f"to {out}: {', '.join(chosen)}"),
        _new_key(out, new_key_file, new_passphrase_file, kdf) as key,
    ):
        copy = Vault.create(out, key)
        try:
            for end in dict.fromkeys(end for _, end in values.values()):
                copy.update({name: value for name, (value, own) in values.items() if own == end}, end)
        except BaseException:
            with suppress(OSError):
                out.unlink()  # half of it would pass for the whole
            raise
    click.echo(f"{len(chosen)} secrets are in {out}, which is opened with its own key; keep the two apart")


@secrets.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@_opened
def doctor(file: Path | None, access: _Access) -> None:
    """Check a vault: its file, its key, every value, and what expires. Of FILE, a config: who answers what it needs.

    Exit code 1: something is to be done. No value is shown.
    """
    if file is not None:
        _doctor_of(file)
        return
    opened = access.open()
    now, findings = WallClock().now(), []
    click.echo("file     whole, and for its owner alone")
    for ident, kdf, made in opened.keys:
        kind = "a key file" if kdf == "key" else f"a pass-phrase ({kdf})"
        click.echo(f"key      {ident}, {kind}, since {format_time(made)[:10]}")
    if len(opened.keys) > 1:
        findings.append("two keys open the vault; when nobody needs the old one: herald secrets rotate --finish")
    for name in opened.names():
        opened.get(name)
        expires = opened.info(name).expires
        if expires is not None and expires - now < _SOON_DAYS * DAY:
            verb = "expired" if expires <= now else "expires"
            findings.append(f"{name} {verb} on {format_time(expires)[:10]}; herald secrets set {name}")
    click.echo(f"secrets  {len(opened.names())}, all can be read")
    for one in findings:
        click.echo(f"to do    {one}")
    if findings:
        raise click.exceptions.Exit(_FAILED)


def _doctor_of(file: Path) -> None:
    """Tell of every secret that the config *file* needs which source answers."""
    from herald.host.plan import load_plan
    from herald.host.secrets import keeper_of, wanted

    plan = load_plan(file)
    keeper, needed = keeper_of(plan.source, plan.secrets, plan.base), wanted(plan)
    missing = []
    for (name, among), places in needed.items():
        click.echo(f"{name}, for {', '.join(places)}")
        is_found = False
        for place, says in keeper.survey(name, among):
            word = says if isinstance(says, str) else "no" if not says else "answers" if not is_found else "has it, too"
            is_found = is_found or says is True
            click.echo(f"  {place}: {word}")
            if isinstance(says, str):
                break
        if not is_found:
            missing.append(name)
            click.echo(f"  to do: herald secrets set {name}" if plan.secrets else "  to do: add [[secrets]]; see docs/secrets.md")
    click.echo(f"{len(needed)} needed, {len(missing)} without an answer")
    if missing:
        raise click.exceptions.Exit(_FAILED)


# --- inside ---------------------------------------------------------------------------------------


@contextmanager
def _new_key(
    vault: Path, key_file: Path | None, passphrase_file: Path | None, kdf: Literal["argon2id", "scrypt"] | None
) -> Iterator[VaultKey]:
    """Hand out a new key for *vault*; where nothing comes of it, its file does not stay either."""
    from herald.utils.vault import VaultKey, make_key_file

    if key_file is not None and passphrase_file is not None:
        raise click.UsageError("a key file or a pass-phrase file, not both")
    if key_file is not None and kdf is not None:
        raise click.UsageError("--kdf is for a pass-phrase; the key in a key file is random already, leave it out")
    if key_file is None:
        phrase = _ask("New pass-phrase", confirm=True) if passphrase_file is None else _phrase_in(passphrase_file)
        if len(phrase) < _SHORTEST:
            what = f"the new pass-phrase has {len(phrase)} characters"
            raise SecretError(f"{what}; take at least {_SHORTEST}, several words are best")
        yield VaultKey.from_passphrase(phrase, kdf)
        return
    before = _content(vault)
    key = make_key_file(key_file)
    try:
        yield key
    except BaseException:
        with suppress(OSError):
            if _content(vault) == before:  # or else it may be needed
                key_file.unlink()
        raise


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _phrase_in(file: Path) -> str:
    from herald.utils.vault import read_private

    try:
        return read_private(file, "pass-phrase file").decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretError(f"{str(file)!r} is not text in UTF-8; write the pass-phrase into it") from None


def _ask(what: str, *, confirm: bool = False) -> str:
    if not _is_terminal():
        raise click.UsageError(f"{what}: there is nobody to ask; state --passphrase-file or --key-file")
    answer: str = click.prompt(what, hide_input=True, confirmation_prompt=confirm, err=True)
    return answer


def _ask_section() -> str:
    """Return a table in TOML, of keys and values that are asked for one by one.

    As in a variable of the environment a value is text, which the settings turn into what they need, unless it begins
    with ``[`` or ``{``.
    """
    lines: dict[str, str] = {}
    while key := click.prompt("Key, or nothing at the end", default="", show_default=False, err=True):
        if not _KEY.fullmatch(key) or key in lines:
            click.echo(f"{key!r} is {'there already' if key in lines else 'no key; use letters, digits, _ and -'}", err=True)
            continue
        value = _ask(f"Value of {key}", confirm=True)
        text = value if value.startswith(("[", "{")) else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        lines[key] = f"{key} = {text}"
    return "\n".join(lines.values())


def _check_section(name: str, text: str) -> None:
    from herald.host.encrypted import parse_section

    try:
        parse_section(text)
    except ValueError as error:
        raise SecretError(f"what should be the table {name} {error}; write KEY = VALUE lines, nothing was kept") from None


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _env(file: Path) -> dict[str, str]:
    """Return the values of a .env file by the names that they get.

    Raises:
        NotFound: There is no such file.
        SecretError: A line is none of NAME=VALUE; the message does not repeat it.
    """
    try:
        with open(file, encoding="utf-8-sig") as stream:
            text = stream.read(_LARGEST_ENV)
    except FileNotFoundError:
        raise NotFound(f"there is no file {str(file)!r}; correct the path") from None
    except (OSError, UnicodeDecodeError) as error:
        what = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)
        raise SecretError(f"{str(file)!r} cannot be read: {what}") from None
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise SecretError(f"{str(file)!r}, line {number}: it is not NAME=VALUE; correct it, nothing was taken")
        name, value = found[1].lower(), found[2]
        if value[:1] in ("'", '"'):
            end = value.find(value[0], 1)
            if end < 0 or (value[end + 1 :].strip() and not value[end + 1 :].lstrip().startswith("#")) or "\\" in value[:end]:
                what = "its quotes do not end, or hold a backslash"
                raise SecretError(
                    f"{str(file)!r}, line {number}: {what}; take the line out and set {name} by hand, nothing was taken"
                )
            value = value[1:end]
        else:
            value = re.split(r"\s+#", value, maxsplit=1)[0]
        if name in values:
            raise SecretError(f"{str(file)!r}, line {number}: {name} is there twice; take one out, nothing was taken")
        if value:
            values[name] = value
    return values
