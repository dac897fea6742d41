"""The web's cast, for commands that are called through their door."""

from __future__ import annotations

from tests.web.conftest import app, cheap_passwords, client, operator, owner

__all__ = ["app", "cheap_passwords", "client", "operator", "owner"]
