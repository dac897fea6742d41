"""Submission as other people's software does it: smtplib, Nodemailer, swaks, and Postfix with a relayhost."""

from __future__ import annotations

import base64
import email.policy
import functools
import json
import os
import re
import shutil
import smtplib
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import orjson
import pytest

import models
from benchmarks.postfix import Postfix, missing
from gateway import config
from gateway.services import certificates, contents
from models import database as db
from tests.smtp.conftest import Customer, Running, customer, start  # noqa: F401

# What is under test is the conversation, which no database changes.
pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

SUBJECT = "Your order – Grüße"
TEXT = "Thank you, Zoë!\n.\n..two dots\nFrom here\n"
METADATA = {"order": 17, "name": "Zoë"}


@functools.cache
def without_nodemailer() -> str:
    """Why Nodemailer cannot run here; empty when it can."""
    if shutil.which("node") is None:
        return "node is not installed"
    found = subprocess.run(
        ["node", "-e", "require('nodemailer')"], env=node_environment(), capture_output=True, timeout=60
    )
    return "Nodemailer is not installed (NODE_PATH or npm install --global)" if found.returncode else ""


@functools.cache
def node_environment() -> dict[str, str]:
    """Where node looks for modules: NODE_PATH, and what is installed for everybody."""
    paths = [path for path in os.environ.get("NODE_PATH", "").split(os.pathsep) if path]
    if shutil.which("npm") is not None:
        done = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, timeout=60)
        paths += done.stdout.split()
    return os.environ | {"NODE_PATH": os.pathsep.join(paths)}


needs_nodemailer = pytest.mark.skipif("without_nodemailer()", reason="Nodemailer cannot be loaded by node")
needs_swaks = pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
needs_postfix = pytest.mark.skipif(bool(missing(signing=False)), reason=missing(signing=False) or "-")


@pytest.fixture
def part(start: Callable[..., Running], settings: config.Settings) -> Running:  # noqa: F811
    """Submission as `serve --demo` runs it, with SMTPS beside it."""
    certificates.make(settings)
    return start(SMTPS="127.0.0.1:0")


@pytest.fixture
def ca(settings: config.Settings, part: Running) -> Path:
    """What a client trusts to trust the part."""
    return settings.data / certificates.FILE


def received() -> list[EmailMessage]:
    """The stored messages in the order in which they came."""
    rows = list(models.Message.select().order_by(models.Message.id))
    found = contents.load([row.content_id for row in rows])
    return [BytesParser(policy=email.policy.default).parsebytes(found[row.content_id][1]) for row in rows]  # type: ignore[misc]


def check_message(message: EmailMessage, row: Any, client: str) -> None:
    """It is as its author wrote it, with our trace and without the control headers."""
    assert message["Subject"] == row.subject == SUBJECT
    assert message["From"].addresses[0].addr_spec == row.from_addr == "hello@shop.test"
    text = message.get_body(("plain",))
    assert text is not None
    # smtplib's send_message writes lines that begin with "From " as a mailbox file wants them.
    said = text.get_content().replace("\r\n", "\n").replace("\n>From ", "\nFrom ")
    assert said.rstrip("\n") == TEXT.rstrip("\n")
    assert message["Message-ID"] and message["Date"].datetime is not None
    assert f"from {client} ([127.0.0.1])" in message["Received"]
    assert not [name for name in message if name.lower() in ("x-tags", "x-metadata", "x-track-opens", "bcc")]
    assert orjson.loads(row.tags) == ["welcome", "grüße"]
    assert orjson.loads(row.metadata) == METADATA
    assert row.track_opens is False


def only() -> tuple[EmailMessage, Any]:
    (row,), (message,) = models.Message.select(), received()
    return message, row


@pytest.mark.parametrize("way", ["clear", "starttls", "smtps"])
def test_smtplib(part: Running, customer: Customer, ca: Path, way: str) -> None:  # noqa: F811
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = (
        "The Shop <hello@shop.test>",
        "Zoë <jane@friends.test>",
        SUBJECT,
    )
    message["Bcc"] = "secret@friends.test"
    message["X-Tags"], message["X-Metadata"] = "welcome, grüße", json.dumps(METADATA)
    message["X-Track-Opens"] = "0"
    message.set_content(TEXT)
    message.add_alternative("<p>Thank you, Zoë!</p>", subtype="html")
    message.add_attachment(
        bytes(range(256)) * 50, maintype="application", subtype="pdf", filename="Rechnung für Zoë.pdf"
    )
    trusting = ssl.create_default_context(cafile=str(ca))
    if way == "smtps":
        client: smtplib.SMTP = smtplib.SMTP_SSL(
            "localhost", part.ports["smtps"], local_hostname="app.test", context=trusting, timeout=20
        )
    else:
        client = smtplib.SMTP("localhost", part.ports["submission"], local_hostname="app.test", timeout=20)
    with client:
        if way == "starttls":
            client.starttls(context=trusting)
        client.login(customer.login.username, customer.password)
        assert client.send_message(message) == {}
    found, row = only()
    check_message(found, row, "app.test")
    assert ("with ESMTPSA" in found["Received"]) is (way != "clear")
    (attachment,) = found.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("Rechnung für Zoë.pdf", bytes(range(256)) * 50)
    assert {one.rcpt for one in models.Delivery.select()} == {"jane@friends.test", "secret@friends.test"}


