"""The exceptions of Herald and what each says about trying again.

HeraldError
├── ConfigError            the configuration is wrong; carries every Problem found
├── PluginError            a plugin cannot be found, imported or accepted
├── DataError              market data is missing, unreadable or inconsistent
├── OrderError             a request or an order transition that cannot be
├── NotFound               what the user named does not exist (a file, a run)
├── NotSupported           this component does not offer that
├── LeaseError             the account belongs to another process; nothing may be sent from here
├── JournalError           the journal cannot be read or written; nothing is sent without it
├── AuditError             the audit log cannot be read or written; no privileged act happens without it
├── SecretError            a secret or its vault cannot be read or kept
├── WaitTimeout            a bounded wait ran out (also a TimeoutError)
└── ConnectorError         something between Herald and a broker
    ├── TransientError     try again later; the request had no effect
    │   └── NotSent        proof that it never left this machine
    ├── AmbiguousError     may have taken effect: reconcile, do not repeat
    ├── RejectedError      the broker said no (code, text): do not repeat
    ├── NotConnected       there is no connection
    ├── PermitError        the gate's permission was missing, used or outdated: nothing was sent
    ├── CircuitOpenError   a circuit breaker refused the call; it never left; has retry_after
    └── RateLimitedError   a rate limiter refused the call; it never left; has retry_after
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AmbiguousError",
    "AuditError",
    "CircuitOpenError",
    "ConfigError",
    "ConnectorError",
    "DataError",
    "HeraldError",
    "JournalError",
    "LeaseError",
    "NotConnected",
    "NotFound",
    "NotSent",
    "NotSupported",
    "OrderError",
    "PermitError",
    "PluginError",
    "Problem",
    "RateLimitedError",
    "RejectedError",
    "SecretError",
    "TransientError",
    "WaitTimeout",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration.

    Attributes:
        where: ``table.key`` as the user wrote it, such as ``connectors.main.path``.
        what: What is wrong, in lower case and without a final stop.
        hint: What to do about it; empty where *what* says it already.
    """

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        """Return the problem on one line, whatever characters stand in a name."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{text}; {self.hint}" if self.hint else text
        return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class HeraldError(Exception):
    """Base of every error that Herald raises on purpose; its text is one line for the user."""


class ConfigError(HeraldError):
    """The configuration cannot be used.

    Attributes:
        source: The file, as the user named it.
        problems: Every mistake found, in file order.
    """

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        """Keep every problem; the message lists them all, one a line."""
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{source}: {count} problem{'' if count == 1 else 's'}{lines}")


class PluginError(HeraldError):
    """A plugin cannot be found, imported or accepted."""


class DataError(HeraldError):
    """Market data is missing, unreadable or inconsistent."""


class OrderError(HeraldError):
    """An order request is malformed, or an order cannot go from one status to another."""


class NotFound(HeraldError):
    """Something that the user named does not exist."""


class NotSupported(HeraldError):
    """This component does not offer what was asked of it."""


class JournalError(HeraldError):
    """The journal cannot be read or written; nothing that needs a record may happen."""


class LeaseError(HeraldError):
    """An account belongs to another process, or does so by now; nothing may be sent from here."""


class AuditError(HeraldError):
    """The audit log cannot be written, or is not what was written; a privileged act that needs a record does not happen."""


class SecretError(HeraldError):
    """A secret is nowhere to be found, or its vault cannot be opened, read or written; the text never holds the secret."""


class WaitTimeout(HeraldError, TimeoutError):
    """A wait that the caller bounded ran out; what was waited for may still come."""


class ConnectorError(HeraldError):
    """Base of what can go wrong between Herald and a broker."""


class TransientError(ConnectorError):
    """The request had no effect; it may be repeated later."""


class NotSent(TransientError):
    """The request provably never left this machine."""


class AmbiguousError(ConnectorError):
    """The request may have taken effect; find out before doing anything else."""


class RejectedError(ConnectorError):
    """The broker refused.

    Attributes:
        code: The broker's own code.
    """

    def __init__(self, code: str, text: str) -> None:
        """Keep the broker's code beside its words."""
        self.code = code
        super().__init__(f"{text} ({code})")


class NotConnected(ConnectorError):
    """There is no connection; call ``connect()`` first."""


class CircuitOpenError(ConnectorError):
    """A circuit breaker refused the call, which therefore never left this machine.

    Attributes:
        name: The breaker.
        retry_after: Seconds until it lets a trial call through, >= 0.
        last_error: What the last failed call raised; None where none did.
    """

    def __init__(self, name: str, retry_after: float, last_error: BaseException | None = None, *, state: str = "OPEN") -> None:
        """Keep the breaker's name, when to come back, and why it opened."""
        self.name = name
        self.retry_after = retry_after
        self.last_error = last_error
        super().__init__(f"circuit breaker {name!r} is {state}; retry in {retry_after:.3g} s")


class RateLimitedError(ConnectorError):
    """A rate limiter refused the call, which therefore never left this machine.

    Attributes:
        name: The limiter.
        retry_after: Seconds until the same call would be allowed, >= 0.
    """

    def __init__(self, name: str, retry_after: float) -> None:
        """Keep the limiter's name and when to come back."""
        self.name = name
        self.retry_after = retry_after
        super().__init__(f"rate limiter {name!r} refuses the call; retry in {retry_after:.3g} s")


class PermitError(ConnectorError):
    """An order came to the broker's door without a valid permission of the gate, and was not sent.

    Attributes:
        code: ``token_missing``, ``token_used``, ``token_altered`` or ``token_stale``.
    """

    def __init__(self, code: str, text: str) -> None:
        """Keep the code beside the words."""
        self.code = code
        super().__init__(text)
