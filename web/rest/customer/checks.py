"""`/validate`, `/content-score` and `/health-score`: what is looked at before and after sending."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gateway import clock, errors
from gateway.mail import address as addresses
from gateway.mail import content_score
from gateway.mail.content_score import Content
from gateway.services import domains, health_scores, risks, spam_checks, statistics, validation_jobs, validations
from gateway.services.identity import Caller
from gateway.services.validation_jobs import Job
from gateway.services.validations import Validation
from web.rest import fields, paging
from web.rest.customer.domains import find
from web.rest.customer.operation import check_plan, operation

_BODY_MOST = 25 * 1024 * 1024
VALIDATION = {
    "email": "jane@gmial.com",
    "normalized": "jane@gmial.com",
    "verdict": "risky",
    "confidence": 0.8,
    "suggestion": "jane@gmail.com",
    "reasons": [{"code": "typo", "message": "gmial.com was probably meant to be gmail.com.", "against": True}],
    "checks": {
        "syntax": True, "domain": "gmial.com", "mx": ["mx.gmial.com"], "disposable": False, "role": False,
        "free_provider": False, "history": None,
    },
}  # fmt: skip


_JOB: dict[str, Any] = {
    "id": "550e8400-e29b-41d4-a716-446655440000", "status": "processing", "total": 1000, "done": 400,
    "summary": {"valid": 350, "risky": 30, "invalid": 20, "unknown": 0}, "created_at": "2026-01-23T10:00:00.000Z",
    "completed_at": None,
}  # fmt: skip


class _Validate(fields.Params):
    email = fields.Text(max=1000, min=1, required=True, doc="The address")


class _ValidateSome(fields.Params):
    emails = fields.Words(max=1000, most=validations.AT_ONCE, required=True, doc="At most 500 addresses")


class _Bulk(fields.Params):
    emails = fields.Words(
        max=validation_jobs.EMAIL_LENGTH, most=validation_jobs.MOST, required=True, doc="Up to 100,000 addresses"
    )


class _Content(fields.Params):
    from_ = fields.Text(max=320, data_key="from", load_default="", doc="The sender, which SpamAssassin is told")
    subject = fields.Text(max=10_000, load_default="")
    html = fields.Text(max=_BODY_MOST, load_default=None, allow_none=True)
    text = fields.Text(max=_BODY_MOST, load_default=None, allow_none=True)
    attachments = fields.Words(max=255, most=100, load_default=list, doc="File names")
    stream = fields.Text(choices=("transactional", "broadcast", "bulk"), load_default="transactional")


class _Score(fields.Params):
    domain_id = fields.Text(max=64, load_default="", doc="Of one domain instead of the account")
    from_ = fields.Moment(data_key="from", load_default=None, doc="The first day; 28 days otherwise")
    to = fields.Moment(load_default=None, doc="The last day; today otherwise")


@operation(
    "POST", "/validate", permission="read:validation", summary="Validate an address", params=_Validate,
    answer=VALIDATION,
)  # fmt: skip
def validate_email(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    (found,) = validations.validate(caller=caller, emails=[params["email"]])
    return shown(found)


@operation(
    "POST", "/validate/batch", permission="read:validation", summary="Validate up to 500 addresses",
    params=_ValidateSome, answer={"results": [VALIDATION], "summary": {"risky": 1}},
)  # fmt: skip
def validate_emails(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = validations.validate(caller=caller, emails=params["emails"])
    summary = {verdict.value: sum(one.verdict is verdict for one in found) for verdict in validations.Verdict}
    return {"results": [shown(one) for one in found], "summary": summary}


@operation(
    "POST", "/validate/bulk", permission="read:validation", summary="Validate many addresses behind the answer",
    params=_Bulk, answer=_JOB, status=202, most=500_000,
)  # fmt: skip
def start_validation(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return _job(validation_jobs.start(caller=caller, emails=params["emails"]))


@operation(
    "GET", "/validate/bulk/<job_id>", permission="read:validation", summary="How far a validation has come", answer=_JOB
)
def get_validation(caller: Caller, params: dict[str, Any], job_id: str) -> dict[str, Any]:
    return _job(validation_jobs.find(caller=caller, job_id=job_id))


@operation(
    "GET", "/validate/bulk/<job_id>/results", permission="read:validation", summary="Its results so far, in order",
    params=fields.Listing, answer={"results": [VALIDATION], "has_more": False, "next_cursor": None},
)  # fmt: skip
def list_validation_results(caller: Caller, params: dict[str, Any], job_id: str) -> dict[str, Any]:
    job = validation_jobs.find(caller=caller, job_id=job_id)
    after = paging.last_id(params["cursor"])
    rows = validation_jobs.results(job=job, after=-1 if after is None else after, count=params["limit"] + 1)
    found = paging.page(rows, params["limit"], lambda row: paging.cursor(row[0]), lambda row: shown(row[1]))
    return {"results": found.pop("data"), **found}


@operation(
    "POST", "/content-score", permission="read:content", summary="Score content before it is sent", params=_Content,
    answer={
        "score": 90.0, "grade": "good", "partial": False,
        "findings": [{
            "rule": "url_shortener", "points": 10.0, "count": 1, "message": "A link hides its target behind bit.ly.",
            "fix": "Link to the page itself; clicks are counted without a shortener.",
            "place": {"part": "html", "line": 4, "snippet": '<a href="https://bit.ly/x">'},
        }],
        "spamassassin": {
            "status": "ok", "score": 1.1, "required": 5.0,
            "rules": [{"name": "MIME_HTML_ONLY", "points": 0.1, "description": "Message only has text/html parts"}],
        },
    },
)  # fmt: skip
def score_content(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """A hundred is faultless; each finding takes its points. What SpamAssassin says stands beside it."""
    if not params["html"] and not params["text"]:
        raise errors.Invalid("html or text is required.", field="html")
    sender = addresses.check(params["from_"]) if params["from_"] else ""
    ours = domains.list_(caller=caller)
    unsubscribe = any(domain.unsubscribe_link for domain in ours)
    found = content_score.score(
        Content(
            subject=params["subject"], html=params["html"], text=params["text"], attachments=params["attachments"],
            bulk=params["stream"] != "transactional", has_unsubscribe=unsubscribe,
        )
    )  # fmt: skip
    asked = spam_checks.check(
        sender=sender or f"sender@{ours[0].name if ours else 'example.org'}", subject=params["subject"],
        html=params["html"], text=params["text"],
    )  # fmt: skip
    return score_shown(found) | {"spamassassin": None if asked is None else asdict(asked)}


@operation(
    "GET", "/health-score", permission="read:statistics", summary="The health of the account's or a domain's mail",
    params=_Score,
    answer={
        "score": 93.2, "grade": "A", "confidence": 0.98, "messages": 10000, "trend": "up", "previous_score": 88.0,
        "components": [{"name": "bounce_rate", "weight": 25, "rate": 0.01, "value": 0.89, "points": 22.2}],
        "recommendations": ["Validate addresses before you add them, and confirm sign-ups by mail."],
    },
)  # fmt: skip
def get_health_score(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Always a number; the confidence says how much mail it rests on."""
    days = statistics.period(params["from_"], params["to"])
    if params["domain_id"]:
        domain = find(caller, params["domain_id"])
        found = health_scores.of_domain(caller=caller, domain_id=domain.id, days=days)
    else:
        found = health_scores.of_account(caller=caller, days=days)
    return {
        "score": found.score,
        "grade": found.grade,
        "confidence": found.confidence,
        "messages": found.messages,
        "trend": found.trend,
        "previous_score": found.previous,
        "components": [
            {
                "name": part.measure.name, "weight": part.measure.weight, "rate": part.rate, "value": part.value,
                "points": part.points,
            }
            for part in found.parts
        ],
        "recommendations": found.advice,
    }  # fmt: skip


