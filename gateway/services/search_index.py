"""The indexer of event search: reads new events behind the hot path and writes their terms.

Postings are a superset of what matches: whoever searches judges the candidates by their texts. So a batch
may be written twice, and a word that nearly everything says is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.services import event_marks, event_texts, search_terms
from gateway.services.event_query import words
from models import database as db
from models.vocabulary import EventKind

_BATCH = 1000  # events: sorted together, their postings meet on fewer pages
_WRITTEN = 1000  # postings of one transaction: it must not hold the writer for long
_CHUNK = 250
_GAP = 0.25  # the pause after a transaction, as a part of how long it took

_Posting = tuple[int, int, int, int]  # domain, term, message, delivery


def indexed_to() -> int:
    """The id of the last event that the index knows."""
    return event_marks.reached(event_marks.SEARCH)


def run(seconds: float) -> int:
    """Index what is new, for up to `seconds`; returns how many events were read.

    Safe to run anywhere, at any time: whoever holds the lease works, the others return at once.
    """
    end = time.monotonic() + seconds
    turn = event_marks.begin(event_marks.SEARCH)
    if turn is None:
        return 0
    done, at = 0, turn.at
    try:
        while time.monotonic() < end:
            events = _read(at, turn.limit)
            if not events:
                break
            at = events[-1][0]
            _write(_postings(events), at)
            done += len(events)
    finally:
        event_marks.end(event_marks.SEARCH)
    return done


def postings_of(event_ids: Sequence[int]) -> list[_Posting]:
    """What the index says of these events and of no host: to be forgotten with them."""
    found: set[_Posting] = set()
    for start in range(0, len(event_ids), _CHUNK):
        some = event_ids[start : start + _CHUNK]
        found |= _postings(db.rows(f"{_select()} WHERE e.id IN ({','.join('?' * len(some))})", some))
    return sorted(posting for posting in found if posting[0])


def forget(tx: db.Transaction, postings: Sequence[_Posting]) -> None:
    """Delete postings, sorted as `postings_of` returns them, of the deliveries and messages that they name."""
    for (domain_id, message_id), some in _by_message(postings).items():
        terms = sorted({term for _, term, _, _ in some})
        for start in range(0, len(terms), _CHUNK):
            part = terms[start : start + _CHUNK]
            tx.execute(
                f"DELETE FROM search_term WHERE domain_id = ? AND term IN ({','.join('?' * len(part))})"
                " AND message_id = ?",
                (domain_id, *part, message_id),
            )


def _by_message(postings: Sequence[_Posting]) -> dict[tuple[int, int], list[_Posting]]:
    found: dict[tuple[int, int], list[_Posting]] = {}
    for posting in postings:
        found.setdefault((posting[0], posting[2]), []).append(posting)
    return found


def _select() -> str:
    straight = "STRAIGHT_JOIN " if db.dialect() == "mysql" else ""
    return (
        f"SELECT {straight}e.id, e.domain_id, e.kind, e.message_id, e.delivery_id, e.mx_id,"
        f" {event_texts.EVENT_COLUMNS} FROM event e {event_texts.EVENT_JOINS}"
    )


def _read(after: int, limit: int) -> list[tuple[Any, ...]]:
    return db.rows(f"{_select()} WHERE e.id > ? AND e.id <= ? ORDER BY e.id LIMIT ?", (after, limit, _BATCH))


def _write(postings: Iterable[_Posting], event_id: int) -> None:
    """In short transactions, sorted; the mark moves with the last."""
    rows = sorted(postings)
    pieces = [rows[start : start + _WRITTEN] for start in range(0, len(rows), _WRITTEN)] or [[]]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1

        def work(tx: db.Transaction, piece: list[_Posting] = piece, last: bool = last) -> None:
            put(tx, piece)
            if last:
                event_marks.move(tx, event_marks.SEARCH, event_id)

        started = time.monotonic()
        db.in_transaction(work)
        time.sleep((time.monotonic() - started) * _GAP)


def put(tx: db.Transaction, postings: Sequence[_Posting]) -> None:
    """Write postings; those that are there already stay."""
    ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
    for start in range(0, len(postings), _CHUNK):
        some = postings[start : start + _CHUNK]
        tx.execute(
            f"{ignore} INTO search_term (domain_id, term, message_id, delivery_id)"
            f" VALUES {','.join(['(?,?,?,?)'] * len(some))}",
            [value for posting in some for value in posting],
        )


def _postings(events: Sequence[tuple[Any, ...]]) -> set[_Posting]:
    messages = _messages({row[3] for row in events})
    own = _own_words({row[1] for row in events})
    found: set[_Posting] = set()
    known: dict[int, frozenset[str]] = {}  # words of the addresses that a message shows
    for _, domain_id, kind, message_id, delivery_id, mx_id, *texts in events:
        if message_id not in messages:
            continue
        said, headers = messages[message_id]
        if message_id not in known:
            known[message_id] = frozenset(w for text in event_texts.recipients(headers) for w in words(text))
        if kind == EventKind.ACCEPTED:
            terms = search_terms.of_message(own[domain_id], said["subject"][0], said["from"], said["tag"])
            for text in event_texts.recipients(headers):
                terms |= search_terms.of_text("to", text)
            found |= {(domain_id, term, message_id, 0) for term in terms}
        for term in _event_terms(kind, mx_id, event_texts.of_event(texts, headers), known[message_id]):
            found.add((domain_id, term, message_id, delivery_id or 0))
        if mx_id is not None:
            found |= {(0, term, mx_id, 0) for term in search_terms.of_text("mx", texts[3] or "")}
    return found


def _event_terms(kind: int, mx_id: int | None, said: dict[str, list[str]], shown: frozenset[str]) -> set[int]:
    found: set[int] = set()
    for address in said["to"]:
        if not shown.issuperset(words(address)):  # else the message's own posting leads here
            found |= search_terms.of_text("to", address)
    for address in said["ip"]:
        if (term := search_terms.of_name("ip", address)) is not None:
            found.add(term)
    for text in said["response"]:
        found |= search_terms.of_text("response", text)
    if mx_id is not None:
        found.add(search_terms.of_mx(mx_id))
    if (term := search_terms.of_kind(kind)) is not None:
        found.add(term)
    return found


def _messages(ids: Iterable[int]) -> dict[int, event_texts.Message]:
    found: dict[int, event_texts.Message] = {}
    wanted = sorted(ids)
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        for id_, *columns in db.rows(
            f"SELECT id, {event_texts.MESSAGE_COLUMNS} FROM message WHERE id IN ({','.join('?' * len(some))})", some
        ):
            found[id_] = event_texts.of_message(*columns)
    return found


def _own_words(domain_ids: Iterable[int]) -> dict[int, frozenset[str]]:
    wanted = sorted(domain_ids)
    found = {id_: frozenset[str]() for id_ in wanted}
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        for id_, name in db.rows(f"SELECT id, name FROM sender_domain WHERE id IN ({','.join('?' * len(some))})", some):
            found[id_] = frozenset(words(name))
    return found
