"""DKIM keys and signatures (RFC 6376, 8301, 8463): relaxed/relaxed, RSA-2048 and Ed25519."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from gateway.errors import Invalid

RSA, ED25519 = "rsa", "ed25519"

SIGNED = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"mime-version",
    b"content-type",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"feedback-id",
)
"""Each is listed once more than it occurs, so that nobody can add another one (RFC 6376 §8.15)."""
_SIGNED = frozenset(SIGNED)
_PADDING, _SHA256 = padding.PKCS1v15(), hashes.SHA256()

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """`private` is PKCS#8 in PEM, `public` what goes behind `p=`."""

    algorithm: str
    private: str = field(repr=False)
    public: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    selector: str
    algorithm: str
    public: str
    private: PrivateKey = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        if self.algorithm == RSA:
            return cast(rsa.RSAPrivateKey, self.private).sign(data, _PADDING, _SHA256)
        # RFC 8463 §3: the hash is what is signed
        return cast(ed25519.Ed25519PrivateKey, self.private).sign(hashlib.sha256(data).digest())


def generate(algorithm: str) -> KeyPair:
    """A new key pair of `rsa` (2048 bits) or `ed25519`."""
    if algorithm == RSA:
        return _pair(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    if algorithm == ED25519:
        return _pair(ed25519.Ed25519PrivateKey.generate())
    raise Invalid("A DKIM key is rsa or ed25519.")


def adopt(private: str) -> KeyPair:
    """The key pair of an existing PEM private key (PKCS#8 or PKCS#1, not encrypted); raises `Invalid`."""
    return _pair(_read(private))


def _read(private: str) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(private.encode("utf-8", "replace"), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Invalid("The DKIM key is not an unencrypted private key in PEM.") from None
    if isinstance(key, rsa.RSAPrivateKey):
        if not 1024 <= key.key_size <= 4096:  # RFC 8301 §3.2
            raise Invalid("An RSA key for DKIM has 1024 to 4096 bits.")
        return key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    raise Invalid("A DKIM key is rsa or ed25519.")


def _pair(key: PrivateKey) -> KeyPair:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")
    return KeyPair(_algorithm(key), pem, _public(key))


def _algorithm(key: PrivateKey) -> str:
    return RSA if isinstance(key, rsa.RSAPrivateKey) else ED25519


def _public(key: PrivateKey) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        data = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    else:
        data = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(data).decode("ascii")


def bits(algorithm: str, public: str) -> int:
    """The size of the key behind `p=`; 256 for Ed25519."""
    if algorithm != RSA:
        return 256
    key = serialization.load_der_public_key(base64.b64decode(public))
    return cast(rsa.RSAPublicKey, key).key_size


@functools.lru_cache(maxsize=1024)
def load(selector: str, algorithm: str, private: str) -> SigningKey:
    """A key ready to sign, kept because reading PEM costs 30 ms; raises `Invalid`."""
    key = _read(private)
    if _algorithm(key) != algorithm:
        raise Invalid(f"The DKIM key is not {algorithm}.")
    return SigningKey(selector, algorithm, _public(key), key)


def dns_value(algorithm: str, public: str) -> str:
    """The TXT record of `<selector>._domainkey.<domain>` (RFC 6376 §3.6.1)."""
    return f"v=DKIM1; k={algorithm}; p={public}"


def split_txt(value: str) -> list[str]:
    """The value in character-strings of at most 255 octets, as DNS stores it (RFC 6376 §3.6.2.2)."""
    return [value[i : i + 255] for i in range(0, len(value), 255)] or [""]


def canonical_body(body: bytes) -> bytes:
    """The relaxed body (RFC 6376 §3.4.4); `body` has CRLF line ends only."""
    # Passes of bytes.replace: a regular expression costs ten times as much on an ordinary body.
    if b"\t" in body:
        body = body.replace(b"\t", b" ")
    while b"  " in body:
        body = body.replace(b"  ", b" ")
    if b" \r\n" in body:
        body = body.replace(b" \r\n", b"\r\n")
    body = body.rstrip(b" ").rstrip(b"\r\n")
    return body + b"\r\n" if body else b""


def _canonical_value(value: bytes) -> bytes:
    """The relaxed value (RFC 6376 §3.4.2), unfolded already."""
    value = value.replace(b"\t", b" ")
    while b"  " in value:
        value = value.replace(b"  ", b" ")
    return value.strip(b" ")


def _signed_headers(head: bytes) -> tuple[str, bytes]:
    """The `h=` list, folded, and the canonical fields in its order: those of one name from the bottom up."""
    found: dict[bytes, list[bytes]] = {}
    for line in head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n"):
        name, _, value = line.partition(b":")
        key = name.rstrip(b" \t").lower()
        if key in _SIGNED:
            found.setdefault(key, []).append(key + b":" + _canonical_value(value) + b"\r\n")
    there = [found.get(key, []) for key in SIGNED]
    fields = [field for same in there for field in reversed(same)]
    return _names(tuple(map(len, there))), b"".join(fields)


@functools.lru_cache(maxsize=256)
def _names(counts: tuple[int, ...]) -> str:
    """The `h=` list, folded, of a message that has each of `SIGNED` so many times."""
    names = [key.decode("ascii") for key, count in zip(SIGNED, counts, strict=True) for _ in range(count + 1)]
    lines = [""]
    for name in names:
        if lines[-1] and len(lines[-1]) + len(name) > 70:
            lines.append("")
        lines[-1] += f"{name}:"
    return "\r\n\t ".join(lines).removesuffix(":")


def sign(message: bytes, domain: str, keys: Sequence[SigningKey], *, now_s: int) -> bytes:
    """The DKIM-Signature fields to put before `message`, one for each key, each with its CRLF.

    `message` has CRLF line ends only; `domain` is in A-labels. The hashes are made once for all keys.
    """
    head, _, body = message.partition(b"\r\n\r\n")
    if message.startswith(b"\r\n"):
        head, body = b"", message[2:]
    body_hash = base64.b64encode(hashlib.sha256(canonical_body(body)).digest()).decode("ascii")
    names, fields = _signed_headers(head)
    signatures: list[bytes] = []
    for key in keys:
        unsigned = (
            f"DKIM-Signature: v=1; a={key.algorithm}-sha256; c=relaxed/relaxed;\r\n"
            f"\td={domain};\r\n\ts={key.selector}; t={now_s};\r\n"
            f"\th={names};\r\n\tbh={body_hash};\r\n\tb="
        ).encode("ascii")
        _, _, value = unsigned.replace(b"\r\n", b"").partition(b":")
        signature = base64.b64encode(key.sign(fields + b"dkim-signature:" + _canonical_value(value)))
        lines = [signature[i : i + 72] for i in range(0, len(signature), 72)]
        signatures.append(unsigned + b"\r\n\t ".join(lines) + b"\r\n")
    return b"".join(signatures)
