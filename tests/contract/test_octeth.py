"""The documented command API and end-user layer, read from `octeth.json` and asked of a served application."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from commands import registry
from commands.schema import Field
from tests.contract import curl
from tests.contract.conftest import World
from tests.web.rest.end_user.conftest import pairs
from web.pages import contract
from web.pages.contract import Case

DATA = Path(__file__).with_name("octeth.json")
ENDPOINTS = contract.read(DATA)
COMMANDS = [endpoint for endpoint in ENDPOINTS if endpoint["path"] == "/api.php"]
CASES = [case for endpoint in ENDPOINTS for case in contract.cases(endpoint)]
WAYS = ("json", "form")
CREDENTIALS = ("SessionID", "APIKey", "Command")
LISTED = "people"
"""The scenario's word for a list of so many addresses."""


def filled(text: str, endpoint: dict[str, Any], world: World) -> str:
    """The text with what stands in braces replaced by this world's keys and ids."""
    own = f"{endpoint['as']}_" if "as" in endpoint else ""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return world.values[own + name] if own + name in world.values else world.values[name]

    return re.sub(r"\{([a-z_]+)\}", value, text)


def printed(endpoint: dict[str, Any], world: World) -> curl.Request:
    """The request of the printed curl with host, keys and ids changed, and nothing else."""
    line = "\n".join(endpoint["curl"])
    for old, new in endpoint["replace"]:
        assert old in line, old
        line = line.replace(old, filled(new, endpoint, world))
    return curl.read(line)


def ask(world: World, request: curl.Request, parameters: dict[str, Any], way: str) -> tuple[int, Any, dict[str, str]]:
    """Send the parameters to where the request goes; status, JSON body and headers."""
    headers = {name: value for name, value in request.headers.items() if name.lower() != "content-type"}
    if way == "json":
        headers["Content-Type"], body = "application/json", orjson.dumps(parameters)
    else:
        headers["Content-Type"], body = curl.FORM, urlencode(pairs(parameters)).encode()
    answer = world.ask(request.method, request.path, headers, body)
    return answer.status_code, answer.json(), dict(answer.headers)


def check_shape(example: Any, found: Any, nullable: tuple[str, ...] = (), path: str = "") -> None:
    """Every key of the example is there, at every depth, with the JSON type of the example."""
    if found is None and path in nullable:
        return
    assert type(found) is type(example), (path, example, found)
    if isinstance(example, dict):
        for name, value in example.items():
            assert name in found, (path, name, found)
            check_shape(value, found[name], nullable, f"{path}.{name}".lstrip("."))
    elif isinstance(example, list) and example:
        assert found, f"{path} is empty"
        for item in found:
            check_shape(example[0], item, nullable, path)


def check_success(endpoint: dict[str, Any], status: int, body: Any) -> None:
    assert status == 200, body
    check_shape(endpoint["success"], body, tuple(endpoint.get("nullable", ())))
    check_shape(endpoint.get("more", {}), body)
    if endpoint["path"] == "/api.php":
        assert (body["Success"], body["ErrorCode"]) == (True, 0)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=contract.slug)
def test_the_printed_curl(world: World, endpoint: dict[str, Any]) -> None:
    request = printed(endpoint, world)
    assert (request.method, request.path) == (endpoint["method"], endpoint["path"])
    answer = world.ask(request.method, request.path, request.headers, request.body)
    check_success(endpoint, answer.status_code, answer.json())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=contract.slug)
def test_the_same_request_in_the_other_form(world: World, endpoint: dict[str, Any], way: str) -> None:
    """With one of the two credentials; beside a valid one the printed placeholder of the other does no harm."""
    request = printed(endpoint, world)
    parameters = request.parameters
    if "SessionID" in parameters:
        parameters["SessionID" if way == "json" else "APIKey"] = "your-placeholder"
    status, body, _ = ask(world, request, parameters, way)
    check_success(endpoint, status, body)


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each["codes"]], ids=contract.slug)
def test_codes(world: World, endpoint: dict[str, Any], subtests: pytest.Subtests) -> None:
    """A refusal changes nothing, so that one world serves them all."""
    for case in contract.cases(endpoint):
        if "state" not in case.scenario:
            with subtests.test(case.id):
                check_case(world, case)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if "state" in case.scenario],
    ids=lambda case: f"{contract.slug(case.endpoint)}-{case.id}",
)
def test_code_in_a_state(world: World, case: Case) -> None:
    world.put(case.scenario["state"])
    check_case(world, case)


