"""One run of an automation goes through its steps: each is done and written down in one commit, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway import clock, config, errors, ids
from gateway.mail.draft import Mailbox
from gateway.services import (
    automation_actions,
    automations,
    identity,
    letters,
    messages,
    notices,
    segments,
    subscribers,
)
from gateway.services.automation_actions import Step
from gateway.services.automation_runs import COMPLETED, FAILED, RUNNING, Run
from gateway.services.automations import Automation
from gateway.services.identity import Caller
from gateway.services.subscribers import Subscriber
from gateway.transports import http_call
from models import database as db
from models.group_commit import in_shared_transaction
from models.vocabulary import EventKind, NoticeKind, Stream, SubscriberStatus

STEPS_MOST = 500
"""Steps of one run, jumps counted: a program has no way back, so this only guards against a bug."""

_WAITS = (60, 300, 1800, 7200)
"""Seconds after which a webhook is called again."""
_LATER_MS = 900_000
_LATER_MOST = 300
_DETAIL = 500
_PATCH_FIELD = 16_384


class Overtaken(Exception):
    """The run was canceled, or another holds it: what was about to be written is taken back."""


class Halted(Exception):
    """The automation was paused or deleted meanwhile."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a step, and where the run goes on: by default with the next one, at once."""

    outcome: str
    detail: str = ""
    message_id: int | None = None
    to: int | None = None
    due_ms: int | None = None
    state: str = RUNNING
    told: bool = True  # jumps are nobody's business


def advance(automation: Automation, program: list[Step], run: Run) -> None:
    """Do what is due of a claimed run, until it waits or ends. Raises `Halted` where the automation does not go on."""
    caller = replace(identity.for_account(automation.account_id), live=automation.live)
    for _ in range(STEPS_MOST):
        if run.step >= len(program):
            _end(run, COMPLETED)
            return
        step = program[run.step]
        try:
            moved = _do(caller, automation, run, step, len(program))
        except Overtaken:
            return
        if moved is None:
            return
        run = moved
    _end(run, FAILED, "it took too many steps")


def _do(caller: Caller, automation: Automation, run: Run, step: Step, size: int) -> Run | None:
    """One step of a program of `size`; the run behind it, None where it waits or has ended."""
    kind = step["do"]
    if kind == automation_actions.SEND:
        return _send(caller, automation, run, step, size)
    try:
        done = _OTHERS[kind](caller, automation, run, step)
    except (errors.Unavailable, db.StoreUnavailable):
        raise
    except errors.GatewayError as refusal:
        done = Done("failed", refusal.message)
    return in_shared_transaction(lambda tx: _write(tx, automation, run, step, done, size))


def _send(caller: Caller, automation: Automation, run: Run, step: Step, size: int) -> Run | None:
    """The message and the step in one commit: a crash sends it once or leaves the step to be done."""
    letter = step["letter"]
    subscriber = _subscriber(caller, run)
    if subscriber is not None and subscriber.status is not SubscriberStatus.ACTIVE:
        done = Done("skipped", f"the subscriber is {subscriber.status.name.lower()}")
        return in_shared_transaction(lambda tx: _write(tx, automation, run, step, done, size))
    try:
        variables = {
            **letter.get("variables", {}),
            **(subscriber.fields if subscriber is not None else {}),
            **run.data,
            "email": run.email,
        }
        sender = replace(caller, domain_id=letters.domain_of(caller, letter))
        stream = None if letter.get("routing", {}).get("purpose") else Stream.BULK
        draft = letters.draft(
            letter, to=[Mailbox(run.email)], variables=variables, origin=automation.origin, stream=stream
        )
        ready = messages.make_ready(sender, draft)

        def work(tx: db.Transaction) -> Run | None:
            _still_mine(tx, run)
            _still_active(tx, automation)
            accepted = messages.store(tx, ready)
            return _write(tx, automation, run, step, Done("sent", message_id=accepted.row_id), size)

        return in_shared_transaction(work)
    except (errors.Unavailable, db.StoreUnavailable):
        raise
    except errors.SuppressedRecipient as refusal:
        done = Done("suppressed", refusal.message)
    except errors.QuotaReached as refusal:
        seconds = int(str(refusal.data.get("retry_after", 60)))
        done = Done("waits", refusal.message, to=run.step, due_ms=clock.now_ms() + seconds * 1000, told=False)
    except (errors.DomainNotActive, errors.DomainGone, errors.AccountDisabled, errors.AccountUnverified) as refusal:
        if run.tries >= _LATER_MOST:
            done = Done("failed", refusal.message, state=FAILED)
        else:
            done = Done("waits", refusal.message, to=run.step, due_ms=clock.now_ms() + _LATER_MS, told=False)
    except errors.GatewayError as refusal:
        done = Done("failed", refusal.message, state=FAILED)
    return in_shared_transaction(lambda tx: _write(tx, automation, run, step, done, size))


