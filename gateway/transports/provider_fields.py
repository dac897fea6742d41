"""The fields of a provider's configuration and credentials, read one by one; every complaint names its field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from gateway.errors import InvalidUrl
from gateway.transports import http_call

SECONDS = 60
"""What one call may take where `timeout` says nothing."""

_LENGTH = 4096
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


class Fields:
    """`config` is shown to people, `credentials` are not; `finish` refuses what nobody asked for."""

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
        self._sides = {"config": config, "credentials": credentials}
        self._asked: set[tuple[str, str]] = set()

    def text(self, name: str, *, default: str | None = "", like: str = "", shape: str = "") -> str:
        """A text of the configuration; `default` None makes it obligatory, `like` is its pattern, `shape` its words."""
        return self._text("config", name, default, like, shape)

    def secret(self, name: str, *, default: str | None = None) -> str:
        """A text of the credentials; obligatory unless it has a default."""
        return self._text("credentials", name, default, r"[!-~]+", "printable ASCII without spaces")

    def choice(self, name: str, among: Sequence[str]) -> str:
        """One of some words, by default the first."""
        found = self._text("config", name, among[0], "", "")
        if found not in among:
            raise ValueError(f"{name}: should be {' or '.join(among)}")
        return found

    def switch(self, name: str) -> bool:
        found = self._raw("config", name)
        if found is None:
            return False
        if not isinstance(found, bool):
            raise ValueError(f"{name}: should be true or false")
        return found

    def seconds(self) -> float:
        """`timeout`, from 1 to 300."""
        found = self._raw("config", "timeout")
        if found is None:
            return float(SECONDS)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 1 <= found <= 300:
            raise ValueError("timeout: should be seconds from 1 to 300")
        return float(found)

    def url(self, name: str, default: str) -> str:
        """A base URL without query and with no slash at its end."""
        found = self._text("config", name, default, "", "").rstrip("/")
        if not found:
            return ""
        try:
            parts = urlsplit(found)
            http_call.parse(found)
        except (InvalidUrl, ValueError):
            parts = None
        if parts is None or parts.query or parts.fragment or parts.username is not None or len(found) > 512:
            raise ValueError(f"{name}: should be an https URL, for example https://api.example.net")
        return found

    def leave(self, side: str, *names: str) -> None:
        """Fields that somebody else reads."""
        self._asked.update((side, name) for name in names)

    def finish(self) -> None:
        """Refuse unknown fields: a setting that is not heard is worse than one that is refused."""
        for side, values in self._sides.items():
            for name in values:
                if (side, name) not in self._asked:
                    raise ValueError(f"{name}: no such field in {side}")

    def _raw(self, side: str, name: str) -> Any:
        self._asked.add((side, name))
        return self._sides[side].get(name)

    def _text(self, side: str, name: str, default: str | None, like: str, shape: str) -> str:
        found = self._raw(side, name)
        if found is None or found == "":
            if default is None:
                raise ValueError(f"{name}: is missing from {side}")
            return default
        if not isinstance(found, str) or len(found) > _LENGTH:
            raise ValueError(f"{name}: should be a text")
        found = found.strip()
        if (like and not re.fullmatch(like, found)) or (not like and _UNSAFE.search(found)):
            raise ValueError(f"{name}: should be {shape or 'one line of text'}")
        return found
