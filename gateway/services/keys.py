"""API keys of every surface: making, importing, showing and revoking them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence

import peewee

from gateway import clock, errors, ids, vault
from gateway.services import audit
from models.api import ApiKey
from models.database import Transaction, in_transaction
from models.vocabulary import PERMISSIONS, SURFACES, V1_SCOPES

_PREFIXES: dict[str, tuple[str, str]] = {  # surface: (live, test)
    "mailersio": ("mio_live_", "mio_test_"),
    "mailmark": ("dm_live_", "dm_test_"),
    "mailerlogic": ("mlk_live_", "mlk_test_"),
    "maillayer": ("ml_live_", "ml_test_"),
}
_DEFAULTS = {"ListID": "list_id", "SubscriberID": "subscriber_id", "JourneyID": "journey_id", "ActionID": "action_id"}
_SCOPES = {"octeth": PERMISSIONS, "mailersio": V1_SCOPES, "mailmark": V1_SCOPES}
_SEVERAL = ("mailersio",)
_SHORTEST, _LONGEST = 8, 200


def create_key(
    tx: Transaction,
    *,
    account_id: int,
    domain_id: int | None = None,
    surface: str = "octeth",
    scopes: Iterable[str] = (),
    live: bool = True,
    strict: bool = False,
    value: str | None = None,
    description: str = "",
    defaults: Mapping[str, str] | None = None,
    domain_ids: Sequence[int] = (),
    service: str = "",
    expires_ms: int | None = None,
) -> tuple[ApiKey, str]:
    """Make a key, or import `value`, inside the caller's transaction; the row and the key in clear.

    `domain_ids` are those of a key of several domains, which only surfaces below `/v1` know; `service` is what it
    is made for.

    `defaults` may have ListID, SubscriberID, JourneyID, ActionID. Octeth keys can be shown again, all
    others exist only as hashes from now on. Raises `Invalid` for what cannot be a key and `KeyExists`.
    """
    if surface not in SURFACES:
        raise errors.Invalid(f"The surface should be one of {', '.join(SURFACES)}.", field="surface")
    scopes = sorted(set(scopes))
    check_scopes(surface, scopes)
    if domain_ids and (surface not in _SEVERAL or domain_id is not None):
        raise errors.Invalid(f"Keys of {surface} are of one domain or of the account.", field="domains")
    if value is not None:
        check_value(value)
    text = value if value is not None else _fresh(surface, live)
    row_id = ids.new_uuid()
    # An imported key may be known under the pepper of an older secret too.
    if ApiKey.select().where(ApiKey.fingerprint.in_(vault.fingerprints(text))).exists():
        raise errors.KeyExists
    columns = {_DEFAULTS[name]: text_ for name, text_ in (defaults or {}).items() if name in _DEFAULTS and text_}
    try:
        row = ApiKey.create(
            uuid=row_id,
            account_id=account_id,
            domain_id=domain_id,
            surface=surface,
            scopes=json.dumps(scopes),
            live=live,
            strict=strict,
            fingerprint=vault.fingerprint(text),
            prefix=prefix_of(text, surface),
            sealed=vault.seal(text, _row(row_id)) if surface == "octeth" else None,
            description=description,
            created_ms=clock.now_ms(),
            domain_ids=json.dumps(sorted(set(domain_ids))) if domain_ids else None,
            service=service or None,
            expires_ms=expires_ms,
            **columns,
        )
    except peewee.IntegrityError as error:
        raise errors.KeyExists from error
    return row, text


def check_scopes(surface: str, scopes: Iterable[str]) -> None:
    """Raises `Invalid` for what no key of the surface may be limited to."""
    allowed = _SCOPES.get(surface)
    if allowed is not None and (unknown := [scope for scope in scopes if scope not in allowed]):
        known = ", ".join(allowed)
        raise errors.Invalid(f"{unknown[0][:64]} is no permission: it should be one of {known}.", field="scopes")


def defaults_of(row: ApiKey) -> dict[str, str]:
    """ListID, SubscriberID, JourneyID, ActionID, where the key has them."""
    return {name: text for name, column in _DEFAULTS.items() if (text := getattr(row, column))}


def check_value(value: str) -> None:
    """Raises `Invalid` unless the text can be a key: 8 to 200 visible ASCII characters."""
    if not _SHORTEST <= len(value) <= _LONGEST or not all("!" <= char <= "~" for char in value):
        raise errors.Invalid(f"A key should have {_SHORTEST} to {_LONGEST} visible ASCII characters.", field="value")


def prefix_of(text: str, surface: str) -> str:
    """What of a key may be shown in lists: its prefix and at most a third of the rest."""
    known = next((prefix for prefix in _PREFIXES.get(surface, ()) if text.startswith(prefix)), "")
    return text[: len(known) + min(8, (len(text) - len(known)) // 3)][:32]


def shown(row_uuid: uuid.UUID, sealed: str | None) -> str:
    """The key in clear where it was kept for showing, else an empty text."""
    return vault.unseal(sealed, _row(row_uuid)) if sealed else ""


def revoke(*, account_id: int, key_id: int) -> None:
    """The key stops within a second everywhere; raises `NotFound` for an absent or foreign one."""

    def work(tx: Transaction) -> int:
        found = int(
            tx.execute(
                "UPDATE api_key SET revoked_ms = ? WHERE id = ? AND account_id = ? AND revoked_ms IS NULL",
                (clock.now_ms(), key_id, account_id),
            ).rowcount
        )
        if found:
            audit.record(tx, caller=None, account_id=account_id, action="key.revoke", what=f"key:{key_id}")
        return found

    if not in_transaction(work):
        raise errors.NotFound("There is no such key.", what="key")


def _fresh(surface: str, live: bool) -> str:
    if surface == "octeth":
        return ids.octeth_key()
    return ids.surface_key(_PREFIXES[surface][0 if live else 1])


def _row(row_id: uuid.UUID) -> str:
    return f"api_key:{row_id}"
