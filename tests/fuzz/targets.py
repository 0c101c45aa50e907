"""Every parser of Herald that reads what it did not write itself, each as a function of bytes.

A target returns whatever happens; the errors that a caller of the parser must expect are caught in it. Any other
exception, and more than a second, is a finding.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

from herald.clock import WallClock, parse_time
from herald.errors import AuditError, ConfigError, DataError, HeraldError, JournalError, NotFound, PluginError, SecretError
from herald.host.config import read_config
from herald.host.environment import overlay
from herald.host.lock import check_signature, read_lock, signature_of
from herald.host.lookalike import looks_like
from herald.host.trust import is_older
from herald.live.state import STATE_NAME, StateFile
from herald.plugins.control.access import AccessError, Gatekeeper, KeyFile, Sessions
from herald.plugins.control.wire import decode_down, decode_up
from herald.plugins.files import FilesSettings
from herald.plugins.files.inspection import inspect_file
from herald.plugins.journal import verify
from herald.plugins.journal._rows import decode as decode_record
from herald.plugins.mt5.client import UNREADABLE, _value
from herald.plugins.mt5.inputs import import_inputs, read_inputs
from herald.plugins.mt5.server import Gone, read_request
from herald.plugins.simbroker import SimBrokerConnector, SimBrokerSettings
from herald.plugins.strategies.sma_cross import SmaCrossSettings
from herald.results.folder import load_run
from herald.testing.simbroker.wire import FrameError, Frames
from herald.testing.simbroker.wire import decode as decode_frame
from herald.utils.audit_log import AuditLog, read_audit, read_audit_key, verify_audit
from herald.utils.vault import _SUM, Vault, VaultKey

__all__ = ["SECONDS", "TARGETS"]

SECONDS = 1.0
"""The longest that one input may take."""
_KEY = bytes(range(32))
_PUBLIC = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="  # RFC 8032, test 1


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="herald-fuzz-"))


def _put(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def config(data: bytes) -> None:
    """A config file: TOML, and Herald's own tables."""
    with contextlib.suppress(ConfigError):
        read_config(_put("herald.toml", data), {})


def environment(data: bytes) -> None:
    """Variables above a config: the first line is a name, the rest a value."""
    name, _, value = data.decode("utf-8", "replace").partition("\n")
    raw = {"strategies": {"trend": {"use": "x", "list": [1]}}, "risk": [{"use": "y"}]}
    overlay(raw, {f"HERALD_{name}": value})


def _bars(suffix: str) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        """A file of bars, whatever it is packed in."""
        path = _put(f"prices{suffix}", data)
        found = inspect_file(path, FilesSettings(path=str(path)))
        assert found.extents or found.defects

    return target


def journal_record(data: bytes) -> None:
    """The body of one record of the journal."""
    with contextlib.suppress(JournalError):
        decode_record(data, 1, Path("journal.sqlite"))


def journal_file(data: bytes) -> None:
    """A whole journal, that is a database."""
    with contextlib.suppress(JournalError):
        verify(_put("journal.sqlite", data))


def trading_state(data: bytes) -> None:
    """The file that says what may be traded; whatever it holds, it is read, and in doubt as a halt."""
    folder = _folder() / "state"
    folder.mkdir(exist_ok=True)
    (folder / f"{STATE_NAME}.written").touch()
    (folder / STATE_NAME).write_bytes(data)
    StateFile(folder, WallClock()).read()


def broker_frames(data: bytes) -> None:
    """The stream of the simulated broker's protocol."""
    with contextlib.suppress(FrameError):
        for body in Frames().feed(data):
            decode_frame(body)


@cache
def _connector() -> SimBrokerConnector:
    import random

    from herald.components import Services

    settings = SimBrokerSettings(address="127.0.0.1:1", token="t" * 16)
    return SimBrokerConnector(settings, Services("connectors.main", WallClock(), random.Random(1)))


