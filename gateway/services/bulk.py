"""Accepting many messages in one transaction: each passes the gates of a single one, and a bad one fails alone.

What makes it quick: messages that are alike to the gates pass them together, equal bodies are stored once, rows go
down in a few statements and counters once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

from gateway import errors, ids, jobs
from gateway.mail.draft import Draft
from gateway.services import (
    acceptance,
    contents,
    gates,
    idempotency,
    key_usage,
    personal,
    quotas,
    retention,
    suppressions,
    templates,
    verdicts,
)
from gateway.services.acceptance import Entry
from gateway.services.gates import Admitted, Prepared
from gateway.services.identity import Caller
from gateway.services.messages import Accepted
from gateway.services.retention import Retention
from models import database as db
from models.message import PART_SIZE

MOST = 1000
"""Messages of one request."""

_AHEAD_BYTES = 6 * 1024 * 1024
"""New bodies that together have more bytes than this are stored in transactions of their own before the messages."""


class Item(NamedTuple):
    """One message and who sends it: the caller with the domain that its From belongs to."""

    caller: Caller
    draft: Draft


Result = Accepted | errors.GatewayError


def turn() -> AbstractContextManager[Any]:
    """Whose turn it is among the threads of this process, to read and `accept` a thousand messages.

    On SQLite one writes at a time, and every statement of it lets another thread run: beside one that reads, it
    would hold all writers up for several times as long.
    """
    return _turn if db.dialect() == "sqlite" else nullcontext()


_turn = threading.RLock()


@dataclass(frozen=True, slots=True)
class Replayed:
    """The whole request was answered before; `answer` is what its `render` gave then."""

    answer: str


@dataclass(slots=True)
class _Shape:
    """A message as the gates saw it, for all that are alike to them and have its body, and what is made of it."""

    prepared: Prepared
    content: contents.Prepared
    lanes: dict[str, int]
    own_ways: bool  # the server is chosen for each message


@dataclass(slots=True)
class _Candidate:
    """An item on its way through the transaction."""

    index: int
    shape: _Shape
    entry: Entry
    request: idempotency.Request | None


def accept(
    *,
    caller: Caller,
    items: Sequence[Item | Result],
    request: idempotency.Request | None = None,
    render: Callable[[list[Result]], str] | None = None,
    also: Callable[[db.Transaction, list[Result]], None] | None = None,
) -> list[Result] | Replayed:
    """Store what can be accepted, in one transaction; a result for each item, in order.

    An item that is a result already keeps its place. With `request` the rendered results are kept, and answer the
    same request another time. `also` writes in the same transaction, and may take all of it back by what it raises.
    Raises `AccountDisabled`, `AccountUnverified`, `TooManyAtOnce`,
    `IdempotencyMismatch`, `IdempotencyRunning`: then nothing is stored.
    """
    if len(items) > MOST:
        raise errors.TooManyAtOnce(f"A request has at most {MOST} messages.", field="messages")
    with turn():
        return _accept(caller, items, request, render, also)


def _accept(
    caller: Caller,
    items: Sequence[Item | Result],
    request: idempotency.Request | None,
    render: Callable[[list[Result]], str] | None,
    also: Callable[[db.Transaction, list[Result]], None] | None,
) -> list[Result] | Replayed:
    if request is not None and (earlier := idempotency.replay(request)) is not None:
        return Replayed(earlier)
    gates.check_account(caller)
    results: list[Result | None] = [None if isinstance(item, Item) else item for item in items]
    candidates = _prepare(caller, items, results)
    _store_ahead(candidates)

    def work(tx: db.Transaction) -> list[Result] | Replayed:
        if request is not None and (earlier := idempotency.claim(tx, request, now_ms=_now(candidates))) is not None:
            return Replayed(earlier)
        found = _store(tx, caller, candidates, results)
        if also is not None:
            also(tx, found)
        if request is not None and render is not None:
            idempotency.finish(tx, request, message_id=None, answer=render(found))
        return found

    if not candidates and request is None and also is None:
        return [result for result in results if result is not None]
    done = db.in_transaction(work)
    if not isinstance(done, Replayed):
        sent = [one for one in done if one.__class__ is Accepted and not one.replayed]
        key_usage.count_sends(caller.key_id, len(sent))
    return done


def _prepare(caller: Caller, items: Sequence[Item | Result], results: list[Result | None]) -> list[_Candidate]:
    """Pass the gates that need no transaction; a refusal goes to `results`."""
    shapes: dict[tuple[Any, ...], dict[tuple[Any, ...], _Shape]] = {}
    known: dict[int, templates.Template] = {}

    def find(template_id: int) -> templates.Template:
        if template_id not in known:
            known[template_id] = personal.find_template(caller=caller, template_id=template_id)
        return known[template_id]

    candidates = []
    for index, item in enumerate(items):
        if not isinstance(item, Item):
            continue
        try:
            draft = item.draft
            if draft.template_id is not None or draft.variables or draft.list_id is not None:
                draft = _rendered(item, find)
            recipients = gates.recipients(draft)
            key = (item.caller.domain_id, draft.own_lane, *gates.shape(draft, len(recipients)))
            bodies = shapes.setdefault(key, {})
            body = gates.body_of(draft)
            shape = bodies.get(body)
            if shape is None:
                shape = bodies[body] = _shape(item.caller, draft, next(iter(bodies.values()), None))
            entry = _entry(shape, draft, recipients)
        except errors.Unavailable:
            raise
        except errors.GatewayError as refusal:
            # What it names may have changed since; that must not refuse what was accepted.
            asked = idempotency.of_draft(caller.account_id, item.draft)
            earlier = None if asked is None else idempotency.replay(asked)
            results[index] = refusal if earlier is None else Accepted.earlier(earlier)
            continue
        candidates.append(_Candidate(index, shape, entry, idempotency.of_draft(caller.account_id, draft)))
    return candidates


def _rendered(item: Item, find: Callable[[int], templates.Template]) -> Draft:
    draft = item.draft
    if draft.list_id is not None:
        raise errors.Invalid("A message to a list is no item of a bulk request.", field="list")
    return replace(personal.prepare(item.caller, draft, find), template_id=None, variables={})


def _shape(caller: Caller, draft: Draft, like: _Shape | None) -> _Shape:
    """Through the gates, or past those that have seen one `like` it with another body."""
    if like is None:
        prepared = gates.prepare(caller, draft, {})
        lanes, own_ways = acceptance.lanes_of(prepared), gates.has_servers(prepared)
    else:
        prepared, lanes, own_ways = gates.with_body(like.prepared, draft), like.lanes, like.own_ways
    content = contents.Prepared(prepared.sender.account_id, prepared.kind, prepared.body)
    return _Shape(prepared, content, lanes, own_ways)


def _entry(shape: _Shape, draft: Draft, recipients: list[str]) -> Entry:
    raw = ids.new_bytes()
    if not shape.own_ways:
        return Entry(raw, shape.prepared, draft, recipients, shape.lanes)
    stream = shape.prepared.draft.in_stream
    own = replace(
        shape.prepared, uuid=UUID(bytes=raw), draft=draft.moved(stream), recipients=recipients, routes={},
        trail=dict(shape.prepared.trail),
    )  # fmt: skip
    gates.choose_servers(own)
    return Entry(raw, own, draft, recipients, acceptance.lanes_of(own))


def _store_ahead(candidates: Sequence[_Candidate]) -> None:
    """Large bodies before the transaction, so that it is a short one; what no message refers to is collected."""
    fresh = {one.shape.content.digest: one.shape.content for one in candidates if one.shape.content.stored_id is None}
    whole = sum(len(content.packed) for content in fresh.values())
    batch: list[contents.Prepared] = []
    size = 0
    for content in fresh.values():
        if len(content.packed) > PART_SIZE:
            content.stored_id = contents.store_ahead(content)
        elif whole > _AHEAD_BYTES:
            batch.append(content)
            size += len(content.packed)
            if size >= _AHEAD_BYTES:
                contents.store_some_ahead(batch)
                batch, size = [], 0
    if batch:
        contents.store_some_ahead(batch)


def _now(candidates: Sequence[_Candidate]) -> int:
    return candidates[0].shape.prepared.now_ms if candidates else 0


def _store(
    tx: db.Transaction, caller: Caller, candidates: Sequence[_Candidate], earlier: Sequence[Result | None]
) -> list[Result]:
    results = list(earlier)
    going, twins = _claim(tx, candidates, results)
    going = _unsuppressed(tx, caller, going, results)
    refusals, left = quotas.spend_some(
        tx, account_id=caller.account_id, plan=caller.plan, wanted=[len(one.entry.recipients) for one in going]
    )
    for one, refusal in zip(going, refusals, strict=True):
        if refusal is not None:
            results[one.index] = refusal
    going = [one for one, refusal in zip(going, refusals, strict=True) if refusal is None]
    # What was refused in here has written its key already.
    idempotency.forget(
        tx,
        [one.request for one in candidates if one.request and isinstance(results[one.index], errors.GatewayError)
         and not isinstance(results[one.index], errors.IdempotencyMismatch)],
    )  # fmt: skip
    row_ids = _write(tx, going, gates.quota(caller, left)) if going else []
    for row_id, one in zip(row_ids, going, strict=True):
        results[one.index] = Accepted(one.entry.raw, row_id, False, one.entry.admitted.suppressed)
    for twin, first in twins:
        same = results[first.index]
        results[twin.index] = Accepted(same.raw, replayed=True) if isinstance(same, Accepted) else same
    return [result for result in results if result is not None]


def _claim(
    tx: db.Transaction, candidates: Sequence[_Candidate], results: list[Result | None]
) -> tuple[list[_Candidate], list[tuple[_Candidate, _Candidate]]]:
    """The candidates without a key or with a new one; and repetitions within this request, each with its first."""
    keyed: dict[tuple[str, str], _Candidate] = {}
    going: list[_Candidate] = []
    twins: list[tuple[_Candidate, _Candidate]] = []
    for one in candidates:
        if one.request is None:
            going.append(one)
            continue
        first = keyed.setdefault(one.request.row, one)
        if first is one or first.request is None:
            continue
        if first.request.fingerprint == one.request.fingerprint:
            twins.append((one, first))
        else:
            results[one.index] = errors.IdempotencyMismatch()
    if not keyed:
        return going, twins
    asked = [(one.request, one.entry.message_id) for one in keyed.values() if one.request is not None]
    decided = idempotency.claim_many(tx, asked, now_ms=_now(candidates))
    for one, answer in zip(keyed.values(), decided, strict=True):
        if answer is None:
            going.append(one)
        else:
            results[one.index] = answer if isinstance(answer, errors.GatewayError) else Accepted.earlier(answer)
    return sorted(going, key=lambda one: one.index), twins


def _unsuppressed(
    tx: db.Transaction, caller: Caller, going: Sequence[_Candidate], results: list[Result | None]
) -> list[_Candidate]:
    """The candidates of whose recipients somebody is left; one question for each domain."""
    addresses: dict[int, list[str]] = {}
    for one in going:
        addresses.setdefault(one.shape.prepared.sender.id, []).extend(one.entry.recipients)
    blocked = {
        domain_id: suppressions.check(tx, account_id=caller.account_id, domain_id=domain_id, addresses=some)
        for domain_id, some in addresses.items()
    }
    left = []
    free: dict[int, Admitted] = {}  # for messages of which nobody is suppressed, by the number of recipients
    for one in going:
        entry, found = one.entry, blocked[one.shape.prepared.sender.id]
        count = len(entry.recipients)
        stopped = {rcpt: found[rcpt] for rcpt in entry.recipients if rcpt in found} if found else None
        if not stopped:
            entry.admitted = free.get(count) or free.setdefault(count, Admitted(count=count))
        elif len(stopped) == count:
            results[one.index] = errors.SuppressedRecipient(addresses=list(stopped))
            continue
        else:
            entry.admitted = Admitted(count=count, suppressed=list(stopped), blocked=stopped)
        left.append(one)
    return left


def _write(tx: db.Transaction, going: Sequence[_Candidate], quota: verdicts.Stored) -> list[int]:
    stored = contents.store_many(tx, list({id(one.shape): one.shape.content for one in going}.values()))
    told: dict[int, str] = {}
    for one in going:
        one.entry.content_id = stored[one.shape.content.digest]
        one.entry.verdicts = _verdicts(one, quota, told)
    entries = [one.entry for one in going]
    message_ids = acceptance.write(tx, entries)
    for message_id, one in zip(message_ids, going, strict=True):
        if one.entry.draft.keep_body_days is not None or one.entry.draft.keep_metadata_days is not None:
            kept = Retention(one.entry.draft.keep_body_days, one.entry.draft.keep_metadata_days)
            retention.ask(tx, message_id=message_id, wanted=kept, now_ms=one.shape.prepared.now_ms)
    acceptance.record(tx, message_ids, entries)
    if any(one.shape.prepared.due_ms <= one.shape.prepared.now_ms for one in going):
        tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
    return message_ids


def _verdicts(one: _Candidate, quota: verdicts.Stored, told: dict[int, str]) -> str:
    """The trail as it is stored; the same text for all of a shape where nothing was decided about this one alone."""
    alone = one.request is not None or bool(one.entry.admitted.suppressed) or one.shape.own_ways
    if not alone and id(one.shape) in told:
        return told[id(one.shape)]
    prepared = one.entry.gated
    trail = prepared.trail | {
        verdicts.IDEMPOTENCY: gates.no_key() if one.request is None else gates.first(one.request, prepared.now_ms),
        verdicts.QUOTA: quota,
        verdicts.SUPPRESSION: gates.suppression(one.entry.draft, one.entry.admitted),
    }
    text = verdicts.pack(trail)
    if not alone:
        told[id(one.shape)] = text
    return text
