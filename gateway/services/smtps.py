"""Logins for SMTP submission: made for a domain, shown, renewed, taken away and checked."""

from __future__ import annotations

import hmac
import logging
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from gateway import clock, config, errors, ids, vault
from gateway.mail import address
from gateway.services import audit, identity, limits
from gateway.services.identity import Caller
from gateway.services.senders import Recent
from models import database as db
from models.vocabulary import DOMAIN_ENABLED

PASSWORD_LENGTH = 32
_USERNAME_LENGTH = 254
_PASSWORD_MOST = 255
_NAME_MOST = 255
_TRUST_MS = 1000
_RECIPIENTS_AT_LEAST = 100
_NAMES_OF_ADDRESS = 10
"""Failures of one address over those of one name from it: many applications may sit behind one address."""

_log = logging.getLogger("commandpost.smtps")


@dataclass(frozen=True, slots=True)
class SmtpLogin:
    """A login as its owner sees it; `active` says whether it can send now."""

    id: int
    uuid: str
    domain_id: int
    domain: str
    username: str
    from_name: str
    from_email: str
    reply_to_name: str
    reply_to_email: str
    active: bool
    created_ms: int


@dataclass(frozen=True, slots=True)
class Login:
    """Who has logged in for submission."""

    id: int
    account_id: int
    domain_id: int
    username: str
    proof: str = field(repr=False)  # HMAC of the password: compared instead of it, so that nothing is decrypted again


_SELECT = (
    "SELECT l.id, l.uuid, l.domain_id, d.name, l.username, l.from_name, l.from_email, l.reply_to_name,"
    " l.reply_to_email, l.active, d.status, l.created_ms FROM smtp_login l JOIN sender_domain d ON d.id = l.domain_id"
    " WHERE l.account_id = ? AND l.deleted_ms IS NULL AND d.deleted_ms IS NULL"
)


def _row(row: tuple[Any, ...]) -> SmtpLogin:
    (login_id, uuid, domain_id, domain, username), (name, email, reply_name, reply_email) = row[:5], row[5:9]
    return SmtpLogin(
        id=login_id,
        uuid=_hex(uuid),
        domain_id=domain_id,
        domain=domain,
        username=username,
        from_name=name,
        from_email=email,
        reply_to_name=reply_name,
        reply_to_email=reply_email,
        active=bool(row[9]) and row[10] == DOMAIN_ENABLED,
        created_ms=row[11],
    )


def _hex(uuid: Any) -> str:
    return bytes(uuid).hex()


def add(
    *,
    caller: Caller,
    domain_id: int,
    from_name: str = "",
    from_email: str = "",
    reply_to_name: str = "",
    reply_to_email: str = "",
) -> tuple[SmtpLogin, str]:
    """Make a login with a generated name and password and return it with the password in clear.

    Raises `NotFound` for a domain that is not the caller's and `Invalid` for addresses and names.
    """
    return _make(
        caller,
        domain_id=domain_id,
        username=None,
        password=ids.password(PASSWORD_LENGTH),
        shown=_shown(from_name, from_email, reply_to_name, reply_to_email),
    )


def import_(*, caller: Caller, domain_id: int, username: str, password: str) -> SmtpLogin:
    """Keep the name and password that clients hold already; raises `NotFound`, `Invalid`, `UsernameTaken`."""
    username = unicodedata.normalize("NFC", username.strip())
    if not 0 < len(username) <= _USERNAME_LENGTH or not username.isprintable():
        raise errors.Invalid(f"A user name has 1 to {_USERNAME_LENGTH} printable characters.", field="Username")
    if not 0 < len(password) <= _PASSWORD_MOST or "\0" in password:
        raise errors.Invalid(f"A password has 1 to {_PASSWORD_MOST} characters without NUL.", field="Password")
    return _make(caller, domain_id=domain_id, username=username, password=password, shown=("", "", "", ""))[0]


