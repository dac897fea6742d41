from __future__ import annotations

import pytest

from gateway.dns import records
from gateway.dns.records import PublicKey, Purpose

HOST = "mx.gateway.test"


def test_every_wanted_record_has_a_host_of_its_own() -> None:
    made = records.wanted(
        domain="example.com",
        token="abc",
        keys=[PublicKey("r", "rsa", "AAAA"), PublicKey("e", "ed25519", "BBBB")],
        return_path="bounce.example.com",
        hostname=HOST,
    )
    assert [(r.purpose, r.host, r.type, r.value, r.required) for r in made] == [
        (Purpose.OWNERSHIP, "_commandpost.example.com", "TXT", "commandpost-verification=abc", True),
        (Purpose.DKIM, "r._domainkey.example.com", "TXT", "v=DKIM1; k=rsa; p=AAAA", True),
        (Purpose.DKIM, "e._domainkey.example.com", "TXT", "v=DKIM1; k=ed25519; p=BBBB", False),
        (Purpose.RETURN_PATH, "bounce.example.com", "CNAME", HOST, False),
        (Purpose.SPF, "example.com", "TXT", f"v=spf1 include:{HOST} ~all", False),
        (Purpose.DMARC, "_dmarc.example.com", "TXT", "v=DMARC1; p=none", False),
        (Purpose.TRACKING, "track.example.com", "CNAME", HOST, False),
    ]
    assert len({record.host for record in made}) == len(made)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("v=DKIM1; k=rsa; p=AbC+/=", True),
        ("v=DKIM1;k=rsa;p=AbC+/=;", True),
        ("  k = RSA ; p = AbC\t+/= ; t=s ", True),
        ("p=AbC+/=", True),
        ('"v=DKIM1; k=rsa; p=AbC+/="', True),
        ("v=DKIM1; k=rsa; s=email; h=sha1:sha256; p=AbC+/=", True),
        ("v=DKIM1; k=rsa; p=abc+/=", False),
        ("v=DKIM1; k=rsa; p=", False),
        ("v=DKIM1; k=ed25519; p=AbC+/=", False),
        ("v=DKIM2; k=rsa; p=AbC+/=", False),
        ("v=DKIM1; k=rsa; s=tlsrpt; p=AbC+/=", False),
        ("v=DKIM1; k=rsa; h=sha1; p=AbC+/=", False),
        ("v=DKIM1; p=other; p=AbC+/=", False),
        ("v=spf1 -all", False),
        ("", False),
    ],
)
def test_dkim_key(text: str, good: bool) -> None:
    assert records.is_dkim_key(text, "v=DKIM1; k=rsa; p=AbC+/=") is good


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (f"v=spf1 include:{HOST} ~all", True),
        (f"V=SPF1  a mx  +INCLUDE:{HOST.upper()}. -all", True),
        (f"v=spf1 redirect={HOST}", True),
        (f"v=spf1 redirect={HOST} -all", False),
        (f"v=spf1 -all include:{HOST}", False),
        (f"v=spf1 -include:{HOST} ~all", False),
        (f"v=spf1 include:not-{HOST} ~all", False),
        (f"v=spf1 include:{HOST}.evil.test ~all", False),
        ("v=spf1 -all", False),
    ],
)
def test_spf_includes(text: str, good: bool) -> None:
    assert records.is_spf(text)
    assert records.spf_includes(text, HOST) is good


@pytest.mark.parametrize("text", ["v=spf10 -all", "spf2.0/pra -all", "x v=spf1 -all", ""])
def test_what_is_no_spf(text: str) -> None:
    assert not records.is_spf(text)


@pytest.mark.parametrize(
    ("existing", "merged"),
    [
        (["v=spf1 a mx -all"], f"v=spf1 a mx include:{HOST} -all"),
        (["v=spf1 include:a.test"], f"v=spf1 include:a.test include:{HOST} ~all"),
        (["v=spf1 redirect=a.test"], f"v=spf1 include:{HOST} redirect=a.test"),
        (["v=spf1 a -all", f"v=spf1 a include:{HOST} ~all"], f"v=spf1 a include:{HOST} -all"),
        (["v=spf1 ip4:192.0.2.1 ?all", "v=spf1 mx -all"], f"v=spf1 ip4:192.0.2.1 mx include:{HOST} ?all"),
        ([f"v=spf1 -all include:{HOST}"], f"v=spf1 include:{HOST} -all"),
    ],
)
def test_merged_spf_is_one_record_that_fulfils(existing: list[str], merged: str) -> None:
    assert records.merged_spf(existing, HOST) == merged
    assert records.spf_includes(merged, HOST)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("v=DMARC1; p=none", True),
        ("v=DMARC1;p=REJECT;rua=mailto:a@example.com", True),
        (" v = DMARC1 ; p = quarantine", True),
        ("v=DMARC1", False),
        ("v=DMARC1; p=maybe", False),
        ("p=none; v=DMARC1", False),
        ("v=DMARC2; p=none", False),
    ],
)
def test_dmarc_policy(text: str, good: bool) -> None:
    assert records.is_dmarc_policy(text) is good


@pytest.mark.parametrize("text", ["commandpost-verification=abc", ' "Commandpost-Verification=ABC" '])
def test_ownership(text: str) -> None:
    assert records.is_ownership(text, "commandpost-verification=abc")
    assert not records.is_ownership(text + "d", "commandpost-verification=abc")
