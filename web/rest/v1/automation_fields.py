"""The fields of triggers and actions, all that one or another of their types reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.services import letters
from web.rest import fields
from web.rest.v1.sending.shapes import ROUTING


def _names(*names: str) -> dict[str, dict[str, Any]]:
    """Each with any value: services say what is wrong with one."""
    return {name: {} for name in names}


_TRIGGER = {
    "type": "object",
    "properties": {
        "type": {"enum": ["event", "time", "condition"]},
        **_names("event", "list_id", "segment_id", "tag", "url", "campaign", "at", "every", "cron", "weekday", "day"),
        **_names("field", "offset_days", "yearly", "if", "conditions", "op", "value"),
        **_names("check_minutes", "include_existing"),
    },
}
_ACTION = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        **_names(*letters.FIELDS),
        "routing": ROUTING,
        **_names("duration", "seconds", "minutes", "hours", "days", "weeks"),
        **_names("field", "value", "tag", "list_id", "url", "name", "if"),
        "then": {"type": "array"},
        "else": {"type": "array"},
    },
}


def trigger(**options: Any) -> fields.Anything:
    return fields.Anything(shape=_TRIGGER, closed=True, **options)


class Actions(fields.Anything):
    """A list of actions, in whose branches there are others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(shape={"type": "array", "items": _ACTION}, closed=True, **options)

    def unread(self, value: Any, path: str) -> list[str]:
        found = super().unread(value, path)
        for at, action in enumerate(value if isinstance(value, list) else ()):
            for branch in ("then", "else") if isinstance(action, Mapping) else ():
                found += self.unread(action.get(branch), f"{path}.{at}.{branch}")
        return found
