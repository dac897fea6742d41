"""The fields of a send, hand-checked into a draft: this runs for every message."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from commands.sending import addresses, attachments, codes, merging
from commands.sending.addresses import empty
from commands.sending.faults import Faults, encodable, line_fault
from gateway import clock, config, errors
from gateway.mail import headers as mail_headers
from gateway.mail.draft import STREAMS, Draft
from gateway.services.identity import Caller
from gateway.services.retention import MOST_DAYS
from models.vocabulary import Stream

_CONTENT = ("subject", "contenttype", "htmlcontent", "plaincontent", "attachments", "headers", "templateid")
_PEOPLE = ("from", "to", "cc", "bcc", "replyto", "targetlistid")
_HANDLING = ("tags", "tracklinks", "trackopens", "sendat", "stream", "retention")
_PASSED_ON = ("listid", "subscriberid", "journeyid", "actionid")
PAYLOAD = frozenset(_CONTENT + _PEOPLE + _HANDLING + _PASSED_ON + merging.VARIABLES)
"""What makes one request another under its idempotency key."""

FIELDS = PAYLOAD | {"dryrun"}
"""What is read, in lower case; every other parameter is ignored."""

SUBJECT_LENGTH = 998
MOST_TAGS, TAG_LENGTH = 50, 190
MOST_HEADERS = 100
KEY_LENGTH = 255
FURTHEST_DAYS = 366
"""How far ahead `SendAt` may lie; a number of milliseconds by mistake lies much further."""

_HTML, _PLAIN = "html", "plain"
_CONTENT_TYPES = {"html": _HTML, "text/html": _HTML, "plain": _PLAIN, "text": _PLAIN, "text/plain": _PLAIN}
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})
_DEFAULTS = (
    ("ListID", codes.LIST_ID),
    ("SubscriberID", codes.SUBSCRIBER_ID),
    ("JourneyID", codes.JOURNEY_ID),
    ("ActionID", codes.ACTION_ID),
)
_NUMBER = re.compile(r"[1-9][0-9]{0,18}\Z")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"\Z')
_KEY = re.compile(r"[ -~]+\Z")

Params = Mapping[str, Any]


def read(params: Params, caller: Caller | None, sender_name: str | None, faults: Faults) -> Draft | None:
    """The draft that the request describes, or None with everything that is wrong in `faults`.

    `params` has lower-case names. `caller` None: nobody is known yet, so the general limits hold;
    `sender_name` is the key's domain where it is known.
    """
    settings = config.settings()
    strict = settings.strict_names or (caller is not None and bool(caller.options.get("strict_names")))
    plan = caller.plan if caller is not None else None
    size = min(plan.max_size or settings.message_size, settings.message_size) if plan else settings.message_size

    def limit(name: str) -> int:
        own = getattr(plan, name) if plan is not None else None
        return int(getattr(settings, name) if own is None else own)

    sender = addresses.read_from(params.get("from"), sender_name, faults, strict=strict)
    to = addresses.read_list(params.get("to"), addresses.TO, limit("max_to"), faults, strict=strict)
    subject, html, text = _content(params, size, faults)
    body_days, metadata_days = _retention(params.get("retention"), faults)
    draft = Draft(
        sender=sender,  # type: ignore[arg-type]  # None only where a fault keeps the draft from being used
        subject=subject,
        html=html,
        text=text,
        to=to,
        cc=addresses.read_list(params.get("cc"), addresses.CC, limit("max_cc"), faults, strict=strict),
        bcc=addresses.read_list(params.get("bcc"), addresses.BCC, limit("max_bcc"), faults, strict=strict),
        reply_to=addresses.read_list(
            params.get("replyto"), addresses.REPLY_TO, limit("max_reply_to"), faults, strict=strict
        ),
        attachments=attachments.read(params.get("attachments"), size, faults),
        headers=_headers(params.get("headers"), faults),
        tags=_tags(params.get("tags"), faults),
        track_opens=_flag(params, "TrackOpens", faults),
        track_links=_flag(params, "TrackLinks", faults),
        send_at_ms=_send_at(params.get("sendat"), faults),
        stream=_stream(params.get("stream"), faults),
        keep_body_days=body_days,
        keep_metadata_days=metadata_days,
        defaults=_defaults(params, caller, faults),
        template_id=merging.read_template(params, caller, faults),
        list_id=merging.read_list(params, caller, faults),
        variables=merging.read_variables(params, faults),
    )
    if draft.list_id is None and empty(params.get("to")):
        faults.add(codes.TO_COUNT)
    return None if faults else draft


def _content(params: Params, size: int, faults: Faults) -> tuple[str, str | None, str | None]:
    """Subject, HTML and plain text; a template brings its own, so then they may be absent."""
    templated = not empty(params.get("templateid"))
    subject = _subject(params.get("subject"), templated, faults)
    html = _text(params, "HtmlContent", size, faults)
    text = _text(params, "PlainContent", size, faults)
    kind = params.get("contenttype")
    kind = _CONTENT_TYPES.get(kind.strip().lower()) if isinstance(kind, str) else None
    if not templated:
        if kind is None:
            faults.add(codes.CONTENT_TYPE)
        elif kind == _HTML and empty(params.get("htmlcontent")):
            faults.add(codes.HTML)
        elif kind == _PLAIN and empty(params.get("plaincontent")):
            faults.add(codes.PLAIN)
    return subject, html, text


def _subject(value: Any, templated: bool, faults: Faults) -> str:
    if empty(value):
        if not templated:
            faults.add(codes.SUBJECT)
        return ""
    if not isinstance(value, str):
        faults.other("Subject should be text.")
        return ""
    subject = value.strip()
    fault = line_fault(subject, SUBJECT_LENGTH)
    if fault is not None:
        faults.other(f"Subject {fault}")
    return subject


def _text(params: Params, name: str, size: int, faults: Faults) -> str | None:
    value = params.get(name.lower())
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        faults.other(f"{name} should be text.")
    elif len(value) > size:
        faults.other(f"{name} has more than {size} bytes.", 413)
    elif "\0" in value or not encodable(value):
        faults.other(f"{name} has a NUL or is not Unicode text.")
    else:
        return value
    return None


def _headers(value: Any, faults: Faults) -> list[tuple[str, str]]:
    """Custom headers from an object or from a list of `{name, value}`; the names keep their spelling."""
    if empty(value):
        return []
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        for item in value:
            named = {str(key).lower(): part for key, part in item.items()} if isinstance(item, dict) else {}
            pairs.append((named.get("name"), named.get("value")))
    else:
        faults.other("Headers should be an object, or a list of objects with name and value.")
    if len(pairs) > MOST_HEADERS:
        faults.other(f"A message has at most {MOST_HEADERS} custom headers.")
        return []
    found = []
    for name, content in pairs:
        if isinstance(content, int | float) and not isinstance(content, bool):
            content = str(content)
        try:
            found.append(mail_headers.check_custom(name, content))
        except errors.Invalid as error:
            faults.other(error.message)
    return found


def _tags(value: Any, faults: Faults) -> list[str]:
    if empty(value):
        return []
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        faults.other("Tags should be a list of texts.")
        return []
    tags = [tag for tag in dict.fromkeys(item.strip() for item in items) if tag]
    if len(tags) > MOST_TAGS:
        faults.other(f"A message has at most {MOST_TAGS} tags.")
    for tag in tags[:MOST_TAGS]:
        fault = line_fault(tag, TAG_LENGTH)
        if fault is not None:
            faults.other(f"A tag {fault}")
    return tags


def _flag(params: Params, name: str, faults: Faults) -> bool | None:
    value = params.get(name.lower())
    if value is None or isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else str(value) if isinstance(value, int) else "?"
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    if word:
        faults.other(f"{name} should be 1, 0, true or false.")
    return None


def dry_run(params: Params, faults: Faults) -> bool:
    """Whether the request only asks what a send would do."""
    return bool(_flag(params, "DryRun", faults))


def _send_at(value: Any, faults: Faults) -> int | None:
    """Milliseconds of the time to send at: Unix seconds or `YYYY-MM-DD HH:MM:SS` in UTC; None is now, like the past."""
    if empty(value):
        return None
    at_ms = clock.moment_ms(value)
    now = clock.now_ms()
    if at_ms is None:
        faults.other("SendAt should be Unix seconds or YYYY-MM-DD HH:MM:SS in UTC.")
    elif at_ms > now + FURTHEST_DAYS * clock.DAY_MS:
        faults.other(f"SendAt is more than {FURTHEST_DAYS} days ahead.")
    elif at_ms > now:
        return at_ms
    return None


def _stream(value: Any, faults: Faults) -> Stream | None:
    """What it goes with: bulk waits behind transactional mail and has a time limit of its own."""
    if empty(value):
        return None
    stream = STREAMS.get(value.strip().lower()) if isinstance(value, str) else None
    if stream is None:
        faults.other("Stream should be transactional or bulk.")
    return stream


def _retention(value: Any, faults: Faults) -> tuple[int | None, int | None]:
    """Days that the message's body and the rest of it are kept, where it says so."""
    if empty(value):
        return None, None
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            value = None
    days = {str(name).lower(): number for name, number in value.items()} if isinstance(value, Mapping) else {}
    if not days or not days.keys() <= {"body", "metadata"}:
        faults.other("Retention should be an object with Body, Metadata or both.")
        return None, None
    for name, low in (("body", 0), ("metadata", 1)):
        number = days.get(name, low)
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= MOST_DAYS:
            faults.other(f"Retention: {name.capitalize()} should be a number of days from {low} to {MOST_DAYS}.")
            return None, None
    return days.get("body"), days.get("metadata")