def _job(job: Job) -> dict[str, Any]:
    return {
        "id": str(job.uuid),
        "status": job.state,
        "total": job.total,
        "done": job.done,
        "summary": {verdict.value: job.verdicts.get(verdict.value, 0) for verdict in validations.Verdict},
        "created_at": clock.rfc3339_ms(job.created_ms),
        "completed_at": clock.rfc3339_ms(job.ended_ms) if job.ended_ms is not None else None,
    }


def shown(found: Validation) -> dict[str, Any]:
    return {
        "email": found.address,
        "normalized": found.normalised or None,
        "verdict": found.verdict.value,
        "confidence": found.confidence,
        "suggestion": found.suggestion or None,
        "reasons": [{"code": one.code, "message": one.text, "against": one.against} for one in found.reasons],
        "checks": {
            "syntax": found.syntax_ok,
            "domain": found.domain or None,
            "mx": found.mx,
            "disposable": found.disposable,
            "role": found.role,
            "free_provider": found.free,
            "history": found.history or None,
        },
    }


def score_shown(found: content_score.Score) -> dict[str, Any]:
    return {
        "score": found.score,
        "grade": found.grade,
        "partial": found.partial,
        "findings": [
            {
                "rule": one.rule, "points": one.points, "count": one.count, "message": one.message, "fix": one.fix,
                "place": {"part": one.place.part, "line": one.place.line, "snippet": one.place.snippet},
            }
            for one in found.findings
        ],
    }  # fmt: skip


class _Risk(fields.Params):
    to = fields.Words(max=320, most=validations.AT_ONCE, load_default=list, doc="The recipients, at most 500")
    subject = fields.Text(max=10_000, load_default="")
    html = fields.Text(max=_BODY_MOST, load_default=None, allow_none=True)
    text = fields.Text(max=_BODY_MOST, load_default=None, allow_none=True)
    stream = fields.Text(choices=("transactional", "broadcast", "bulk"), load_default="transactional")


@operation(
    "POST", "/risk", permission="read:validation", summary="The risk of a message or campaign before it is sent",
    params=_Risk,
    answer={
        "score": 60.0, "level": "high", "action": "warn",
        "factors": [{"code": "invalid_recipients", "points": 60.0, "message": "100% of the recipients are invalid.",
                     "recommendation": "Take them off before you send."}],
        "policy": {"warn_from": "high", "hold_from": None},
    },
)  # fmt: skip
def assess_risk(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """`action` is what the account's policy does with such a message when it is sent. A plan may leave risk out."""
    check_plan(caller.plan.risk)
    if not params["to"] and not params["html"] and not params["text"]:
        raise errors.Invalid("to, html or text is required.", field="to")
    unsubscribe = any(domain.unsubscribe_link for domain in domains.list_(caller=caller))
    found = risks.assess(
        caller=caller,
        recipients=params["to"],
        content=Content(
            subject=params["subject"], html=params["html"], text=params["text"],
            bulk=params["stream"] != "transactional", has_unsubscribe=unsubscribe,
        ),
    )  # fmt: skip
    warns, holds = (bool(caller.options.get(option)) for option in (risks.WARN, risks.HOLD))
    return {
        "score": found.score,
        "level": found.level,
        "action": found.action,
        "factors": [
            {"code": one.code, "points": one.points, "message": one.message, "recommendation": one.advice}
            for one in found.factors
        ],
        "policy": {
            "warn_from": risks.HIGH if warns or holds else None, "hold_from": risks.CRITICAL if holds else None,
        },
    }  # fmt: skip
