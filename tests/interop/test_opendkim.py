"""Debian's opendkim verifies what the engine signed and delivered."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.services import deliveries, domains, key_rotations, messages, senders
from models.domain import SenderDomain
from tests import cast
from tests.conftest import use_settings
from tests.interop.messages import drafts
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import SmtpSink

pytestmark = pytest.mark.skipif(shutil.which("opendkim") is None, reason="opendkim is not installed")

_RESULT = re.compile(r"dkim=(\w+)[^;]*header\.s=([\w-]+)")


@pytest.fixture
def peers(store: str, tmp_path: Path) -> Iterator[tuple[SmtpSink, DnsServer]]:
    with SmtpSink() as sink, DnsServer() as dns:
        use_settings(tmp_path, DELIVERY=f"smtp://127.0.0.1:{sink.port}", DNS=dns.address)
        yield sink, dns
        deliveries.close()


def _delivered(sink: SmtpSink, count: int) -> list[bytes]:
    """The next `count` messages that arrive."""
    before = sink.count
    while deliveries.drain(0.5):
        pass
    assert deliveries.engine().wait_idle(60)
    return [one.data for one in sink.wait_for(before + count, 60)[before:]]


def _verified(folder: Path, domain_id: int, found: list[bytes]) -> list[dict[str, str]]:
    """For each message, what opendkim says of each selector; the keys are those the domain shows."""
    folder.mkdir()
    owner = SenderDomain.get_by_id(domain_id)
    records = [record for record in domains.records(owner) if "._domainkey." in record.host]
    (folder / "keys").write_text("".join(f"{record.host} {record.value}\n" for record in records))
    (folder / "conf").write_text(
        f"Mode v\nSocket local:{folder}/sock\nTestPublicKeys {folder}/keys\nSyslog no\nRequireSafeKeys no\n"
    )
    results = []
    for at, message in enumerate(found):
        (folder / f"{at}.eml").write_bytes(message)
        done = subprocess.run(
            ["opendkim", "-x", "conf", "-vv", "-t", f"{at}.eml"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
        results.append({selector: result for result, selector in _RESULT.findall(done.stdout)})
    return results


def test_odd_messages_verify(peers: tuple[SmtpSink, DnsServer], tmp_path: Path) -> None:
    sink, _ = peers
    who = cast.sender()
    sent = dict(drafts())
    assert len(sent) >= 50
    by_id = {messages.accept(who.caller, draft).message_id: name for name, draft in sent.items()}
    found = _delivered(sink, len(sent))
    assert len(by_id) == len(found) == len(sent)
    results = _verified(tmp_path / "check", who.domain.id, found)
    ours = {"rsa": "pass", "ed25519": "pass"}  # one message came with another's broken signature
    wrong = [(found[at], result) for at, result in enumerate(results) if result | ours != result]
    assert wrong == []
    # The check itself can fail.
    broken = found[0].replace(b"friends.test", b"fiends.test")
    assert _verified(tmp_path / "broken", who.domain.id, [broken]) == [{"rsa": "fail", "ed25519": "fail"}]


def test_messages_verify_on_every_step_of_a_rotation(peers: tuple[SmtpSink, DnsServer], tmp_path: Path) -> None:
    sink, dns = peers
    who = cast.sender()
    number = who.domain.id
    for record in domains.records(who.domain):
        dns.set(record.host, record.type, record.value)
    domains.verify(caller=who.owner, domain_id=number)

    def send() -> bytes:
        senders.forget()
        messages.accept(who.caller, cast.draft())
        return _delivered(sink, 1)[0]

    sent = [send()]
    made = {key.algorithm: key for key in key_rotations.rotate(caller=who.owner, domain_id=number)}
    sent.append(send())
    for key in made.values():
        dns.set(key.host, "TXT", key.record)
        domains.verify(caller=who.owner, domain_id=number)
        sent.append(send())
    rsa, ed = made["rsa"].selector, made["ed25519"].selector
    assert _verified(tmp_path / "check", number, sent) == [
        {"rsa": "pass", "ed25519": "pass"},
        {"rsa": "pass", "ed25519": "pass"},
        {rsa: "pass", "ed25519": "pass"},
        {rsa: "pass", ed: "pass"},
    ]
