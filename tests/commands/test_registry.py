"""The command table itself."""

from __future__ import annotations

from typing import Any

import pytest

from commands import envelope, registry
from commands.registry import DuplicateCommand, command
from commands.schema import UNDOCUMENTED, Fault, Field
from gateway import errors


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.all_commands()
    monkeypatch.setattr(registry, "_table", dict(registry._table))


def _handler(caller: Any, params: dict[str, Any]) -> dict[str, Any]:
    return {}


def test_found_in_any_case() -> None:
    found = registry.find("uSER.lOGIN")
    assert found is not None and found.name == "User.Login"
    assert registry.find("User.Nothing") is None


def test_a_duplicate_in_any_case_is_fatal() -> None:
    with pytest.raises(DuplicateCommand, match=r"commands\.users"):
        command("user.login", summary="")(_handler)


def test_number_of_the_nearest_class() -> None:
    command("Test.One", summary="", refusals={errors.Invalid: 4, errors.InvalidUrl: 6})(_handler)
    found = registry.find("Test.One")
    assert found is not None
    assert found.number(errors.InvalidUrl()) == 6
    assert found.number(errors.PrivateUrl()) == 4
    assert found.number(errors.NotFound()) is None


def test_shapes_of_a_failure() -> None:
    faults = [Fault(1, "A", "'A' is missing", missing=True), Fault(UNDOCUMENTED, "B", "'B' is wrong")]
    for name, options in {"Plain": {}, "Message": {"error_message": True}, "List": {"error_list": True}}.items():
        command(f"Test.{name}", summary="", errors={1: "The document's words"}, **options)(_handler)  # type: ignore[arg-type]
    bodies = {item.name: envelope.faults(item, faults).body for item in registry.all_commands() if "Test." in item.name}
    words = "The document's words"
    assert bodies == {
        "Test.Plain": {"Success": False, "ErrorCode": 1, "ErrorText": words},
        "Test.Message": {"Success": False, "ErrorCode": 1, "ErrorMessage": words, "ErrorText": words},
        "Test.List": {"Success": False, "ErrorCode": [1, UNDOCUMENTED], "ErrorText": [words, "'B' is wrong"]},
    }


def test_every_record_is_complete() -> None:
    for item in registry.all_commands():
        assert item.summary, item.name
        assert set(item.refusals.values()) <= set(item.errors), item.name
        for name, field in item.params.fields.items():
            assert isinstance(field, Field), f"{item.name}: {name} is not a field of commands.schema"
            for number in (field.missing_code, field.invalid_code):
                assert number == UNDOCUMENTED or number in item.errors, f"{item.name}: {name} {number}"
