"""`commandpost serve`: started, used, killed and stopped as an operator does."""

from __future__ import annotations

import os
import re
import shutil
import signal
import smtplib
import socket
import sqlite3
import ssl
import subprocess
from contextlib import closing
from email.message import EmailMessage

import pytest

from tests.cli.installation import Installation, alive, descendants, wait_for


def greeting(installation: Installation, process: subprocess.Popen[str]) -> str:
    return wait_for(
        lambda: "Stop with Ctrl-C" in installation.output(process) and installation.output(process), "greeted"
    )


def _submit(installation: Installation, user: str, secret: str) -> None:
    """Over STARTTLS, with the certificate of the demo verified by the file that was printed."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "hello@example.com", "jane@example.net", "Submitted"
    message.set_content("It works.")
    with smtplib.SMTP("localhost", installation.smtp_port, timeout=20) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(installation.data / "smtp-tls.pem")))
        client.login(user, secret)
        client.send_message(message)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_demo_prints_a_curl_that_works_when_pasted_and_a_second_start_finds_everything(
    installation: Installation,
) -> None:
    first = installation.serve("--demo")
    text = greeting(installation, first)
    password = re.search(r"password +(\S+)", text)
    api_key = re.search(r"API key +([0-9A-F-]{35})", text)
    sender_key = re.search(r"sender key +([0-9A-F-]{35})", text)
    assert password and api_key and sender_key
    user, secret = re.search(r"SMTP user +(\S+)", text), re.search(r"SMTP secret +(\S+)", text)
    assert user and secret

    curl = text[text.index("  curl ") :].split("\n\n")[0]
    pasted = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=30, check=True)
    assert '"MessageID"' in pasted.stdout, pasted.stdout
    mail = wait_for(lambda: installation.ask("mail", "list"), "captured")
    assert [(row["rcpt"], row["subject"]) for row in mail] == [("jane@example.net", "Hello from Commandpost")]
    shown = installation.run("mail", "show", str(mail[0]["id"])).stdout
    assert "\nTo: Jane Doe <jane@example.net>\n" in shown
    assert shown.count("DKIM-Signature:") == 2
    _submit(installation, user[1], secret[1])
    wait_for(lambda: len(installation.ask("mail", "list")) == 2, "the submitted one captured, too")
    mail = installation.ask("mail", "list")

    first.terminate()
    assert first.wait(30) == 0, installation.output(first)
    second = installation.serve("--demo")
    again = greeting(installation, second)
    assert sender_key[1] in again
    assert password[1] not in again
    assert api_key[1] not in again
    assert secret[1] not in again
    assert "commandpost key add" in again
    assert installation.ask("mail", "list") == mail
    assert installation.data.stat().st_mode & 0o077 == 0


def test_a_dead_part_is_started_again_and_mail_goes_on(installation: Installation) -> None:
    process = installation.serve("--demo")
    text = greeting(installation, process)
    key = re.search(r"sender key +(\S+)", text)
    assert key
    started = dict(re.findall(r"part=(\w+) pid=(\d+)", installation.output(process)))
    assert set(started) == {"web", "smtp", "deliver", "webhooks", "aside", "beat"}
    for name in ("deliver", "web"):
        os.kill(int(started[name]), signal.SIGKILL)

    def both_again() -> bool:
        latest = dict(re.findall(r"part=(\w+) pid=(\d+)", installation.output(process)))
        return all(latest[name] != started[name] for name in ("deliver", "web"))

    wait_for(both_again, "started again")
    installation.wait_until_healthy(process)
    message = {
        "From": {"Name": "Jane Doe", "Email": "jane@example.com"},
        "To": [{"Name": "Bob", "Email": "bob@example.net"}],
        "Subject": "after the kill",
        "ContentType": "plain",
        "PlainContent": "still here",
    }
    status, answer = wait_for(
        lambda: (found := installation.post("/api/v1/email", message, key[1]))[0] and found, "answered"
    )
    assert status == 200, answer
    mail = wait_for(lambda: installation.ask("mail", "list"), "captured")
    assert mail[0]["message_id"] == answer["MessageID"]


def test_nothing_is_left_when_the_supervisor_is_killed(installation: Installation) -> None:
    process = installation.serve()
    family = descendants(process.pid)
    # web and its worker, deliver and its child, webhooks, aside, beat, smtp
    assert len(family) >= 7
    process.kill()
    process.wait(10)
    wait_for(lambda: not alive(family), "all gone", seconds=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_ends_every_process(installation: Installation, number: signal.Signals) -> None:
    process = installation.serve()
    family = descendants(process.pid)
    process.send_signal(number)
    assert process.wait(30) == 0, installation.output(process)
    assert not alive(family)
    assert "part_killed" not in installation.output(process)


def test_capture_is_a_loud_warning_without_demo_and_wrong_for_doctor(installation: Installation) -> None:
    process = installation.serve()
    assert "NO MAIL LEAVES THIS MACHINE" in installation.output(process)
    found = installation.run("doctor", "--json")
    assert found.returncode == 1
    assert '"name": "delivery",\n      "ok": false' in found.stdout


def test_doctor_and_health_are_content_with_a_running_installation(installation: Installation) -> None:
    installation.environment |= {"COMMANDPOST_DELIVERY": "smtp://127.0.0.1:2599"}
    installation.serve()
    assert set(installation.ask("health")["parts"]) == {"web", "smtp", "deliver", "webhooks", "aside", "beat"}
    with closing(sqlite3.connect(installation.data / "scratch.db")) as scratch:
        beating = {part for (part,) in scratch.execute("SELECT part FROM heartbeat")}
    assert len([part for part in beating if part.startswith("deliver.")]) == 1, "each process that delivers is counted"
    found = installation.run("doctor", "--json")
    wrong = [line for line in found.stdout.splitlines() if '"ok": false' in line]
    # Where there is no network, DNS does not answer; everything else is in our hands.
    assert len(wrong) <= 2, found.stdout


@pytest.mark.parametrize("variable", ["HTTP", "SMTP", "MX"])
def test_a_port_in_use_stops_the_start_and_names_the_variable(installation: Installation, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        installation.environment[f"COMMANDPOST_{variable}"] = address
        ended = installation.run("serve")
    assert ended.returncode == 1
    assert f"COMMANDPOST_{variable}={address}: cannot listen there" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP", "nowhere"),
        ("WEB_WORKERS", "many"),
        ("DATABASE_URL", "postgres://x/y"),
        ("BROKER_URL", "kafka://x"),
        ("DELIVERY", "pigeon"),
        ("DATA", "/proc/nothing/here"),
    ],
)
def test_a_bad_setting_stops_the_start_and_names_the_variable(
    installation: Installation, variable: str, value: str
) -> None:
    installation.environment[f"COMMANDPOST_{variable}"] = value
    ended = installation.run("serve")
    assert ended.returncode == 2
    assert re.search(rf"COMMANDPOST_{variable}=.*: should be ", ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unknown_setting_stops_the_start(installation: Installation) -> None:
    installation.environment["COMMANDPOST_DELIVERI"] = "direct"
    ended = installation.run("health", "--json")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert '"error":"setting"' in ended.stderr
    assert "COMMANDPOST_DELIVERI" in ended.stderr


def test_two_listeners_on_one_address_are_refused(installation: Installation) -> None:
    installation.environment["COMMANDPOST_MX"] = installation.environment["COMMANDPOST_SMTP"]
    ended = installation.run("serve")
    assert ended.returncode == 2
    assert "COMMANDPOST_MX" in ended.stderr
