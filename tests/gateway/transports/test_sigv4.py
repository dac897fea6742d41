"""AWS Signature Version 4 against the vendor's own test suite."""

from __future__ import annotations

import pytest
import requests
import time_machine

from gateway.transports.sigv4 import SigV4

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "signature"),
    [
        ("GET", "/", {}, None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", {}, None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET", "/?Param2=value2&Param1=value1", {}, None,
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "POST", "/", _FORM, "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
)  # fmt: skip
def test_the_vendor_s_vectors(
    method: str, target: str, headers: dict[str, str], body: str | None, signature: str
) -> None:
    signer = SigV4(
        access_key_id="AKIDEXAMPLE",
        secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token="",
        region="us-east-1",
        service="service",
    )
    request = requests.Request(method, f"https://example.amazonaws.com{target}", headers=headers, data=body)
    with time_machine.travel("2015-08-30T12:36:00Z", tick=False):
        prepared = signer(request.prepare())
    assert prepared.headers["Authorization"].endswith(f"Signature={signature}")
    assert prepared.headers["X-Amz-Date"] == "20150830T123600Z"
