"""`/v1/automations`: what happens by itself when something happens, a time comes or a condition becomes true."""

from __future__ import annotations

from typing import Any

from gateway import clock, ids
from gateway.services import automation_runs, automation_triggers, automations, idempotency, tallies
from gateway.services.automation_runs import Told
from gateway.services.automations import Automation
from gateway.services.identity import Caller
from models.vocabulary import EventKind, TallyFacet
from web.rest import fields, idempotent, paging
from web.rest.v1 import automation_fields
from web.rest.v1.operation import Answer, operation

READ, WRITE = "read:automations", "write:automations"

_EXAMPLE = {
    "id": "aut_01KAV3R9T7E4Q8N2M6P0S5W1XY",
    "name": "Welcome",
    "status": "active",
    "trigger": {"type": "event", "event": "subscriber.added"},
    "actions": [{"type": "send", "from": "hello@example.com", "subject": "Welcome", "text": "Hello"}],
    "reentry": "once",
    "runs": 3210,
    "created_at": "2026-04-19T10:24:11Z",
}
_RUN = {
    "id": "run_01KAV3R9T7E4Q8N2M6P0S5W1XZ",
    "status": "running",
    "subscriber": {"id": "sub_01KH8N3QZJ6W2M4YV0T9R5X7BC", "email": "jane@example.com"},
    "step": 1,
    "due_at": "2026-04-22T10:24:11Z",
    "outcomes": [{"step": "0", "action": "send", "outcome": "sent", "message": "msg_01KAV3R9T7E4Q8N2M6P0S5W1X0"}],
}


class _New(fields.Params):
    name = fields.Text(required=True, min=1, max=automations.NAME_LENGTH, doc="A name for people")
    trigger = automation_fields.trigger(
        required=True, doc="`type` is event, time or condition, with what belongs to it"
    )
    actions = automation_fields.Actions(required=True, doc="What it does, one after the other")
    reentry = fields.Anything(
        allow_none=True, shape={"type": ["string", "object"]}, doc="once, always, or `{after_days}`: who may come again"
    )
    status = fields.Text(max=8, load_default=automations.ACTIVE, doc="active or paused")


class _Change(fields.Params):
    name = fields.Text(min=1, max=automations.NAME_LENGTH, doc="Another name")
    trigger = automation_fields.trigger(doc="Another trigger")
    actions = automation_fields.Actions(doc="Other actions, for runs that begin from now on")
    reentry = fields.Anything(allow_none=True, shape={"type": ["string", "object"]}, doc="Another re-entry")


class _Listing(fields.Listing):
    status = fields.Text(max=8, load_default="", doc="Only those: active or paused")
    trigger_type = fields.Text(
        max=16, load_default="", doc="Only those of this trigger: " + ", ".join(automation_triggers.TYPES)
    )


class _Trigger(fields.Params):
    subscriber = fields.Anything(
        required=True,
        shape={
            "anyOf": [{"type": "string"}, {"type": "object", "properties": {"id": {}, "email": {"type": "string"}}}]
        },
        closed=True,
        doc="A subscriber's id or address, also in an object",
    )
    event = fields.Text(max=automation_triggers.WORD_LENGTH, load_default="", doc="What happened, for the record")
    data = fields.Anything(allow_none=True, shape={"type": "object"}, doc="For the texts and conditions of the run")


class _Event(_Trigger):
    event = fields.Text(required=True, min=1, max=automation_triggers.WORD_LENGTH, doc="The name of your event")


class _Runs(fields.Listing):
    status = fields.Text(max=10, load_default="", doc="Only those: " + ", ".join(automation_runs.STATES))
    subscriber = fields.Text(max=320, load_default="", doc="Only those of this subscriber: an id or an address")


@operation(
    "POST", "/automations", permission=WRITE, summary="Create an automation of an event, a time or a condition",
    params=_New, answer=_EXAMPLE, status=201,
)  # fmt: skip
def create_automation(caller: Caller, params: dict[str, Any]) -> Answer:
    asked, earlier = _earlier(caller, "POST /v1/automations")
    if earlier is not None:
        found = automations.find(caller=caller, automation_id=earlier)
        return Answer(_whole(found), headers=idempotent.REPLAYED)
    return Answer(_whole(automations.add(caller=caller, given=params, asked=asked)))


