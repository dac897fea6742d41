"""A domain's records and keys in a whole installation: seen without a button, rotated without a gap."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import cast
from tests.journeys.conftest import Start
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import SmtpSink

USER = ("--user", "jane@example.com")


def _until(what: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_records_that_are_published_enable_and_a_key_that_is_brought_signs(
    start: Start, dns: DnsServer, sink: SmtpSink, tmp_path: Path
) -> None:
    world = start(DNS=dns.address, DELIVERY=f"smtp://127.0.0.1:{sink.port}")
    api_key = world.cli("user", "add", "--email", "jane@example.com")["api_key"]
    number = world.cli("domain", "add", "shop.test", *USER)["id"]

    def ask(name: str, **params: Any) -> Any:
        return world.command(f"EmailGateway.{name}", APIKey=api_key, DomainID=number, **params)

    def kinds() -> list[str]:
        return [one["kind"] for one in world.cli("notice", "list", *USER)]

    pem = dict(cast.signing_keys())["rsa"]
    brought = ask("ImportDKIM", Selector="moved", PrivateKey=pem)["Key"]
    # The check that the import asked for finds nothing yet, and the domain is not blamed for it.
    _until(lambda: ask("GetDomain")["Domain"]["VerificationMeta"]["LastCheckedAt"] != "")
    domain = ask("GetDomain")["Domain"]
    assert (domain["Status"], domain["VerificationStatus"]) == ("Approval Pending", "Pending")
    assert ask("CancelDKIMRotation")["CanceledSelectors"] == ["moved"]

    for host, (type_, value) in ask("GetDomain")["Domain"]["VerificationMeta"]["DNSRecords"].items():
        dns.set(host, type_, value)
    dns.set(brought["Host"], "TXT", brought["Value"])
    assert ask("ImportDKIM", Selector="moved", PrivateKey=pem)["Success"] is True
    _until(lambda: ask("GetDomain")["Domain"]["Status"] == "Enabled")
    states = {key["Selector"]: key["State"] for key in ask("GetDKIMKeys")["Keys"]}
    assert states.pop("moved") == "active"
    assert sorted(states.values()) == ["active", "retiring"]
    assert {"domain.enabled", "dkim.switched", "dkim.rotation_canceled"} <= set(kinds())

    sent = world.command(
        "EmailGateway.SendEmail",
        SenderAPIKey=world.cli("key", "add", *USER, "--domain", "shop.test")["key"],
        Subject="Hi",
        ContentType="plain",
        PlainContent="Hi",
        **{"From[email]": "hello@shop.test", "From[name]": "Shop"},
        **{"To[0][email]": "jane@friends.test", "To[0][name]": "Jane"},
    )
    assert sent["Success"] is True, sent
    assert b"s=moved;" in sink.wait_for(1, 30)[0].data
