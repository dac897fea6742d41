"""The `/v1` surface from a shell: the printed request and every example of its guide, over the wire to the sink."""

from __future__ import annotations

import email
import email.policy
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.installation import Installation
from tests.journeys.conftest import Start
from tests.peers.smtp_sink import SmtpSink

pytestmark = pytest.mark.journey

# The document masks both addresses.
PRINTED = """curl -X POST https://api.mailers.io/v1/send \\
-H "Authorization: Bearer $MAILERS_API_KEY" \\
-H "Idempotency-Key: $(uuidgen)" \\
-H "Content-Type: application/json" \\
-d '{
"from": "[email protected]",
"to": "[email protected]",
"subject": "Welcome to Acme",
"html": "<p>Thanks for joining.</p>",
"tags": ["onboarding"],
"routing": { "purpose": "transactional" }
}'"""


class Shell:
    """Runs command lines as a reader of the page would; `curl` says the status in a last line."""

    def __init__(self, folder: Path, **variables: str) -> None:
        folder.mkdir()
        if shutil.which("uuidgen") is None:
            tool = folder / "uuidgen"
            tool.write_text("#!/bin/sh\ncat /proc/sys/kernel/random/uuid\n")
            tool.chmod(0o755)
        self.environment = os.environ | variables | {"PATH": f"{folder}:{os.environ['PATH']}"}

    def __call__(self, line: str) -> tuple[int, Any]:
        told = line.replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)
        done = subprocess.run(
            ["/bin/sh", "-c", told], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body) if body else None


def _key(installation: Installation, *domains: str) -> str:
    installation.cli("user", "add", "--email", "jane@people.test", "--password", "a long password")
    installation.cli("plan", "set", "--user", "jane@people.test", "--unlimited")
    for name in domains:
        installation.cli("domain", "add", name, "--user", "jane@people.test", "--trusted")
    made = installation.cli("key", "add", "--user", "jane@people.test", "--surface", "mailersio")
    return str(made["key"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_printed_request_and_the_examples_of_the_guide(start: Start, sink: SmtpSink, tmp_path: Path) -> None:
    installation = start(DELIVERY=f"smtp://127.0.0.1:{sink.port}")
    key = _key(installation, "acme.test", "shop.example")
    shell = Shell(tmp_path / "bin", MAILERS_API_KEY=key, KEY=key, HOST=installation.url)

    line = PRINTED.replace("https://api.mailers.io", installation.url)
    line = line.replace("[email protected]", "hello@acme.test", 1).replace("[email protected]", "jane@friends.test", 1)
    status, told = shell(line)
    assert (status, told["status"]) == (202, "queued") and told["id"].startswith("msg_"), told
    (mail,) = sink.wait_for(1)
    message = email.message_from_bytes(mail.data, policy=email.policy.SMTP)
    assert (message["From"], message["To"], message["Subject"]) == (
        "hello@acme.test", "jane@friends.test", "Welcome to Acme",
    )  # fmt: skip
    assert "Thanks for joining." in message.get_body(("html",)).get_content()
    assert mail.rcpts == ["jane@friends.test"]

    examples = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / "v1.md").read_text(), re.MULTILINE | re.DOTALL)
    answers = [shell(example) for example in examples]
    assert [status for status, _ in answers] == [201, 200, 202, 202, 200, 201], answers
    added, verified, sent, bulk, listed, made = (body for _, body in answers)
    assert added["status"] == verified["status"] == "pending" and added["records"]
    assert (bulk["accepted"], bulk["failed"], bulk["data"][1]["error"]["field"]) == (1, 1, "to")
    assert [row["id"] for row in listed["data"]] == [sent["id"]] and listed["data"][0]["subject"] == "Order 1001"
    assert made["scopes"] == ["read:messages", "send"] and made["domains"] == ["shop.example"]
    assert shell(examples[2])[1]["id"] == sent["id"]  # its key makes it the same message
    subjects = {
        str(email.message_from_bytes(one.data, policy=email.policy.SMTP)["Subject"]) for one in sink.wait_for(3)
    }
    assert subjects == {"Welcome to Acme", "Order 1001", "News for Jane"}
