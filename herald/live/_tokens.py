"""The gate's permission to send one order once."""

from __future__ import annotations

import threading

import msgspec

from herald.errors import PermitError
from herald.model import OrderRequest

__all__ = ["Token", "TokenOffice"]


class Token(msgspec.Struct, frozen=True, gc=False):
    """The gate's permission to send one request once.

    Attributes:
        number: Counts the permissions of one office, from 1.
        request: The very request; more than a digest of it, and cheaper.
        generation: Of the trading state under which it passed the gate.
    """

    number: int
    request: OrderRequest
    generation: int


_REMEMBERED = 64
"""Redeemed tokens that may still be given back: one for every worker that is sending, with a wide margin."""


class TokenOffice:
    """Issues tokens and takes each back once; any thread may use it.

    It remembers the tokens that are out, at most *capacity* of them; beyond that the oldest is given up, so orders that
    were never sent cost no memory for ever.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        """Open the office.

        Raises:
            ValueError: *capacity* is below 1.
        """
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity!r}")
        self._capacity = capacity
        self._last = 0
        self._out: dict[int, Token] = {}
        self._spent: dict[int, Token] = {}
        self._lock = threading.Lock()

    def issue(self, request: OrderRequest, generation: int) -> Token:
        """Return the permission to send *request* while *generation* holds; only the gate calls this."""
        with self._lock:
            self._last = number = self._last + 1
            token = self._out[number] = Token(number, request, generation)
            if len(self._out) > self._capacity:
                del self._out[next(iter(self._out))]
        return token

    def redeem(self, permit: object, request: OrderRequest, generation: int) -> None:
        """Return if *permit* allows to send *request* now; it is used up in any case.

        Args:
            permit: What the gate gave out.
            request: What is about to be sent.
            generation: What `StateFile.check` returns now.

        Raises:
            PermitError: ``token_missing``: there is none, or this office never issued it; ``token_used``: it was redeemed or
                given up before; ``token_altered``: it is for another request; ``token_stale``: the trading state has
                changed since.
        """
        if type(permit) is not Token:
            raise PermitError("token_missing", f"order {request.id} has no permission of the gate, only {permit!r}")
        with self._lock:
            out = self._out.pop(permit.number, None)
            if out is permit and permit.generation == generation and (out.request is request or out.request == request):
                self._spent[permit.number] = out
                if len(self._spent) > _REMEMBERED:
                    del self._spent[next(iter(self._spent))]
                return
        raise self._refusal(permit, out, request, generation)

    def give_back(self, permit: object) -> None:
        """Make a permission valid again that this office redeemed a moment ago: its request provably never left.

        Anything else, such as a token that somebody made by hand, is left as it is: invalid.
        """
        if type(permit) is not Token:
            return
        with self._lock:
            if self._spent.get(permit.number) is permit:
                self._out[permit.number] = self._spent.pop(permit.number)

    def _refusal(self, permit: Token, out: Token | None, request: OrderRequest, generation: int) -> PermitError:
        what = f"permission {permit.number} for order {permit.request.id}"
        if out is None:
            if 0 < permit.number <= self._last:
                return PermitError("token_used", f"{what} was used already, or given up as one of too many")
            return PermitError("token_missing", f"{what} was never issued")
        if out is not permit or out.request != request:
            return PermitError("token_altered", f"{what} is not for order {request.id} as it is about to be sent")
        return PermitError(
            "token_stale",
            f"{what} is of generation {permit.generation}, and the trading state is {generation} now; pass the gate again",
        )
