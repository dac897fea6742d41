"""TLS towards other servers: what a connection owes before mail goes over it, and what its certificate says."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ssl
import warnings
from dataclasses import dataclass
from typing import Any

import certifi
from cryptography import x509
from cryptography.x509 import verification

from gateway import clock
from gateway.dns.resolver import Tlsa

_DER = 2  # _ssl.ENCODING_DER
_DEMANDS = {"required": "TLS is required", "mta-sts": "MTA-STS requires TLS", "dane": "DANE requires TLS"}


@dataclass(frozen=True, slots=True)
class Guard:
    """What TLS owes at one target; the default owes nothing (RFC 7435)."""

    policy: str = "opportunistic"  # who asks for it: required, mta-sts, dane
    required: bool = False  # no TLS, no mail
    verified: bool = False  # the certificate is for the host, from a known authority
    tlsa: tuple[Tlsa, ...] = ()  # one of them matches the certificates
    names: tuple[str, ...] = ()  # the TLSA base domain, then others that a certificate under DANE-TA may be for
    testing: str = ""  # under an MTA-STS policy in testing mode: `passes`, or what it objects to

    @property
    def demand(self) -> str:
        return _DEMANDS.get(self.policy, "TLS")


OPPORTUNISTIC = Guard()


@functools.cache
def client_context() -> ssl.SSLContext:
    """TLS 1.2 and newer; certificates are not verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@functools.cache
def verifying_context() -> ssl.SSLContext:
    """TLS 1.2 and newer; a certificate for the host, from an authority of the system or of Mozilla's list."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(certifi.where())
    return context


def context(guard: Guard) -> ssl.SSLContext:
    return verifying_context() if guard.verified else client_context()


def chain(sock: ssl.SSLSocket) -> list[bytes]:
    """The certificates that the server sent, its own first, in DER."""
    raw: Any = sock
    if hasattr(raw, "get_unverified_chain"):  # public from Python 3.13 on
        return list(raw.get_unverified_chain() or ())
    return [found.public_bytes(_DER) for found in raw._sslobj.get_unverified_chain() or ()]


def judge(certificates: list[bytes], host: str) -> str:
    """Why a known authority does not vouch for these as `host`, else empty."""
    try:
        own, *others = [x509.load_der_x509_certificate(raw) for raw in certificates]
    except ValueError:
        return "no readable certificate"
    now = clock.now()
    if not own.not_valid_before_utc <= now <= own.not_valid_after_utc:
        return "it is not valid now"
    if own.issuer == own.subject:
        return "it is self-signed"
    try:
        builder = verification.PolicyBuilder().store(_authorities(verifying_context())).time(now)
        builder.build_server_verifier(x509.DNSName(host)).verify(own, others)
    except (verification.VerificationError, ValueError):
        return f"no known authority vouches for it as {host}"
    return ""


@functools.lru_cache(maxsize=4)
def _authorities(trusting: ssl.SSLContext) -> verification.Store:
    found = []
    for raw in trusting.get_ca_certs(binary_form=True):
        with warnings.catch_warnings(), contextlib.suppress(ValueError):  # an old root that is not quite right
            warnings.simplefilter("ignore")
            found.append(x509.load_der_x509_certificate(raw))
    return verification.Store(found)


def subject(sock: ssl.SSLSocket) -> str:
    """Whose the server's certificate is, and who issued it; short, empty where there is none to be read."""
    try:
        found = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
    except ValueError:
        return ""
    return f"{found.subject.rfc4514_string()[:80]}, issued by {found.issuer.rfc4514_string()[:80]}"


def describe(sock: ssl.SSLSocket, judgement: str) -> str:
    """Protocol, cipher and certificate in one line, ended by `judgement`."""
    cipher = sock.cipher()
    text = f"{sock.version()} {cipher[0] if cipher else ''}".strip()
    raw = sock.getpeercert(binary_form=True)
    if not raw:
        return f"{text}, no certificate"
    text += f", certificate sha256 {hashlib.sha256(raw).hexdigest()} of {subject(sock) or '(unreadable)'}"
    return f"{text}, {judgement}"
