"""What is wrong with one message: every fault of it, to be answered together."""

from __future__ import annotations

from gateway import errors

REQUIRED = "This field is required."
_MOST = 50


class Faults:
    """Faults by field, as the client spelled it."""

    def __init__(self) -> None:
        self.listed: list[dict[str, str]] = []
        self._too_large = False

    def add(self, field: str, message: str, *, too_large: bool = False) -> None:
        if len(self.listed) < _MOST:
            self.listed.append({"field": field, "message": message})
        self._too_large |= too_large

    def refuse(self) -> None:
        """Raise `InvalidFields` with all of them, `TooLarge` where that is all; does nothing where there are none."""
        if not self.listed:
            return
        first = self.listed[0]
        text = f"{first['field']}: {first['message']}"
        kind = errors.TooLarge if self._too_large and len(self.listed) == 1 else errors.InvalidFields
        raise kind(text, fields=self.listed, field=first["field"])
