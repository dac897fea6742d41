"""The OpenAPI document: whole, valid, and kept by what the application really answers."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from commands import registry
from gateway.services import apis, domains, identity, keys, users
from models.database import in_transaction
from tests import cast
from tests.web.conftest import Account
from web.openapi import document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
COMMAND_EXAMPLES, EXAMPLES, SURFACE_EXAMPLES = 2, 8, 4
"""Requests generated for each command, for each other operation, and for it by the keys of a surface, in each mode."""

DOCUMENT = document.build("Commandpost", "1")
NAMES = [command.name for command in registry.all_commands()]


def test_it_is_valid() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_it_is_served_and_named_by_the_front_page(client: FlaskClient) -> None:
    front = client.get("/")
    assert (front.status_code, front.get_json()["name"]) == (200, "Commandpost")
    links = front.get_json()["links"]
    for name in ("description", "health", "ready", "metrics"):
        assert client.get(links[name]).status_code == 200
    served = client.get(links["description"])
    assert served.mimetype == "application/json"
    assert served.get_json()["paths"] == DOCUMENT["paths"]
    assert served.get_json()["info"]["version"] == front.get_json()["version"]


def test_every_command_is_in_it() -> None:
    operation = DOCUMENT["paths"]["/api.php"]["post"]
    for media in ("application/json", "application/x-www-form-urlencoded"):
        request = operation["requestBody"]["content"][media]["schema"]
        assert [item["$ref"].rpartition("/")[2] for item in request["oneOf"]] == NAMES
        assert request["discriminator"]["propertyName"] == "Command"
        assert request["discriminator"]["mapping"] == {name: f"#/components/schemas/{name}" for name in NAMES}
    for name in NAMES:
        assert DOCUMENT["components"]["schemas"][name]["properties"]["Command"] == {"const": name}


def test_every_route_is_in_it(app: Flask) -> None:
    """The ones of the REST surfaces, with their methods; names of path parameters are told apart by their place."""
    paths = {re.sub("{[a-z_]+}", "{}", path): operations for path, operations in DOCUMENT["paths"].items()}
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith(("/api/v1", "/v1")):
            continue
        path = re.sub("<[a-z_]+>", "{}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert method.lower() in paths[path], (method, path)


class Asked:
    """A schema bound to the application, and who asks."""

    def __init__(self, app: Flask, account: Account) -> None:
        users.set_plan(email=account.email, unlimited=True)
        caller = identity.for_account(account.id)
        self.app = app
        self.account = account
        self.domain = domains.add(caller=caller, name="example.com", trusted=True, dkim=cast.signing_keys())
        self.key = apis.add(caller=caller, domain_id=self.domain.id, description="OpenAPI").key
        self._n = itertools.count()

    def operations(self, description: dict[str, Any]) -> Iterator[Any]:
        schema = schemathesis.openapi.from_dict(description)
        schema.app = self.app
        for found in schema.get_all_operations():
            yield found.ok()

    def conform(self, operation: Any, mode: GenerationMode, prepare: Callable[[Case], None], most: int) -> None:
        """Ask `most` generated requests; a failure is shown as it was found, for making it smaller takes minutes."""

        @settings(
            max_examples=most, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case) -> None:
            prepare(case)
            case.call_and_validate(checks=CHECKS)

        ask()

    def as_owner(self, case: Case) -> None:
        """With the account's key, and every other time with the domain's own number."""
        if not isinstance(case.body, dict):
            return
        for name in ("SessionID", "AdminAPIKey"):
            case.body.pop(name, None)
        case.body["APIKey"] = self.account.api_key
        if "DomainID" in case.body and next(self._n) % 2:
            case.body["DomainID"] = self.domain.id

    def as_sender(self, case: Case) -> None:
        case.headers["Authorization"] = f"Bearer {self.key}"
        if isinstance(case.query, dict):
            case.query.pop("SenderAPIKey", None)

    def as_holder(self, surface: str) -> Callable[[Case], None]:
        """With a key of the surface; Mailmark's are of one domain."""
        domain_id = self.domain.id if surface == "mailmark" else None
        key = in_transaction(
            lambda tx: keys.create_key(tx, account_id=self.account.id, domain_id=domain_id, surface=surface)
        )[1]

        def prepare(case: Case) -> None:
            case.headers.update({"Authorization": f"Bearer {key}", "X-API-Key": key})

        return prepare


def narrowed(name: str) -> dict[str, Any]:
    """The document with one command alone, so that its answers are held against its own schemas."""
    schemas = DOCUMENT["components"]["schemas"]
    kept = {each: schemas[each] for each in (name, f"{name}.Answer", f"{name}.Failure", "GeneralFailure")}
    paths = {"/api.php": copy.deepcopy(DOCUMENT["paths"]["/api.php"])}
    found = DOCUMENT | {"components": {"schemas": kept}, "paths": paths}
    operation = paths["/api.php"]["post"]
    for media in operation["requestBody"]["content"].values():
        media["schema"] = {"$ref": f"#/components/schemas/{name}"}
    kinds = [{"$ref": f"#/components/schemas/{name}.{kind}"} for kind in ("Answer", "Failure")]
    operation["responses"]["200"]["content"]["application/json"]["schema"] = {"anyOf": kinds}
    return found


@pytest.fixture
def asked(app: Flask, owner: Account) -> Asked:
    return Asked(app, owner)


# What is generated does not depend on the database, and generating is what takes the time.
one_store = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
both_modes = pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)


@one_store
@both_modes
def test_the_answers_of_commands_conform(asked: Asked, mode: GenerationMode) -> None:
    for name in NAMES:
        (operation,) = asked.operations(narrowed(name))
        asked.conform(operation, mode, asked.as_owner, COMMAND_EXAMPLES)


@one_store
@both_modes
def test_the_answers_of_the_other_paths_conform(asked: Asked, mode: GenerationMode) -> None:
    rest = copy.deepcopy(DOCUMENT)
    del rest["paths"]["/api.php"]
    for operation in asked.operations(rest):
        takes_something = "requestBody" in operation.definition.raw or "parameters" in operation.definition.raw
        if mode is GenerationMode.NEGATIVE and not takes_something:
            continue  # nothing of it can be wrong
        asked.conform(operation, mode, asked.as_sender, EXAMPLES if takes_something else 1)
        if operation.path.startswith("/api/"):
            asked.conform(operation, mode, lambda case: None, 1)


@one_store
@both_modes
@pytest.mark.parametrize(
    ("surface", "root"),
    [
        ("mailersio", "/v1/"), ("mailmark", "/v1/"), ("mailerlogic", "/api/v1/customer/"),
        *(("maillayer", f"/api/v1/{noun}") for noun in ("emails", "domains", "api-keys")),
    ],
)  # fmt: skip
def test_the_answers_to_the_keys_of_a_surface_conform(
    asked: Asked, mode: GenerationMode, surface: str, root: str
) -> None:
    rest = copy.deepcopy(DOCUMENT)
    rest["paths"] = {path: shape for path, shape in rest["paths"].items() if path.startswith(root)}
    # Its holder would ask the rest with a key that has ended.
    rest["paths"].pop("/api/v1/customer/profile/rotate-key", None)
    holder = asked.as_holder(surface)
    for operation in asked.operations(rest):
        takes_something = "requestBody" in operation.definition.raw or "parameters" in operation.definition.raw
        if takes_something or mode is GenerationMode.POSITIVE:
            asked.conform(operation, mode, holder, SURFACE_EXAMPLES if takes_something else 1)
