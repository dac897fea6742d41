"""Accounts: making them, their passwords, plans and states, and logging in."""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import peewee
import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from gateway import clock, config, errors, ids, vault
from gateway.mail import address as mail_address
from gateway.services import audit, identity, keys, limits
from gateway.services.identity import Caller
from models.account import Account, Plan, Session
from models.database import Transaction, in_transaction
from models.vocabulary import (
    ACCOUNT_ACTIVE,
    ACCOUNT_DISABLED,
    ACCOUNT_UNVERIFIED,
    ROLE_OPERATOR,
    ROLE_USER,
    SURFACES,
)

STATUSES = (ACCOUNT_ACTIVE, ACCOUNT_UNVERIFIED, ACCOUNT_DISABLED)
ROLES = (ROLE_USER, ROLE_OPERATOR)
DEFAULT_PLAN, UNLIMITED_PLAN = "Default", "Unlimited"
_LONGEST_PASSWORD = 1024  # argon2 hashes its whole input: no megabytes from strangers
_SHORTEST_PASSWORD = 8

_hasher = PasswordHasher()


@dataclass(frozen=True, slots=True)
class Login:
    """A session that just began; `session_id` is told once and stored as a fingerprint only."""

    session_id: str
    account: Account
    plan: str


def add(
    *,
    email: str,
    password: str | None = None,
    api_key: str | None = None,
    name: str = "",
    role: str = ROLE_USER,
    plan: str = DEFAULT_PLAN,
) -> dict[str, Any]:
    """Make an account with an API key of its own, generated unless given; `{id, email, api_key}`.

    Without a password nobody can log in. Raises `Invalid`, `AccountExists`, `KeyExists`, `NotFound` (the plan).
    """
    address = _address(email)
    if role not in ROLES:
        raise errors.Invalid(f"The role should be one of {', '.join(ROLES)}.", field="role")
    if len(name) > 200:
        raise errors.Invalid("The name should have at most 200 characters.", field="name")
    hashed = _hash(password) if password is not None else ""

    def work(tx: Transaction) -> dict[str, Any]:
        if Account.select().where(Account.email == address).exists():
            raise errors.AccountExists
        try:
            account = Account.create(
                uuid=ids.new_uuid(),
                email=address,
                name=name,
                slug=_free_slug(name or address.partition("@")[0]),
                password_hash=hashed,
                role=role,
                plan_id=_plan(plan).id,
                created_ms=clock.now_ms(),
            )
        except peewee.IntegrityError as error:
            raise errors.AccountExists from error
        key, text = keys.create_key(tx, account_id=account.id, value=api_key, description="Account key")
        told = {"email": address, "name": name, "role": role, "plan": plan, "key": key.prefix}
        _record(tx, account.id, "user.create", after=told)
        return {"id": account.id, "email": address, "api_key": text}

    return in_transaction(work)


def find(email: str) -> Account:
    """The account of that address, in any case; raises `NotFound`."""
    account = Account.get_or_none(Account.email == email.strip().lower())
    if account is None:
        raise errors.NotFound(f"There is no account {email}.", what="account")
    return account


def set_password(*, email: str, password: str) -> None:
    """Every session of the account ends. Raises `NotFound`, `Invalid`."""
    hashed = _hash(password)

    def work(tx: Transaction) -> None:
        account = find(email)
        tx.execute("UPDATE account SET password_hash = ? WHERE id = ?", (hashed, account.id))
        tx.execute("DELETE FROM session WHERE account_id = ?", (account.id,))
        _record(tx, account.id, "user.set_password")

    in_transaction(work)
    identity.forget()


