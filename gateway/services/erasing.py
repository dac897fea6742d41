"""Where an address stands, and what takes its place there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from gateway import clock
from gateway.services import automation_people, contents, list_counts, mailbox_mail, search_index
from gateway.services.event_range import BY_MESSAGE
from models import database as db
from models.vocabulary import NoticeKind

_OF_AGENT = frozenset({"user_agent", "device", "device_kind", "client"})
_CHUNK = 500
_YOUNG_MS = clock.HOUR_MS  # a body may be shared with a message of the next minutes: housekeeping takes it then

_PERSONAL = (
    NoticeKind.SUBSCRIBER_UNSUBSCRIBED,
    NoticeKind.SUBSCRIBER_CONFIRMED,
    NoticeKind.AUTOMATION_TRIGGERED,
    NoticeKind.AUTOMATION_NOTICE,
)
"""Notices that name a person."""
_NAMING = ("email", "subscriber_id")

Replace = Callable[[str], str]


def people(tx: db.Transaction, *, account_id: int, address: str) -> None:
    """Lists, groups, sequences, notices of lists, what was opened, strikes, what is always allowed, inbound mail.

    A suppression loses what it says of the person.
    """
    key = (account_id, address)
    lists = tx.rows("SELECT id FROM mail_list WHERE account_id = ?", (account_id,))
    for (list_id,) in lists:
        for id_, status in tx.rows(
            "SELECT id, status FROM subscriber WHERE list_id = ? AND address = ?", (list_id, address)
        ):
            tx.execute("DELETE FROM subscriber WHERE id = ?", (id_,))
            tx.execute("DELETE FROM confirmation WHERE subscriber_id = ?", (id_,))
            list_counts.change(tx, list_id, {status: -1})
    tx.execute("DELETE FROM engagement WHERE account_id = ? AND address = ?", key)
    tx.execute(
        "DELETE FROM list_import_error WHERE LOWER(value) = ?"
        " AND import_id IN (SELECT id FROM list_import WHERE account_id = ?)",
        (address, account_id),
    )
    _notices(tx, account_id, address)
    tx.execute("DELETE FROM strike WHERE account_id = ? AND address = ?", key)
    tx.execute("DELETE FROM allowed WHERE account_id = ? AND address = ?", key)
    tx.execute("UPDATE suppression SET detail = '', message_id = NULL WHERE account_id = ? AND address = ?", key)
    inbound = tx.rows(
        "SELECT id FROM inbound_mail WHERE account_id = ? AND (LOWER(rcpt) = ? OR LOWER(mail_from) = ?"
        " OR LOWER(header_from) = ?)",
        (account_id, address, address, address),
    )
    _delete_inbound(tx, [id_ for (id_,) in inbound])
    mailbox_mail.forget_person(tx, account_id=account_id, address=address)
    tx.execute("DELETE FROM enrolment WHERE account_id = ? AND address = ?", key)
    groups = tx.rows("SELECT id FROM sender_group WHERE account_id = ?", (account_id,))
    tx.executemany(
        "DELETE FROM sender_group_email WHERE group_id = ? AND address = ?", [(g, address) for (g,) in groups]
    )
    # Those of a delivery follow with its message; these name the person in their words alone.
    tx.execute(
        "UPDATE provider_event SET raw = '' WHERE account_id = ? AND delivery_id IS NULL"
        " AND LOWER(raw) LIKE ? ESCAPE '!'",
        (account_id, "%" + re.sub(r"([!%_])", r"!\1", address) + "%"),
    )
    automation_people.forget(tx, account_id=account_id, address=address)


def _notices(tx: db.Transaction, account_id: int, address: str) -> None:
    kinds = [kind.value for kind in _PERSONAL]
    found = tx.rows(
        f"SELECT id, data FROM notice WHERE account_id = ? AND kind IN ({', '.join('?' * len(kinds))})"
        " AND INSTR(LOWER(data), ?) > 0",
        (account_id, *kinds, address),
    )
    for id_, data in found:
        kept = {name: value for name, value in orjson.loads(data).items() if name not in _NAMING}
        tx.execute("UPDATE notice SET data = ? WHERE id = ?", (orjson.dumps(kept).decode(), id_))


def message(message_id: int, mine: Sequence[int], *, account_id: int, address: str, pseudonym: str) -> None:
    """Replace the address in one message, of which the deliveries `mine` are the person's.

    The deliveries come last: until then a second run finds them again.
    """
    replace = _replacer(address, pseudonym)
    _events(message_id, replace, mine)
    db.in_transaction(lambda tx: _message(tx, message_id, mine, replace, address, pseudonym))
    _index(message_id)
    for start in range(0, len(mine), _CHUNK):
        some = mine[start : start + _CHUNK]
        db.in_transaction(lambda tx, some=some: _deliveries(tx, some, replace, pseudonym))  # type: ignore[misc]


def _replacer(address: str, pseudonym: str) -> Replace:
    """In texts of any case, as a whole address, or as a return path that holds it (`local=domain@…`)."""
    local, _, domain = address.rpartition("@")
    forms = "|".join(re.escape(form) for form in (address, f"{local}={domain}"))
    found = re.compile(rf"(?<![\w.+-])(?:{forms})(?![\w-]|\.\w)", re.IGNORECASE)
    return lambda text: found.sub(pseudonym, text)


def _events(message_id: int, replace: Replace, mine: Sequence[int]) -> None:
    after, own = 0, set(mine)
    while True:
        rows = db.rows(
            f"SELECT id, delivery_id, rcpt, reply_id, ip, data FROM event {BY_MESSAGE[db.dialect()]}"
            " WHERE message_id = ? AND id > ? ORDER BY id LIMIT ?",
            (message_id, after, _CHUNK),
        )
        if not rows:
            return
        ids = [row[0] for row in rows]
        postings = search_index.postings_of(ids)
        changed = [new for row in rows if (new := _event(row, replace, own)) is not None]
        replies = sorted({row[3] for row in rows if row[3] is not None})

        def work(
            tx: db.Transaction, changed: list[Any] = changed, replies: list[int] = replies, postings: Any = postings
        ) -> None:
            search_index.forget(tx, postings)
            tx.executemany("UPDATE event SET rcpt = ?, ip = ?, data = ? WHERE id = ?", changed)
            _replies(tx, replies, replace)

        db.in_transaction(work)
        after = ids[-1]


def _index(message_id: int) -> None:
    """What the search is to know of the message from now on."""
    ids = [
        id_
        for (id_,) in db.rows(f"SELECT id FROM event {BY_MESSAGE[db.dialect()]} WHERE message_id = ?", (message_id,))
    ]
    for start in range(0, len(ids), _CHUNK):
        postings = search_index.postings_of(ids[start : start + _CHUNK])
        db.in_transaction(lambda tx, postings=postings: search_index.put(tx, postings))  # type: ignore[misc]


def _event(row: Sequence[Any], replace: Replace, own: set[int]) -> tuple[str, str, str | None, int] | None:
    id_, delivery_id, rcpt, _, ip, data_json = row
    new_rcpt = replace(rcpt)
    data = replace(data_json) if data_json else data_json
    if delivery_id in own or new_rcpt != rcpt:
        ip = ""
        if data and "user_agent" in data:
            data = orjson.dumps({name: value for name, value in orjson.loads(data).items() if name not in _OF_AGENT})
            data = data.decode()
    return None if (new_rcpt, ip, data) == (rcpt, row[4], data_json) else (new_rcpt, ip, data, id_)


def _replies(tx: db.Transaction, ids: Iterable[int], replace: Replace) -> None:
    """Words of a remote are one row for all that heard them; its digest then leads nobody here any more."""
    for id_ in ids:
        for (text,) in tx.rows("SELECT text FROM reply WHERE id = ?", (id_,)):
            if (new := replace(text)) != text:
                digest = hashlib.md5(f"{id_}:{new}".encode(), usedforsecurity=False).hexdigest()
                tx.execute("UPDATE reply SET text = ?, digest = ? WHERE id = ?", (new[:1024], digest, id_))


def _message(
    tx: db.Transaction, message_id: int, mine: Sequence[int], replace: Replace, address: str, pseudonym: str
) -> None:
    found = tx.rows("SELECT subject, headers, metadata, content_id FROM message WHERE id = ?", (message_id,))
    if not found:
        return
    subject, headers, metadata, content_id = found[0]
    said = _boxes(orjson.loads(headers), address, pseudonym) if headers else {}
    tx.execute(
        "UPDATE message SET subject = ?, headers = ?, metadata = ? WHERE id = ?",
        (
            replace(subject),
            replace(orjson.dumps(said).decode()),
            replace(metadata) if metadata else metadata,
            message_id,
        ),
    )
    inbound = tx.rows("SELECT id, delivery_id FROM inbound_mail WHERE message_id = ?", (message_id,))
    own = set(mine)
    _delete_inbound(tx, [id_ for id_, delivery_id in inbound if delivery_id in own])
    everybody = int(tx.rows("SELECT COUNT(*) FROM delivery WHERE message_id = ?", (message_id,))[0][0])
    if everybody == len(own) and not tx.rows("SELECT 1 FROM expansion WHERE message_id = ?", (message_id,)):
        tx.execute("UPDATE message SET content_id = 0 WHERE id = ?", (message_id,))
        contents.release(tx, [content_id], before_ms=clock.now_ms() - _YOUNG_MS)


def _boxes(value: Any, address: str, pseudonym: str) -> Any:
    """Pairs of name and address lose the name with the address."""
    if isinstance(value, dict):
        return {name: _boxes(item, address, pseudonym) for name, item in value.items()}
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[1], str) and value[1].lower() == address:
            return ["", pseudonym]
        return [_boxes(item, address, pseudonym) for item in value]
    return value


def _deliveries(tx: db.Transaction, ids: Sequence[int], replace: Replace, pseudonym: str) -> None:
    marks = ",".join("?" * len(ids))
    attempts = [
        (replace(reply), replace(dialogue), replace(verdicts), id_)
        for id_, reply, dialogue, verdicts in tx.rows(
            f"SELECT id, reply, dialogue, verdicts FROM attempt WHERE delivery_id IN ({marks})", ids
        )
    ]
    tx.executemany("UPDATE attempt SET reply = ?, dialogue = ?, verdicts = ? WHERE id = ?", attempts)
    tx.execute(f"UPDATE provider_event SET raw = '' WHERE delivery_id IN ({marks})", ids)
    captured = tx.rows(f"SELECT content_id FROM captured_mail WHERE delivery_id IN ({marks})", ids)
    tx.execute(f"DELETE FROM captured_mail WHERE delivery_id IN ({marks})", ids)
    contents.release(tx, [id_ for (id_,) in captured], before_ms=clock.now_ms() - _YOUNG_MS)
    tx.execute(f"UPDATE delivery SET rcpt = ?, merge = NULL, waiting = NULL WHERE id IN ({marks})", (pseudonym, *ids))


def _delete_inbound(tx: db.Transaction, ids: Sequence[int]) -> None:
    if ids:
        marks = ",".join("?" * len(ids))
        tx.execute(f"DELETE FROM inbound_mail_part WHERE inbound_mail_id IN ({marks})", ids)
        tx.execute(f"DELETE FROM inbound_mail WHERE id IN ({marks})", ids)
