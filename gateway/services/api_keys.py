"""The keys of an account as their holders manage them: made with no more rights than one has, rotated, revoked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway import clock, errors, ids
from gateway.services import audit, domains, identity, key_usage, keys
from gateway.services.identity import Caller
from gateway.services.key_usage import Day
from models import database as db
from models.api import ApiKey
from models.domain import SenderDomain

PREFIX = "key"
ACTIVE, ROTATING, REVOKED, EXPIRED = "active", "rotating", "revoked", "expired"
STATUSES = (ACTIVE, ROTATING, REVOKED, EXPIRED)
SURFACE = "mailersio"
OVERLAP_MOST = 24 * 90
"""Hours that an old key may work beside its successor."""

USAGE_DAYS = 30
_NAME_LENGTH, _SERVICE_LENGTH = 255, 64
_LISTED_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its text; `domains` empty: of the whole account. `calls` and `sends` are of the last 30 days."""

    id: int
    uuid: UUID
    name: str
    service: str
    prefix: str
    surface: str
    scopes: list[str]
    domains: list[str]
    live: bool
    strict: bool
    status: str
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    used_ms: int | None
    calls: int
    sends: int

    @property
    def public_id(self) -> str:
        return ids.public_id(PREFIX, self.uuid)


@dataclass(frozen=True, slots=True)
class Made:
    """A new key with its text, which is shown this once."""

    key: Key
    text: str


def add(
    *,
    caller: Caller,
    name: str,
    scopes: Iterable[str] = (),
    domain_names: Sequence[str] = (),
    live: bool | None = None,
    strict: bool = False,
    service: str = "",
    expires_ms: int | None = None,
    surface: str = SURFACE,
) -> Made:
    """Make a key of the account; without scopes and domains it may do what the caller may.

    `live` None: as the caller's own. Raises `Invalid`, `NotFound` (a domain), `NotAllowed` for more than the caller
    may do itself.
    """
    name, service = _texts(name, service)
    _check_time(expires_ms)
    wanted = sorted(set(scopes)) or sorted(caller.scopes)
    domain_ids = _domain_ids(caller, domain_names)
    live = caller.live if live is None else live

    def work(tx: db.Transaction) -> int:
        row, text = keys.create_key(
            tx,
            account_id=caller.account_id,
            domain_id=domain_ids[0] if len(domain_ids) == 1 else None,
            domain_ids=domain_ids if len(domain_ids) > 1 else (),
            surface=surface,
            scopes=wanted,
            live=live,
            strict=strict,
            description=name,
            service=service,
            expires_ms=expires_ms,
        )
        check_rights(caller, row)
        found.append(text)
        audit.record(tx, caller=caller, action="key.create", what=f"key:{row.id}", after=_told(row))
        return int(row.id)

    found: list[str] = []
    made = db.in_transaction(work)
    return Made(_view([ApiKey.get_by_id(made)])[0], found[-1])


def list_(*, caller: Caller, status: str = "", service: str = "", after_id: int | None = None, count: int) -> list[Key]:
    """Up to `count` of the keys that the caller's reach covers, the newest first; raises nothing."""
    query = ApiKey.select().where(ApiKey.account_id == caller.account_id)
    if after_id is not None:
        query = query.where(ApiKey.id < after_id)
    if service:
        query = query.where(ApiKey.service == service)
    rows = [
        row
        for row in query.order_by(ApiKey.id.desc()).limit(_LISTED_MOST)
        if _covers(caller, row) and status in ("", status_of(row))
    ]
    return _view(rows[:count])


def find(*, caller: Caller, key_id: str) -> Key:
    """Raises `NotFound`, for a foreign one too."""
    return _view([_row(caller, key_id)])[0]


def usage(*, caller: Caller, key_id: str, days: int) -> list[Day]:
    """What the key was used for on each of the last `days` days on which it was, the oldest first; `NotFound`."""
    row = _row(caller, key_id)
    since = clock.day_number(clock.now_ms()) - days + 1
    return key_usage.days(key_ids=[row.id], since_day=since)[row.id]


