"""Encryption at rest, fingerprints of keys and signatures of tokens, all from one secret."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import os
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway import config, ids


class SealBroken(Exception):
    """A sealed value was not made with any current secret, or belongs to another row."""


def _derive(secret: str, purpose: str) -> bytes:
    return HKDF(hashes.SHA256(), 32, b"commandpost", purpose.encode()).derive(secret.encode())


@functools.cache
def _secrets(configured: str, data: Path) -> tuple[str, ...]:
    if configured:
        return tuple(part.strip() for part in configured.split(",") if part.strip())
    path = data / "secret"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        try:
            fd = os.open(path.with_suffix(".new"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(fd, "w") as file:
                file.write(ids.token(64))
                file.flush()
                os.fsync(file.fileno())
            os.link(path.with_suffix(".new"), path)
            path.with_suffix(".new").unlink()
    if path.stat().st_mode & stat.S_IRWXO:
        # A group may be what a container platform gives the volume; everybody is a mistake.
        raise config.ConfigError(f"{path}: everybody on this machine may read the secret; run: chmod o= {path}")
    return (path.read_text(encoding="ascii").strip(),)


def _current() -> tuple[str, ...]:
    settings = config.settings()
    return _secrets(settings.secret, settings.data)


@functools.cache
def _fernet(secrets: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_derive(s, "at rest"))) for s in secrets])


@functools.cache
def _key(secret: str, purpose: str) -> bytes:
    return _derive(secret, purpose)


def seal(text: str, row: str) -> str:
    """Encrypt `text` for the row with that identity; moving it to another row breaks it."""
    return _fernet(_current()).encrypt(f"{row}\0{text}".encode()).decode("ascii")


def unseal(sealed: str, row: str) -> str:
    """The text that `seal` was given; raises `SealBroken`."""
    try:
        owner, _, text = _fernet(_current()).decrypt(sealed.encode("ascii")).decode().partition("\0")
    except InvalidToken as error:
        raise SealBroken(row) from error
    if owner != row:
        raise SealBroken(row)
    return text


def fingerprint(secret_text: str) -> str:
    """Hex HMAC-SHA256 of an API key or token with the pepper: what the tables index."""
    return fingerprints(secret_text)[0]


def fingerprints(secret_text: str) -> list[str]:
    """The fingerprint under every current secret, newest first: look-ups try them all while a secret rotates."""
    data = secret_text.encode("utf-8", "surrogatepass")
    return [hmac.new(_key(s, "pepper"), data, hashlib.sha256).hexdigest() for s in _current()]


def sign(purpose: str, data: bytes, length: int = 32) -> bytes:
    """The first `length` bytes of an HMAC-SHA256 over `data` for `purpose`."""
    return hmac.digest(_key(_current()[0], purpose), data, "sha256")[:length]


def check(purpose: str, data: bytes, mac: bytes) -> bool:
    """Whether `mac` was made by `sign` under any current secret; constant time."""
    good = [hmac.new(_key(s, purpose), data, hashlib.sha256).digest()[: len(mac)] for s in _current()]
    return len(mac) >= 8 and any(hmac.compare_digest(mac, g) for g in good)


def seeds(purpose: str) -> list[bytes]:
    """32 bytes for the signing key of that purpose under every current secret, newest first."""
    return [_key(s, purpose) for s in _current()]
