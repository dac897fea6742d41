"""The tree walk of RFC 9989: which names are asked, which policy applies, what the organisational domain is."""

from __future__ import annotations

import pytest

from gateway.dns import dmarc

ZONE = {
    "_dmarc.example.com": ["v=DMARC1; p=reject; sp=quarantine; adkim=s"],
    "_dmarc.own.example.com": ["v=DMARC1; p=none; psd=n"],
    "_dmarc.bank": ["v=DMARC1; p=reject; psd=y"],
    "_dmarc.two.test": ["v=DMARC1; p=none", "v=DMARC1; p=reject"],
    "_dmarc.noise.test": ["hello", "v=DMARC1; p=none"],
    "_dmarc.bare.test": ["v=DMARC1; rua=mailto:a@bare.test"],
}


def _ask(name: str) -> list[str]:
    return ZONE.get(name, [])


@pytest.mark.parametrize(
    ("domain", "organisation", "under", "asks"),
    [
        ("example.com", "example.com", "example.com", "reject"),
        ("a.b.example.com", "example.com", "example.com", "quarantine"),
        ("own.example.com", "own.example.com", "own.example.com", "none"),
        ("mail.own.example.com", "own.example.com", "own.example.com", "none"),
        ("mail.big.bank", "big.bank", "bank", "reject"),
        ("noise.test", "noise.test", "noise.test", "none"),
        ("bare.test", "bare.test", "bare.test", "none"),
        ("two.test", "two.test", "", ""),
        ("mail.shop.co.uk", "shop.co.uk", "", ""),
    ],
)
def test_a_domain(domain: str, organisation: str, under: str, asks: str) -> None:
    found = dmarc.walk(domain, _ask)
    assert dmarc.organisational(domain, found) == organisation
    policy = dmarc.applying(domain, found)
    assert (policy.domain, policy.asks(domain)) == (under, asks) if policy is not None else (under, asks) == ("", "")


def test_strict_or_relaxed() -> None:
    policy = dmarc.applying("example.com", dmarc.walk("example.com", _ask))
    assert policy is not None
    assert (policy.strict("adkim"), policy.strict("aspf")) == (True, False)


def test_a_long_name_is_not_walked_label_by_label() -> None:
    asked: list[str] = []
    long = "a.b.c.d.e.f.g.h.i.j.example.test"
    dmarc.walk(long, lambda name: asked.append(name) or [])  # type: ignore[func-returns-value]
    assert asked[:2] == [f"_dmarc.{long}", "_dmarc.f.g.h.i.j.example.test"]
    assert asked[-1] == "_dmarc.test"
    assert len(asked) == 8


def test_the_walk_ends_where_an_organisation_says_so() -> None:
    asked: list[str] = []

    def ask(name: str) -> list[str]:
        asked.append(name)
        return _ask(name)

    dmarc.walk("mail.own.example.com", ask)
    assert asked == ["_dmarc.mail.own.example.com", "_dmarc.own.example.com"]
