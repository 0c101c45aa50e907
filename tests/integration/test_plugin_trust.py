"""Hostile wheels before a live run, through the installed command: nothing of them runs, and the reason is exact."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.wheels import install, make_wheel, source

LIVE = """
[herald]
mode = "live"

[plugins]
{keys}

[connectors.main]
use     = "simbroker"
address = "127.0.0.1:1"
token   = "{token}"

[strategies.trend]
use       = "{plugin}"
symbols   = ["EURUSD"]
timeframe = "1h"

[[risk]]
use  = "risk.max_order_size"
lots = 1.0
[[risk]]
use      = "risk.max_daily_loss"
fraction = 0.02
[[risk]]
use      = "risk.max_drawdown"
fraction = 0.1

[live]
account = "1001"
server  = "Sim-Demo"
real    = {real}
"""


class Desk:
    """A folder with a live config, and a folder in which wheels are installed."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder, self.site, self.canary = folder, folder / "site", folder / "canary"
        self.site.mkdir()
        self.env = env | {"PYTHONPATH": str(self.site), "HERALD_CONNECTORS__MAIN__TOKEN": "t" * 16}
        self.write()

    def write(self, plugin: str = "holder", keys: str = "", real: str = "true") -> None:
        text = LIVE.format(plugin=plugin, keys=keys, real=real, token="").replace('token   = ""\n', "")
        (self.folder / "herald.toml").write_text(text, encoding="utf-8")

    def wheel(self, name: str = "herald-holder", version: str = "1.2", plugin: str = "holder", *, evil: bool = False) -> Path:
        text = source(plugin, self.canary if evil else None)
        return make_wheel(self.folder, name, version, {f"{plugin}_mod.py": text}, {plugin: f"{plugin}_mod"})

    def put(self, wheel: Path) -> None:
        shutil.rmtree(self.site)
        self.site.mkdir()
        install(wheel, self.site)

    def herald(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "herald", *words]
        return subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, encoding="utf-8", check=False)

    def refused(self, expected: str) -> None:
        done = self.herald("plan", "herald.toml")
        assert 4 == done.returncode, done.stdout + done.stderr
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
        assert not self.canary.exists()


@pytest.fixture
def desk(tmp_path: Path, clean_env: dict[str, str]) -> Desk:
    return Desk(tmp_path, clean_env)


def test_a_live_config_runs_only_after_it_was_locked(desk: Desk) -> None:
    desk.put(desk.wheel())

    desk.refused("plugins.lock: there is no")
    locked = desk.herald("plugins", "lock")
    planned = desk.herald("plan", "herald.toml")

    assert 0 == locked.returncode, locked.stderr
    assert "+ herald-holder 1.2: 4 files; offers holder" in locked.stdout
    assert "+ herald-trading" in locked.stdout
    assert 0 == planned.returncode, planned.stderr
    assert "strategy trend = holder [herald-holder 1.2]" in planned.stdout
    assert 0 == desk.herald("plugins", "verify").returncode


def test_what_runs_before_any_lock_is_pointed_out(desk: Desk) -> None:
    files = {"holder_mod.py": source("holder"), "holder.pth": "import holder_mod\n"}
    desk.put(make_wheel(desk.folder, "herald-holder", "1.2", files, {"holder": "holder_mod"}))

    locked = desk.herald("plugins", "lock")

    assert "offers holder; BEWARE: holder.pth runs whenever this Python starts, before any lock is read" in locked.stdout


def test_real_money_cannot_do_without_a_lock_and_a_demo_can(desk: Desk) -> None:
    desk.put(desk.wheel())
    desk.write(keys="require_lock = false")
    desk.refused("plugins.require_lock: is false where real money is at stake")

    desk.write(keys="require_lock = false", real="false")

    assert 0 == desk.herald("plan", "herald.toml").returncode


