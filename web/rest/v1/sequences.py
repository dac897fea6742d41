"""`/v1/sequences`: emails that follow each other, and who goes through them."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.services import enrolments, sequence_steps, sequences
from gateway.services.enrolments import Enrolment
from gateway.services.identity import Caller
from gateway.services.sequences import Sequence, Statistics
from models.vocabulary import EnrolmentStatus
from web.rest import fields, paging
from web.rest.v1.operation import operation

_STATS = {
    "total": 120, "active": 80, "completed": 20, "replied": 12, "bounced": 3, "cancelled": 1, "complained": 1,
    "unsubscribed": 3,
}  # fmt: skip
_STEPS = [
    {"type": "send_email", "subject": "Welcome {{firstName}}", "html": "<p>Hello!</p>"},
    {"type": "delay", "delayMs": 86_400_000},
    {"type": "send_email", "subject": "Follow up", "html": "<p>Checking in</p>"},
]
_EXAMPLE = {
    "id": "seq_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "name": "Welcome Series",
    "from": "hello@example.com",
    "status": "active",
    "pausedBecause": None,
    "stepCount": 3,
    "steps": _STEPS,
    "sent": 160,
    "stats": _STATS,
    "createdAt": 1_790_000_000_000,
    "updatedAt": 1_790_000_000_000,
}
_ENROLMENT = {
    "id": "enr_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "email": "jane@example.com",
    "status": "active",
    "step": 2,
    "sent": 1,
    "nextAt": 1_790_000_000_000,
    "cause": None,
    "createdAt": 1_790_000_000_000,
    "endedAt": None,
}
_ANY_LIST = {"anyOf": [{"type": "array", "items": {}}, {"type": "string"}]}


class _Create(fields.Params):
    name = fields.Text(max=255, min=1, required=True, doc="What the sequence is called")
    steps = fields.Anything(
        shape=_ANY_LIST, required=True, doc="send_email {subject, html, text} and delay {delayMs}, the first an email"
    )

    class Meta(fields.Params.Meta):
        include = {  # noqa: RUF012 - `from` is no name of Python
            "from": fields.Text(max=320, min=1, required=True, doc="The mailbox that it comes from")
        }


class _Enrol(fields.Params):
    contacts = fields.Anything(
        shape=_ANY_LIST, required=True, doc=f"At most {enrolments.MOST} of {{email, mergeFields}}"
    )


class _Status(fields.Params):
    status = fields.Text(
        choices=(sequences.PAUSED, sequences.ACTIVE), required=True, doc="paused sends nothing, active goes on"
    )


class _List(fields.Listing):
    status = fields.Text(
        choices=("all", *(status.word for status in EnrolmentStatus)), load_default="all", doc="Only those who stand so"
    )


@operation(
    "GET",
    "/sequences",
    permission="read:sequences",
    summary="List the sequences of the key's domain with what became of whom",
    answer=[_EXAMPLE],
    dialects=("mailmark",),
)
def list_sequences(caller: Caller, params: dict[str, Any]) -> list[Any]:
    """The oldest first."""
    found = sequences.list_(caller=caller)
    counts = sequences.statistics([one.id for one in found])
    return [_shown(one, counts[one.id]) for one in found]


@operation(
    "POST",
    "/sequences",
    permission="write:sequences",
    summary="Create a sequence, active at once",
    params=_Create,
    answer=_EXAMPLE,
    status=201,
    dialects=("mailmark",),
)
def create_sequence(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """A subject may be left out behind the first email: it is then `Re:` and the one before."""
    steps = _listed(params["steps"])
    return _of(sequences.add(caller=caller, name=params["name"], from_=params["from"], steps=steps))


@operation(
    "GET",
    "/sequences/<sequence_id>",
    permission="read:sequences",
    summary="Show one sequence",
    answer=_EXAMPLE,
    dialects=("mailmark",),
)
def show_sequence(caller: Caller, params: dict[str, Any], sequence_id: str) -> dict[str, Any]:
    """With its steps."""
    return _of(sequences.find(caller=caller, sequence_id=sequence_id))


@operation(
    "POST",
    "/sequences/<sequence_id>/enroll",
    permission="write:sequences",
    summary="Enrol people, who get the first email at once",
    params=_Enrol,
    answer={
        "enrolled": 1,
        "skipped": 1,
        "enrollmentIds": ["enr_01KH8N3QZJ6W2M4YV0T9R5X7BC"],
        "skippedContacts": [{"email": "bob@example.com", "reason": enrolments.ALREADY}],
    },
    dialects=("mailmark",),
)
def enroll_contacts(caller: Caller, params: dict[str, Any], sequence_id: str) -> dict[str, Any]:
    """Whoever is active in it already is skipped, and so is whoever must not be written to."""
    made = enrolments.enrol(caller=caller, sequence_id=sequence_id, contacts=_listed(params["contacts"]))
    return {
        "enrolled": len(made.ids),
        "skipped": len(made.skipped),
        "enrollmentIds": made.ids,
        "skippedContacts": [{"email": email, "reason": reason} for email, reason in made.skipped],
    }


@operation(
    "GET",
    "/sequences/<sequence_id>/enrollments",
    permission="read:sequences",
    summary="List who goes through a sequence, the newest first",
    params=_List,
    answer={"data": [_ENROLMENT], "has_more": False, "next_cursor": None},
    dialects=("mailmark",),
)
def list_enrollments(caller: Caller, params: dict[str, Any], sequence_id: str) -> dict[str, Any]:
    """A page of them."""
    word = params["status"]
    rows = enrolments.list_(
        caller=caller,
        sequence_id=sequence_id,
        status=None if word == "all" else EnrolmentStatus[word.upper()],
        before=paging.last_id(params["cursor"]),
        count=params["limit"] + 1,
    )
    return paging.page(rows, params["limit"], lambda row: paging.cursor(row.id), _enrolment)


@operation(
    "PATCH",
    "/sequences/<sequence_id>",
    permission="write:sequences",
    summary="Pause or resume a sequence",
    params=_Status,
    answer=_EXAMPLE,
    dialects=("mailmark",),
)
def update_sequence(caller: Caller, params: dict[str, Any], sequence_id: str) -> dict[str, Any]:
    """A paused one sends nothing; what was due meanwhile is sent once it is resumed."""
    return _of(sequences.set_status(caller=caller, sequence_id=sequence_id, status=params["status"]))


@operation(
    "DELETE",
    "/sequences/<sequence_id>",
    permission="write:sequences",
    summary="Cancel a sequence for good, with everybody who is active in it",
    answer={"id": _EXAMPLE["id"], "status": "completed", "cancelledEnrollments": 80},
    dialects=("mailmark",),
)
def cancel_sequence(caller: Caller, params: dict[str, Any], sequence_id: str) -> dict[str, Any]:
    """It stays in the list, completed."""
    found = sequences.find(caller=caller, sequence_id=sequence_id)
    gone = sequences.cancel(caller=caller, sequence_id=sequence_id)
    return {"id": found.public_id, "status": sequences.COMPLETED, "cancelledEnrollments": gone}


def _listed(value: Any) -> Any:
    """A list, or the JSON text of one, as forms send it; the service says what is wrong with anything else."""
    if isinstance(value, str):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    return value


def _of(one: Sequence) -> dict[str, Any]:
    return _shown(one, sequences.statistics([one.id])[one.id])


def _shown(one: Sequence, counts: Statistics) -> dict[str, Any]:
    return {
        "id": one.public_id,
        "name": one.name,
        "from": one.address or None,
        "status": one.status,
        "pausedBecause": one.cause or None,
        "stepCount": len(one.steps),
        "emailCount": sequence_steps.emails(one.steps),
        "steps": one.steps,
        "sent": one.sent,
        "stats": {"total": counts.total, **{status.word: counts.of(status) for status in EnrolmentStatus}},
        "createdAt": one.created_ms,
        "updatedAt": one.updated_ms,
    }


def _enrolment(one: Enrolment) -> dict[str, Any]:
    return {
        "id": one.public_id,
        "email": one.email,
        "status": one.status.word,
        "step": one.step,
        "sent": one.sent,
        "nextAt": one.due_ms,
        "cause": one.cause or None,
        "createdAt": one.created_ms,
        "endedAt": one.ended_ms,
    }
