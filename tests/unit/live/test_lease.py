"""The account lease: one owner, freed by a crash, taken over by a watchdog."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from herald.clock import WallClock
from herald.errors import HeraldError, LeaseError, WaitTimeout
from herald.live._files import FileLock
from herald.live.lease import AccountLease, holders_of, lease_folder, process_identity
from herald.testing import FakeClock

OWNER = """
import sys
from pathlib import Path
from herald.clock import WallClock
from herald.live.lease import AccountLease
lease = AccountLease("Broker-Demo", "5012345", WallClock(), Path(sys.argv[1]))
print(lease.acquire("first", "first.toml"), flush=True)
for line in sys.stdin:
    try:
        lease.check()
        print("mine", flush=True)
    except Exception as error:
        print(error, flush=True)
"""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return another process that holds the account with epoch 1."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "1\n" == process.stdout.readline()
        yield process
        process.kill()


def lease(folder: Path, clock: FakeClock, account: str = "5012345") -> AccountLease:
    return AccountLease("Broker-Demo", account, clock, folder)


def ask(owner: subprocess.Popen[str]) -> str:
    assert owner.stdin is not None
    assert owner.stdout is not None
    owner.stdin.write("\n")
    owner.stdin.flush()
    return owner.stdout.readline().strip()


def test_a_free_account_is_taken_and_the_epoch_grows_with_every_owner(tmp_path: Path, clock: FakeClock) -> None:
    epochs = []
    for _ in range(3):
        with lease(tmp_path, clock) as mine:
            epochs.append(mine.acquire("run", "a.toml"))
            mine.check()

    assert [1, 2, 3] == epochs


def test_a_second_process_is_refused_and_told_by_whom(tmp_path: Path, clock: FakeClock, owner: subprocess.Popen[str]) -> None:
    with pytest.raises(LeaseError) as error:
        lease(tmp_path, clock).acquire("second", "second.toml")

    text = str(error.value)
    assert text.startswith(f"account '5012345' at 'Broker-Demo' is in use by process {owner.pid} since 2")
    assert text.endswith("(run 'first', config 'first.toml'); stop it first, or give this run another account")
    assert isinstance(error.value, HeraldError)
    assert "mine" == ask(owner)


def test_another_account_and_another_server_are_free(tmp_path: Path, clock: FakeClock) -> None:
    with lease(tmp_path, clock) as mine, lease(tmp_path, clock, "5012346") as other:
        mine.acquire("run", "a.toml")
        other.acquire("run", "a.toml")
        with AccountLease("Broker Demo", "5012345", clock, tmp_path) as third:
            third.acquire("run", "a.toml")

            assert [1, 1, 1] == [mine.epoch, other.epoch, third.epoch]


def test_a_crashed_owner_stands_in_nobodys_way(tmp_path: Path, clock: FakeClock, owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()

    with lease(tmp_path, clock) as mine:
        assert 2 == mine.acquire("second", "second.toml")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot stop a process without ending it")
def test_a_watchdog_takes_over_and_the_old_owner_learns_it(
    tmp_path: Path, clock: FakeClock, owner: subprocess.Popen[str]
) -> None:
    os.kill(owner.pid, signal.SIGSTOP)
    (held,) = holders_of(owner.pid, process_identity(owner.pid), clock, tmp_path)
    with lease(tmp_path, clock) as mine:
        epoch = mine.take_over(held.epoch, "watchdog", "first.toml")

        os.kill(owner.pid, signal.SIGCONT)
        answers = [ask(owner), ask(owner)]

        assert 2 == epoch
        mine.check()
        assert f"was taken over by process {os.getpid()}" in answers[0]
        assert answers[0] == answers[1]


def test_an_owner_that_lost_the_account_frees_nothing_when_it_gives_it_back(tmp_path: Path, clock: FakeClock) -> None:
    old, new = lease(tmp_path, clock), lease(tmp_path, clock)
    old.acquire("old", "a.toml")
    new.take_over(1, "watchdog", "a.toml")

    old.release()

    new.check()
    with pytest.raises(LeaseError, match="in use by process"):
        lease(tmp_path, clock).acquire("third", "a.toml")
    new.release()


def test_nobody_is_robbed_who_came_after_the_killed_owner(tmp_path: Path, clock: FakeClock) -> None:
    for _ in range(2):
        last = lease(tmp_path, clock)
        last.acquire("run", "a.toml")
        last.release()
    last.acquire("run", "a.toml")

    with pytest.raises(LeaseError, match="is with epoch 3 by now, not 1"):
        lease(tmp_path, clock).take_over(1, "watchdog", "a.toml")
    last.check()
    last.release()


def test_an_account_that_is_not_held_must_not_be_traded(tmp_path: Path, clock: FakeClock) -> None:
    mine = lease(tmp_path, clock)

    with pytest.raises(LeaseError, match="is not held by this process; acquire it first"):
        mine.check()
    mine.acquire("run", "a.toml")
    with pytest.raises(LeaseError, match="is held by this lease already, with epoch 1"):
        mine.acquire("run", "a.toml")
    mine.release()
    mine.release()
    with pytest.raises(LeaseError, match="was given back"):
        mine.check()


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_lease_that_cannot_be_checked_is_lost(tmp_path: Path, clock: FakeClock, harm: str) -> None:
    mine = lease(tmp_path, clock)
    mine.acquire("run", "a.toml")
    (file,) = tmp_path.glob("*.lease")
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(LeaseError, match="is gone or damaged; start again"):
        mine.check()
    with pytest.raises(LeaseError, match="in use by a process that cannot be named"):
        lease(tmp_path, clock).acquire("second", "a.toml")
    mine.release()
    with lease(tmp_path, clock) as later:
        assert later.acquire("later", "a.toml") >= 1


def test_a_damaged_file_does_not_take_the_epoch_back(tmp_path: Path, clock: FakeClock) -> None:
    for _ in range(5):
        with lease(tmp_path, clock) as mine:
            mine.acquire("run", "a.toml")
    (file,) = tmp_path.glob("*.lease")
    file.write_bytes(b"{}")

    with lease(tmp_path, clock) as mine:
        assert mine.acquire("run", "a.toml") > 5


def test_who_hangs_while_taking_the_account_is_not_waited_for_for_ever(tmp_path: Path, clock: FakeClock) -> None:
    with lease(tmp_path, clock) as mine:
        mine.acquire("run", "a.toml")
    (guard,) = tmp_path.glob("*.guard")
    with FileLock(guard) as lock:
        assert lock.try_acquire()

        with pytest.raises(WaitTimeout):
            lease(tmp_path, clock).acquire("run", "a.toml")


def test_leases_are_found_by_the_process_that_holds_them(tmp_path: Path, clock: FakeClock) -> None:
    with lease(tmp_path, clock) as mine, lease(tmp_path, clock, "other") as other:
        mine.acquire("run", "a.toml")
        other.acquire("run", "a.toml")
        (tmp_path / "broken.lease").write_bytes(b"?")

        found = holders_of(os.getpid(), process_identity(os.getpid()), clock, tmp_path)
        assert {"5012345", "other"} == {one.account for one in found}
        assert () == tuple(holders_of(os.getpid(), "another start", clock, tmp_path))
        assert 2 == len(holders_of(os.getpid(), "", clock, tmp_path))
    assert () == tuple(holders_of(os.getpid(), "", clock, tmp_path))


def test_the_guard_of_few_files_stays_small(tmp_path: Path, clock: FakeClock) -> None:
    for _ in range(4):
        with lease(tmp_path, clock) as mine:
            mine.acquire("run", "a.toml")

    assert [".guard", ".lease"] == sorted(one.suffix for one in tmp_path.iterdir())


@pytest.mark.parametrize(("server", "account"), [("", "1"), ("a", " ")])
def test_an_account_without_a_name_is_refused(tmp_path: Path, clock: FakeClock, server: str, account: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        AccountLease(server, account, clock, tmp_path)


def test_names_that_look_alike_in_a_file_name_are_different_accounts(tmp_path: Path, clock: FakeClock) -> None:
    with AccountLease("a/b", "1", clock, tmp_path) as one, AccountLease("a:b", "1", clock, tmp_path) as two:
        one.acquire("run", "a.toml")

        assert 1 == two.acquire("run", "a.toml")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell when a process started")
def test_processes_are_told_apart_by_their_start() -> None:
    # Not its parent: the system counts hundredths of a second, and both may have begun within the same one. A process that is
    # begun now cannot have begun when this one did, which has come as far as here since.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as later:
        own, other = process_identity(os.getpid()), process_identity(later.pid)
        later.communicate(b"\n")

    assert own
    assert other
    assert own == process_identity(os.getpid())
    assert own != other


def test_no_process_has_no_identity() -> None:
    assert "" == process_identity(2**30)


def test_leases_lie_in_the_users_state_folder() -> None:
    assert "accounts" == lease_folder().name
    assert lease_folder().is_absolute()
    assert AccountLease("a", "b", WallClock()).holder() is None