def update(*, caller: Caller, key_id: str, changes: dict[str, Any]) -> Key:
    """Change `name`, `service`, `scopes`, `strict` or `expires_ms`.

    Raises `NotFound`, `Invalid`, `NotAllowed`, `KeyEnded`.
    """
    if "name" in changes or "service" in changes:
        name, service = _texts(changes.get("name", "x"), changes.get("service") or "")
        changes = changes | {key: text for key, text in (("name", name), ("service", service)) if key in changes}
    _check_time(changes.get("expires_ms"))

    def work(tx: db.Transaction) -> int:
        row = _locked(tx, caller, key_id)
        if status_of(row) in (REVOKED, EXPIRED):
            raise errors.KeyEnded
        check_rights(caller, row)
        if status_of(row) == ROTATING and "expires_ms" in changes:
            raise errors.KeyEnded("The key is being rotated: it ends when its overlap does.")
        before = _told(row)
        for field, column in (("name", "description"), ("service", "service"), ("expires_ms", "expires_ms")):
            if field in changes:
                setattr(row, column, changes[field])
        if "scopes" in changes:
            keys.check_scopes(row.surface, changes["scopes"])
            row.scopes = json.dumps(sorted(set(changes["scopes"])) or sorted(caller.scopes))
        if "strict" in changes:
            row.strict = changes["strict"]
        check_rights(caller, row)
        row.save()
        audit.record(tx, caller=caller, action="key.update", what=f"key:{row.id}", before=before, after=_told(row))
        return int(row.id)

    changed = db.in_transaction(work)
    identity.forget()
    return _view([ApiKey.get_by_id(changed)])[0]


def revoke(*, caller: Caller, key_id: str) -> None:
    """The key stops here at once and within a second everywhere; revoking twice changes nothing.

    Raises `NotFound`, `NotAllowed`.
    """

    def work(tx: db.Transaction) -> None:
        row = _locked(tx, caller, key_id)
        check_rights(caller, row)
        if row.revoked_ms is None:
            row.revoked_ms = clock.now_ms()
            row.save()
            audit.record(tx, caller=caller, action="key.revoke", what=f"key:{row.id}", before=_told(row))

    db.in_transaction(work)
    identity.forget()


def rotate(*, caller: Caller, key_id: str, overlap_hours: int) -> tuple[Made, Key]:
    """Make a key that may do what the old one may; the old one ends after the overlap, at once where that is 0.

    The new one ends when the old one was to end before. Raises `NotFound`, `NotAllowed`, `KeyEnded`.
    """
    found: list[str] = []

    def work(tx: db.Transaction) -> tuple[int, int]:
        old = _locked(tx, caller, key_id)
        check_rights(caller, old)
        if status_of(old) != ACTIVE:
            raise errors.KeyEnded
        row, text = keys.create_key(
            tx,
            account_id=old.account_id,
            domain_id=old.domain_id,
            domain_ids=json.loads(old.domain_ids or "[]"),
            surface=old.surface,
            scopes=json.loads(old.scopes),
            live=old.live,
            strict=old.strict,
            description=old.description,
            service=old.service or "",
            expires_ms=old.expires_ms,
            defaults=keys.defaults_of(old),
        )
        found.append(text)
        before = _told(old)
        end = clock.now_ms() + overlap_hours * clock.HOUR_MS
        old.expires_ms = end if old.expires_ms is None else min(end, old.expires_ms)
        old.successor_id = row.id
        old.save()
        audit.record(tx, caller=caller, action="key.create", what=f"key:{row.id}", after=_told(row))
        audit.record(tx, caller=caller, action="key.rotate", what=f"key:{old.id}", before=before, after=_told(old))
        return int(row.id), int(old.id)

    numbers = db.in_transaction(work)
    identity.forget()
    new, old = _view([ApiKey.get_by_id(number) for number in numbers])
    return Made(new, found[-1]), old


def rotate_own(*, caller: Caller, overlap_hours: int) -> tuple[Made, Key]:
    """`rotate` for the key that asks."""
    row = ApiKey.get_by_id(caller.key_id)
    return rotate(caller=caller, key_id=str(row.uuid), overlap_hours=overlap_hours)


def status_of(row: ApiKey) -> str:
    if row.revoked_ms is not None:
        return REVOKED
    if row.expires_ms is not None and row.expires_ms <= clock.now_ms():
        return EXPIRED
    return ROTATING if row.successor_id is not None else ACTIVE


