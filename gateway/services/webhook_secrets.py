"""The secrets that sign a webhook's calls: made, and opened with the old one while that signs too."""

from __future__ import annotations

import base64
from uuid import UUID

from gateway import clock, ids, vault

_SECRET_BYTES = 24  # Standard Webhooks 1.0: 24 to 64


def make() -> str:
    """`whsec_` and base64 of 24 random bytes, as Standard Webhooks 1.0 writes it."""
    return "whsec_" + base64.b64encode(bytes.fromhex(ids.token(2 * _SECRET_BYTES))).decode("ascii")


def opened(uuid: UUID, secret: str, old_secret: str | None, old_until_ms: int | None) -> tuple[str, ...]:
    """Those that sign now, the newest first, from what the row has sealed."""
    found = [vault.unseal(secret, uuid.hex)]
    if old_secret is not None and (old_until_ms or 0) > clock.now_ms():
        found.append(vault.unseal(old_secret, uuid.hex))
    return tuple(found)
