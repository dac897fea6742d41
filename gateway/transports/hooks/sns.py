"""Calls of Amazon SNS, signed with a certificate that is fetched from Amazon alone (signature versions 1 and 2)."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway import clock
from gateway.config import Networks
from gateway.transports import http_call
from gateway.transports.hooks.report import DAY_MS, BadSignature, Unreadable, at_ms, fresh, text

NOTIFICATION, CONFIRMATION, FAREWELL = "Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"

_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    FAREWELL: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem")
_KEPT = 20
_KEPT_S = 24 * 3600.0

_keys: OrderedDict[str, tuple[float, rsa.RSAPublicKey]] = OrderedDict()
_lock = threading.Lock()


class Unfetched(Exception):
    """The certificate could not be fetched now: whether the call is good is not known."""


def verify(found: Mapping[str, Any], *, topic_arn: str, endpoint: str, allow: Networks) -> None:
    """Raise `BadSignature` unless SNS signed it for that topic within the last day; raises `Unfetched`.

    Whoever has an account there can have something signed: only the topic says that it is for us. `endpoint` is
    the base URL of an SNS of one's own, '' for Amazon's.
    """
    kind = text(found, "Type")
    if kind not in _SIGNED:
        raise Unreadable("it is no message of SNS")
    if not topic_arn or text(found, "TopicArn") != topic_arn:
        raise BadSignature("it comes from another topic")
    fresh(at_ms(text(found, "Timestamp")), past_ms=DAY_MS)
    url = text(found, "SigningCertURL")
    if not is_of_sns(url, topic_arn, endpoint) or (not endpoint and not _CERTIFICATE.fullmatch(urlsplit(url).path)):
        raise BadSignature("its certificate is not from SNS")
    try:
        signature = base64.b64decode(text(found, "Signature"), validate=True)
    except ValueError:
        raise BadSignature("its signature cannot be read") from None
    algorithm = {"1": hashes.SHA1(), "2": hashes.SHA256()}.get(text(found, "SignatureVersion"))  # noqa: S303 - theirs
    if algorithm is None:
        raise BadSignature("it has an unknown signature version")
    signed = "".join(f"{name}\n{found[name]}\n" for name in _SIGNED[kind] if isinstance(found.get(name), str))
    try:
        _key(url, allow).verify(signature, signed.encode(), padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        raise BadSignature("its signature does not fit") from None


def is_of_sns(url: str, topic_arn: str, endpoint: str) -> bool:
    """Whether a URL leads to the SNS of the topic's region and nowhere else."""
    if endpoint:
        return url.startswith((f"{endpoint}/", f"{endpoint}?"))
    region = ":".join(topic_arn.split(":")[3:4])
    try:
        parts = urlsplit(url)
        port, user = parts.port, parts.username
    except ValueError:
        return False
    suffix = ".cn" if region.startswith("cn-") else ""
    host = f"sns.{region}.amazonaws.com{suffix}"
    return parts.scheme == "https" and parts.hostname == host and port in (None, 443) and user is None


def forget() -> None:
    """Drop the certificates that are known."""
    with _lock:
        _keys.clear()


def _key(url: str, allow: Networks) -> rsa.RSAPublicKey:
    with _lock:
        known = _keys.get(url)
    if known is not None and time.monotonic() - known[0] < _KEPT_S:
        return known[1]
    reply = http_call.get(url, allow=allow)
    if not reply.ok:
        raise Unfetched(f"{url}: {reply.error or f'HTTP {reply.status}'}")
    try:
        certificate = x509.load_pem_x509_certificate(reply.body)
    except ValueError:
        raise Unfetched(f"{url} is no certificate") from None
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or certificate.not_valid_after_utc < clock.now():
        raise BadSignature("its certificate cannot be used")
    with _lock:
        _keys[url] = (time.monotonic(), key)
        while len(_keys) > _KEPT:
            _keys.popitem(last=False)
    return key