def check_case(world: World, case: Case) -> None:
    """The scenario as JSON and as a form: the code, and the shape of the printed failure."""
    endpoint, scenario = case.endpoint, case.scenario
    request = printed(endpoint, world)
    parameters = {name: value for name, value in request.parameters.items() if name not in scenario.get("without", ())}
    parameters |= orjson.loads(filled(orjson.dumps(scenario.get("with", {})).decode(), endpoint, world))
    for name, count in scenario.get(LISTED, {}).items():
        parameters[name] = [{"email": f"user{n}@example.org", "name": f"User {n}"} for n in range(count)]
    if "bearer" in scenario:
        request.headers.pop("Authorization", None)
        if scenario["bearer"]:
            request.headers["Authorization"] = f"Bearer {scenario['bearer']}"
    for way in WAYS:
        status, body, headers = ask(world, request, parameters, way)
        if endpoint["path"] == "/api.php":
            _check_command_failure(case, status, body)
        else:
            _check_rest_failure(case, status, body, headers)


def _check_command_failure(case: Case, status: int, body: Any) -> None:
    failure = case.endpoint["failure"]
    assert status == 200
    check_shape(failure, body)
    assert body["Success"] is False
    assert body["ErrorCode"] == ([case.code] if isinstance(failure["ErrorCode"], list) else case.code), body
    assert ("ErrorMessage" in body) == ("ErrorMessage" in failure)
    assert body["ErrorText"]


def _check_rest_failure(case: Case, status: int, body: Any, headers: dict[str, str]) -> None:
    check_shape(case.endpoint["failure"], body)
    assert [error["Code"] for error in body["Errors"]] == [case.code], body
    assert body["Errors"][0]["Message"]
    assert status == case.scenario["status"]
    assert ("Retry-After" in headers) == (status == 429)


@pytest.mark.parametrize("endpoint", COMMANDS, ids=contract.slug)
def test_the_record_says_what_the_document_says(endpoint: dict[str, Any]) -> None:
    record = registry.find(endpoint["name"])
    assert record is not None and record.name == endpoint["name"]
    codes = {int(code) for code in (*endpoint["codes"], *endpoint.get("later_codes", {}))}
    assert set(record.errors) == codes
    fields = {name: field for name, field in record.params.load_fields.items() if isinstance(field, Field)}
    wanted = {name: True for name in endpoint["parameters"]["required"] if name not in CREDENTIALS}
    wanted |= dict.fromkeys(endpoint["parameters"]["optional"], False)
    assert {name: fields[name].obligatory for name in wanted} == wanted
    failure = endpoint.get("failure", {"ErrorCode": 0})
    assert (record.error_message, record.error_list) == (
        "ErrorMessage" in failure,
        isinstance(failure["ErrorCode"], list),
    )
    answer = {name: value for name, value in endpoint["success"].items() if name not in ("Success", "ErrorCode")}
    check_shape(answer, dict(record.answer))


def test_the_data_is_whole() -> None:
    """Twenty commands and five endpoints; every code has a scenario, every scenario an id of its own."""
    assert (len(COMMANDS), len(ENDPOINTS) - len(COMMANDS)) == (20, 5)
    ids = [f"{case.endpoint['name']} {case.id}" for case in CASES]
    assert len(ids) == len(set(ids))
    for endpoint in ENDPOINTS:
        assert all(endpoint["codes"].values()), endpoint["name"]
        documented = {*endpoint["parameters"]["required"], *endpoint["parameters"]["optional"]}
        said = curl.read("\n".join(endpoint["curl"])).parameters
        assert set(said) <= documented, endpoint["name"]
        for case in contract.cases(endpoint):
            assert set(case.scenario) <= {"id", "with", "without", "state", "bearer", "status", LISTED}
            if "state" in case.scenario:
                assert hasattr(World, f"_{case.scenario['state']}"), case.id
