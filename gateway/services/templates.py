"""Templates of an account: kept, checked when they are written, tried out, and put into a draft."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway import clock, errors, ids
from gateway.mail import merge
from gateway.services import audit
from gateway.services.identity import Caller
from models import database as db

MOST_LISTED = 100
_COLUMNS = "id, name, subject, html, text, created_ms, updated_ms, uuid"
_NAME_LENGTH = 255
_SUBJECT_LENGTH = 998
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Template:
    """Liquid sources; `html` or `text` is there."""

    id: int
    name: str
    subject: str
    html: str | None
    text: str | None
    created_ms: int
    updated_ms: int
    uuid: UUID

    def variables(self) -> list[str]:
        """The names that its parts read, sorted."""
        parts = ((self.subject, False), (self.html, True), (self.text, False))
        return sorted({name for part, html in parts for name in _variables(part, html=html)})


@dataclass(frozen=True, slots=True)
class Rendered:
    """The parts of a message with its variables in them; `missing` are names that were not given."""

    subject: str
    html: str | None
    text: str | None
    missing: list[str]


def add(*, caller: Caller, name: str, subject: str, html: str | None, text: str | None) -> Template:
    """Keep a template; raises `Invalid`, and `InvalidTemplate` for a part that cannot be read."""
    checked = _checked(name, subject, html, text)
    return db.in_transaction(lambda tx: _insert(tx, caller, *checked))


def _insert(
    tx: db.Transaction, caller: Caller, name: str, subject: str, html: str | None, text: str | None
) -> Template:
    now, uuid = clock.now_ms(), ids.new_uuid()
    cursor = tx.execute(
        "INSERT INTO template (uuid, account_id, name, subject, html, text, created_ms, updated_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (uuid.bytes, caller.account_id, name, subject, html, text, now, now),
    )
    told = _told(name, subject, html, text)
    audit.record(tx, caller=caller, action="template.create", what=f"template:{cursor.lastrowid}", after=told)
    return Template(int(cursor.lastrowid), name, subject, html, text, now, now, uuid)


def put(
    *, caller: Caller, name: str, changes: Mapping[str, str | None], uuid: UUID | None = None
) -> tuple[Template, bool]:
    """Change the template with that UUID, else the oldest of that name, else make one; and whether it was made.

    `changes` are `subject`, `html` and `text`; what it has beside them stays. Raises `NotFound` (the UUID),
    `Invalid`, `InvalidTemplate`, `NoContent`.
    """

    def work(tx: db.Transaction) -> tuple[Template, bool]:
        # Two at once with one name make one template.
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        tx.rows(f"SELECT id FROM account WHERE id = ?{lock}", (caller.account_id,))
        where, value = ("name = ?", name.strip()) if uuid is None else ("uuid = ?", uuid.bytes)
        rows = tx.rows(
            f"SELECT {_COLUMNS} FROM template WHERE account_id = ? AND {where} ORDER BY id LIMIT 1",
            (caller.account_id, value),
        )
        if not rows and uuid is not None:
            raise errors.NotFound(what="template")
        if not rows:
            new = {"subject": "", "html": None, "text": None} | dict(changes)
            return _insert(tx, caller, *_checked(name, new["subject"] or "", new["html"], new["text"])), True
        return _update(tx, caller, _read(rows[0]), {"name": name, **changes} if name.strip() else changes), False

    return db.in_transaction(work)


def _read(row: tuple[Any, ...]) -> Template:
    id_, name, subject, html, text, created_ms, updated_ms, uuid = row
    return Template(id_, name, subject, html, text, created_ms, updated_ms, UUID(bytes=bytes(uuid)))


def find(*, caller: Caller, template_id: int | None = None, uuid: UUID | None = None) -> Template:
    """By number, else by UUID; raises `NotFound`."""
    if template_id is None and uuid is None:
        raise errors.NotFound(what="template")
    column, value = ("id", template_id) if uuid is None else ("uuid", uuid.bytes)
    rows = db.rows(f"SELECT {_COLUMNS} FROM template WHERE {column} = ? AND account_id = ?", (value, caller.account_id))
    if not rows:
        raise errors.NotFound(what="template")
    return _read(rows[0])


def uuids(*, caller: Caller, template_ids: Collection[int]) -> dict[int, UUID]:
    """The UUIDs of the account's templates by number; those that are gone are left out."""
    if not template_ids:
        return {}
    rows = db.rows(
        f"SELECT id, uuid FROM template WHERE account_id = ? AND id IN ({','.join('?' * len(template_ids))})",
        (caller.account_id, *template_ids),
    )
    return {int(template_id): UUID(bytes=bytes(uuid)) for template_id, uuid in rows}


def page(*, caller: Caller, count: int, after: int | None = None, name: str = "") -> list[Template]:
    """Templates whose name has `name` in it, in any case, without bodies, the oldest first, behind a number."""
    rows = db.rows(
        "SELECT id, name, subject, NULL, NULL, created_ms, updated_ms, uuid FROM template WHERE account_id = ?"
        f" AND id > ? ORDER BY id{'' if name else f' LIMIT {count}'}",
        (caller.account_id, after or 0),
    )
    # Folded here: the two databases do not agree on what the same letters are.
    return [_read(row) for row in rows if name.casefold() in str(row[1]).casefold()][:count]