def test_other_modes_are_locked_where_the_file_says_so(desk: Desk) -> None:
    desk.put(desk.wheel(evil=True))
    desk.write(keys="require_lock = true")

    done = desk.herald("paper", "herald.toml", "--for", "1")

    assert 4 == done.returncode
    assert "in paper mode only plugins that stand in a lock are imported" in done.stderr
    assert not desk.canary.exists()


def test_hostile_wheels_are_refused_and_never_run(desk: Desk) -> None:
    desk.put(desk.wheel())
    assert 0 == desk.herald("plugins", "lock").returncode
    good = (desk.folder / "plugins.lock").read_bytes()

    desk.put(desk.wheel("herald-stranger", plugin="stranger", evil=True))  # unlisted
    desk.write("stranger")
    desk.refused("plugin 'stranger' (herald-stranger 1.2) is not imported: it is not in plugins.lock")

    desk.put(desk.wheel("herald-h0lder", plugin="h0lder", evil=True))  # a look-alike
    desk.write("h0lder")
    desk.refused("its name is like 'herald-holder': it only differs in characters that look alike")
    lock = desk.herald("plugins", "trust", "h0lder")
    assert (4, "is like 'herald-holder'" in lock.stderr) == (lock.returncode, True), lock.stderr

    desk.write()
    desk.put(desk.wheel(evil=True))  # the same name and version, other code, a RECORD that fits
    desk.refused("holder_mod.py was changed, its RECORD was changed")

    desk.put(desk.wheel())
    record = desk.site / "herald_holder-1.2.dist-info" / "RECORD"
    record.write_text(record.read_text(encoding="utf-8") + "evil.py,,\n", encoding="utf-8")
    desk.refused("its RECORD was changed")

    desk.put(desk.wheel(version="1.1", evil=True))
    desk.refused("it was downgraded: 1.1 is installed, 1.2 is locked")
    down = desk.herald("plugins", "lock")
    assert (4, "if you mean it: --downgrade" in down.stderr) == (down.returncode, True), down.stderr

    assert good == (desk.folder / "plugins.lock").read_bytes()  # nothing that was refused got into the lock
    assert not desk.canary.exists()


@pytest.mark.long
def test_nothing_unlisted_gets_in_by_another_door(desk: Desk) -> None:
    desk.put(desk.wheel())
    assert 0 == desk.herald("plugins", "lock").returncode
    evil = f"open({str(desk.canary)!r}, 'w').close()\n"
    (desk.folder / "herald_evil.py").write_text(evil, encoding="utf-8")  # in the current folder

    for use in ("herald_evil", "herald_evil:Holder", "./herald_evil.py", "os:system", "holder:Holder", "holder_mod"):
        desk.write(use)
        desk.refused("strategies.trend.use: ")
    desk.write(keys='load = ["herald_evil"]')
    desk.refused("plugins.load")
    desk.write("herald_evil", keys='paths = ["."]')  # a file that is a plugin by its place
    desk.refused("plugin 'herald_evil'")
    desk.refused("it is not in plugins.lock; if you trust it: herald plugins trust herald_evil")

    for entries in ("holder = herald_evil", "holder = holder_mod:Holder"):  # the entry point of a locked wheel is moved
        desk.write()
        desk.put(desk.wheel())
        (desk.site / "herald_evil.py").write_text(evil, encoding="utf-8")
        (desk.site / "herald_holder-1.2.dist-info" / "entry_points.txt").write_text(f"[herald.v1]\n{entries}\n", encoding="utf-8")
        desk.refused("entry_points.txt was changed")

    desk.put(desk.wheel())
    install(desk.wheel("herald-stranger", plugin="holder", evil=True), desk.site)  # claims the name of a locked plugin
    desk.refused("plugin name 'holder' is claimed by")