def set_plan(*, email: str, plan: str | None = None, unlimited: bool = False) -> str:
    """Put the account on a plan by name, or on the one without any limit; the plan's name. Raises `NotFound`."""
    wanted = UNLIMITED_PLAN if unlimited or plan is None else plan

    def work(tx: Transaction) -> str:
        account, found = find(email), _plan(wanted)
        old = Plan.get_or_none(Plan.id == account.plan_id)
        tx.execute("UPDATE account SET plan_id = ? WHERE id = ?", (found.id, account.id))
        before = {"plan": old.name if old is not None else None}
        _record(tx, account.id, "user.set_plan", before=before, after={"plan": found.name})
        return str(found.name)

    name = in_transaction(work)
    identity.forget()
    return name


def set_status(*, email: str, status: str) -> None:
    """Active, unverified or disabled; disabling ends every session. Raises `NotFound`, `Invalid`."""
    if status not in STATUSES:
        raise errors.Invalid(f"The status should be one of {', '.join(STATUSES)}.", field="status")

    def work(tx: Transaction) -> None:
        account = find(email)
        tx.execute("UPDATE account SET status = ? WHERE id = ?", (status, account.id))
        _record(tx, account.id, "user.set_status", before={"status": account.status}, after={"status": status})
        if status == ACCOUNT_DISABLED:
            tx.execute("DELETE FROM session WHERE account_id = ?", (account.id,))

    in_transaction(work)
    identity.forget()


def add_key(
    *,
    email: str,
    domain: str | None = None,
    surface: str = "octeth",
    scopes: tuple[str, ...] = (),
    live: bool = True,
    strict: bool = False,
    value: str | None = None,
    description: str = "",
    domains: Sequence[str] = (),
    service: str = "",
) -> dict[str, Any]:
    """Make or import a key of the account, or of one or several of its domains; `{id, key, prefix, surface}`.

    Raises `NotFound` (account or domain), `Invalid`, `KeyExists`.
    """
    if surface not in SURFACES:
        raise errors.Invalid(f"The surface should be one of {', '.join(SURFACES)}.", field="surface")

    def work(tx: Transaction) -> dict[str, Any]:
        account = find(email)
        names = [*domains, domain] if domain else [*domains]
        domain_ids = sorted({_domain_id(tx, account.id, name) for name in names})
        row, text = keys.create_key(
            tx,
            account_id=account.id,
            domain_id=domain_ids[0] if len(domain_ids) == 1 else None,
            domain_ids=domain_ids if len(domain_ids) > 1 else (),
            surface=surface,
            scopes=scopes,
            live=live,
            strict=strict,
            value=value,
            description=description,
            service=service,
        )
        told = {"prefix": row.prefix, "domain": domain, "surface": surface, "scopes": list(scopes), "live": live}
        audit.record(
            tx, caller=None, account_id=account.id, action="key.create", what=f"key:{row.id}",
            after=told | {"strict": strict, "imported": value is not None, "description": description},
        )  # fmt: skip
        return {"id": row.id, "key": text, "prefix": row.prefix, "surface": surface}

    return in_transaction(work)


def login(*, username: str, password: str, ip: str, tfa_code: str = "", role: str | None = None) -> Login:
    """Begin a session with the account's email and password; with `role` only for accounts of that role.

    Raises `LoginFailed` alike for an unknown name, a wrong password and a disabled account, and after the
    same work; `TfaRequired`, `TfaInvalid`; `RateLimited` after too many failures of a name from an address.
    """
    who = limits.login_key("login", username, ip)
    limits.attempt_login(who)
    account = Account.get_or_none(Account.email == username.strip().lower())
    if account is not None and (account.status == ACCOUNT_DISABLED or role not in (None, account.role)):
        account = None
    right = _verify((account.password_hash if account is not None else "") or _dummy_hash(), password)
    if account is None or not account.password_hash or not right:
        raise errors.LoginFailed
    if account.tfa_secret:
        _check_code(vault.unseal(account.tfa_secret, tfa_row(account.uuid)), tfa_code)
    limits.forgive(who)
    if _hasher.check_needs_rehash(account.password_hash):
        account.password_hash = _hash(password)
    return _begin_session(account)


