"""The answer of a dry run below `/v1`: what a send would do, gate by gate."""

from __future__ import annotations

import re
from typing import Any

from commands.sending import forecasts
from gateway.services import verdicts
from gateway.services.dry_runs import DryRun
from gateway.services.verdicts import REFUSED
from web import explanations
from web.rest import refusals

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_VERBATIM = frozenset({"Details"})


def shown(found: DryRun) -> dict[str, Any]:
    """The command's forecast under snake_case names; a refusal is an answer here, with its code."""
    if (error := found.refusal) is not None:
        told = _snake(forecasts.refused(found.verdicts)) | _verdicts(found)
        refusal = {"code": error.slug, "message": error.message, "status": refusals.status_of(type(error))}
        return told | {"refusal": refusal}
    answer = _snake(forecasts.shown(found)) | _verdicts(found)
    answer.setdefault("decision", REFUSED)
    return answer


def _verdicts(found: DryRun) -> dict[str, Any]:
    """As the explanation of a message has them."""
    return {"verdicts": [explanations.verdict(one) for one in verdicts.read_all(found.verdicts)]}


def _snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            _HUMP.sub("_", name).lower(): item if name in _VERBATIM else _snake(item) for name, item in value.items()
        }
    if isinstance(value, list):
        return [_snake(item) for item in value]
    return value
