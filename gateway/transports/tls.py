"""TLS towards other servers: opportunistic, so a certificate is noted and not judged (RFC 7435)."""

from __future__ import annotations

import functools
import hashlib
import ssl

from cryptography import x509


@functools.cache
def client_context() -> ssl.SSLContext:
    """TLS 1.2 and newer; certificates are not verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def describe(sock: ssl.SSLSocket) -> str:
    """Protocol, cipher and certificate in one line."""
    cipher = sock.cipher()
    text = f"{sock.version()} {cipher[0] if cipher else ''}".strip()
    raw = sock.getpeercert(binary_form=True)
    if not raw:
        return f"{text}, no certificate"
    text += f", certificate sha256 {hashlib.sha256(raw).hexdigest()}"
    try:
        certificate = x509.load_der_x509_certificate(raw)
        text += (
            f" of {certificate.subject.rfc4514_string()[:200]}, issued by {certificate.issuer.rfc4514_string()[:200]}"
            f", until {certificate.not_valid_after_utc:%Y-%m-%d}"
        )
    except ValueError:
        text += " (unreadable)"
    return f"{text}, not verified"