def broker_news(data: bytes) -> None:
    """An execution, or an order, as a broker tells it."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(body, dict):
        for kind in ("deal", "order"):
            with contextlib.suppress(HeraldError):
                _connector()._event(kind, body)


def plugin_lock(data: bytes) -> None:
    """A plugin lock, and the signature over one."""
    path = _put("plugins.lock", data)
    with contextlib.suppress(PluginError):
        read_lock(path)
    signature_of(path).write_bytes(data)
    with contextlib.suppress(PluginError):
        check_signature(path, b"", _PUBLIC)
    with contextlib.suppress(PluginError):
        check_signature(path, b"", data.decode("utf-8", "replace"))


def names_and_versions(data: bytes) -> None:
    """Names of distributions, and versions."""
    one, _, other = data.decode("utf-8", "replace").partition("\n")
    looks_like(one, [other, "herald-trading"])
    is_older(one, other)


def audit_log(data: bytes) -> None:
    """An audit log, its notes, and going on with what is there."""
    for old in _folder().glob("audit*"):
        old.unlink()
    path, heads = _put("audit.log", data), _put("audit.heads", data)
    list(read_audit(path))
    verify_audit(path, _KEY, heads)
    with contextlib.suppress(AuditError):
        log = AuditLog(path, _KEY, WallClock())
        log.append("fuzz", "act", "what")
        log.close()


def audit_key(data: bytes) -> None:
    """The key of an audit log."""
    with contextlib.suppress(AuditError):
        read_audit_key(_put("audit.key", data))


def run_folder(data: bytes) -> None:
    """The manifest and the statistics of a run folder."""
    folder = _folder() / "run"
    folder.mkdir(exist_ok=True)
    for name in ("manifest.json", "statistics.json"):
        (folder / name).write_bytes(data)
    with contextlib.suppress(DataError, NotFound):
        load_run(folder)


def mt5_inputs(data: bytes) -> None:
    """A preset of MetaTrader 5."""
    with contextlib.suppress(DataError, ConfigError):
        import_inputs(read_inputs(data, "x.set"), SmaCrossSettings, "x.set")


def mt5_request(data: bytes) -> None:
    """What the terminal process is asked."""
    with contextlib.suppress(Gone):
        read_request(data)


def mt5_answer(data: bytes) -> None:
    """What the terminal process answers: a line of JSON, and the bytes of an array behind it."""
    text, _, raw = data.partition(b"\n")
    with contextlib.suppress(*UNREADABLE):
        _value(json.loads(text), raw)


def api_key(data: bytes) -> None:
    """A key as a stranger sends it, and the file that holds the keys."""
    path = _put("control-keys.json", data)
    keys = KeyFile(path, WallClock().now)
    gate = Gatekeeper(
        keys, Sessions(time.monotonic), local=None, now=WallClock().now, monotonic=time.monotonic, requests_per_minute=60
    )
    with contextlib.suppress(AccessError):
        gate.by_key(data.decode("latin-1"), "127.0.0.1")
    with contextlib.suppress(AccessError):
        keys.keys()


def control_frames(data: bytes) -> None:
    """What a run and its control server tell each other."""
    for decode in (decode_up, decode_down):
        with contextlib.suppress(ValueError):
            decode(data)


def vault(data: bytes) -> None:
    """A vault, and one whose checksum is right although its content is not."""
    key = VaultKey.from_bytes(_KEY)
    lines = data.rpartition(_SUM)[0]
    for told in (data, lines + _SUM + hashlib.sha256(lines).hexdigest().encode() + b"\n"):
        with contextlib.suppress(SecretError):
            opened = Vault(_put("secrets.vault", told), key)
            for name in opened.names():
                opened.get(name)


def times(data: bytes) -> None:
    """Times as people write them on the command line."""
    with contextlib.suppress(ValueError):
        parse_time(data.decode("utf-8", "replace"))


def toml_and_json(data: bytes) -> None:
    """The parsers underneath: what they raise on bad input must be what Herald's callers catch."""
    with contextlib.suppress(tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        tomllib.loads(data.decode("utf-8"))
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        msgspec.json.decode(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "api_key": api_key,
    "audit_key": audit_key,
    "audit_log": audit_log,
    "bars_csv": _bars(".csv"),
    "bars_packed": _bars(".csv.gz"),
    "bars_zip": _bars(".zip"),
    "broker_frames": broker_frames,
    "broker_news": broker_news,
    "config": config,
    "control_frames": control_frames,
    "environment": environment,
    "journal_file": journal_file,
    "journal_record": journal_record,
    "mt5_answer": mt5_answer,
    "mt5_inputs": mt5_inputs,
    "mt5_request": mt5_request,
    "names_and_versions": names_and_versions,
    "plugin_lock": plugin_lock,
    "run_folder": run_folder,
    "times": times,
    "toml_and_json": toml_and_json,
    "trading_state": trading_state,
    "vault": vault,
}