def _defaults(params: Params, caller: Caller | None, faults: Faults) -> dict[str, str]:
    """The journey identifiers that come back in events: those of the key, and over them those of the send."""
    found = dict(caller.defaults) if caller is not None else {}
    for name, code in _DEFAULTS:
        value = params.get(name.lower())
        if value is None or value == "":
            continue
        text = _identifier(value)
        if text is None:
            faults.add(code)
        else:
            found[name] = text
    return found


def _identifier(value: Any) -> str | None:
    """A whole number above 0 or a UUID, as text; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if 0 < value < 10**19 else ""
    if not isinstance(value, str):
        return None
    text = value.strip()
    if _NUMBER.match(text):
        return text
    try:
        return str(uuid.UUID(text)) if len(text) == 36 else None
    except ValueError:
        return None


def idempotency_key(header: str | None, faults: Faults) -> str | None:
    """The key of an `Idempotency-Key` header, an RFC 8941 string or bare text."""
    if header is None:
        return None
    key = parsed_key(header)
    if key is None:
        faults.other(f"Idempotency-Key should be 1 to {KEY_LENGTH} printable ASCII characters.")
    return key


def parsed_key(header: str) -> str | None:
    """The key itself; None for what cannot be one."""
    key = header.strip()
    quoted = _QUOTED.match(key)
    if quoted:
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    return key if _KEY.match(key) and len(key) <= KEY_LENGTH else None


def fingerprint(params: Params) -> str:
    """Hex SHA-256 of what was asked for, whatever the order and spelling of names; the credentials are no part."""
    payload = {name: value for name, value in params.items() if name in PAYLOAD}
    return hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest()
