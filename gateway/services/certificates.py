"""The certificate that the SMTP listeners show: that of the settings, else a self-signed one kept in DATA."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway import clock, config

FILE = "smtp-tls.pem"
"""The self-signed certificate and its key, one file in DATA, so that the two are always replaced together."""

_DAYS = 3650
_RENEW = datetime.timedelta(days=30)
_COMMON_NAME_MOST = 64  # RFC 5280 appendix A: ub-common-name


def made(settings: config.Settings) -> bool:
    """Whether a self-signed certificate is kept in DATA."""
    return (settings.data / FILE).is_file()


def make(settings: config.Settings) -> Path:
    """The file with a self-signed certificate for the host name and loopback; made where none is good any more."""
    path = settings.data / FILE
    if not _good(path, settings.hostname):
        settings.data.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{FILE}.{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(_self_signed(settings.hostname))
        os.replace(fresh, path)
    return path


def server_context(settings: config.Settings, *, needed: bool) -> ssl.SSLContext | None:
    """The context of STARTTLS and SMTPS.

    TLS_CERT goes first, then the certificate in DATA, which is made where one is `needed`; None without
    any. Raises `ConfigError` for files that are no certificate and its key.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        if settings.tls_cert is not None and settings.tls_key is not None:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
        elif needed or made(settings):
            context.load_cert_chain(make(settings))
        else:
            return None
    except (OSError, ssl.SSLError) as error:
        raise config.ConfigError(
            f"{config.PREFIX}TLS_CERT and {config.PREFIX}TLS_KEY: should be a certificate and its key: {error}"
        ) from None
    return context


def _good(path: Path, hostname: str) -> bool:
    """Whether the file has a certificate for the host name that does not end soon."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    if found.not_valid_after_utc < clock.now() + _RENEW:
        return False
    return _name(hostname) in names


def _self_signed(hostname: str) -> bytes:
    """Key and certificate as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:_COMMON_NAME_MOST])])
    now = clock.now()
    hosts = dict.fromkeys((hostname, "localhost", "127.0.0.1", "::1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # a client's clock may be behind
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(pem)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        # A DNS name of a certificate is ASCII (RFC 5280 §7.2).
        return x509.DNSName(host.encode("idna").decode("ascii") if not host.isascii() else host)
