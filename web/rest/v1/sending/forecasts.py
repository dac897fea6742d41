"""The answer of a dry run below `/v1`: what a send would do, gate by gate."""

from __future__ import annotations

import re
from typing import Any

from commands.sending import forecasts
from gateway.services.dry_runs import DryRun
from gateway.services.verdicts import REFUSED

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_VERBATIM = frozenset({"Details"})


def shown(found: DryRun) -> dict[str, Any]:
    """The command's forecast under snake_case names; a refusal is an answer here, with its code."""
    if found.refusal is not None:
        told = forecasts.refused(found.verdicts)
        refusal = {"code": found.refusal.slug, "message": found.refusal.message, "status": found.refusal.status}
        return _snake(told) | {"refusal": refusal}
    answer = _snake(forecasts.shown(found))
    answer.setdefault("decision", REFUSED)
    return answer


def _snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            _HUMP.sub("_", name).lower(): item if name in _VERBATIM else _snake(item) for name, item in value.items()
        }
    if isinstance(value, list):
        return [_snake(item) for item in value]
    return value