def test_a_lock_from_elsewhere_is_one_line_with_the_remedy(desk: Desk) -> None:
    desk.put(desk.wheel())
    assert 0 == desk.herald("plugins", "lock").returncode
    path = desk.folder / "plugins.lock"
    lock = json.loads(path.read_text(encoding="utf-8"))
    lock["platform"], lock["python"] = "macosx-14-arm64", "3.12"
    (mine,) = [one for one in lock["distributions"] if one["name"] == "herald-holder"]
    mine["files"]["holder_fast.cpython-312-darwin.so"] = "0" * 64  # what is compiled is another file there
    path.write_text(json.dumps(lock), encoding="utf-8")

    done = desk.herald("plan", "herald.toml")

    assert 4 == done.returncode
    lines = done.stderr.splitlines()
    assert [line for line in lines if "herald-trading" not in line] == [
        "herald: herald.toml: 1 problem" if len(lines) == 2 else "herald: herald.toml: 2 problems",
        "  plugins.lock: plugin 'holder' (herald-holder 1.2) is not imported: holder_fast.cpython-312-darwin.so was removed; it was"
        f" made for Python 3.12 on macosx-14-arm64, this is Python {sys.version_info.major}.{sys.version_info.minor} on"
        f" {sysconfig.get_platform()}: herald plugins lock",
    ]
    assert 0 == desk.herald("plugins", "lock").returncode
    assert 0 == desk.herald("plan", "herald.toml").returncode


def test_a_lock_must_be_signed_where_the_config_names_a_key(desk: Desk) -> None:
    desk.put(desk.wheel(evil=True))
    made = desk.herald("plugins", "key", "owner.pem")
    assert 0 == made.returncode, made.stderr
    desk.write(keys=made.stdout.splitlines()[1])

    without = desk.herald("plugins", "lock")
    assert "asks for a signed lock; give --key FILE" in without.stderr
    desk.write()
    assert 0 == desk.herald("plugins", "lock").returncode
    desk.write(keys=made.stdout.splitlines()[1])
    desk.refused("is not signed, and the config asks for it")

    assert 0 == desk.herald("plugins", "lock", "--key", "owner.pem").returncode
    path = desk.folder / "plugins.lock"
    path.write_bytes(path.read_bytes().replace(b'"1.2"', b'"1.3"'))
    desk.refused("the lock was changed after it was signed, or another key signed it")


def test_verify_says_of_everything_whether_it_is_the_same(desk: Desk) -> None:
    desk.put(desk.wheel(evil=True))
    assert 0 == desk.herald("plugins", "lock").returncode
    (desk.site / "holder_mod.py").write_text("raise SystemExit\n", encoding="utf-8")

    done = desk.herald("plugins", "verify", "--json")
    told = json.loads(done.stdout)

    assert 4 == done.returncode
    assert "holder_mod.py was changed" in told["findings"]["herald-holder 1.2"]
    assert [""] == [text for name, text in told["findings"].items() if name.startswith("herald-trading")]
    assert not desk.canary.exists()


def test_a_plugin_that_is_trusted_again_runs_again(desk: Desk) -> None:
    desk.put(desk.wheel())
    assert 0 == desk.herald("plugins", "lock").returncode
    desk.put(desk.wheel(version="1.3"))
    desk.refused("version 1.3 is installed, 1.2 is locked")

    trusted = desk.herald("plugins", "trust", "holder")

    assert "~ herald-holder 1.3: version 1.3 is installed, 1.2 is locked" in trusted.stdout
    assert 0 == desk.herald("plan", "herald.toml").returncode


@pytest.mark.slow
def test_what_pip_installs_is_locked_with_what_pip_adds(desk: Desk) -> None:
    wheel = desk.wheel()
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(desk.site),
        str(wheel),
    ]
    subprocess.run(command, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})

    locked = desk.herald("plugins", "lock")
    lock = json.loads((desk.folder / "plugins.lock").read_text(encoding="utf-8"))
    (mine,) = [one for one in lock["distributions"] if one["name"] == "herald-holder"]

    assert 0 == locked.returncode, locked.stderr
    assert {"holder_mod.py", "herald_holder-1.2.dist-info/INSTALLER"} <= set(mine["files"])
    assert not [name for name in mine["files"] if name.endswith(".pyc")]
    assert 0 == desk.herald("plan", "herald.toml").returncode
