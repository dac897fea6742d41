"""From the fields of `/v1/send` to drafts: one message, or for a campaign one for each recipient."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import orjson

from commands.sending.addresses import empty
from commands.sending.fields import FURTHEST_DAYS, parsed_key
from gateway import clock, config, errors
from gateway.mail.draft import PURPOSES, STREAMS, Attachment, Draft, Mailbox
from gateway.services import personal, senders
from gateway.services.bulk import Item
from gateway.services.identity import Caller
from models.vocabulary import Stream
from web.rest.v1.sending import parts, people
from web.rest.v1.sending.faults import REQUIRED, Faults

T = TypeVar("T")

SCOPE = "POST /v1/send"
"""The endpoint of idempotency keys; the items of a bulk request share it: sent again alone they are the same."""

_PLAIN = frozenset({"from", "to", "subject", "html", "text"})
_OWN: Mapping[str, Callable[[Any, Faults], Any]] = {
    "headers": parts.headers, "tags": parts.tags, "metadata": parts.metadata, "variables": parts.variables,
}  # fmt: skip
_USUAL = _PLAIN | _OWN.keys() | {"idempotency_key"}
"""What one message of many usually says by itself; `Reader.quickly` reads no others of it, and the defaults once."""

_NO_PAYLOAD = frozenset({"idempotency_key", "dry_run"})
TYPES = ("transactional", "campaign")
_WORD_LENGTH = 64
_MS_FROM = 100_000_000_000  # what is larger counts milliseconds: as seconds it would be after the year 5000
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(slots=True)
class Read:
    """What one message of a request describes: `drafts` are several only for a campaign, and all of one domain.

    `caller` acts for the domain of the From address.
    """

    caller: Caller
    drafts: list[Draft]
    campaign: bool = False
    dry_run: bool = False


def drafts_of(caller: Caller, params: Mapping[str, Any]) -> Read:
    """Read one send of either vendor; raises `InvalidFields` with every fault, `TooLarge`, `DomainNotVerified`.

    Whether the From is a mailbox, the sender domain may send, the template exists and so on is for whoever accepts
    the drafts, but a template's name becomes its number here (`TemplateNotFound`). A dialect that asks for more
    checks `params` itself before or the drafts afterwards; `Reader` reads many of one request with less work.
    """
    return Reader(caller).read(params)


class Reader:
    """Reads the messages of one request; what they share is read once."""

    def __init__(self, caller: Caller) -> None:
        settings, plan = config.settings(), caller.plan
        self._caller = caller
        self._size = min(plan.max_size or settings.message_size, settings.message_size)
        self._most = {
            "to": settings.max_to if plan.max_to is None else plan.max_to,
            "cc": settings.max_cc if plan.max_cc is None else plan.max_cc,
            "bcc": settings.max_bcc if plan.max_bcc is None else plan.max_bcc,
            "reply_to": settings.max_reply_to if plan.max_reply_to is None else plan.max_reply_to,
        }
        self._now_ms = clock.now_ms()
        self._callers: dict[str, Caller] = {}
        self._templates: dict[str | int, int] = {}
        self._digests: dict[str, str] = {}
        self._clean: set[str] = set()
        self._senders: dict[str, Mailbox] = {}
        self._before: dict[Any, tuple[Any, Any]] = {}
        self._defaults: Mapping[str, Any] | None = None
        self._made: Callable[[Mailbox, str, str | None, str | None, list[Mailbox]], Draft] | None = None
        self._plain: dict[tuple[str, ...], bool] = {}
        self._faults = Faults()

    def quickly(self, defaults: Mapping[str, Any], own: Mapping[str, Any]) -> Item | None:
        """As `read` of `defaults` with what is a message's `own` over them, but the same defaults are read once.

        None where the message says something unusual, or wrong: `read` has to look at it.
        """
        if self._defaults is not defaults:
            base = self._shared(defaults)
            self._defaults, self._made = defaults, None if base is None else base.maker()
        names = tuple(own)
        if self._made is None or not self._is_usual(names):
            return None
        faults = self._faults
        whole = {**defaults, **own}
        get = whole.get
        sender = self._sender(get("from"), faults)
        subject = parts.subject(get("subject"), False, faults)
        html = parts.body("html", get("html"), self._size, faults, self._clean)
        text = parts.body("text", get("text"), self._size, faults, self._clean)
        to = people.read("to", get("to"), self._most["to"], faults)
        if faults.listed or sender is None or not to or (html is None and text is None):
            self._faults = Faults()
            return None
        draft = self._made(sender, subject, html, text, to)
        if not self._plain[names]:
            for name, value in own.items():
                if name in _OWN:
                    setattr(draft, name, _OWN[name](value, faults))
            self._key(whole, draft, faults)
            if faults.listed:
                self._faults = Faults()
                return None
        return Item(self._acting(draft), draft)

    def _is_usual(self, names: tuple[str, ...]) -> bool:
        """Whether all are of `_USUAL`; `_plain` remembers of such names whether they are even of `_PLAIN`."""
        if names not in self._plain and _USUAL.issuperset(names):
            self._plain[names] = _PLAIN.issuperset(names)
        return names in self._plain

    def _shared(self, defaults: Mapping[str, Any]) -> Draft | None:
        """A draft of what all messages share; None where each has to be looked at by itself."""
        faults = Faults()
        draft = Draft(None)  # type: ignore[arg-type]
        if not empty(defaults.get("type")) or not empty(defaults.get("idempotency_key")):
            return None
        self._further(defaults, draft, False, faults)
        template = _template(defaults)
        if faults.listed or _flag(defaults, "dry_run", faults) or not empty(template):
            return None
        return draft

    def read(self, params: Mapping[str, Any]) -> Read:
        """As `drafts_of`."""
        faults = Faults()
        get = params.get
        template = _template(params)
        templated = not empty(template)
        sender = self._sender(get("from"), faults)
        campaign = _word(params, "type", TYPES, faults) == "campaign"
        # A campaign is one message for each recipient: the limit is that of a message's recipients no more.
        to = people.read("to", get("to"), 1000 if campaign else self._most["to"], faults)
        if not to and not any(fault["field"].startswith("to") for fault in faults.listed):
            faults.add("to", REQUIRED)
        draft = Draft(
            sender=sender,  # type: ignore[arg-type]  # None only where a fault keeps the draft from being used
            to=to,
            subject=parts.subject(get("subject"), templated, faults),
            html=parts.body("html", get("html"), self._size, faults, self._clean),
            text=parts.body("text", get("text"), self._size, faults, self._clean),
        )
        if not templated and draft.html is None and draft.text is None and empty(get("html")) and empty(get("text")):
            faults.add("html", "html, text or template is required.")
        if not params.keys() <= _PLAIN:
            self._further(params, draft, campaign, faults)
        faults.refuse()
        if templated:
            draft.template_id = self._template(template)
        caller = self._acting(draft)
        drafts = [replace(draft, to=[box]) for box in _each(to)] if campaign else [draft]
        return Read(caller, drafts, campaign, _flag(params, "dry_run", faults) or False)

    def _further(self, params: Mapping[str, Any], draft: Draft, campaign: bool, faults: Faults) -> None:
        """The fields that most messages do not have."""
        get = params.get
        if "cc" in params:
            draft.cc = people.read("cc", get("cc"), self._most["cc"], faults)
        if "bcc" in params:
            draft.bcc = people.read("bcc", get("bcc"), self._most["bcc"], faults)
        for name in ("reply_to", "replyTo"):
            if name in params:
                draft.reply_to = people.read(name, get(name), self._most["reply_to"], faults)
        if "headers" in params:
            draft.headers = self._once(parts.headers, get("headers"), faults)
        if "attachments" in params:
            draft.attachments = self._once(self._attachments, get("attachments"), faults)
        if "tags" in params:
            draft.tags = self._once(parts.tags, get("tags"), faults)
        if "metadata" in params:
            draft.metadata = self._once(parts.metadata, get("metadata"), faults)
        if "variables" in params:
            draft.variables = parts.variables(get("variables"), faults)
        draft.send_at_ms = self._send_at(params, faults)
        draft.track_opens = _flag(params, "track_opens", faults)
        draft.track_links = _flag(params, "track_links" if "track_links" in params else "track_clicks", faults)
        _flag(params, "dry_run", faults)
        if "routing" in params:
            draft.purpose, draft.server = self._once(_routing, get("routing"), faults)
        draft.stream = _stream(get("stream"), faults)
        if draft.stream is None and campaign:
            draft.stream = Stream.BULK
        self._key(params, draft, faults)
        if campaign and (draft.cc or draft.bcc):
            faults.add("cc", "A campaign is one message for each recipient: it has no cc and no bcc.")

    def _sender(self, value: Any, faults: Faults) -> Mailbox | None:
        if value.__class__ is str and value in self._senders:
            return self._senders[value]
        found = people.read_one("from", value, faults)
        if found is not None and value.__class__ is str:
            self._senders[value] = found
        return found

    def _attachments(self, value: Any, faults: Faults) -> list[Attachment]:
        return parts.attachments(value, self._size, faults)

    def _once(self, read: Callable[[Any, Faults], T], value: Any, faults: Faults) -> T:
        """What `read` makes of a value; of the very one that came before, a default say, what it made then."""
        before = self._before.get(read)
        if before is not None and before[0] is value:
            return cast(T, before[1])
        count = len(faults.listed)
        found = read(value, faults)
        if len(faults.listed) == count:
            self._before[read] = (value, found)
        return found

    def _send_at(self, params: Mapping[str, Any], faults: Faults) -> int | None:
        """`scheduled_at` is RFC 3339 or unix time, `scheduledAt` unix milliseconds; the past is now."""
        name = "scheduled_at" if not empty(params.get("scheduled_at")) else "scheduledAt"
        value = params.get(name)
        if empty(value):
            return None
        at_ms = moment(value, ms=name == "scheduledAt")
        if at_ms is None:
            form = "unix milliseconds" if name == "scheduledAt" else "a time such as 2026-04-19T10:24:11Z, or unix time"
            faults.add(name, f"Should be {form}.")
        elif at_ms > self._now_ms + FURTHEST_DAYS * clock.DAY_MS:
            faults.add(name, f"Should be at most {FURTHEST_DAYS} days ahead.")
        elif at_ms > self._now_ms:
            return at_ms
        return None

    def _key(self, params: Mapping[str, Any], draft: Draft, faults: Faults) -> None:
        """An item's own idempotency key; a campaign's messages cannot share one."""
        value = params.get("idempotency_key")
        if empty(value):
            return
        key = parsed_key(value) if isinstance(value, str) else None
        if key is None:
            faults.add("idempotency_key", "Should be 1 to 255 printable ASCII characters.")
            return
        draft.idempotency_key, draft.idempotency_scope = key, SCOPE
        draft.fingerprint = self.fingerprint(params)

    def fingerprint(self, params: Mapping[str, Any]) -> str:
        """Hex SHA-256 of what was asked for, whatever the order of names; the key is no part of it."""
        said = {name: value for name, value in params.items() if name not in _NO_PAYLOAD}
        for name in ("html", "text"):  # often the same in a thousand messages
            body = said.get(name)
            if isinstance(body, str):
                if body not in self._digests:
                    self._digests[body] = hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
                said[name] = self._digests[body]
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _template(self, named: Any) -> int:
        if isinstance(named, bool) or not isinstance(named, str | int):
            text = "Should be the id or the name of a template."
            raise errors.InvalidFields(f"template: {text}", fields=[{"field": "template", "message": text}])
        if named not in self._templates:
            self._templates[named] = personal.template_number(caller=self._caller, named=named)
        return self._templates[named]

    def _acting(self, draft: Draft) -> Caller:
        domain = draft.sender.domain
        found = self._callers.get(domain)
        if found is None:
            found = self._callers[domain] = senders.for_address(self._caller, draft.sender)
        return found


def moment(value: Any, *, ms: bool = False) -> int | None:
    """Milliseconds of RFC 3339 text or unix time in seconds or milliseconds; None for anything else.

    `ms`: a number counts milliseconds however small it is.
    """
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 17:
        value = int(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        if not 0 <= value < 10**15:
            return None
        return int(value) if ms or value >= _MS_FROM else int(value * 1000)
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value.strip())
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _template(params: Mapping[str, Any]) -> Any:
    """The id or name of the template asked for, as it was sent."""
    return params.get("template") if params.get("template_id") is None else params.get("template_id")


def _each(boxes: list[Mailbox]) -> list[Mailbox]:
    """Every address once."""
    return list({box.email: box for box in boxes}.values())


def _word(params: Mapping[str, Any], name: str, choices: tuple[str, ...], faults: Faults) -> str:
    value = params.get(name)
    if value is None or value == "":
        return ""
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in choices:
        faults.add(name, f"Should be one of {', '.join(choices)}.")
    return word


def _stream(value: Any, faults: Faults) -> Stream | None:
    if empty(value):
        return None
    found = PURPOSES.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        faults.add("stream", f"Should be one of {', '.join(STREAMS)}.")
    return found


def _routing(value: Any, faults: Faults) -> tuple[str, str]:
    """The purpose, any word that rules may match, and the sending server."""
    if empty(value):
        return "", ""
    if not isinstance(value, Mapping):
        faults.add("routing", "Should be an object with purpose or server.")
        return "", ""
    found = []
    for names in (("purpose",), ("server", "provider")):
        text = next((value[name] for name in names if not empty(value.get(name))), "")
        if not isinstance(text, str) or len(text) > _WORD_LENGTH or not text.isprintable():
            faults.add(f"routing.{names[0]}", f"Should be one word of at most {_WORD_LENGTH} characters.")
            text = ""
        found.append(text.strip())
    return found[0].lower(), found[1]


def _flag(params: Mapping[str, Any], name: str, faults: Faults) -> bool | None:
    value = params.get(name)
    if value is None or value.__class__ is bool:
        return value
    found = _FLAGS.get(str(value).strip().lower())
    if found is None:
        faults.add(name, "Should be true or false.")
    return found
