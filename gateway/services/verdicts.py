"""Verdicts: what a gate decided about a message or a delivery, on which input, by which rule and until when.

They are stored as one list with the message, packed, and as one JSON list with each attempt, so a stored verdict has
`gate`, where it says more than that the gate was passed `decision`, `rule` and `until_ms`, and beside them its input.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock, errors

AUTH, IDEMPOTENCY, VALIDATION, SENDER_DOMAIN = "auth", "idempotency", "validation", "sender_domain"
SUPPRESSION, QUOTA, SCHEDULE, STREAM, ROUTE, RISK = "suppression", "quota", "schedule", "stream", "route", "risk"
SIGNING, SHAPING, ATTEMPT, FINAL = "signing", "shaping", "attempt", "final"

ACCEPTING = (AUTH, IDEMPOTENCY, VALIDATION, SENDER_DOMAIN, SUPPRESSION, QUOTA, SCHEDULE, STREAM, ROUTE, RISK)
"""The gates of accepting a message, in the order in which they are told."""

PASSED, REFUSED = "passed", "refused"

Stored = dict[str, Any]
Trail = dict[str, Stored]
"""The verdicts found so far, by gate."""

_LIMITS = ("limit", "used", "period", "addresses", "field")
_DECIDED_BY: tuple[tuple[type[errors.GatewayError], str], ...] = (
    (errors.NotAuthenticated, AUTH),
    (errors.AccountDisabled, AUTH),
    (errors.AccountUnverified, AUTH),
    (errors.IdempotencyMismatch, IDEMPOTENCY),
    (errors.IdempotencyRunning, IDEMPOTENCY),
    (errors.DomainGone, SENDER_DOMAIN),
    (errors.DomainNotActive, SENDER_DOMAIN),
    (errors.NotAllowed, SENDER_DOMAIN),
    (errors.SuppressedRecipient, SUPPRESSION),
    (errors.QuotaReached, QUOTA),
)


_PACKED = "1"  # what a packed list begins with; JSON begins with a bracket
_WINDOW = -12  # RFC 1951 without a header; the window of 4 kB is made in a tenth of the time of the largest
# Never to be changed: what was packed with it could not be read any more. Another one needs another `_PACKED`.
_WORDS = (
    b'"rule":"smtp_login","id":"mail_from":"bounces@"decision":"replayed","key":"first","rule":"Idempotency-Key","key":"'
    b'"rule":"plan","decision":"partly","rule":"suppression_list","blocked":1"decision":"for_each","rule":"list","list":'
    b'"recipients":"left":{"day":"month":"hour":"decision":"later"rule":"SendAt"decision":"bulk","rule":"request"}'
    b'"rule":"purpose"decision":"test_key","decision":"smarthost","decision":"ses","server":"srv_","weight":"priority":'
    b'{"gate":"risk","decision":"warned","rule":"medium","score":,"factors":["held","rule":"high",'
    b'[{"gate":"auth","rule":"account","id":1,"rule":"key","id":1,"live":false},"live":true},{"gate":"idempotency",'
    b'"decision":"no_key"},{"gate":"validation","rule":"COMMANDPOST_MESSAGE_SIZE","recipients":1,"bytes":4,'
    b'"limit":26214400},{"gate":"sender_domain","rule":"from_in_domain","domain":"mail.example.com",'
    b'"status":"enabled","from":"news@example.com"},{"gate":"suppression","blocked":0},{"gate":"quota","decision":'
    b'"unlimited","rule":"Unlimited"},{"gate":"schedule","decision":"now","due_ms":18,"until_ms":18},{"gate":"stream",'
    b'"decision":"transactional","rule":"default"},{"gate":"route","decision":"direct","rule":"COMMANDPOST_DELIVERY",'
    b'"route":"default"}]'
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A stored verdict taken apart; `details` are what the gate looked at."""

    gate: str
    decision: str
    rule: str
    until_ms: int | None
    details: dict[str, Any]


def read(stored: Mapping[str, Any]) -> Verdict:
    """The verdict behind its stored form; words of later versions are kept as details."""
    rest = dict(stored)
    gate, decision = rest.pop("gate", ""), rest.pop("decision", PASSED)
    rule, until = rest.pop("rule", ""), rest.pop("until_ms", None)
    return Verdict(str(gate), str(decision), str(rule), until if isinstance(until, int) else None, rest)


def read_all(stored: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    return [read(one) for one in stored]


def ordered(trail: Trail) -> list[Stored]:
    """What was found, gate after gate."""
    return [trail[gate] for gate in ACCEPTING if gate in trail]


def refused(error: errors.GatewayError) -> Stored:
    """The verdict of the gate that raised the refusal; what it limits comes with it."""
    gate = next((gate for kind, gate in _DECIDED_BY if isinstance(error, kind)), VALIDATION)
    stored: Stored = {"gate": gate, "decision": REFUSED, "rule": error.slug, "text": error.message}
    if "retry_after" in error.data:
        stored["until_ms"] = clock.now_ms() + 1000 * int(str(error.data["retry_after"]))
    return stored | {name: error.data[name] for name in _LIMITS if name in error.data}


def pack(trail: Trail) -> str:
    """What was found, gate after gate, as a message keeps it: a tenth of its JSON, for there is one in every row."""
    packer = zlib.compressobj(6, zlib.DEFLATED, _WINDOW, 3, zlib.Z_DEFAULT_STRATEGY, _WORDS)
    packed = packer.compress(orjson.dumps(ordered(trail))) + packer.flush()
    return _PACKED + base64.b64encode(packed).decode()


def unpack(text: str) -> list[Stored]:
    """What `pack` was given, or the JSON that a message kept before."""
    if text[:1] != _PACKED:
        return list(orjson.loads(text or "[]"))
    return list(orjson.loads(zlib.decompressobj(_WINDOW, _WORDS).decompress(base64.b64decode(text[1:]))))
