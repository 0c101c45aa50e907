"""What may be traded: a small durable file with a generation, and the one-use permissions that are stamped with it.

A command, a file, a watchdog and the run itself all write the one file; the run mirrors it in memory. The gate stamps the
generation into a `Token`; the worker calls `StateFile.check` and `TokenOffice.redeem` as the last step before the broker,
so that nothing leaves that passed the gate before somebody stopped trading.

None of this may be called from a signal handler: note the signal there, and act on it in the loop.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from herald.clock import Clock, format_time
from herald.contracts import Denial
from herald.errors import HeraldError, WaitTimeout
from herald.live._files import Damaged, FileLock, Signature, read_sealed, write_sealed
from herald.live._tokens import Token, TokenOffice
from herald.model import OrderRequest

__all__ = [
    "ACCOUNT",
    "FLAG_NAMES",
    "STATE_NAME",
    "Change",
    "StateFile",
    "Token",
    "TokenOffice",
    "Trading",
    "TradingState",
    "scope_of",
]

ACCOUNT = "account"
"""The scope that holds for everything."""
STATE_NAME = "trading-state"
"""Name of the file in a state folder."""
FLAG_NAMES = ("HALT", "HALT.txt")
"""Files that halt the account by being there; the second because Windows hides such an ending from who makes it."""

_FORMAT = 1
_KEPT = 100
_LONGEST = 1_000
"""Characters of a reason."""
_WAIT_SECONDS = 2.0
"""A write takes milliseconds; who holds the file longer hangs, and a stop must not hang with it."""
_FLAG_WAIT_SECONDS = 0.2
_UNREADABLE: Signature = (-1, -1)


class TradingState(StrEnum):
    """What may be sent."""

    __hash__ = str.__hash__  # the hash of Enum is a Python call, paid on every order

    ACTIVE = "ACTIVE"
    """Everything."""
    REDUCING = "REDUCING"
    """Cancels, and requests that only reduce a position."""
    HALTED = "HALTED"
    """Cancels; requests that only reduce where the halt says so."""


_STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}


def scope_of(strategy: str | None = None, symbol: str | None = None) -> str:
    """Return the scope of a strategy, of a symbol, or of the account where both are None.

    Raises:
        ValueError: Both are given.
    """
    if strategy is not None and symbol is not None:
        raise ValueError(f"strategy {strategy!r} and symbol {symbol!r} are two scopes; give one")
    if strategy is not None:
        return f"strategy:{strategy}"
    return ACCOUNT if symbol is None else f"symbol:{symbol}"


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of one scope: who, when and why.

    Attributes:
        generation: Of the trading state from then on.
        time: Nanoseconds UTC.
        scope: ``account``, ``strategy:NAME`` or ``symbol:NAME``.
        state: What holds there from then on.
        who: Command, file, signal, watchdog or a component's name.
        why: The reason given; never empty.
        cancel_all: Whoever runs shall withdraw the working orders of the scope.
        flatten: Whoever runs shall close the positions of the scope, too.
        exits: Requests that only reduce still pass although the scope is HALTED.
        done: *cancel_all* and *flatten* have been carried out.
    """

    generation: int
    time: int
    scope: str
    state: TradingState
    who: str
    why: str
    cancel_all: bool = False
    flatten: bool = False
    exits: bool = False
    done: bool = False

    @property
    def is_pending(self) -> bool:
        """Return whether something is still to be carried out."""
        return (self.cancel_all or self.flatten) and not self.done

    def lets(self, reduce_only: bool) -> bool:
        """Return whether a request passes this scope."""
        if self.state is TradingState.HALTED:
            return reduce_only and (self.exits or self.flatten)
        return reduce_only or self.state is TradingState.ACTIVE