def _wait(caller: Caller, automation: Automation, run: Run, step: Step) -> Done:
    return Done("waited", due_ms=clock.now_ms() + int(step["ms"]))


def _branch(caller: Caller, automation: Automation, run: Run, step: Step) -> Done:
    holds = _holds(caller, run, step["if"])
    return Done("then" if holds else "else", to=run.step + 1 if holds else int(step["else"]))


def _holds(caller: Caller, run: Run, condition: Mapping[str, Any]) -> bool:
    inner = condition.get("not")
    if isinstance(inner, Mapping) and "sent" in inner:
        return not _holds(caller, run, inner)
    if "sent" in condition:
        return _came_of_it(run, str(condition["sent"]))
    matcher = segments.compile_(run.account_id, condition)
    subscriber = _subscriber(caller, run)
    fields = {**run.data, **(subscriber.fields if subscriber is not None else {})}
    created_ms = subscriber.created_ms if subscriber is not None else run.started_ms
    row = (run.subscriber_id or 0, run.email, run.address, orjson.dumps(fields).decode(), created_ms)
    now = clock.now_ms()
    return bool(segments.select(None, account_id=run.account_id, matcher=matcher, rows=[row], now_ms=now))


def _came_of_it(run: Run, word: str) -> bool:
    """Whether a message of this run had such an event."""
    sent = [
        message_id
        for (message_id,) in db.rows(
            "SELECT message_id FROM automation_step WHERE run_id = ? AND message_id IS NOT NULL", (run.id,)
        )
    ]
    if not sent:
        return False
    kind = int(EventKind[word.upper()])
    sql = f"SELECT 1 FROM event WHERE message_id IN ({','.join('?' * len(sent))}) AND kind = ? LIMIT 1"
    return bool(db.rows(sql, (*sent, kind)))


def _jump(caller: Caller, automation: Automation, run: Run, step: Step) -> Done:
    return Done("", to=int(step["to"]), told=False)


def _exit(caller: Caller, automation: Automation, run: Run, step: Step) -> Done:
    return Done("left", state=COMPLETED)


def _field(caller: Caller, automation: Automation, run: Run, step: Step) -> Done:
    subscriber = _subscriber(caller, run)
    if subscriber is None:
        return Done("skipped", "there is no such subscriber")
    subscribers.update(caller=caller, subscriber=subscriber, fields={step["name"]: step["value"]})
    return Done("set" if step["value"] is not None else "removed", step["name"])


def _tag(caller: Caller, automation: Automation, run: Run, step: Step) -> Done:
    """Tags of a subscriber are the list in their field `tags`."""
    subscriber = _subscriber(caller, run)
    if subscriber is None:
        return Done("skipped", "there is no such subscriber")
    before = subscriber.fields.get("tags")
    tags = [one for one in before if one != step["tag"]] if isinstance(before, list) else []
    if step["there"]:
        tags.append(step["tag"])
    subscribers.update(caller=caller, subscriber=subscriber, fields={"tags": tags})
    return Done("added" if step["there"] else "removed", step["tag"])


def _subscribe(caller: Caller, automation: Automation, run: Run, step: Step) -> Done:
    subscriber = _subscriber(caller, run)
    try:
        subscribers.add(
            caller=caller, list_id=step["list_id"], email=run.email, fields=subscriber.fields if subscriber else None
        )
    except errors.SubscriberExists:
        return Done("skipped", "the address is on the list already")
    return Done("subscribed")


def _unsubscribe(caller: Caller, automation: Automation, run: Run, step: Step) -> Done:
    list_id = step["list_id"] if step["list_id"] is not None else run.list_id
    if list_id is None:
        return Done("skipped", "the run belongs to no list")
    try:
        found = subscribers.find(caller=caller, list_id=list_id, email=run.email)
    except errors.NotFound:
        return Done("skipped", "the address is not on the list")
    subscribers.unsubscribe(caller=caller, subscriber=found)
    return Done("unsubscribed")


def _webhook(caller: Caller, automation: Automation, run: Run, step: Step) -> Done:
    """At least once: `webhook-id` is the same on each try, so that the endpoint can tell."""
    _check_active(automation)
    body = orjson.dumps(
        {
            "type": "automation.webhook",
            "timestamp": clock.rfc3339(clock.now_ms()),
            "data": {
                "automation": automation.public_id,
                "run": run.public_id,
                "step": step["path"],
                "subscriber": _shown(caller, run),
                "data": run.data,
            },
        }
    )
    headers = {"Content-Type": "application/json", "webhook-id": f"{run.public_id}.{run.step}"}
    reply = http_call.post(step["url"], body, headers, allow=config.settings().webhook_allow)
    if reply.ok:
        return Done("called", str(reply.status))
    why = reply.error or f"the endpoint answered {reply.status}"
    if run.tries >= len(_WAITS):
        return Done("failed", why)
    return Done("waits", why, to=run.step, due_ms=clock.now_ms() + _WAITS[run.tries] * 1000, told=False)


