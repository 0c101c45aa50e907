"""One owner per account on this machine: a lock that dies with its process, and an epoch that only grows.

Two processes that trade one account each see half of it. Whoever wants to trade takes the account's lease first; a second
process is refused. The lock is the operating system's, so a crashed owner stands in nobody's way. A watchdog that has
killed a run takes its lease with a higher epoch; should the run live after all, its next `AccountLease.check` fails.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import msgspec
from platformdirs import user_state_dir

from herald.clock import Clock, format_time
from herald.errors import LeaseError, WaitTimeout
from herald.live._files import Damaged, FileLock, Signature, read_sealed, signature, write_sealed

__all__ = ["AccountLease", "Holder", "holders_of", "lease_folder", "process_identity"]

_SUFFIX = ".lease"
_WAIT_SECONDS = 2.0
_START_TIME = 19  # field 22 of /proc/PID/stat, counted from the one behind the name; see proc(5)


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds an account.

    Attributes:
        server: The broker's server.
        account: The account's number or name there.
        epoch: Grows with every owner.
        pid: Number of the process; 0 once it gave the account back.
        started: When that process started, as the system counts; empty where it does not tell. Tells it from a later
            process of the same number.
        run: Name of the run.
        config: The config file.
        since: When it took the account, nanoseconds UTC.
    """

    server: str
    account: str
    epoch: int
    pid: int
    started: str
    run: str
    config: str
    since: int

    def __str__(self) -> str:
        """Return who it is in words."""
        return f"process {self.pid} since {format_time(self.since)} (run {self.run!r}, config {self.config!r})"


_decode = msgspec.json.Decoder(Holder).decode
_encode = msgspec.json.Encoder().encode


def lease_folder() -> Path:
    """Return the folder of the leases of this user on this machine."""
    return Path(user_state_dir("herald", appauthor=False)) / "accounts"