NODEMAILER = """
const nodemailer = require('nodemailer');
const given = JSON.parse(process.argv[1]);
const transport = nodemailer.createTransport(given.transport);
(async () => {
  const said = [];
  await transport.verify();
  for (const message of given.messages) {
    try {
      const info = await transport.sendMail(message);
      said.push({response: info.response, accepted: info.accepted, rejected: info.rejected, envelope: info.envelope});
    } catch (error) {
      said.push({code: error.code, responseCode: error.responseCode, response: error.response});
    }
  }
  transport.close();
  console.log(JSON.stringify(said));
})().catch((error) => { console.error(error); process.exit(1); });
"""


def nodemailer(transport: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["node", "-e", NODEMAILER, json.dumps({"transport": transport, "messages": messages})],
        env=node_environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def node_transport(part: Running, who: Customer, ca: Path, way: str) -> dict[str, Any]:
    return {
        "host": "localhost",
        "port": part.ports["smtps" if way == "smtps" else "submission"],
        "name": "node.test",
        "secure": way == "smtps",
        "requireTLS": way == "starttls",
        "ignoreTLS": way == "clear",
        "pool": way == "smtps",
        "tls": {"ca": ca.read_text()},
        "auth": {"user": who.login.username, "pass": who.password},
    }


def node_message(**changed: Any) -> dict[str, Any]:
    return {
        "from": {"name": "The Shop", "address": "hello@shop.test"},
        "to": "Zoë <jane@friends.test>",
        "bcc": "secret@friends.test",
        "subject": SUBJECT,
        "text": TEXT,
        "html": "<p>Thank you, Zoë!</p>",
        "attachments": [{"filename": "Rechnung für Zoë.pdf", "content": "aGk=", "encoding": "base64"}],
        "headers": {"X-Tags": "welcome, grüße", "X-Metadata": json.dumps(METADATA), "X-Track-Opens": "0"},
    } | changed


@needs_nodemailer
@pytest.mark.parametrize("way", ["clear", "starttls", "smtps"])
def test_nodemailer(part: Running, customer: Customer, ca: Path, way: str) -> None:  # noqa: F811
    (said,) = nodemailer(node_transport(part, customer, ca, way), node_message())
    found, row = only()
    assert said["response"] == f"250 2.0.0 Accepted as {row.uuid}"
    assert sorted(said["accepted"]) == ["jane@friends.test", "secret@friends.test"]
    check_message(found, row, "node.test")
    assert ("with ESMTPSA" in found["Received"]) is (way != "clear")
    (attachment,) = found.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("Rechnung für Zoë.pdf", b"hi")


@needs_nodemailer
def test_nodemailer_goes_on_after_a_refusal(part: Running, customer: Customer, ca: Path) -> None:  # noqa: F811
    transport = node_transport(part, customer, ca, "smtps")
    said = nodemailer(
        transport,
        node_message(to=["jane@friends.test", "nobody@-.test"], bcc=[]),
        node_message(**{"from": "boss@bank.test"}),
        node_message(headers={"X-Send-At": "tomorrow"}),
        node_message(to="zoë@bücher.test", bcc=[], headers={"X-Idempotency-Key": "order-17"}),
        node_message(to="zoë@bücher.test", bcc=[], headers={"X-Idempotency-Key": "order-17"}),
    )
    assert said[0]["accepted"] == ["jane@friends.test"] and said[0]["rejected"] == ["nobody@-.test"]
    assert said[1]["response"].startswith("550 5.7.1") and said[2]["response"].startswith("550 5.6.0 X-Send-At")
    assert said[3]["response"].startswith("250 2.0.0 Accepted as ")
    assert said[4]["response"] == said[3]["response"]  # Nodemailer makes boundaries, Date and Message-ID anew
    assert [row.rcpt for row in models.Delivery.select()] == ["jane@friends.test", "zoë@xn--bcher-kva.test"]
    (wrong,) = [
        subprocess.run(
            ["node", "-e", NODEMAILER, json.dumps({"transport": transport | {"auth": {"user": "a", "pass": "b"}},
                                                  "messages": []})],
            env=node_environment(), capture_output=True, text=True, timeout=60,
        )
    ]  # fmt: skip
    assert wrong.returncode == 1 and "EAUTH" in wrong.stderr and "535 5.7.8" in wrong.stderr


def swaks(
    part: Running, who: Customer, *options: str, listener: str = "submission"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            "swaks", "--server", f"127.0.0.1:{part.ports[listener]}", "--helo", "swaks.test",
            "--from", "app@elsewhere.test", "--to", "jane@friends.test", "--timeout", "20",
            "--auth-user", who.login.username, "--auth-password", who.password, *options,
        ],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


SWAKS_DATA = (
    "From: The Shop <hello@shop.test>\\nTo: jane@friends.test\\n"
    f"Subject: =?utf-8?b?{base64.b64encode(SUBJECT.encode()).decode()}?=\\n"
    "X-Tags: welcome, =?utf-8?q?gr=C3=BC=C3=9Fe?=\\n"
    'X-Metadata: {"order": 17,\\n "name": "Zo\\u00eb"}\\nX-Track-Opens: 0\\n'
    "MIME-Version: 1.0\\nContent-Type: text/plain; charset=utf-8\\nContent-Transfer-Encoding: base64\\n\\n"
    f"{base64.b64encode(TEXT.encode()).decode()}\\n"
)


@needs_swaks
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("way", ["clear", "starttls", "smtps", "pipelined"])
def test_swaks(part: Running, customer: Customer, mechanism: str, way: str) -> None:  # noqa: F811
    options = {"clear": [], "starttls": ["--tls"], "smtps": ["--tls-on-connect"], "pipelined": ["--pipeline"]}[way]
    if way in ("starttls", "smtps"):
        support = subprocess.run(["swaks", "--support"], capture_output=True, text=True, timeout=60).stdout
        if "TLS supported" not in support:
            pytest.skip("this swaks knows no TLS: Net::SSLeay is not installed")
    done = swaks(
        part, customer, "--auth", mechanism, "--data", SWAKS_DATA, *options,
        listener="smtps" if way == "smtps" else "submission",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found, row = only()
    assert f"250 2.0.0 Accepted as {row.uuid}" in done.stdout
    check_message(found, row, "swaks.test")
    assert ("with ESMTPSA" in found["Received"]) is (way in ("starttls", "smtps"))


@needs_swaks
def test_swaks_says_what_was_wrong(part: Running, customer: Customer) -> None:  # noqa: F811
    wrong = swaks(part, customer, "--auth", "PLAIN", "--auth-password", "wrong")
    assert wrong.returncode == 28 and "535 5.7.8" in wrong.stdout
    foreign = swaks(part, customer, "--auth", "PLAIN", "--header", "From: boss@bank.test")
    assert foreign.returncode == 26 and "550 5.7.1" in foreign.stdout
    assert models.Message.select().count() == 0


@pytest.fixture
def relay(part: Running, customer: Customer, ca: Path, tmp_path: Path) -> Iterator[Postfix]:  # noqa: F811
    """Debian's Postfix on the customer's host, which hands everything in here as it would to any provider."""
    settings = {
        "relayhost": f"[localhost]:{part.ports['submission']}",
        "smtp_host_lookup": "native",
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": f"static:{customer.login.username}:{customer.password}",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_tls_security_level": "secure",
        "smtp_tls_secure_cert_match": "localhost",
        "smtp_tls_CAfile": str(_readable(ca, tmp_path)),
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "2s",
        "queue_run_delay": "1s",
        "bounce_size_limit": "1",
    }
    with Postfix(tmp_path / "postfix", sink=part.ports["submission"], settings=settings) as postfix:
        yield postfix


def _readable(ca: Path, tmp_path: Path) -> Path:
    """The certificate without its key, for a daemon that is not root."""
    pem = re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", ca.read_bytes(), re.DOTALL)
    assert pem
    path = tmp_path / "ca.pem"
    path.write_bytes(pem[0])
    path.chmod(0o644)
    return path


def hand_to(postfix: Postfix, number: int, sender: str = "hello@shop.test") -> None:
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        client.sendmail(
            "www-data@web1.internal", [f"r{number}@friends.test"],
            f"From: {sender}\r\nTo: r{number}@friends.test\r\nSubject: Order {number}\r\nX-Tags: welcome\r\n\r\n"
            "Hi\r\n.x\r\n",
        )  # fmt: skip


def wait_for(count: int, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while models.Message.select().count() < count:
        assert time.monotonic() < end, f"{models.Message.select().count()} of {count} came"
        time.sleep(0.1)


@needs_postfix
def test_postfix_relays_over_tls_with_a_login(part: Running, relay: Postfix) -> None:
    for number in range(10):
        hand_to(relay, number)
    wait_for(10)
    assert {row.subject for row in models.Message.select()} == {f"Order {number}" for number in range(10)}
    assert {row.rcpt for row in models.Delivery.select()} == {f"r{number}@friends.test" for number in range(10)}
    for message in received():
        traces = message.get_all("Received")
        assert "from peer.gateway.test" in traces[0] and "with ESMTPSA" in traces[0]
        assert "by peer.gateway.test (Postfix)" in traces[1]
        assert message["Message-ID"] and "X-Tags" not in message
        assert message.get_payload().replace("\r\n", "\n") == "Hi\n.x\n"


@needs_postfix
def test_postfix_keeps_what_was_put_off_and_gives_up_what_was_refused(
    part: Running, relay: Postfix, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def away(*_: object) -> None:
        asked.append(1)
        raise db.StoreUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(db.database.obj, "begin_write", away)
        hand_to(relay, 1)
        end = time.monotonic() + 60
        while not asked:
            assert time.monotonic() < end
            time.sleep(0.1)
    hand_to(relay, 2, "boss@bank.test")
    hand_to(relay, 3)
    wait_for(2)
    assert {row.subject for row in models.Message.select()} == {"Order 1", "Order 3"}
