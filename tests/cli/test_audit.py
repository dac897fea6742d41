"""`commandpost audit`: what the command line did, files of the log, and whether it is whole."""

from __future__ import annotations

import csv
import io
import json

from gateway.services import audit_calls
from tests.cli.test_verbs import Run, ask, run, world

__all__ = ["ask", "run", "world"]

USER = ("--user", "jane@example.com")


def test_changes_by_the_command_line_are_told_with_the_user_of_the_system(world: None, ask: Run, run: Run) -> None:
    ask("user", "add", "--email", "jane@example.com", "--password", "a-canary-password")
    ask("domain", "add", "shop.test", *USER, "--trusted")
    ask("key", "add", *USER, "--surface", "mailersio")
    ask("domain", "list", *USER)
    assert run("domain", "add", "shop.test", *USER)[0] == 1
    found = ask("audit", "list", *USER, "--count", "100")
    told = [(one["kind"], one["action"], one["result"]) for one in reversed(found)]
    assert ("change", "user.create", "ok") in told and ("change", "domain.create", "ok") in told
    assert [one for one in told if one[0] == "call"] == [
        ("call", "commandpost user add", "ok"),
        ("call", "commandpost domain add", "ok"),
        ("call", "commandpost key add", "ok"),
        ("call", "commandpost domain add", "refused"),
    ]
    assert {one["door"] for one in found} == {"cli"}
    assert all(one["actor"].startswith("cli:") for one in found)
    assert "canary" not in json.dumps(found)
    assert audit_calls.current() is None
    text = run("audit", "list", *USER, "--action", "domain.*")[1]
    assert "domain.create" in text and "key.create" not in text


def test_files_and_the_check(world: None, ask: Run, run: Run) -> None:
    ask("user", "add", "--email", "jane@example.com")
    ask("user", "add", "--email", "joe@example.com")
    lines = [json.loads(line) for line in run("audit", "export")[1].splitlines()]
    assert {line["account_id"] for line in lines} > {line["account_id"] for line in lines[:1]}
    mine = [json.loads(line) for line in run("audit", "export", *USER)[1].splitlines()]
    assert mine and len({line["account_id"] for line in mine}) == 1
    rows = list(csv.DictReader(io.StringIO(run("audit", "export", "--format", "csv", "--kind", "change")[1])))
    assert [row["action"] for row in rows] == ["user.create", "user.create"]

    whole = ask("audit", "verify")
    assert whole["ok"] and whole["entries"] == whole["last"] > 0
    expect = ask("audit", "head")["expect"]
    assert ask("audit", "verify", "--expect", expect)["ok"]
    assert run("audit", "verify", "--expect", "nonsense")[0] == 2
    status, out, _ = run("audit", "verify", "--expect", f"1:{'0' * 64}", "--json")
    assert (status, json.loads(out)["broken"]["sequence"]) == (1, 1)