class Trading(msgspec.Struct, frozen=True):
    """The trading state at one moment.

    Attributes:
        generation: Grows with every change.
        scopes: The last change of every scope that is not ACTIVE.
        history: The last hundred changes, oldest first.
        trouble: Why the file cannot be believed, which halts the account; empty otherwise.
    """

    generation: int = 0
    scopes: dict[str, Change] = {}
    history: tuple[Change, ...] = ()
    trouble: str = ""

    def effective(self, strategy: str, symbol: str) -> TradingState:
        """Return the strictest of what holds for the account, the strategy and the symbol."""
        if not self.scopes:
            return TradingState.ACTIVE
        return max(
            (one.state for one in self._holding(strategy, symbol)), key=_STRICTNESS.__getitem__, default=TradingState.ACTIVE
        )

    def passing(self, strategy: str, symbol: str) -> TradingState:
        """Return what passes there: REDUCING also where every halt that holds lets exits through."""
        state = self.effective(strategy, symbol)
        if state is TradingState.HALTED and all(one.lets(reduce_only=True) for one in self._holding(strategy, symbol)):
            return TradingState.REDUCING
        return state

    def denial(self, request: OrderRequest) -> Denial | None:
        """Return why *request* must not be sent: code ``state_halted`` or ``state_reducing``; None where it may."""
        if not self.scopes:
            return None
        for one in self._holding(request.strategy, request.symbol):
            if not one.lets(request.reduce_only):
                since = f"{one.scope} is {one.state} since {format_time(one.time)} by {one.who}: {one.why}"
                return Denial(f"state_{one.state.lower()}", since)
        return None

    def pending(self) -> tuple[Change, ...]:
        """Return the changes whose cancels or closings have not been carried out."""
        return tuple(one for one in self.scopes.values() if one.is_pending)

    def since(self, generation: int) -> tuple[Change, ...]:
        """Return the known changes after *generation*, oldest first."""
        return tuple(one for one in self.history if one.generation > generation)

    def _holding(self, strategy: str, symbol: str) -> list[Change]:
        scopes = (ACCOUNT, f"strategy:{strategy}", f"symbol:{symbol}")
        return [one for one in map(self.scopes.get, scopes) if one is not None]


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds."""

    format: int = _FORMAT
    generation: int = 0
    scopes: dict[str, Change] = {}
    history: tuple[Change, ...] = ()

    def after(self, change: Change, holds: Change | None = None) -> _Stored:
        """Return what is stored after *change*; *holds* is what its scope shows then, *change* itself where it is None."""
        generation = max(self.generation + 1, change.generation)
        change = msgspec.structs.replace(change, generation=generation)
        scopes = {name: one for name, one in self.scopes.items() if name != change.scope}
        if change.state is not TradingState.ACTIVE:
            scopes[change.scope] = change if holds is None else msgspec.structs.replace(holds, generation=generation)
        return _Stored(generation=generation, scopes=scopes, history=(*self.history, change)[-_KEPT:])


_decode = msgspec.json.Decoder(_Stored).decode
_encode = msgspec.json.Encoder().encode


class StateFile:
    """The trading state of one state folder, mirrored in memory; any thread may use it.

    No file is ACTIVE at generation 0. A file that cannot be read, that was cut off or changed by hand, that is gone
    though there was one, or that is older than what was seen before halts the account until somebody resumes it. The
    same does a file ``HALT`` in the folder; to delete it again resumes nothing.

    Attributes:
        folder: The state folder.
        path: The file.
    """

    def __init__(self, folder: str | Path, clock: Clock) -> None:
        """Read the state in *folder*; *clock* stamps changes and waits for other writers."""
        self.folder = Path(folder)
        self.path = self.folder / STATE_NAME
        self._clock = clock
        self._lock_path = self.folder / f"{STATE_NAME}.lock"
        # Says that the state was written once. The lock file cannot say it: a first writer makes it before it has written.
        self._written_path = self.folder / f"{STATE_NAME}.written"
        self._name = str(self.path)
        self._flags = tuple(str(self.folder / name) for name in FLAG_NAMES)
        self._mutex = threading.Lock()
        self._signature: Signature | None = None
        self._flagged = False
        self._view = Trading()
        self._generation = 0
        self._floor = 0  # the generation of the file that was believed last
        self._doubt: Change | None = None  # halts the account in memory, whatever the file says
        self._reload()

    # --- reading ----------------------------------------------------------------------------------

    def check(self) -> int:
        """Make sure that the mirror is the file, and return its generation; a few microseconds where nothing changed.

        Call it as the last step before a request leaves, and at least every 100 ms in a loop that waits: a change by
        another process, or a file ``HALT``, is noticed by the next call and not before.
        """
        try:
            found = os.stat(self._name)
            seen: Signature | None = (found.st_mtime_ns, found.st_size)
        except FileNotFoundError:
            seen = None
        except OSError:
            seen = _UNREADABLE
        if seen != self._signature or self._sees_flag() != self._flagged:
            self._reload()
        return self._generation

    def changed(self, since: int) -> bool:
        """Return whether the generation is another than *since* by now; as cheap as `check`."""
        return self.check() != since

    def read(self) -> Trading:
        """Return the state as it is now."""
        self.check()
        return self._view

    @property
    def trading(self) -> Trading:
        """Return the state as the last `check` found it."""
        return self._view

    @property
    def generation(self) -> int:
        """Return the generation that the last `check` found."""
        return self._generation

    def effective(self, strategy: str, symbol: str) -> TradingState:
        """Return the strictest of what holds for the account, the strategy and the symbol, as of the last `check`."""
        return self._view.effective(strategy, symbol)

    # --- writing ----------------------------------------------------------------------------------

    def set(
        self,
        scope: str,
        state: TradingState,
        who: str,
        why: str,
        *,
        cancel_all: bool = False,
        flatten: bool = False,
        exits: bool = False,
    ) -> int:
        """Make *scope* at least as strict as *state*; what is stricter already stays as it is.

        Args:
            scope: ``account``, ``strategy:NAME`` or ``symbol:NAME``.
            state: REDUCING or HALTED; `resume` goes the other way.
            who: Command, file, signal, watchdog or a component's name.
            why: The reason, not empty.
            cancel_all: With HALTED: withdraw the working orders of the scope.
            flatten: With HALTED: close its positions, too; implies *cancel_all*, and lets requests pass that only reduce.
            exits: With HALTED: let requests pass that only reduce.

        Returns:
            The generation from now on, on disk; the old one where nothing became stricter.

        Raises:
            ValueError: A parameter is not one of those.
            WaitTimeout: Another process kept the file locked.
            OSError: The file cannot be written.
        """
        if state is TradingState.ACTIVE:
            raise ValueError(f"state {state.value!r} is no stop; call resume()")
        if state is TradingState.REDUCING and (cancel_all or flatten or exits):
            raise ValueError(f"cancel_all, flatten and exits go with HALTED, not with {state.value!r}")
        new = self._change(scope, state, who, why, cancel_all=cancel_all or flatten, flatten=flatten, exits=exits)
        return self._write(lambda stored: _tightened(stored, new))

    def resume(self, scope: str, who: str, why: str, state: TradingState = TradingState.ACTIVE) -> int:
        """Lift what holds for *scope*, wholly or down to REDUCING; the only way back.

        Returns:
            The generation from now on, on disk.

        Raises:
            ValueError: A parameter is wrong.
            HeraldError: The account is halted by a file ``HALT`` that is still there.
            WaitTimeout: Another process kept the file locked.
            OSError: The file cannot be written.
        """
        if state is TradingState.HALTED:
            raise ValueError(f"state {state.value!r} is no way back; call set()")
        new = self._change(scope, state, who, why)

        def lift(stored: _Stored) -> _Stored:
            flag = self._flag() if scope == ACCOUNT else None
            if flag is not None:
                raise HeraldError(f"the account is halted by the file {flag!r}; delete it, then resume")
            return stored.after(new)

        return self._write(lift)

    def mark_done(self, change: Change, who: str, why: str) -> int:
        """Note that the cancels and closings that *change* asked for were carried out, and how.

        Nothing happens where the scope was changed since.

        Returns:
            The generation from now on.

        Raises:
            ValueError: *who* or *why* is empty.
            WaitTimeout: Another process kept the file locked.
            OSError: The file cannot be written.
        """
        said = self._change(change.scope, change.state, who, why)

        def mark(stored: _Stored) -> _Stored | None:
            old = stored.scopes.get(change.scope)
            if old is None or old.generation != change.generation or not old.is_pending:
                return None
            done = msgspec.structs.replace(old, done=True)
            return stored.after(msgspec.structs.replace(done, time=said.time, who=said.who, why=said.why), done)

        return self._write(mark)

    def halt_account(self, who: str, why: str, *, cancel_all: bool = False, flatten: bool = False, exits: bool = False) -> int:
        """Halt the account by all means: where the file cannot be written, by a file ``HALT``, which knows no options.

        Returns:
            The generation from now on.

        Raises:
            ValueError: *who* or *why* is empty.
            OSError: Not even an empty file can be made.
        """
        try:
            return self.set(ACCOUNT, TradingState.HALTED, who, why, cancel_all=cancel_all, flatten=flatten, exits=exits)
        except (OSError, WaitTimeout):
            descriptor = os.open(self._flags[0], os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                with contextlib.suppress(OSError):  # a full disk has room for a name, though perhaps not for a reason
                    os.write(descriptor, f"{who}: {why}\n".encode())
            finally:
                os.close(descriptor)
        return self.check()

    # --- inside -----------------------------------------------------------------------------------

    def _change(
        self,
        scope: str,
        state: TradingState,
        who: str,
        why: str,
        *,
        cancel_all: bool = False,
        flatten: bool = False,
        exits: bool = False,
    ) -> Change:
        kind, colon, name = scope.partition(":")
        if scope != ACCOUNT and not (kind in ("strategy", "symbol") and colon and name):
            raise ValueError(f"scope must be 'account', 'strategy:NAME' or 'symbol:NAME', not {scope!r}")
        return Change(
            generation=0,
            time=self._clock.now(),
            scope=scope,
            state=TradingState(state),
            who=_line("who", who),
            why=_line("why", why),
            cancel_all=cancel_all,
            flatten=flatten,
            exits=exits,
        )

    def _write(self, decide: Callable[[_Stored], _Stored | None], wait_seconds: float = _WAIT_SECONDS) -> int:
        """Write down what *decide* makes of what is stored; nothing where it returns None."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock_path) as lock:
            lock.acquire(self._clock, wait_seconds)
            stored, is_sound = self._salvage(self._written_path.exists())
            new = decide(stored)
            if new is None and not is_sound:
                new = stored
            if new is not None:
                write_sealed(self.path, _encode(new), new.generation, self._clock)
                self._written_path.touch()
        return self.check()

    def _salvage(self, was_there: bool) -> tuple[_Stored, bool]:
        """Return what is stored, and whether it was found sound; otherwise an account that is halted for that reason."""
        try:
            body, _ = read_sealed(self.path, self._clock)
            return _parsed(body), True
        except FileNotFoundError:
            if not was_there:
                return _Stored(), True
            why = self._gone()
        except (Damaged, ValueError) as error:
            why = str(error)
            aside = self.path.with_name(f"{STATE_NAME}.damaged")
            os.replace(self.path, aside)
            why = f"{why}; it is kept as {aside.name!r}"
        # No count is known any more; the time is larger than any count, and what this process remembers is not lost.
        change = msgspec.structs.replace(self._halting(why), generation=self._clock.now())
        return _Stored(scopes=self._view.scopes).after(change), False

    def _load(self) -> tuple[_Stored | None, str, Signature | None]:
        """Return what is stored, or why it cannot be believed, and the signature of what was read."""
        try:
            body, signature = read_sealed(self.path, self._clock)
        except FileNotFoundError:
            if not self._written_path.exists() and not self._lock_path.exists():
                return _Stored(), "", None
        except Damaged as error:
            return None, str(error), error.signature
        except OSError as error:
            return None, f"{self._name!r} cannot be read: {error.strerror or error}", _UNREADABLE
        else:
            try:
                return _parsed(body), "", signature
            except ValueError as error:
                return None, str(error), signature
        # Somebody has written here, or is about to for the first time: let him end.
        try:
            with FileLock(self._lock_path) as lock:
                lock.acquire(self._clock, _WAIT_SECONDS)
                body, signature = read_sealed(self.path, self._clock)
                return _parsed(body), "", signature
        except FileNotFoundError:
            return (None, self._gone(), None) if self._written_path.exists() else (_Stored(), "", None)
        except (Damaged, ValueError, WaitTimeout, OSError) as error:
            return None, str(error), _UNREADABLE

    def _reload(self) -> None:
        with self._mutex:
            flag = self._flag()
            self._flagged = flag is not None
            stored, trouble, self._signature = self._load()
            is_unwritten = self._adopt(stored, trouble, flag)
        if is_unwritten:
            # It holds in memory already; on disk it holds after the file is deleted and for those who start later.
            with contextlib.suppress(OSError, WaitTimeout):
                halt = self._halting(self._view.scopes[ACCOUNT].why, f"file {FLAG_NAMES[0]}")
                self._write(lambda found: _tightened(found, halt), _FLAG_WAIT_SECONDS)

    def _adopt(self, stored: _Stored | None, trouble: str, flag: str | None) -> bool:
        """Make *stored* the mirror, unless it must not be believed; return whether a flag is to be written down."""
        if stored is not None and self._doubt is not None and self._answers(stored, self._doubt):
            self._doubt, self._floor = None, 0
        if stored is not None and stored.generation < self._floor:
            trouble = (
                f"{self._name!r} went back from generation {self._floor} to {stored.generation}: an older copy was put in its"
                " place"
            )
        is_unwritten = False
        if trouble:
            if self._doubt is None or self._doubt.why != trouble:
                self._doubt = self._halting(trouble)
        elif stored is not None:
            self._floor = max(self._floor, stored.generation)
            account = stored.scopes.get(ACCOUNT)
            is_halted = account is not None and account.state is TradingState.HALTED and not account.exits
            if flag is not None and not is_halted:
                is_unwritten = True
                self._doubt = self._halting(_said(flag), f"file {FLAG_NAMES[0]}")
        old = self._view
        scopes = old.scopes if stored is None else stored.scopes
        history = old.history if stored is None else stored.history
        if self._doubt is not None:
            known = scopes.get(ACCOUNT)
            is_halted = known is not None and known.state is TradingState.HALTED and not known.exits
            scopes = scopes if is_halted else {**scopes, ACCOUNT: self._doubt}
        text = "" if self._doubt is None else self._doubt.why
        if (scopes, history, text) != (old.scopes, old.history, old.trouble) or not self._generation:
            at_least = 0 if stored is None else stored.generation
            # The first reading states the file's number; later ones never fall back, whatever the file says.
            generation = max(at_least, self._generation + 1) if self._generation or self._doubt else at_least
            self._view = Trading(generation, scopes, history, text)
            self._generation = generation
        return is_unwritten

    def _answers(self, stored: _Stored, doubt: Change) -> bool:
        """Return whether somebody has decided about the account since *doubt* arose."""
        return any(one.scope == ACCOUNT and (one.generation > self._floor or one.time > doubt.time) for one in stored.history)

    def _halting(self, why: str, who: str = "herald") -> Change:
        return self._change(ACCOUNT, TradingState.HALTED, who, why)

    def _gone(self) -> str:
        return f"{self._name!r} is not there, though it was written before"

    def _sees_flag(self) -> bool:
        plain, hidden = self._flags
        return os.access(plain, os.F_OK) or os.access(hidden, os.F_OK)

    def _flag(self) -> str | None:
        return next((one for one in self._flags if os.access(one, os.F_OK)), None)