def _shown(from_name: str, from_email: str, reply_to_name: str, reply_to_email: str) -> tuple[str, str, str, str]:
    for label, name in (("FromName", from_name), ("ReplyToName", reply_to_name)):
        if len(name) > _NAME_MOST or any(unicodedata.category(character) == "Cc" for character in name):
            raise errors.Invalid(f"{label} has at most {_NAME_MOST} characters, on one line.", field=label)
    return (
        from_name,
        address.check(from_email) if from_email else "",
        reply_to_name,
        address.check(reply_to_email) if reply_to_email else "",
    )


def _make(
    caller: Caller, *, domain_id: int, username: str | None, password: str, shown: tuple[str, str, str, str]
) -> tuple[SmtpLogin, str]:
    uuid = ids.new_uuid()
    sealed = vault.seal(password, uuid.hex)

    def work(tx: db.Transaction) -> SmtpLogin:
        domain, status = _domain(tx, caller, domain_id)
        name = username or f"{ids.token(12)}@{domain}"
        if tx.rows("SELECT 1 FROM smtp_login WHERE username = ?", (name,)):
            raise errors.UsernameTaken()
        now = clock.now_ms()
        cursor = tx.execute(
            "INSERT INTO smtp_login (uuid, account_id, domain_id, username, password, from_name, from_email,"
            " reply_to_name, reply_to_email, active, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (uuid.bytes, caller.account_id, domain_id, name, sealed, *shown, True, now),
        )
        told = {"username": name, "domain": domain, "from_email": shown[1], "reply_to_email": shown[3]}
        audit.record(tx, caller=caller, action="smtp.create", what=f"smtp:{cursor.lastrowid}", after=told)
        enabled = status == DOMAIN_ENABLED
        return SmtpLogin(int(cursor.lastrowid), uuid.hex, domain_id, domain, name, *shown, enabled, now)

    made = db.in_transaction(work)
    forget()
    return made, password


def _domain(tx: db.Transaction, caller: Caller, domain_id: int) -> tuple[str, str]:
    found = tx.rows(
        "SELECT name, status FROM sender_domain WHERE id = ? AND account_id = ? AND deleted_ms IS NULL",
        (domain_id, caller.account_id),
    )
    if not found:
        raise errors.NotFound("There is no such domain.", what="domain")
    return str(found[0][0]), str(found[0][1])


def list_(*, caller: Caller, domain_id: int) -> list[SmtpLogin]:
    """The domain's logins, oldest first; raises `NotFound`."""
    if not db.rows(
        "SELECT 1 FROM sender_domain WHERE id = ? AND account_id = ? AND deleted_ms IS NULL",
        (domain_id, caller.account_id),
    ):
        raise errors.NotFound("There is no such domain.", what="domain")
    rows = db.rows(_SELECT + " AND l.domain_id = ? ORDER BY l.id", (caller.account_id, domain_id))
    return [_row(row) for row in rows]


def delete(*, caller: Caller, smtp_id: int) -> None:
    """Take a login away; within a second it sends nothing more. Raises `NotFound`."""

    def work(tx: db.Transaction) -> None:
        login = _own(tx, caller, smtp_id)
        # The row stays for the messages that name it; its user name may be used again.
        tx.execute(
            "UPDATE smtp_login SET deleted_ms = ?, username = ?, password = '' WHERE id = ?",
            (clock.now_ms(), f"deleted:{login.uuid}", smtp_id),
        )
        told = {"username": login.username, "domain": login.domain}
        audit.record(tx, caller=caller, action="smtp.delete", what=f"smtp:{smtp_id}", before=told)

    db.in_transaction(work)
    forget()


