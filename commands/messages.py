"""Messages after they were accepted: ExplainMessage, CancelMessage and RescheduleMessage."""

from __future__ import annotations

from typing import Any

from commands import events as shown
from commands.registry import command
from commands.schema import Field, Params, Text, Whole
from commands.sending.forecasts import verdict
from gateway import clock, errors
from gateway.services import explanation_words, explanations, queues
from gateway.services.explanations import AttemptRow, Explanation, Fate
from gateway.services.identity import Caller


class Moment(Field):
    """Unix seconds or `YYYY-MM-DD HH:MM:SS` in UTC, as milliseconds."""

    sample = "2026-01-31 12:30:00"

    def describe(self) -> dict[str, Any]:
        return {"type": ["integer", "number", "string"]}

    def read(self, value: Any) -> int:
        at_ms = clock.moment_ms(value)
        if at_ms is None:
            self.refuse("should be Unix seconds or YYYY-MM-DD HH:MM:SS, in UTC")
        return at_ms


class ExplainMessageParams(Params):
    MessageID = Text(missing=1, invalid=2, max=255, doc="The MessageID that the send answered")
    Recipient = Text(required=False, max=320, doc="Explain only the delivery to this address")
    StartFrom = Whole(required=False, doc="The first of the deliveries to show (default is 0)")
    RetrieveCount = Whole(
        required=False,
        high=explanations.DELIVERIES_MOST,
        clamp=True,
        doc="How many deliveries to show (default and max 100)",
    )


class CancelMessageParams(Params):
    MessageID = Text(missing=1, invalid=2, max=255, doc="The MessageID that the send answered")


class RescheduleMessageParams(Params):
    MessageID = Text(missing=1, invalid=2, max=255, doc="The MessageID that the send answered")
    SendAt = Moment(missing=3, invalid=4, doc="The new time: Unix seconds or YYYY-MM-DD HH:MM:SS in UTC")


@command(
    "EmailGateway.ExplainMessage",
    summary="Tell what became of a message, and why",
    params=ExplainMessageParams,
    errors={1: "Missing required parameter: MessageID", 2: "Message not found"},
    refusals={errors.NotFound: 2},
    answer={
        "Explanation": (
            "Accepted for example.com at 2026-01-31 12:30:00 UTC; the delivery to jane@example.org arrived"
            " at attempt 1 at mx.example.org[192.0.2.1]:25 at 2026-01-31 12:30:01 UTC (250 2.0.0 Ok)."
        ),
        "Message": {"MessageID": "example-uuid", "DomainID": "123", "Domain": "example.com"},
        "Verdicts": [
            {
                "Gate": "sender_domain",
                "Decision": "passed",
                "Rule": "from_in_domain",
                "Until": "",
                "Details": {"domain": "example.com", "status": "enabled"},
            }
        ],
        "TotalDeliveries": 1,
        "States": {"delivered": 1},
        "Deliveries": [
            {"Recipient": "jane@example.org", "State": "delivered", "Verdicts": [], "Attempts": [], "Events": []}
        ],
        "Events": [],
    },
)
def explain_message(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = explanations.explain(
        caller=caller,
        message_id=params["MessageID"],
        recipient=params.get("Recipient", "").strip(),
        start=params.get("StartFrom", 0),
        count=params.get("RetrieveCount", explanations.DELIVERIES_MOST),
    )
    answer: dict[str, Any] = {
        "Explanation": found.text,
        "Message": _message(found),
        "Verdicts": [verdict(one) for one in found.gates],
        "TotalDeliveries": found.total,
        "States": {state.name.lower(): count for state, count in found.states.items()},
        "Deliveries": [_delivery(one) for one in found.fates],
        "Events": [shown.row(event) for event in found.events],
    }
    if found.partial:
        answer["Partial"] = True
    return answer


@command(
    "EmailGateway.CancelMessage",
    summary="Take back what waits of a message",
    params=CancelMessageParams,
    errors={1: "Missing required parameter: MessageID", 2: "Message not found"},
    refusals={errors.NotFound: 2},
    answer={"CanceledDeliveries": 1, "InFlightDeliveries": 0},
)
def cancel_message(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    changed = queues.cancel_message(caller=caller, message_id=params["MessageID"])
    return {"CanceledDeliveries": changed.deliveries, "InFlightDeliveries": changed.in_flight}


@command(
    "EmailGateway.RescheduleMessage",
    summary="Give what waits of a message a new time",
    params=RescheduleMessageParams,
    errors={
        1: "Missing required parameter: MessageID",
        2: "Message not found",
        3: "Missing required parameter: SendAt",
        4: "SendAt is no time, or too far ahead",
    },
    refusals={errors.NotFound: 2, errors.Invalid: 4},
    answer={"RescheduledDeliveries": 1, "InFlightDeliveries": 0, "SendAt": "2026-01-31 12:30:00"},
)
def reschedule_message(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    changed = queues.reschedule_message(caller=caller, message_id=params["MessageID"], at_ms=params["SendAt"])
    return {
        "RescheduledDeliveries": changed.deliveries,
        "InFlightDeliveries": changed.in_flight,
        "SendAt": clock.sql_text(changed.due_ms),
    }


def _message(found: Explanation) -> dict[str, Any]:
    message = found.message
    return {
        "MessageID": str(message.uuid),
        "DomainID": str(message.domain_id),
        "Domain": message.domain,
        "From": message.from_addr,
        "Subject": message.subject,
        "Tags": message.tags,
        "Stream": message.stream.name.lower(),
        "Size": message.size,
        "Test": not message.live,
        "AcceptedAt": clock.sql_text(message.created_ms),
        "SendAt": _time(message.send_at_ms),
    }


def _delivery(one: Fate) -> dict[str, Any]:
    """`NextAttemptAt` is empty for what has ended; of one in flight it is the end of the lease."""
    return {
        "Recipient": one.recipient,
        "State": one.state.name.lower(),
        "Explanation": f"The delivery to {one.recipient} {explanation_words.fate(one)}.",
        "Reason": one.reason,
        "AttemptCount": one.attempt_count,
        "NextAttemptAt": _time(one.due_ms),
        "ExpiresAt": clock.sql_text(one.expires_ms),
        "Verdicts": [verdict(gate) for gate in one.gates],
        "Attempts": [_attempt(attempt) for attempt in one.attempts],
        "Events": [shown.row(event) for event in one.events],
    }


def _attempt(attempt: AttemptRow) -> dict[str, Any]:
    return {
        "Number": attempt.no,
        "Outcome": attempt.outcome,
        "Category": attempt.category,
        "Transport": attempt.transport,
        "Remote": attempt.remote,
        "TLS": attempt.tls,
        "Code": attempt.code,
        "EnhancedCode": attempt.enhanced,
        "Reply": attempt.reply,
        "StartedAt": clock.sql_text(attempt.started_ms),
        "Milliseconds": attempt.ms,
    }


def _time(ms: int | None) -> str:
    return "" if ms is None else clock.sql_text(ms)