def check_rights(caller: Caller, row: ApiKey) -> None:
    """Raises `NotAllowed` where the key may do more than the caller."""
    scopes = json.loads(row.scopes)
    if caller.scopes and (not scopes or not all(caller.allows(scope) for scope in scopes)):
        raise errors.NotAllowed("A key cannot be given scopes that this key has not itself.", field="scopes")
    if not _covers(caller, row):
        raise errors.NotAllowed("A key cannot be given domains that this key has not itself.", field="domains")
    if row.live and not caller.live:
        raise errors.NotAllowed("A test key makes and changes test keys only.", field="environment")


def _domains_of(row: ApiKey) -> list[int]:
    return [row.domain_id] if row.domain_id is not None else json.loads(row.domain_ids or "[]")


def _covers(caller: Caller, row: ApiKey) -> bool:
    if caller.domain_id is None:
        return True
    some = _domains_of(row)
    return bool(some) and all(caller.covers(domain_id) for domain_id in some)


def _domain_ids(caller: Caller, names: Sequence[str]) -> list[int]:
    """By name or public id; without any those of the caller."""
    if not names:
        return [] if caller.domain_id is None else sorted(caller.domain_ids or (caller.domain_id,))
    found = []
    for name in names:
        uuid = ids.uuid_of("dom", name.strip())
        found.append(
            (
                domains.find_by_name(caller=caller, name=name)
                if uuid is None
                else domains.find_by_uuid(caller=caller, uuid=uuid)
            ).id
        )
    return sorted(set(found))


def _texts(name: str, service: str) -> tuple[str, str]:
    name, service = name.strip(), service.strip()
    if not name or len(name) > _NAME_LENGTH or not name.isprintable():
        raise errors.Invalid(f"A name has 1 to {_NAME_LENGTH} printable characters.", field="name")
    if len(service) > _SERVICE_LENGTH or not service.isprintable():
        raise errors.Invalid(f"A service has at most {_SERVICE_LENGTH} printable characters.", field="service")
    return name, service


def _check_time(expires_ms: int | None) -> None:
    if expires_ms is not None and expires_ms <= clock.now_ms():
        raise errors.Invalid("A key cannot expire in the past.", field="expires_at")


def _row(caller: Caller, key_id: str) -> ApiKey:
    uuid = ids.uuid_of(PREFIX, key_id.strip())
    row = None
    if uuid is not None:
        row = ApiKey.get_or_none(ApiKey.uuid == uuid, ApiKey.account_id == caller.account_id)
    if row is None or not _covers(caller, row):
        raise errors.NotFound("There is no such key.", what="key")
    return row


def _locked(tx: db.Transaction, caller: Caller, key_id: str) -> ApiKey:
    row = _row(caller, key_id)
    if tx.dialect == "mysql":
        tx.rows("SELECT id FROM api_key WHERE id = ? FOR UPDATE", (row.id,))
        row = ApiKey.get_by_id(row.id)
    return row


def _told(row: ApiKey) -> dict[str, Any]:
    """As the audit log keeps it."""
    return {
        "name": row.description,
        "prefix": row.prefix,
        "scopes": json.loads(row.scopes),
        "domains": _domains_of(row),
        "live": bool(row.live),
        "strict": bool(row.strict),
        "service": row.service or "",
        "expires_ms": row.expires_ms,
    }


def _view(rows: Sequence[ApiKey]) -> list[Key]:
    numbers = [row.id for row in rows]
    used = key_usage.last_used(numbers)
    since = clock.day_number(clock.now_ms()) - USAGE_DAYS + 1
    days = key_usage.days(key_ids=numbers, since_day=since)
    wanted = sorted({domain_id for row in rows for domain_id in _domains_of(row)})
    names: dict[int, str] = {}
    for start in range(0, len(wanted), 500):
        some = SenderDomain.select().where(SenderDomain.id.in_(wanted[start : start + 500]))
        names |= {domain.id: domain.name for domain in some}
    return [
        Key(
            id=row.id,
            uuid=row.uuid,
            name=row.description,
            service=row.service or "",
            prefix=row.prefix,
            surface=row.surface,
            scopes=json.loads(row.scopes),
            domains=[names[domain_id] for domain_id in _domains_of(row) if domain_id in names],
            live=bool(row.live),
            strict=bool(row.strict),
            status=status_of(row),
            created_ms=row.created_ms,
            expires_ms=row.expires_ms,
            revoked_ms=row.revoked_ms,
            used_ms=used.get(row.id),
            calls=sum(day.calls for day in days[row.id]),
            sends=sum(day.sends for day in days[row.id]),
        )
        for row in rows
    ]