def password(*, caller: Caller, smtp_id: int) -> str:
    """The login's password in clear, for surfaces that show it to its owner; raises `NotFound`."""
    found = db.rows(_SELECT + " AND l.id = ?", (caller.account_id, smtp_id))
    if not found:
        raise errors.NotFound("There is no such SMTP login.", what="smtp login")
    login = _row(found[0])
    ((sealed,),) = db.rows("SELECT password FROM smtp_login WHERE id = ?", (smtp_id,))
    return vault.unseal(sealed, login.uuid)


def reset_password(*, caller: Caller, smtp_id: int) -> tuple[SmtpLogin, str]:
    """Give the login a new password and return both; raises `NotFound`."""
    password = ids.password(PASSWORD_LENGTH)

    def work(tx: db.Transaction) -> SmtpLogin:
        login = _own(tx, caller, smtp_id)
        tx.execute("UPDATE smtp_login SET password = ? WHERE id = ?", (vault.seal(password, login.uuid), smtp_id))
        audit.record(tx, caller=caller, action="smtp.reset_password", what=f"smtp:{smtp_id}")
        return login

    login = db.in_transaction(work)
    forget()
    return login, password


def _own(tx: db.Transaction, caller: Caller, smtp_id: int) -> SmtpLogin:
    found = tx.rows(_SELECT + " AND l.id = ?", (caller.account_id, smtp_id))
    if not found:
        raise errors.NotFound("There is no such SMTP login.", what="smtp login")
    return _row(found[0])


def authenticate(*, username: str, password: str, ip: str) -> Login:
    """Who logs in with that name and password from `ip`.

    Raises `LoginFailed`, the same for an unknown name and a wrong password, and `RateLimited` after
    too many failures of that name from that address, or of many names from it.
    """
    # MySQL compares without regard to spaces at the end, SQLite with.
    username = unicodedata.normalize("NFC", username).strip()
    who = limits.login_key("smtp", username, ip)
    peer = limits.address_key("smtp", ip)
    limits.check_login(who)
    limits.check_login(peer, _NAMES_OF_ADDRESS)
    known = _known.get(username) if 0 < len(username) <= _USERNAME_LENGTH else None
    given = vault.fingerprint(password)
    if not hmac.compare_digest(given, known.proof if known else "0" * len(given)) or known is None:
        limits.note_failure(who)
        limits.note_failure(peer, _NAMES_OF_ADDRESS)
        raise errors.LoginFailed()
    return known


def most_recipients(login: Login) -> int:
    """How many envelope recipients one message may have: those of To, Cc and Bcc together, which SMTP does not tell
    apart.

    By the plan where it says so; else at least what RFC 5321 §4.5.3.1.8 wants. Raises `NotFound`.
    """
    plan, settings = identity.for_account(login.account_id).plan, config.settings()
    pairs = (plan.max_to, settings.max_to), (plan.max_cc, settings.max_cc), (plan.max_bcc, settings.max_bcc)
    most = sum(general if own is None else own for own, general in pairs)
    return most if any(own is not None for own, _ in pairs) else max(_RECIPIENTS_AT_LEAST, most)


def still_valid(login: Login) -> bool:
    """Whether a login that was checked before can be used now: it may have been deleted or renewed meanwhile."""
    return _known.get(login.username) == login


def _load(username: str) -> Login | None:
    found = db.rows(
        "SELECT l.id, l.uuid, l.account_id, l.domain_id, l.password FROM smtp_login l"
        " WHERE l.username = ? AND l.active = ? AND l.deleted_ms IS NULL",
        (username, True),
    )
    if not found:
        return None
    login_id, uuid, account_id, domain_id, sealed = found[0]
    try:
        password = vault.unseal(sealed, _hex(uuid))
    except vault.SealBroken:
        _log.error("smtp_password_unreadable", extra={"smtp_login_id": login_id})
        return None
    return Login(login_id, account_id, domain_id, username, vault.fingerprint(password))


_known: Recent[str, Login | None] = Recent(_load, trust_ms=_TRUST_MS)


def forget() -> None:
    """Drop what this process remembers of logins, after it changed one itself."""
    _known.forget()