def _shown(caller: Caller, run: Run) -> dict[str, Any]:
    found = _subscriber(caller, run)
    if found is None:
        return {"id": None, "email": run.email, "fields": {}}
    return {"id": ids.numbered("sub", found.created_ms, found.id), "email": found.email, "fields": found.fields}


def _notice(caller: Caller, automation: Automation, run: Run, step: Step) -> Done:
    return Done("told", step["name"])


_OTHERS = {
    automation_actions.WAIT: _wait,
    automation_actions.BRANCH: _branch,
    automation_actions.JUMP: _jump,
    automation_actions.EXIT: _exit,
    automation_actions.FIELD: _field,
    automation_actions.TAG: _tag,
    automation_actions.SUBSCRIBE: _subscribe,
    automation_actions.UNSUBSCRIBE: _unsubscribe,
    automation_actions.WEBHOOK: _webhook,
    automation_actions.NOTICE: _notice,
}


def _subscriber(caller: Caller, run: Run) -> Subscriber | None:
    if run.subscriber_id is None or run.list_id is None:
        return None
    try:
        return subscribers.find(caller=caller, list_id=run.list_id, subscriber_id=run.subscriber_id)
    except errors.NotFound:
        return None


def _still_mine(tx: db.Transaction, run: Run) -> None:
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = tx.rows(f"SELECT fence, state FROM automation_run WHERE id = ?{lock}", (run.id,))
    if not found or found[0] != (run.fence, RUNNING):
        raise Overtaken


def _still_active(tx: db.Transaction, automation: Automation) -> None:
    lock = " LOCK IN SHARE MODE" if tx.dialect == "mysql" else ""
    sql = f"SELECT state FROM automation WHERE id = ? AND deleted_ms IS NULL{lock}"
    if tx.rows(sql, (automation.id,)) != [(automations.ACTIVE,)]:
        raise Halted


def _check_active(automation: Automation) -> None:
    found = automations.by_id(automation.id)
    if found is None or found.state != automations.ACTIVE:
        raise Halted


def _write(tx: db.Transaction, automation: Automation, run: Run, step: Step, done: Done, size: int) -> Run | None:
    """Where the run is now, and what became of the step; raises `Overtaken` and `Halted`."""
    if step["do"] != automation_actions.SEND or done.message_id is None:
        _still_mine(tx, run)
        _still_active(tx, automation)
    now = clock.now_ms()
    to = run.step + 1 if done.to is None else done.to
    state = COMPLETED if done.state == RUNNING and done.due_ms is None and to >= size else done.state
    ended = state != RUNNING
    again = to == run.step
    waits = done.due_ms is not None and not ended
    if done.told:
        tx.execute(
            "INSERT INTO automation_step (run_id, path, action, outcome, message_id, detail, at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                run.id, step["path"][:64], automation_actions.word(step), done.outcome, done.message_id,
                done.detail[:_DETAIL], now,
            ),
        )  # fmt: skip
    tx.execute(
        "UPDATE automation_run SET step = ?, state = ?, tries = ?, cause = ?, updated_ms = ?, ended_ms = ?,"
        f" due_ms = {'?' if waits or ended else 'due_ms'} WHERE id = ?",
        (
            to, state, run.tries + 1 if again else 0, done.detail[:_DETAIL] if again or ended else "", now,
            now if ended else None, *([done.due_ms if waits else None] if waits or ended else []), run.id,
        ),
    )  # fmt: skip
    if step["do"] == automation_actions.NOTICE:
        told = {
            "automation": automation.public_id,
            "run": run.public_id,
            "notice": step["name"],
            "email": run.email,
        }
        notices.record(
            tx, NoticeKind.AUTOMATION_NOTICE, account_id=run.account_id, domain_id=automation.domain_id, data=told,
        )  # fmt: skip
    return None if waits or ended else replace(run, step=to, tries=0)


def stumble(run: Run, error: Exception) -> None:
    """A bug of ours in its step: tried again a few times, further and further apart, then it has failed."""
    cause = f"internal error: {type(error).__name__}"
    if run.tries >= len(_WAITS):
        _end(run, FAILED, cause)
        return
    due_ms = clock.now_ms() + _WAITS[run.tries] * 1000
    db.in_transaction(
        lambda tx: tx.execute(
            "UPDATE automation_run SET tries = tries + 1, cause = ?, due_ms = ?"
            " WHERE id = ? AND fence = ? AND state = ?",
            (cause, due_ms, run.id, run.fence, RUNNING),
        )
    )


def _end(run: Run, state: str, cause: str = "") -> None:
    def work(tx: db.Transaction) -> None:
        now = clock.now_ms()
        tx.execute(
            "UPDATE automation_run SET state = ?, due_ms = NULL, ended_ms = ?, updated_ms = ?, cause = ?"
            " WHERE id = ? AND fence = ? AND state = ?",
            (state, now, now, cause, run.id, run.fence, RUNNING),
        )

    db.in_transaction(work)