@operation(
    "GET", "/automations", permission=READ, summary="List automations, the newest first", params=_Listing,
    answer={"data": [_EXAMPLE], "has_more": False, "next_cursor": None},
)  # fmt: skip
def list_automations(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    limit = params["limit"]
    found = automations.list_(
        caller=caller, state=params["status"], trigger=params["trigger_type"],
        before=paging.last_id(params["cursor"]), count=limit + 1,
    )  # fmt: skip
    return paging.page(found, limit, lambda one: paging.cursor(one.id), _body)


@operation("GET", "/automations/<automation_id>", permission=READ, summary="Show an automation", answer=_EXAMPLE)
def get_automation(caller: Caller, params: dict[str, Any], automation_id: str) -> dict[str, Any]:
    return _whole(automations.find(caller=caller, automation_id=automation_id))


@operation(
    "PATCH", "/automations/<automation_id>", permission=WRITE, summary="Change an automation", params=_Change,
    answer=_EXAMPLE,
)  # fmt: skip
def update_automation(caller: Caller, params: dict[str, Any], automation_id: str) -> dict[str, Any]:
    found = automations.find(caller=caller, automation_id=automation_id)
    return _whole(automations.update(caller=caller, automation=found, given=params))


@operation(
    "DELETE", "/automations/<automation_id>", permission=WRITE, summary="Delete an automation with its runs",
    answer={"id": _EXAMPLE["id"], "deleted": True},
)  # fmt: skip
def delete_automation(caller: Caller, params: dict[str, Any], automation_id: str) -> dict[str, Any]:
    found = automations.find(caller=caller, automation_id=automation_id)
    automations.delete(caller=caller, automation=found)
    return {"id": found.public_id, "deleted": True}


@operation(
    "POST", "/automations/<automation_id>/pause", permission=WRITE, summary="Let an automation do nothing for now",
    answer=_EXAMPLE,
)  # fmt: skip
def pause_automation(caller: Caller, params: dict[str, Any], automation_id: str) -> dict[str, Any]:
    found = automations.find(caller=caller, automation_id=automation_id)
    return _whole(automations.pause(caller=caller, automation=found))


@operation(
    "POST", "/automations/<automation_id>/resume", permission=WRITE, summary="Let a paused automation go on",
    answer=_EXAMPLE,
)  # fmt: skip
def resume_automation(caller: Caller, params: dict[str, Any], automation_id: str) -> dict[str, Any]:
    found = automations.find(caller=caller, automation_id=automation_id)
    return _whole(automations.resume(caller=caller, automation=found))


@operation(
    "POST", "/automations/<automation_id>/trigger", permission=WRITE,
    summary="Trigger an automation for one subscriber", params=_Trigger, answer=_RUN, status=202,
)  # fmt: skip
def trigger_automation(caller: Caller, params: dict[str, Any], automation_id: str) -> Answer:
    found = automations.find(caller=caller, automation_id=automation_id)
    asked, earlier = _earlier(caller, f"POST /v1/automations/{found.id}/trigger")
    if earlier is not None:
        told = automation_runs.find(caller=caller, automation=found, run_id=earlier)
        return Answer(_run(told), headers=idempotent.REPLAYED)
    run = automation_runs.trigger(
        caller=caller,
        automation=found,
        subscriber=params["subscriber"],
        event=params["event"],
        data=params.get("data"),
        asked=asked,
    )
    return Answer(_run(automation_runs.told([run])[0]))


@operation(
    "GET", "/automations/<automation_id>/runs", permission=READ, summary="Inspect runs and their outcomes",
    params=_Runs, answer={"data": [_RUN], "has_more": False, "next_cursor": None},
)  # fmt: skip
def list_automation_runs(caller: Caller, params: dict[str, Any], automation_id: str) -> dict[str, Any]:
    found = automations.find(caller=caller, automation_id=automation_id)
    limit = params["limit"]
    told = automation_runs.list_(
        caller=caller,
        automation=found,
        state=params["status"],
        subscriber=params["subscriber"],
        before=paging.last_id(params["cursor"]),
        count=limit + 1,
    )
    return paging.page(told, limit, lambda one: paging.cursor(one.run.id), _run)


@operation(
    "GET", "/automations/<automation_id>/runs/<run_id>", permission=READ, summary="Show a run", answer=_RUN,
)  # fmt: skip
def get_automation_run(caller: Caller, params: dict[str, Any], automation_id: str, run_id: str) -> dict[str, Any]:
    found = automations.find(caller=caller, automation_id=automation_id)
    return _run(automation_runs.find(caller=caller, automation=found, run_id=run_id))


@operation(
    "POST", "/automations/<automation_id>/runs/<run_id>/cancel", permission=WRITE, summary="End a run where it is",
    answer=_RUN,
)  # fmt: skip
def cancel_automation_run(caller: Caller, params: dict[str, Any], automation_id: str, run_id: str) -> dict[str, Any]:
    found = automations.find(caller=caller, automation_id=automation_id)
    return _run(automation_runs.cancel(caller=caller, automation=found, run_id=run_id))


@operation(
    "POST", "/events", permission=WRITE, summary="Tell automations of an event of your own", params=_Event,
    answer={"event": "order_paid", "automations": 2}, status=202,
)  # fmt: skip
def announce_event(caller: Caller, params: dict[str, Any]) -> Answer:
    asked, earlier = _earlier(caller, "POST /v1/events")
    word = automation_triggers.word_of(params["event"])
    if earlier is not None:
        return Answer({"event": word, "automations": int(earlier)}, headers=idempotent.REPLAYED)
    count = automation_runs.announce(
        caller=caller, event=params["event"], subscriber=params["subscriber"], data=params.get("data"), asked=asked
    )
    return Answer({"event": word, "automations": count})


def _earlier(caller: Caller, endpoint: str) -> tuple[idempotency.Request | None, str | None]:
    """The request under its key, and what it was answered before."""
    asked = idempotent.asked(caller, endpoint)
    return asked, idempotency.replay(asked) if asked is not None else None


def _body(one: Automation) -> dict[str, Any]:
    reentry = {"after_days": one.reentry_days} if one.reentry == automations.DAYS else one.reentry
    return {
        "id": one.public_id,
        "name": one.name,
        "status": one.state,
        "trigger": automation_triggers.shown(one.trigger),
        "reentry": reentry,
        "version": one.version,
        "runs": one.runs,
        "not_begun": one.refused,
        "next_at": _time(one.next_ms),
        "created_at": _time(one.created_ms),
        "updated_at": _time(one.updated_ms),
        "test": not one.live,
    }


def _whole(one: Automation) -> dict[str, Any]:
    found = tallies.totals(one.origin)
    events = {EventKind(kind).word: n for kind, n in sorted(found[TallyFacet.ALL].items())}
    return {**_body(one), "actions": automations.actions_of(one), "events": events}


def _run(told: Told) -> dict[str, Any]:
    run = told.run
    return {
        "id": run.public_id,
        "status": run.state,
        "subscriber": {"id": told.subscriber, "email": run.email},
        "step": run.step,
        "due_at": _time(run.due_ms),
        "reason": run.cause or None,
        "data": run.data,
        "started_at": _time(run.started_ms),
        "ended_at": _time(run.ended_ms),
        "outcomes": [
            {
                "step": one.path,
                "action": one.action,
                "outcome": one.outcome,
                "message": ids.public_id("msg", one.message) if one.message is not None else None,
                "detail": one.detail or None,
                "at": _time(one.at_ms),
            }
            for one in told.outcomes
        ],
    }


def _time(ms: int | None) -> str | None:
    return None if ms is None else clock.rfc3339(ms)
