"""Which exchangers are one destination."""

from __future__ import annotations

import pytest

from gateway.dns import mx_groups


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("aspmx.l.google.com", "google"),
        ("alt1.gmail-smtp-in.l.google.com", "google"),
        ("hotmail-com.olc.protection.outlook.com", "microsoft"),
        ("example-com.mail.protection.outlook.com", "microsoft365"),
        ("example-com.a-v1.mx.microsoft", "microsoft365"),
        ("mta5.am0.yahoodns.net", "yahoo"),
        ("MX01.mail.icloud.com.", "apple"),
        ("mx1.example.co.uk", "example.co.uk"),
        ("mx.notgoogle.com", "notgoogle.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("localhost", "localhost"),
    ],
)
def test_groups(host: str, group: str) -> None:
    assert mx_groups.group_of(host) == group


def test_every_receiver_of_the_table_of_manners_can_be_found() -> None:
    assert set(mx_groups.MANNERS) <= set(mx_groups._ENDINGS.values())
    assert mx_groups.manners("yahoo").messages == 20
    assert mx_groups.manners("google") == mx_groups.Manners(5, 50)
    assert mx_groups.manners("example.com") == mx_groups.DEFAULT == mx_groups.Manners(10, 100)
