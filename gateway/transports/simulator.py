"""Recipients with a chosen fate: mail to one reserved domain never leaves, whatever transport it would go over."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from gateway.transports.base import Connection, Transport
from gateway.transports.outcome import Outcome, Result
from gateway.transports.submittable import unsendable

NAMES = {
    "delivered": "takes the message",
    "bounce": "refuses it for good: 550 5.1.1",
    "late-bounce": "takes it and reports a moment later that it bounced",
    "soft-bounce": "refuses it because the mailbox is full: 552 5.2.2",
    "complaint": "takes it and calls it spam a moment later",
    "defer-60s": "refuses it for 60 seconds, then takes it; any number of seconds up to a day",
    "suppressed": "must not be written to",
    "in-doubt": "is silent after the message; takes it when it comes again",
}
"""The local parts and their fates; behind a `+` anything may follow."""

SUPPRESSED = "suppressed"
_DEFER = re.compile(r"defer-(\d{1,5})s")
_LONGEST_S = 86_400


class Aftermath(Protocol):
    """Lets a report about a message come in a moment later."""

    def __call__(self, *, kind: str, mail_from: str, rcpt: str, message: bytes) -> None: ...


def fate_of(address: str, domain: str) -> str | None:
    """The local part that decides, without its label; None where the address is not of the simulator's domain."""
    local, _, host = address.lower().rpartition("@")
    return local.partition("+")[0] if domain and host == domain else None


class Simulator:
    """Stands before a transport and takes from it what is for the reserved domain.

    `attempts` says how often a return path's delivery was tried before.
    """

    def __init__(self, inner: Transport, domain: str, *, attempts: Callable[[str], int], aftermath: Aftermath) -> None:
        self.inner, self.domain = inner, domain
        self._attempts, self._aftermath = attempts, aftermath

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def single(self) -> bool:
        return self.inner.single

    def group(self, domain: str) -> str:
        """Nobody takes the simulator's mail: no limit is learned from its replies."""
        return "" if domain.lower() == self.domain else self.inner.group(domain)

    def open(self) -> Connection:
        return _Connection(self.inner.open(), self)

    def simulate(self, fate: str, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None]) -> Outcome:
        impossible = unsendable(mail_from, rcpt, message)
        if impossible is not None:
            return impossible
        remote = self.domain
        defer = _DEFER.fullmatch(fate)
        if fate == "bounce":
            return Outcome(Result.BOUNCED, 550, "5.1.1", "550 5.1.1 simulated: no such user", "recipient", remote)
        if fate == "soft-bounce":
            return Outcome(Result.BOUNCED, 552, "5.2.2", "552 5.2.2 simulated: mailbox full", "mailbox_full", remote)
        if defer is not None and 0 < int(defer[1]) <= _LONGEST_S and not self._attempts(mail_from):
            text = f"451 4.7.1 simulated: try again in {int(defer[1])} seconds"
            return Outcome(Result.DEFERRED, 451, "4.7.1", text, "policy", remote, retry_after=int(defer[1]))
        if fate not in NAMES and defer is None:
            known = ", ".join(NAMES)
            return Outcome(Result.BOUNCED, 550, "5.1.1", f"550 5.1.1 simulated: try {known}", "recipient", remote)
        on_data()
        if fate == "in-doubt" and not self._attempts(mail_from):
            return Outcome(Result.IN_DOUBT, None, "4.4.2", "simulated: no reply to the message", "network", remote)
        if fate in ("complaint", "late-bounce"):
            self._aftermath(kind=fate, mail_from=mail_from, rcpt=rcpt, message=message)
        return Outcome(Result.DELIVERED, 250, "2.0.0", "250 2.0.0 simulated, not sent", "", remote)


class _Connection:
    def __init__(self, inner: Connection, simulator: Simulator) -> None:
        self._inner, self._simulator = inner, simulator

    def send(
        self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None], tls_required: bool = False
    ) -> Outcome:
        fate = fate_of(rcpt, self._simulator.domain)
        if fate is not None:
            return self._simulator.simulate(fate, mail_from, rcpt, message, on_data)
        return self._inner.send(
            mail_from=mail_from, rcpt=rcpt, message=message, on_data=on_data, tls_required=tls_required
        )

    def close(self) -> None:
        self._inner.close()