def list_(*, caller: Caller, start: int = 0, count: int = MOST_LISTED) -> tuple[list[Template], int]:
    """Some of the account's templates, the oldest first and without their bodies, and how many there are."""
    rows = db.rows(
        "SELECT id, name, subject, NULL, NULL, created_ms, updated_ms, uuid FROM template WHERE account_id = ?"
        " ORDER BY id LIMIT ? OFFSET ?",
        (caller.account_id, min(count, MOST_LISTED), start),
    )
    total = db.rows("SELECT COUNT(*) FROM template WHERE account_id = ?", (caller.account_id,))[0][0]
    return [_read(row) for row in rows], int(total)


def update(*, caller: Caller, template_id: int, changes: Mapping[str, str | None]) -> Template:
    """Change `name`, `subject`, `html` or `text`; what was accepted before is not touched.

    Raises `NotFound`, `Invalid`, `InvalidTemplate`.
    """
    old = find(caller=caller, template_id=template_id)
    return db.in_transaction(lambda tx: _update(tx, caller, old, changes))


def _update(tx: db.Transaction, caller: Caller, old: Template, changes: Mapping[str, str | None]) -> Template:
    new = {"name": old.name, "subject": old.subject, "html": old.html, "text": old.text} | dict(changes)
    name, subject, html, text = _checked(new["name"] or "", new["subject"] or "", new["html"], new["text"])
    now = clock.now_ms()
    tx.execute(
        "UPDATE template SET name = ?, subject = ?, html = ?, text = ?, updated_ms = ? WHERE id = ? AND account_id = ?",
        (name, subject, html, text, now, old.id, caller.account_id),
    )
    if not tx.rows("SELECT id FROM template WHERE id = ?", (old.id,)):
        raise errors.NotFound(what="template")
    before, after = _told(old.name, old.subject, old.html, old.text), _told(name, subject, html, text)
    audit.record(tx, caller=caller, action="template.update", what=f"template:{old.id}", before=before, after=after)
    return Template(old.id, name, subject, html, text, old.created_ms, now, old.uuid)


def _told(name: str, subject: str, html: str | None, text: str | None) -> dict[str, Any]:
    """For the audit log: of its bodies whether they are the same, not what they say."""
    told: dict[str, Any] = {"name": name, "subject": subject}
    for part, body in (("html", html), ("text", text)):
        told[part] = audit.print_of(body)
    return told


def delete(*, caller: Caller, template_id: int) -> None:
    """Raises `NotFound`. Messages that were accepted with it have its text and are not touched."""

    def work(tx: db.Transaction) -> bool:
        mine = (template_id, caller.account_id)
        found = tx.rows("SELECT name FROM template WHERE id = ? AND account_id = ?", mine)
        gone = tx.execute("DELETE FROM template WHERE id = ? AND account_id = ?", mine).rowcount
        if gone:
            what, before = f"template:{template_id}", {"name": found[0][0]}
            audit.record(tx, caller=caller, action="template.delete", what=what, before=before)
        return bool(gone)

    if not db.in_transaction(work):
        raise errors.NotFound(what="template")


def preview(*, caller: Caller, template_id: int, variables: Mapping[str, Any]) -> Rendered:
    """The template with these variables, as a recipient would get it; raises `NotFound`, `InvalidTemplate`."""
    found = find(caller=caller, template_id=template_id)
    return Rendered(
        subject=render_subject(found.subject, variables),
        html=None if found.html is None else merge.render(found.html, variables, html=True),
        text=None if found.text is None else merge.render(found.text, variables, html=False),
        missing=[name for name in found.variables() if name not in variables],
    )


def render_subject(source: str, variables: Mapping[str, Any]) -> str:
    """One line, whatever the variables have in them; raises `InvalidTemplate`."""
    if not merge.has_tags(source):
        return source
    text = _CONTROL.sub(" ", merge.render(source, variables, html=False))
    return " ".join(text.split())[:_SUBJECT_LENGTH]


def check(subject: str, html: str | None, text: str | None) -> None:
    """Parse each part that has tags, and look for its filters; raises `InvalidTemplate` with the part's name."""
    for label, field, source in (("Subject", "subject", subject), ("HTML", "html", html), ("plain text", "text", text)):
        if source is not None and merge.has_tags(source):
            try:
                unknown = merge.compile_(source, html=field == "html").unknown_filter()
            except errors.InvalidTemplate as error:
                raise errors.InvalidTemplate(f"{label}: {error.message}", field=field) from None
            if unknown:
                raise errors.InvalidTemplate(f"{label}: {unknown}", field=field)


def _checked(name: str, subject: str, html: str | None, text: str | None) -> tuple[str, str, str | None, str | None]:
    name, subject = name.strip(), subject.strip()
    if not name or len(name) > _NAME_LENGTH:
        raise errors.Invalid(f"A template's name has 1 to {_NAME_LENGTH} characters.", field="TemplateName")
    if not subject or len(subject) > _SUBJECT_LENGTH or _CONTROL.search(subject):
        raise errors.Invalid(f"A subject is one line of 1 to {_SUBJECT_LENGTH} characters.", field="Subject")
    html, text = html or None, text or None
    if html is None and text is None:
        raise errors.NoContent(field="HTMLContent")
    for field, part in (("html", html), ("text", text)):
        if part is not None and len(part) > merge.SOURCE_MOST:
            raise errors.InvalidTemplate(
                f"A template has at most {merge.SOURCE_MOST} characters in each part.", field=field
            )
    check(subject, html, text)
    return name, subject, html, text


def _variables(part: str | None, *, html: bool) -> list[str]:
    return merge.compile_(part, html=html).variables() if part is not None and merge.has_tags(part) else []
