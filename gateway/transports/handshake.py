"""The TLS handshake with a server, held against what its guard demands."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any

from gateway.transports import dane, tls
from gateway.transports.dialogue import Dialogue
from gateway.transports.smtp_reply import Broken, reason
from gateway.transports.tls import Guard


class TlsFailed(Broken):
    """The handshake failed, or what it proved is not enough."""


@dataclass(slots=True)
class Proof:
    """What TLS came to on one connection."""

    result: str = ""  # in words
    certificate: str = ""  # whose it is
    trusted: bool = False  # a known authority vouches for it

    def verdict(self, guard: Guard, protocol: str) -> dict[str, Any]:
        """The gate `tls` of an attempt; `protocol` is empty for clear text."""
        result = f"{protocol}, {self.result}" if protocol else self.result or "none"
        found = {"gate": "tls", "policy": guard.policy, "result": result}
        if self.certificate:
            found["certificate"] = self.certificate
        if guard.testing:
            untrusted = guard.testing == "passes" and not self.trusted
            found["mta_sts_testing"] = "no valid certificate" if untrusted else guard.testing
        return found


def shake(
    sock: socket.socket, host: str, guard: Guard, seconds: float, *, proof: Proof, dialogue: Dialogue
) -> ssl.SSLSocket:
    """TLS on a connected socket, with the outcome in `proof` and `dialogue`; raises `TlsFailed`, the socket closed."""
    name = guard.names[0] if guard.names else host
    try:
        sock.settimeout(seconds)
        wrapped = tls.context(guard).wrap_socket(sock, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        raise _refused(guard, f"with a valid certificate: {error.verify_message}", proof, dialogue) from None
    except (OSError, ValueError) as error:
        proof.result = f"TLS failed: {reason(error)}"
        dialogue.note(proof.result)
        raise TlsFailed(proof.result) from None
    proof.certificate = tls.subject(wrapped)
    try:
        proof.result = _judged(wrapped, host, guard, proof)
    except Exception:
        wrapped.close()
        raise
    dialogue.note(tls.describe(wrapped, proof.result or "matches no TLSA record"))
    if not proof.result:
        wrapped.close()
        raise _refused(guard, "and the certificate matches none of the TLSA records", proof, dialogue)
    return wrapped


def _judged(wrapped: ssl.SSLSocket, host: str, guard: Guard, proof: Proof) -> str:
    """What the certificate is worth; empty where TLSA records ask for another."""
    if guard.verified:
        proof.trusted = True
        return "certificate verified"
    certificates = tls.chain(wrapped)
    if guard.tlsa:
        record = dane.match(certificates, guard.tlsa, guard.names)
        return f"certificate matches TLSA {record.usage} {record.selector} {record.matching}" if record else ""
    against = tls.judge(certificates, host)
    proof.trusted = not against
    return f"certificate not verified: {against}" if against else "certificate verified"


def _refused(guard: Guard, why: str, proof: Proof, dialogue: Dialogue) -> TlsFailed:
    proof.result = why
    dialogue.note(f"{guard.demand} {why}")
    return TlsFailed(f"{guard.demand} {why}", "policy")
