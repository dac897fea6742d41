"""What personalises a send: `TemplateID`, `TargetListID` and the variables, checked against the account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from commands.sending import codes
from commands.sending.addresses import empty
from commands.sending.faults import Faults
from gateway import errors
from gateway.services import audiences, templates
from gateway.services.identity import Caller

VARIABLES = ("variables", "mergefields", "templatedata")
"""Three names of one thing; the first that is there counts."""

_MOST = 2**31 - 1


def read_template(params: Mapping[str, Any], caller: Caller | None, faults: Faults) -> int | None:
    """The template of the send; code 15 when it is not one of the account's."""
    value = params.get("templateid")
    if empty(value):
        return None
    number = _number(value)
    if caller is not None:
        try:
            templates.find(caller=caller, template_id=number)
        except errors.NotFound:
            faults.add(codes.TEMPLATE)
    return number


def read_list(params: Mapping[str, Any], caller: Caller | None, faults: Faults) -> int | None:
    """The list of the send; code 16 when it is not one of the account's, or nobody is active on it."""
    value = params.get("targetlistid")
    if empty(value):
        return None
    number = _number(value)
    if caller is not None and not audiences.exists(caller=caller, target_id=number):
        faults.add(codes.TARGET_LIST)
    return number


def read_variables(params: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    """The values of a template's variables: an object, or its JSON as text in a form."""
    value = next((params[name] for name in VARIABLES if not empty(params.get(name))), None)
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            value = False
    if value is None:
        return {}
    if not isinstance(value, dict):
        faults.other("Variables should be an object of names and values.")
        return {}
    return value


def _number(value: Any) -> int:
    """A row's number; 0, which no row has, for what cannot be one."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal() and len(value) < 20:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST else 0
