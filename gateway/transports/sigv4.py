"""AWS Signature Version 4 for requests with a body in memory."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import requests

from gateway import clock

_ALGORITHM = "AWS4-HMAC-SHA256"


class SigV4(requests.auth.AuthBase):
    """Signs host, date, content type and the x-amz headers of a prepared request."""

    def __init__(
        self, *, access_key_id: str, secret_access_key: str, session_token: str, region: str, service: str
    ) -> None:
        self._id = access_key_id
        self._secret = secret_access_key
        self._token = session_token
        self._region = region
        self._service = service

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        moment = clock.now().strftime("%Y%m%dT%H%M%SZ")
        body = request.body or b""
        digest = hashlib.sha256(body.encode() if isinstance(body, str) else body).hexdigest()
        request.headers["X-Amz-Date"] = moment
        if self._token:
            request.headers["X-Amz-Security-Token"] = self._token
        url = urlsplit(request.url or "")
        signed = {"host": request.headers.get("Host") or url.netloc}
        for name, value in request.headers.items():
            if name.lower() == "content-type" or name.lower().startswith("x-amz-"):
                signed[name.lower()] = " ".join(value.split())
        names = ";".join(sorted(signed))
        pairs = sorted((_quoted(k), _quoted(v)) for k, v in parse_qsl(url.query, keep_blank_values=True))
        canonical = "\n".join(
            (
                request.method or "",
                # Every service but S3 wants the path encoded twice; it comes encoded once.
                quote(quote(unquote(url.path or "/"), safe="/-_.~"), safe="/-_.~"),
                "&".join(f"{k}={v}" for k, v in pairs),
                *(f"{name}:{signed[name]}" for name in sorted(signed)),
                "",
                names,
                digest,
            )
        )
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        to_sign = "\n".join((_ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        key = f"AWS4{self._secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        request.headers["Authorization"] = (
            f"{_ALGORITHM} Credential={self._id}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return request


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
