"""The generated pages under `docs/` are fresh, and say everything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient

from commands import registry
from commands.registry import Command
from commands.schema import Field
from gateway import errors
from tests.conftest import ROOT
from tests.contract import curl
from web import pages
from web.openapi.commands import GENERAL
from web.pages import errors as page_of_errors
from web.pages.commands import flat
from web.rest import refusals

DOCS = ROOT / "docs"
PAGES = pages.generated()
COMMANDS = registry.all_commands()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_fresh(path: str) -> None:
    assert (DOCS / path).read_text() == PAGES[path], "stale: run `make docs`"


def test_no_page_is_left_of_a_command_that_is_gone() -> None:
    assert pages.stale(DOCS) == [], "stale: run `make docs`"


def test_they_are_written_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "Gone.Command.md").write_text("old")
    subprocess.run([sys.executable, "-m", "web.pages", str(tmp_path)], cwd=ROOT, check=True, timeout=60)
    written = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.md")}
    assert written == PAGES


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_page_says_everything_of_its_command(command: Command) -> None:
    text = PAGES[f"commands/{command.name}.md"]
    assert command.summary.rstrip(".") in text
    for name, field in command.params.load_fields.items():
        assert isinstance(field, Field) and field.doc, f"{name} of {command.name} has no `doc`"
        assert f"| `{name}` |" in text
    for number in command.errors:
        assert f"| {number} |" in text
    for name in command.answer:
        assert f'"{name}"' in text
    assert f"({command.name}.md)" in PAGES["commands/README.md"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_example_requests_are_the_same_request(command: Command) -> None:
    """And the parameters of both are read without a fault."""
    blocks = [part.partition("\n```")[0] for part in PAGES[f"commands/{command.name}.md"].split("```sh\n")[1:]]
    form, as_json = (curl.read(block.replace("--data-urlencode", "-d")) for block in blocks)
    assert form.parameters == dict(flat(as_json.parameters))
    assert form.parameters["Command"] == command.name
    assert command.params.check({name.lower(): value for name, value in as_json.parameters.items()})[1] == []


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_every_refusal_is_answered_below_v1_as_the_page_says(app: Flask) -> None:
    """With the status and the code of its row, whatever a service says with it."""
    rows = dict.fromkeys(re.findall(r"^\| `(\w+)` \| \d+ \| (\d+) \| `", PAGES["errors.md"], re.MULTILINE))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GatewayError)]
    assert {(kind.slug, str(refusals.status_of(kind))) for kind in kinds} == set(rows)
    with app.test_request_context("/v1/send"):
        for kind in kinds:
            answer = refusals.rendered(kind())
            told = orjson.loads(answer.get_data())
            assert (told["code"], str(answer.status_code)) in rows
            assert {"error", "message", "code", "request_id"} <= told.keys()
            assert (answer.status_code in (429, 503)) == ("Retry-After" in answer.headers), kind
            assert ("errors" in told) == issubclass(kind, errors.Invalid | errors.TemplateNotFound), kind


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_what_http_refuses_below_v1_has_the_codes_of_the_page(client: FlaskClient) -> None:
    nowhere, method = client.get("/v1/nowhere"), client.delete("/v1/send")
    for answer in (nowhere, method):
        code = answer.get_json()["code"]
        assert page_of_errors.HTTP_CODES[code][0] == answer.status_code
        assert f"| `{code}` | {answer.status_code} |" in PAGES["errors.md"]
    assert method.headers["Allow"]


def test_the_page_of_errors_has_every_refusal() -> None:
    text = PAGES["errors.md"]
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.GatewayError):
            below = refusals.status_of(kind)
            assert f"| `{kind.slug}` | {kind.status} | {below} | `{kind.smtp}` | {kind.message} |" in text
    for number in GENERAL:
        assert f"| {number} |" in text
