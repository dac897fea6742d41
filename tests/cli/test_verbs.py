"""Every verb of the command line: its JSON, its text, its refusals."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from gateway import config, jobs
from gateway.services import account_options, domains, identity, users
from models import Account, ApiKey
from models import database as db
from tests.cast import signing_keys
from tests.conftest import ROOT, use_settings

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def world(store: str, tmp_path: Path) -> Iterator[None]:
    use_settings(tmp_path, DATABASE_URL=store)
    yield
    jobs.bind(None)
    config.use(None)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; its exit status, output and error output."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(words)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def ask(run: Run) -> Run:
    """The JSON answer of a command line that succeeds."""

    def call(*words: str) -> Any:
        status, out, err = run(*words, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    return call


def refused(run: Run, *words: str) -> tuple[int, str]:
    """Exit status and slug of a command line that is refused."""
    status, out, err = run(*words, "--json")
    assert out == ""
    told = json.loads(err)
    assert set(told) == {"error", "message"}
    assert told["message"]
    return status, told["error"]


def test_user_add(ask: Run, run: Run) -> None:
    made = ask("user", "add", "--email", "Jane@Example.com", "--password", "correct horse", "--api-key", "K-12345678")
    assert made == {"id": made["id"], "email": "jane@example.com", "api_key": "K-12345678"}
    assert identity.authenticate(api_key="K-12345678").account_id == made["id"]
    assert users.login(username="jane@example.com", password="correct horse", ip="127.0.0.1")
    other = ask("user", "add", "--email", "ops@example.com", "--operator")
    assert identity.authenticate(admin_api_key=other["api_key"]).is_operator
    assert refused(run, "user", "add", "--email", "jane@example.com")[0] == 1
    assert refused(run, "user", "add", "--email", "not an address") == (1, "invalid_parameter")
    assert refused(run, "user", "add") == (2, "usage")


def test_user_password_and_status(ask: Run, run: Run) -> None:
    ask("user", "add", "--email", "jane@example.com", "--password", "correct horse")
    ask("user", "password", "--email", "jane@example.com", "--password", "battery staple")
    assert users.login(username="jane@example.com", password="battery staple", ip="127.0.0.1")
    ask("user", "status", "--email", "jane@example.com", "disabled")
    assert Account.get().status == "disabled"
    assert refused(run, "user", "status", "--email", "nobody@example.com", "active") == (1, "not_found")


def test_user_options(ask: Run, run: Run) -> None:
    made = ask("user", "add", "--email", "jane@example.com")
    words = ["user", "options", "--email", "jane@example.com"]
    off = {"email": "jane@example.com"} | dict.fromkeys(account_options.OPTIONS, False)
    assert ask(*words) == off
    assert ask(*words, "--numeric-ids") == off | {"numeric_ids": True}
    assert ask(*words, "--strict-names") == off | {"numeric_ids": True, "strict_names": True}
    assert identity.for_account(made["id"]).options == {"numeric_ids": True, "strict_names": True}
    assert ask(*words, "--no-numeric-ids") == off | {"strict_names": True}
    for option in account_options.OPTIONS:  # each has its switch
        assert ask(*words, f"--{option.replace('_', '-')}")[option] is True
        ask(*words, f"--no-{option.replace('_', '-')}")
    ask(*words, "--strict-names")
    status, out, _ = run(*words)
    assert status == 0 and "off" in out and "on" in out
    assert refused(run, "user", "options", "--email", "nobody@example.com", "--numeric-ids") == (1, "not_found")


def test_domain_add_and_list(ask: Run, run: Run, tmp_path: Path) -> None:
    ask("user", "add", "--email", "jane@example.com")
    words = ["domain", "add", "Example.COM", "--user", "jane@example.com", "--trusted"]
    for selector, private in signing_keys():
        (tmp_path / f"{selector}.pem").write_text(private)
        words += ["--dkim", f"{selector}:{tmp_path / selector}.pem"]
    made = ask(*words, "--id", "4711", "--signing-key", "their-signing-key")
    assert made == {"id": 4711, "uuid": made["uuid"], "name": "example.com", "status": made["status"]}
    assert made["status"].lower() == "enabled"
    assert uuid.UUID(made["uuid"]).version == 7
    caller = identity.for_account(Account.get().id)
    row = domains.find(caller=caller, domain_id=4711)
    assert domains.signing_key(row) == "their-signing-key"
    assert {selector for selector, _, _ in domains.dkim_keys(4711)} >= {name for name, _ in signing_keys()}
    assert ask("domain", "list", "--user", "jane@example.com") == [made]
    assert refused(run, *words) == (1, "domain_exists")
    assert refused(run, "domain", "add", "nonsense", "--user", "jane@example.com") == (1, "invalid_domain_name")
    assert refused(run, "domain", "add", "a.example", "--user", "nobody@example.com") == (1, "not_found")
    assert refused(run, *words[:-1], "no-colon") == (2, "usage")
    assert refused(run, *words[:-1], "sel:/nonexistent") == (2, "usage")


def test_domain_options(ask: Run, run: Run) -> None:
    ask("user", "add", "--email", "jane@example.com", "--password", "correct horse")
    ask("domain", "add", "example.com", "--user", "jane@example.com", "--trusted")
    of = ("domain", "options", "Example.com", "--user", "jane@example.com")
    shown = ask(*of)
    assert (shown["name"], shown["require_tls"], shown["link_tracking"]) == ("example.com", False, True)
    changed = ask(*of, "--require-tls", "--no-link-tracking")
    assert (changed["require_tls"], changed["link_tracking"], changed["open_tracking"]) == (True, False, True)
    assert ask(*of) == changed
    assert ask(*of, "--no-require-tls")["require_tls"] is False
    tracked = ask(*of, "--tracking-host", "go.example.com", "--tracking-privacy")
    assert (tracked["tracking_host"], tracked["tracking_privacy"]) == ("go.example.com", True)
    assert refused(run, "domain", "options", "other.example", "--user", "jane@example.com") == (1, "not_found")
    assert refused(run, "domain", "options", "example.com", "--user", "nobody@example.com") == (1, "not_found")


def test_a_domain_that_is_not_trusted_shows_the_records_to_publish(ask: Run, run: Run) -> None:
    ask("user", "add", "--email", "jane@example.com")
    status, out, _ = run("domain", "add", "example.com", "--user", "jane@example.com")
    assert status == 0
    assert "_domainkey" in out
    assert "TXT" in out


def test_key_add(ask: Run, run: Run) -> None:
    ask("user", "add", "--email", "jane@example.com")
    added = ask("domain", "add", "example.com", "--user", "jane@example.com", "--trusted")
    made = ask("key", "add", "--user", "jane@example.com", "--domain", "example.com")
    assert set(made) == {"id", "key", "prefix", "surface"}
    assert made["surface"] == "octeth"
    assert made["key"].startswith(made["prefix"])
    assert identity.authenticate_sender(keys=[made["key"]]).domain_id == added["id"]
    test = ask(
        "key", "add", "--user", "jane@example.com", "--surface", "mailersio", "--scope", "send", "--scope",
        "read:events", "--test",
    )  # fmt: skip
    row = ApiKey.get_by_id(test["id"])
    assert (row.live, json.loads(row.scopes), row.surface) == (False, ["read:events", "send"], "mailersio")
    assert ask("key", "add", "--user", "jane@example.com", "--value", "their-own-key-1")["key"] == "their-own-key-1"
    line = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("KEY=$("))
    _, out, _ = run("key", "add", "--user", "jane@example.com", "--value", "their-own-key-2", "--json")
    reading = ["sh", "-c", line.partition(" | ")[2].removesuffix(")")]
    assert subprocess.run(reading, input=out, capture_output=True, text=True, check=True).stdout == "their-own-key-2\n"
    assert identity.authenticate(api_key="their-own-key-1")
    assert refused(run, "key", "add", "--user", "jane@example.com", "--value", "their-own-key-1")[0] == 1
    assert refused(run, "key", "add", "--user", "jane@example.com", "--domain", "other.example") == (1, "not_found")
    assert refused(run, "key", "add", "--user", "jane@example.com", "--surface", "x") == (2, "usage")
    for surface, unknown in (("mailersio", "read:statistics"), ("octeth", "read:lists "), ("mailmark", "fly")):
        scoped = ("key", "add", "--user", "jane@example.com", "--surface", surface, "--scope", unknown)
        assert refused(run, *scoped) == (1, "invalid_parameter")
    ask("domain", "add", "example.net", "--user", "jane@example.com", "--trusted")
    of_two = ask(
        "key", "add", "--user", "jane@example.com", "--surface", "mailersio", "--service", "worker",
        "--domain", "example.com", "--domain", "example.net",
    )  # fmt: skip
    assert len(identity.authenticate_key(key=of_two["key"], surfaces=("mailersio",)).domain_ids) == 2
    assert ApiKey.get_by_id(of_two["id"]).service == "worker"
    several = ("key", "add", "--user", "jane@example.com", "--domain", "example.com", "--domain", "example.net")
    assert refused(run, *several) == (1, "invalid_parameter")  # those of the command API are of one domain


def test_plans_are_listed_made_and_changed(ask: Run, run: Run) -> None:
    listed = {one["name"]: one for one in ask("plan", "list")["plans"]}
    assert {name: (one["emails_month"], one["max_domains"], one["requests"]) for name, one in listed.items()} == {
        "Default": (None, None, 100), "Unlimited": (None, None, None), "Free": (300, 1, 1),
        "Starter": (10_000, 5, 10), "Growth": (30_000, None, 50), "Business": (50_000, None, 100),
    }  # fmt: skip
    made = ask("plan", "save", "Gold 2", "--limit", "emails_month=7", "--limit", "requests=3")
    assert (made["name"], made["emails_month"], made["requests"], made["max_domains"]) == ("Gold 2", 7, 3, None)
    changed = ask("plan", "save", "gold 2", "--limit", "emails_month=-")
    assert (changed["name"], changed["emails_month"], changed["requests"]) == ("Gold 2", None, 3)
    for limit in ("colour=1", "emails_month", "emails_month=x", "requests=0", "request_window=-"):
        assert refused(run, "plan", "save", "Gold 2", "--limit", limit)[1] in ("invalid_parameter", "usage")
    assert refused(run, "plan", "save", "no/name")[1] == "invalid_parameter"


def test_plan_set(ask: Run, run: Run) -> None:
    ask("user", "add", "--email", "jane@example.com")
    account = Account.get().id
    assert identity.for_account(account).plan.requests == 100
    assert ask("plan", "set", "--user", "jane@example.com", "--unlimited")["plan"] == "Unlimited"
    assert identity.for_account(account).plan.requests is None
    assert ask("plan", "set", "--user", "jane@example.com", "--plan", "starter")["plan"] == "Starter"
    assert refused(run, "plan", "set", "--user", "jane@example.com", "--plan", "Gold") == (1, "not_found")
    assert refused(run, "plan", "set", "--user", "jane@example.com") == (2, "usage")
    assert refused(run, "plan", "set", "--user", "jane@example.com", "--unlimited", "--plan", "Free") == (2, "usage")


def test_smtp_add(ask: Run, run: Run) -> None:
    from gateway.services import smtps

    ask("user", "add", "--email", "jane@example.com")
    ask("domain", "add", "example.com", "--user", "jane@example.com", "--trusted")
    of = ("--user", "jane@example.com", "--domain", "example.com")
    made = ask("smtp", "add", *of)
    assert smtps.authenticate(username=made["username"], password=made["password"], ip="127.0.0.1")
    brought = ask("smtp", "add", *of, "--username", "old-name", "--password", "old password")
    assert (brought["username"], brought["password"]) == ("old-name", "old password")
    assert smtps.authenticate(username="old-name", password="old password", ip="127.0.0.1")
    assert refused(run, "smtp", "add", *of, "--username", "alone") == (2, "usage")
    assert refused(run, "smtp", "add", *of, "--username", "old-name", "--password", "x")[0] == 1


def test_webhook_add_and_list(ask: Run, run: Run) -> None:
    ask("user", "add", "--email", "jane@example.com")
    ask("domain", "add", "example.com", "--user", "jane@example.com", "--trusted")
    of = ("--user", "jane@example.com", "--domain", "example.com")
    url = "http://127.0.0.1:9/hook"
    made = ask("webhook", "add", *of, "--event", "delivered", "--url", url, "--id", "815")
    assert (made["id"], made["event"], made["url"]) == (815, "delivered", url)
    assert [row["id"] for row in ask("webhook", "list", *of)] == [815]
    assert refused(run, "webhook", "add", *of, "--event", "sneezed", "--url", url) == (1, "invalid_event")
    assert refused(run, "webhook", "add", *of, "--event", "delivered", "--url", "ftp://x") == (1, "invalid_url")


def test_mail_is_empty_or_not_found(ask: Run, run: Run) -> None:
    assert ask("mail", "list") == []
    assert refused(run, "mail", "show", "1") == (1, "not_found")
    assert refused(run, "mail", "show", "zero") == (2, "usage")
    assert run("mail", "list")[1] == "no captured mail\n"


def test_migrate_twice(ask: Run) -> None:
    assert ask("migrate") == {"applied": []}


def test_settings_hide_secrets(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMANDPOST_SECRET", "canary-in-the-mine")
    rows = {row["variable"]: row for row in ask("settings")}
    assert set(rows) == {setting.variable for setting in config.SETTINGS}
    assert (rows["COMMANDPOST_SECRET"]["value"], rows["COMMANDPOST_SECRET"]["from"]) == ("[hidden]", "environment")
    assert rows["COMMANDPOST_MX_PORT"]["value"] == "25"
    assert "canary" not in json.dumps(rows)


def test_health_says_when_nothing_runs(run: Run, tmp_path: Path, store: str) -> None:
    use_settings(tmp_path, DATABASE_URL=store, HTTP="127.0.0.1:1")
    assert refused(run, "health") == (1, "not_running")


def test_doctor_sees_mail_that_nobody_takes(run: Run) -> None:
    def finding(name: str) -> dict[str, Any]:
        status, out, _ = run("doctor", "--json")
        answer = json.loads(out)
        assert (status, answer["ok"]) == (1, False)
        found: dict[str, Any] = next(item for item in answer["checks"] if item["name"] == name)
        return found

    assert finding("deliveries")["ok"]
    now = 1_700_000_000_000
    db.in_transaction(
        lambda tx: (
            tx.execute(
                "INSERT INTO lane (id, kind, account_id, domain_id, stream, route, endpoint_id, paused_until_ms, cause)"
                " VALUES (1, 1, 1, 1, 1, '', 0, 0, '')"
            ),
            tx.execute(
                "INSERT INTO delivery (message_id, account_id, domain_id, rcpt, state, fence, attempts, lane_id,"
                " due_ms, expires_ms) VALUES (1, 1, 1, 'a@b.c', 1, 0, 0, 1, ?, ?)",
                (now, now),
            ),
        )
    )
    late = finding("deliveries")
    assert not late["ok"]
    assert "overdue" in late["detail"]
    assert finding("lanes")["ok"]
    db.in_transaction(lambda tx: tx.execute("DELETE FROM lane"))
    assert not finding("lanes")["ok"]


def test_what_does_not_exist_is_a_usage_error_in_words(run: Run) -> None:
    status, out, err = run("fly")
    assert (status, out) == (2, "")
    assert "No such command" in err


def test_pending_migrations_stop_a_verb_on_a_server(run: Run, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    if store.startswith("sqlite"):
        pytest.skip("the embedded database is migrated on the way")
    from gateway.services import schema

    monkeypatch.setattr(schema, "pending", lambda: ["9999_later"])
    assert refused(run, "mail", "list") == (1, "migrations_pending")


def test_import_does_the_good_lines_and_reports_the_bad_ones(run: Run, tmp_path: Path) -> None:
    selector, private = signing_keys()[0]
    (tmp_path / "key.pem").write_text(private)
    held = "4D196964-B909FDD7-134A4E29-6B0E923E"
    file = tmp_path / "moving.jsonl"
    file.write_text(
        "\n".join(
            json.dumps(line) if isinstance(line, dict) else line
            for line in (
                "# comments and empty lines are fine",
                "",
                {"user add": {"email": "jane@example.com", "password": "correct horse", "api_key": held[::-1]}},
                {"domain add": {"name": "example.com", "user": "jane@example.com", "trusted": True, "id": 12,
                                "dkim": [f"{selector}:{tmp_path}/key.pem"]}},
                "this is no JSON",
                {"key add": {"user": "jane@example.com", "domain": "example.com", "value": held}},
                {"key add": {"user": "nobody@example.com", "value": "0" * 35}},
                {"rm": {"-rf": "/"}},
                {"key add": {"user": "jane@example.com", "bogus": "1"}},
            )
        )
    )  # fmt: skip
    status, out, _ = run("import", str(file), "--json")
    found = json.loads(out)
    assert (status, found["done"]) == (1, 3), found
    assert [row["line"] for row in found["refused"]] == [5, 7, 8, 9]
    assert identity.authenticate_sender(keys=[held]).domain_id == 12