def login_with_key(*, api_key: str) -> Login:
    """Begin a session for the holder of an account key; raises `LoginFailed`."""
    try:
        caller = identity.authenticate(api_key=api_key)
    except errors.NotAuthenticated:
        raise errors.LoginFailed from None
    return _begin_session(Account.get_by_id(caller.account_id))


def logout(*, session_id: str) -> None:
    """End the session; one that is not there is ended already."""
    prints = vault.fingerprints(session_id)
    marks = ", ".join("?" * len(prints))
    in_transaction(lambda tx: tx.execute(f"DELETE FROM session WHERE token_hash IN ({marks})", prints) and None)
    identity.forget()


def _record(
    tx: Transaction,
    account_id: int,
    action: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Of an account as a whole; whoever asked is known to the call, for only operators come here."""
    audit.record(
        tx, caller=None, account_id=account_id, action=action, what=f"user:{account_id}", before=before, after=after
    )


def get(caller: Caller) -> tuple[Account, str]:
    """The caller's account and its plan's name."""
    account = Account.get_or_none(Account.id == caller.account_id)
    if account is None:
        raise errors.NotFound("There is no such account.", what="account")
    return account, caller.plan.name


def tfa_row(account_uuid: uuid.UUID) -> str:
    """The identity under which an account's second factor is sealed."""
    return f"account:{account_uuid}:tfa"


def _check_code(secret: str, code: str) -> None:
    if not code:
        raise errors.TfaRequired
    if not pyotp.TOTP(secret).verify(code.strip(), for_time=clock.now(), valid_window=1):
        raise errors.TfaInvalid


def _begin_session(account: Account) -> Login:
    token, now = ids.session_token(), clock.now_ms()

    def work(tx: Transaction) -> str:
        if account.is_dirty():
            account.save(only=["password_hash"])
        Session.create(
            token_hash=vault.fingerprint(token),
            account_id=account.id,
            created_ms=now,
            expires_ms=now + config.settings().session_hours * 3_600_000,
        )
        audit.record(
            tx, caller=None, account_id=account.id, actor=account.email, action="user.login", what=f"user:{account.id}"
        )
        return str(Plan.get_by_id(account.plan_id).name)

    return Login(token, account, in_transaction(work))


@functools.cache
def _dummy_hash() -> str:
    """What the passwords of unknown names are checked against, so that they take as long."""
    return _hasher.hash(ids.password())


def _verify(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password[:_LONGEST_PASSWORD]) and len(password) <= _LONGEST_PASSWORD
    except (Argon2Error, InvalidHashError):
        return False


def _hash(password: str) -> str:
    if not _SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise errors.Invalid(
            f"The password should have {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} characters.", field="password"
        )
    return _hasher.hash(password)


def _address(email: str) -> str:
    """The address as accounts are known by: checked, lower case."""
    return mail_address.check(email.strip()).lower()


def _plan(name: str) -> Plan:
    plan = Plan.get_or_none(peewee.fn.LOWER(Plan.name) == name.strip().lower())
    if plan is None:
        known = ", ".join(row.name for row in Plan.select(Plan.name).order_by(Plan.id))
        raise errors.NotFound(f"There is no plan {name}: it should be one of {known}.", what="plan")
    return plan


def _free_slug(text: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48] or "account"
    if not Account.select().where(Account.slug == slug).exists():
        return slug
    return f"{slug}-{ids.token(8)}"


def _domain_id(tx: Transaction, account_id: int, name: str) -> int:
    try:
        ascii_name = name.strip().rstrip(".").lower().encode("idna").decode() if not name.isascii() else name.lower()
    except UnicodeError:
        ascii_name = name
    found = tx.rows(
        "SELECT id FROM sender_domain WHERE account_id = ? AND name = ? AND deleted_ms IS NULL",
        (account_id, ascii_name.strip().rstrip(".")),
    )
    if not found:
        raise errors.NotFound(f"The account has no domain {name}.", what="domain")
    return int(found[0][0])
