"""The steps of a sequence: checked when it is made, and the message that one of them becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from gateway import errors
from gateway.mail.draft import Draft, Mailbox
from gateway.services import tallies, templates
from gateway.services.enrolment_ends import ORIGIN
from models.vocabulary import Stream

SEND, DELAY = "send_email", "delay"
MOST = 50
"""Steps of a sequence."""
DELAY_MOST_MS = 366 * 86_400_000
_SUBJECT_LENGTH = 998
_BODY_LENGTH = 262_144
_REFERENCES_MOST = 20

Step = Mapping[str, Any]


def check(steps: Any) -> list[dict[str, Any]]:
    """The steps with what we know of them and nothing else; raises `Invalid` with the place of the fault."""
    if not isinstance(steps, list) or not 1 <= len(steps) <= MOST:
        raise errors.Invalid(f"steps should be a list of 1 to {MOST} steps.", field="steps")
    found = [_step(step, f"steps.{at}") for at, step in enumerate(steps)]
    if found[0]["type"] != SEND:
        raise errors.Invalid("The first step should be send_email.", field="steps.0.type")
    return found


def _step(step: Any, where: str) -> dict[str, Any]:
    kind = step.get("type") if isinstance(step, dict) else None
    if kind == DELAY:
        delay = step.get("delayMs")
        if isinstance(delay, bool) or not isinstance(delay, int) or not 0 < delay <= DELAY_MOST_MS:
            raise errors.Invalid(
                f"delayMs should be milliseconds from 1 to {DELAY_MOST_MS} (366 days).", field=f"{where}.delayMs"
            )
        return {"type": DELAY, "delayMs": delay}
    if kind != SEND:
        raise errors.Invalid("type should be send_email or delay.", field=f"{where}.type")
    parts = {name: _text(step, name, where) for name in ("subject", "html", "text")}
    if where == "steps.0" and not parts["subject"].strip():
        raise errors.Invalid("The first email needs a subject.", field=f"{where}.subject")
    if not parts["html"] and not parts["text"]:
        raise errors.Invalid("An email needs html or text.", field=f"{where}.html")
    try:
        templates.check(parts["subject"], parts["html"] or None, parts["text"] or None)
    except errors.InvalidTemplate as error:
        raise errors.Invalid(error.message, field=where) from None
    return {"type": SEND, **{name: text for name, text in parts.items() if text}}


def _text(step: dict[str, Any], name: str, where: str) -> str:
    value = step.get(name)
    most = _SUBJECT_LENGTH if name == "subject" else _BODY_LENGTH
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most or "\0" in value or not _is_text(value):
        raise errors.Invalid(f"{name} should be a text of at most {most} characters.", field=f"{where}.{name}")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def emails(steps: Sequence[Step]) -> int:
    """How many messages somebody gets who goes through to the end."""
    return sum(step["type"] == SEND for step in steps)


def after(steps: Sequence[Step], step: int) -> tuple[int, int]:
    """The step behind `step` and the delays that follow it, and how many milliseconds those last."""
    at, wait = step + 1, 0
    while at < len(steps) and steps[at]["type"] == DELAY:
        wait += int(steps[at]["delayMs"])
        at += 1
    return at, wait


def draft(
    step: Step,
    *,
    sequence_id: int,
    sequence: str,
    enrolment: str,
    number: int,
    sender: Mailbox,
    email: str,
    fields: Mapping[str, Any],
    thread: Sequence[UUID],
    last_subject: str,
) -> Draft:
    """The message of a step to one person, in the thread of the earlier ones; `number` is the step's place."""
    headers = []
    if thread:
        named = [f"<{uuid}@{sender.domain}>" for uuid in thread[-_REFERENCES_MOST:]]
        headers = [("In-Reply-To", named[-1]), ("References", " ".join(named))]
    subject = str(step.get("subject", ""))
    variables = {**fields, "email": email}
    if not subject:  # a follow-up without one of its own; a variable, because what was rendered is no template
        subject = "{{ thread_subject }}"
        variables["thread_subject"] = last_subject if last_subject.lower().startswith("re:") else f"Re: {last_subject}"
    return Draft(
        sender=sender,
        to=[Mailbox(email)],
        subject=subject,
        html=step.get("html"),
        text=step.get("text"),
        headers=headers,
        stream=Stream.BULK,
        metadata={"sequenceId": sequence, "enrollmentId": enrolment, "step": number},
        variables=variables,
        origin=tallies.name(ORIGIN, sequence_id),
    )
