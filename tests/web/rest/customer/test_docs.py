"""What the guide says of scores is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from gateway.mail import content_html, content_links, content_score
from gateway.services import health_scores
from gateway.transports import simulator
from tests import cast
from tests.web.rest.customer.conftest import app, cheap_passwords, client, key_of

__all__ = ["app", "cheap_passwords", "client"]

DOCS = Path(__file__).parents[4] / "docs"
GUIDE = (DOCS / "customer.md").read_text(encoding="utf-8")
_CURL = re.compile(
    r"""curl (?:-X POST )?\$GATEWAY(\S+) -H "(.+?)" -H 'Content-Type: application/json'.*?-d '(.+?)'""", re.S
)
_MADE = re.compile(r'Finding\(\s*"(\w+)", ([\d.]+),')


def test_every_rule_of_content_stands_in_it_with_its_points() -> None:
    made = {
        (name, float(points))
        for module in (content_html, content_links, content_score)
        for name, points in _MADE.findall(Path(str(module.__file__)).read_text(encoding="utf-8"))
    }
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([\d.]+) \| [^|]*\|$", GUIDE, re.MULTILINE)
    told = {(name, float(points)) for names, points in rows for name in re.findall(r"`(\w+)`", names)}
    assert len(made) > 30
    assert told == made


def test_the_parts_of_the_health_score() -> None:
    for part in health_scores.MEASURES:
        row = re.search(rf"^\| `{part.name}` \| (\S+) \| (\S+) \| (\S+) \|", GUIDE, re.MULTILINE)
        assert row is not None
        assert tuple(map(float, row.groups())) == (part.weight, part.bad, part.good)
    assert f"n / (n + {health_scores.HALF})" in GUIDE


def test_the_simulators_recipients() -> None:
    for name, fate in simulator.NAMES.items():
        assert f"| `{name}@` | {fate}" in GUIDE


@pytest.mark.parametrize(("guide", "surface"), [("customer.md", "mailerlogic"), ("emails.md", "maillayer")])
def test_its_requests_run(client: FlaskClient, guide: str, surface: str) -> None:
    key = key_of(cast.sender("owner", "yourdomain.com"), surface=surface)
    text = (DOCS / guide).read_text(encoding="utf-8")
    requests = _CURL.findall(text)
    assert len(requests) == text.count("curl ")
    for path, header, body in requests:
        name, _, value = header.replace("$KEY", key).partition(": ")
        answer = client.post(path, data=body, headers={name: value, "Content-Type": "application/json"})
        assert answer.status_code in (200, 201, 202), (path, answer.get_data(as_text=True))