def process_identity(pid: int) -> str:
    """Return what tells process *pid* from a later one of the same number; empty where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # The name in brackets may hold blanks and brackets; the last bracket ends it.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return f"{boot}/{fields[_START_TIME]}"
    except (OSError, IndexError):
        return ""


def holders_of(pid: int, started: str, clock: Clock, folder: Path | None = None) -> Sequence[Holder]:
    """Return the leases that process *pid* holds, or held until it was killed.

    Args:
        pid: Number of the process.
        started: Its `process_identity`; empty compares the number only.
        clock: Waits where Windows refuses to read for a moment.
        folder: Of the leases; None for `lease_folder`.
    """
    found = []
    for path in sorted((folder or lease_folder()).glob(f"*{_SUFFIX}")):
        with contextlib.suppress(Damaged, OSError, ValueError):
            holder = _decode(read_sealed(path, clock)[0])
            if holder.pid == pid and (not started or holder.started == started):
                found.append(holder)
    return found


class AccountLease:
    """The right to trade one account from this machine; one thread takes and releases it, any thread checks it.

    ::

        with AccountLease("Broker-Demo", "5012345", clock) as lease:
            lease.acquire(run="20240301-101500", config="first.toml")
            ...
            lease.check()       # the last step before an order leaves

    Attributes:
        server: The broker's server.
        account: The account there.
        epoch: Of this owner; 0 while it is none.
    """

    def __init__(self, server: str, account: str, clock: Clock, folder: Path | None = None) -> None:
        """Name the account; nothing is touched yet.

        Args:
            server: The broker's server.
            account: The account's number or name there.
            clock: Stamps and waits.
            folder: Of the leases, the same for every process; None for `lease_folder`.

        Raises:
            ValueError: *server* or *account* is empty.
        """
        for parameter, text in (("server", server), ("account", account)):
            if not text.strip():
                raise ValueError(f"{parameter} must not be empty, and is {text!r}")
        self.server = server
        self.account = account
        self.epoch = 0
        self._clock = clock
        self._folder = lease_folder() if folder is None else folder
        digest = hashlib.sha256(f"{server}\0{account}".encode()).hexdigest()[:12]
        self._stem = f"{re.sub(r'[^A-Za-z0-9-]+', '_', f'{server}-{account}')[:60]}-{digest}"
        self._path = self._folder / f"{self._stem}{_SUFFIX}"
        self._name = str(self._path)
        self._life: FileLock | None = None
        self._signature: Signature | None = None
        self._lost = "is not held by this process; acquire it first"

    def __str__(self) -> str:
        """Return the account in words."""
        return f"account {self.account!r} at {self.server!r}"

    def holder(self) -> Holder | None:
        """Return who took the account last, whether or not it lives; None where nobody did, or it cannot be read."""
        try:
            return _decode(read_sealed(self._path, self._clock)[0])
        except (Damaged, OSError, ValueError):
            return None

    def acquire(self, run: str, config: str) -> int:
        """Take the account for this process.

        Args:
            run: Name of the run, for messages.
            config: The config file, for messages.

        Returns:
            The epoch of this owner.

        Raises:
            LeaseError: Another process has it, or this lease is held already.
            WaitTimeout: Another process hangs while it takes or gives back the account.
            OSError: The folder cannot be written.
        """
        if self._life is not None:
            raise LeaseError(f"{self} is held by this lease already, with epoch {self.epoch}")
        with self._guard():
            holder = self.holder()
            for path in self._life_locks():
                with FileLock(path) as life:
                    if not life.try_acquire():
                        who = str(holder) if holder is not None and holder.pid else "a process that cannot be named"
                        raise LeaseError(f"{self} is in use by {who}; stop it first, or give this run another account")
            return self._own(holder, run, config)

    def take_over(self, epoch: int, run: str, config: str) -> int:
        """Take the account from the owner with *epoch*, which was killed and may yet hold its lock.

        Args:
            epoch: Of that owner, as `holders_of` states it.
            run: Name of who takes it.
            config: The config file.

        Returns:
            The epoch of this owner, above *epoch*.

        Raises:
            LeaseError: Somebody else has taken the account since.
            WaitTimeout: Another process hangs while it takes or gives back the account.
            OSError: The folder cannot be written.
        """
        with self._guard():
            holder = self.holder()
            if holder is not None and holder.epoch != epoch:
                raise LeaseError(f"{self} is with epoch {holder.epoch} by now, not {epoch}: {holder}")
            return self._own(holder, run, config, above=epoch)

    def check(self) -> None:
        """Return if this process still has the account; a few microseconds. The last step before an order leaves.

        Raises:
            LeaseError: It has not; it must send nothing any more.
        """
        if not self._lost:
            try:
                found = os.stat(self._name)
                if (found.st_mtime_ns, found.st_size) == self._signature:
                    return
            except OSError:
                pass  # reading says more about it
            self._reread()
        if self._lost:
            raise LeaseError(f"{self} {self._lost}")

    def release(self) -> None:
        """Give the account back; nothing happens where it is not held."""
        life, self._life = self._life, None
        if life is None:
            return
        self._lost = "was given back by this process"
        # Whatever goes wrong here: without the lock the account is free.
        with contextlib.suppress(OSError, WaitTimeout), self._guard():
            holder = self.holder()
            if holder is not None and holder.epoch == self.epoch:
                self._write(msgspec.structs.replace(holder, pid=0, started=""))
            life.release()
            life.path.unlink(missing_ok=True)
        life.release()
        self.epoch = 0

    def __enter__(self) -> AccountLease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    # --- inside -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Keep others from taking or giving back the account at the same time."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / f"{self._stem}.guard") as guard:
            guard.acquire(self._clock, _WAIT_SECONDS)
            yield

    def _life_locks(self) -> Sequence[Path]:
        return sorted(self._folder.glob(f"{self._stem}.*.lock"))

    def _own(self, holder: Holder | None, run: str, config: str, above: int = 0) -> int:
        """Become the owner; under the guard."""
        now, pid = self._clock.now(), os.getpid()
        if holder is not None:
            above = max(above, holder.epoch)
        elif self._path.exists():
            above = max(above, now)  # it cannot be read: the time is larger than any count
        epoch = above + 1
        old = self._life_locks()
        life = FileLock(self._folder / f"{self._stem}.{epoch}.lock")
        if not life.try_acquire():
            raise LeaseError(f"{self} is in use by a process that cannot be named; stop it first")
        try:
            self._write(
                Holder(
                    server=self.server,
                    account=self.account,
                    epoch=epoch,
                    pid=pid,
                    started=process_identity(pid),
                    run=run,
                    config=config,
                    since=now,
                )
            )
        except BaseException:
            life.release()
            raise
        for path in old:
            # An owner that was killed and hangs on keeps a lock without a name, which excludes nobody.
            with contextlib.suppress(OSError):
                path.unlink()
        self._life, self.epoch, self._lost = life, epoch, ""
        self._signature = signature(self._path)
        return epoch

    def _write(self, holder: Holder) -> None:
        # The size must differ when an owner signs off, too, hence two numbers an epoch.
        write_sealed(self._path, _encode(holder), 2 * holder.epoch + (holder.pid == 0), self._clock)

    def _reread(self) -> None:
        seen = signature(self._path)
        holder = self.holder()
        if holder is None:
            self._lost = f"cannot be checked: {self._name!r} is gone or damaged; start again"
        elif holder.epoch != self.epoch:
            self._lost = f"was taken over by {holder}; nothing is sent from here any more"
        else:
            self._signature = seen