def _parsed(body: bytes) -> _Stored:
    """Return what *body* says.

    Raises:
        ValueError: It says nothing that this version understands.
    """
    try:
        stored = _decode(body)
    except ValueError as error:
        raise ValueError(f"the trading state cannot be understood: {error}; a newer Herald may have written it") from error
    if stored.format != _FORMAT:
        raise ValueError(f"the trading state has format {stored.format}, and this Herald reads {_FORMAT}; use the newer one")
    return stored


def _tightened(stored: _Stored, new: Change) -> _Stored | None:
    """Return what is stored after *new* was asked for; None where nothing becomes stricter."""
    old = stored.scopes.get(new.scope)
    if old is None or _STRICTNESS[new.state] > _STRICTNESS[old.state]:
        return stored.after(new)
    if new.state is not TradingState.HALTED or old.state is not TradingState.HALTED:
        return None
    asks = (new.cancel_all and (old.done or not old.cancel_all)) or (new.flatten and (old.done or not old.flatten))
    if not asks and (new.exits or not old.exits):
        return None
    both = msgspec.structs.replace(
        new,
        cancel_all=old.cancel_all or new.cancel_all,
        flatten=old.flatten or new.flatten,
        exits=old.exits and new.exits,
        done=old.done and not asks,
    )
    return stored.after(both)


def _line(parameter: str, text: str) -> str:
    """Return *text* on one line.

    Raises:
        ValueError: Nothing is left of it.
    """
    line = " ".join(text.split())[:_LONGEST]
    if not line:
        raise ValueError(f"{parameter} must not be empty, and is {text!r}: people read it when they ask why nothing trades")
    return line


def _said(flag: str) -> str:
    """Return the reason that a flag file states."""
    try:
        with open(flag, encoding="utf-8", errors="replace") as file:
            text = " ".join(file.read(_LONGEST).split())
    except OSError:
        text = ""  # that it is there is enough
    return text or f"the file {os.path.basename(flag)} is there"
