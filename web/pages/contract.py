"""The table of the documented surface: endpoint × error code × the tests that produce it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

TEST = "tests/contract/test_octeth.py"

_INTRODUCTION = f"""\
# The contract

Every endpoint of the documented command API and its end-user layer, every error code, and the test that calls a
served application over HTTP until it answers so. All are read out of `tests/contract/octeth.json` and run by
`{TEST}`, each as JSON and as a form, on every database that answers; the printed curl of each
endpoint is run as it stands, with host, key and ids changed. Codes marked *later* are not in the document's own
list: clients know them.
"""


@dataclass(frozen=True)
class Case:
    """One way to make an endpoint answer with one code; `scenario` is what changes in the good request."""

    endpoint: dict[str, Any]
    code: int
    scenario: dict[str, Any]
    later: bool = False

    @property
    def id(self) -> str:
        return f"{self.code}-{self.scenario['id']}"

    @property
    def test(self) -> str:
        """The test that runs it: alone where it needs a state, else with the endpoint's others, as a subtest."""
        if "state" in self.scenario:
            return f"test_code_in_a_state[{slug(self.endpoint)}-{self.id}]"
        return f"test_codes[{slug(self.endpoint)}] ({self.id})"


def slug(endpoint: dict[str, Any]) -> str:
    """The endpoint's name in test ids: without spaces and slashes."""
    return str(endpoint["name"]).replace("/api/v1/", "").replace(" ", "-")


def read(path: Path) -> list[dict[str, Any]]:
    """The endpoints of the data file."""
    endpoints: list[dict[str, Any]] = orjson.loads(path.read_bytes())["endpoints"]
    return endpoints


def cases(endpoint: dict[str, Any]) -> Iterator[Case]:
    """Every scenario of an endpoint, in the order of the codes."""
    found = [(int(code), False, each) for code, scenarios in endpoint["codes"].items() for each in scenarios]
    for code, scenarios in endpoint.get("later_codes", {}).items():
        found += [(int(code), True, each) for each in scenarios]
    for code, later, scenario in sorted(found, key=lambda one: one[0]):
        yield Case(endpoint, code, scenario, later)


def page(endpoints: list[dict[str, Any]]) -> str:
    """The table as Markdown."""
    lines = [_INTRODUCTION, "| endpoint | code | test |", "|---|---|---|"]
    for endpoint in sorted(endpoints, key=lambda one: one["name"]):
        name = f"`{endpoint['name']}`"
        lines.append(f"| {name} | success | `test_the_printed_curl[{slug(endpoint)}]` |")
        for case in cases(endpoint):
            code = f"{case.code} (*later*)" if case.later else str(case.code)
            lines.append(f"| {name} | {code} | `{case.test}` |")
    return "\n".join(lines) + "\n"
