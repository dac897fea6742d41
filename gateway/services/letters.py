"""Letters: what a campaign or an automation sends, without whom it goes to; checked when they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway import errors
from gateway.mail import address, headers, merge
from gateway.mail.draft import Draft, Mailbox
from gateway.services import personal, references, senders, templates
from gateway.services.identity import Caller

FIELDS = (
    "from", "subject", "html", "text", "template", "variables", "reply_to", "headers", "tags", "track_opens",
    "track_clicks", "routing", "template_id", "track_links",
)  # fmt: skip
"""The names that requests use; the last two stand for `template` and `track_clicks`."""

HEADERS_MOST = 50
TAGS_MOST = 20
TAG_LENGTH = 190
REPLY_TO_MOST = 5
SUBJECT_LENGTH = 998
_WORD_LENGTH = 64


class _Faults(list[dict[str, str]]):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def add(self, field: str, message: str) -> None:
        self.append({"field": f"{self.path}{field}", "message": message})

    def take(self, field: str, error: errors.GatewayError) -> None:
        self.add(field, error.message)


Letter = dict[str, Any]
"""As it is stored: `sender` and each of `reply_to` are [name, email], `headers` pairs, the rest as `Draft` has it."""


def read(caller: Caller, given: Mapping[str, Any], *, old: Letter | None = None, path: str = "") -> Letter:
    """The letter that a request describes; what it leaves out stays as in `old`, null takes it away.

    Raises `InvalidFields` with every fault, `TemplateNotFound` where that is the only one, `InvalidTemplate`,
    `NotAllowed` for a From that is not the key's domain, `DomainNotVerified` for one that is no domain of the account.
    """
    faults = _Faults(path)
    letter: Letter = dict(old or {})
    absent: errors.TemplateNotFound | None = None
    readers = {
        "from": _sender, "subject": _subject, "html": _body, "text": _body, "template": _template,
        "variables": _variables, "reply_to": _reply_to, "headers": _headers, "tags": _tags, "track_opens": _flag,
        "track_clicks": _flag, "routing": _routing,
    }  # fmt: skip
    given = {_SAME.get(name, name): value for name, value in given.items()}
    for name, reader in readers.items():
        if name not in given:
            continue
        stored = _STORED.get(name, name)
        if given[name] is None:
            letter.pop(stored, None)
            continue
        try:
            letter[stored] = reader(caller, name, given[name], faults)
        except errors.InvalidFields as error:
            listed: Any = error.data["fields"]
            faults.extend({**one, "field": f"{path}{one['field']}"} for one in listed)
        except errors.TemplateNotFound as error:
            letter[stored], absent = 0, error
    _complete(letter, faults)
    if absent is not None and not faults:
        raise absent
    if absent is not None:
        faults.take("template", absent)
    if faults:
        raise errors.InvalidFields(f"{faults[0]['field']}: {faults[0]['message']}", fields=list(faults))
    templates.check(letter.get("subject", ""), letter.get("html"), letter.get("text"))
    domain_of(caller, letter)
    return letter


_SAME = {"template_id": "template", "track_links": "track_clicks"}
_STORED = {"from": "sender", "template": "template_id", "track_clicks": "track_links"}


def _complete(letter: Letter, faults: _Faults) -> None:
    if "sender" not in letter and not faults:
        faults.add("from", "This field is required.")
    if "template_id" in letter:
        return
    if "subject" not in letter and not faults:
        faults.add("subject", "This field is required without a template.")
    if "html" not in letter and "text" not in letter and not faults:
        faults.add("html", "html, text or template is required.")


def domain_of(caller: Caller, letter: Letter) -> int:
    """The sender domain of its From; raises `NotAllowed` and `DomainNotVerified`."""
    box = Mailbox(letter["sender"][1])
    found = senders.for_address(caller, box).domain_id
    sender = senders.sender(found) if found is not None else None
    if found is None or sender is None or not address.same_or_subdomain(box.domain, sender.name):
        raise errors.NotAllowed("The From address does not belong to the key's domain.", field="from")
    return found


def draft(letter: Letter, **of: Any) -> Draft:
    """The draft of one message with it; `of` are further fields, the recipients among them."""
    routing = letter.get("routing", {})
    return Draft(
        sender=Mailbox(letter["sender"][1], letter["sender"][0]),
        subject=letter.get("subject", ""),
        html=letter.get("html"),
        text=letter.get("text"),
        template_id=letter.get("template_id"),
        reply_to=[Mailbox(email, name) for name, email in letter.get("reply_to", ())],
        headers=[(name, value) for name, value in letter.get("headers", ())],
        tags=list(letter.get("tags", ())),
        track_opens=letter.get("track_opens"),
        track_links=letter.get("track_links"),
        purpose=routing.get("purpose", ""),
        server=routing.get("server", ""),
        **({"variables": letter.get("variables", {})} | of),
    )


def shown(letter: Letter, template_ids: Mapping[int, str]) -> dict[str, Any]:
    """The letter in the words of a request; `template_ids` are public ids by number."""

    def mailbox(pair: list[str]) -> str:
        return f"{pair[0]} <{pair[1]}>" if pair[0] else pair[1]

    return {
        "from": mailbox(letter["sender"]) if "sender" in letter else None,
        "subject": letter.get("subject"),
        "html": letter.get("html"),
        "text": letter.get("text"),
        "template": template_ids.get(letter.get("template_id", 0)),
        "variables": letter.get("variables", {}),
        "reply_to": [mailbox(pair) for pair in letter.get("reply_to", ())],
        "headers": dict(letter.get("headers", ())),
        "tags": letter.get("tags", []),
        "track_opens": letter.get("track_opens"),
        "track_clicks": letter.get("track_links"),
        "routing": letter.get("routing", {}),
    }


def _box(field: str, value: Any, faults: _Faults) -> list[str]:
    name = ""
    if isinstance(value, Mapping):
        name = str(value.get("name") or "")
        value = value.get("email")
    try:
        if not isinstance(value, str):
            raise errors.Invalid("Should be an address, or an object of email and name.")
        box = address.parse_mailbox(value)
        return [headers.one_line(name or box.name)[:255], box.email]
    except errors.Invalid as error:
        faults.take(field, error)
        return ["", ""]


def _sender(caller: Caller, field: str, value: Any, faults: _Faults) -> list[str]:
    return _box(field, value, faults)


def _reply_to(caller: Caller, field: str, value: Any, faults: _Faults) -> list[list[str]]:
    if isinstance(value, str):
        try:
            return [[box.name, box.email] for box in address.parse_list(value)][:REPLY_TO_MOST]
        except errors.Invalid as error:
            faults.take(field, error)
            return []
    some = value if isinstance(value, list) else [value]
    if len(some) > REPLY_TO_MOST:
        faults.add(field, f"Should have at most {REPLY_TO_MOST} addresses.")
    return [_box(field, one, faults) for one in some[:REPLY_TO_MOST]]


def _subject(caller: Caller, field: str, value: Any, faults: _Faults) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > SUBJECT_LENGTH or headers.one_line(text) != text:
        faults.add(field, f"Should be one line of 1 to {SUBJECT_LENGTH} characters.")
    return text


def _body(caller: Caller, field: str, value: Any, faults: _Faults) -> str:
    if not isinstance(value, str) or not value.strip():
        faults.add(field, "Should be a text that is not empty.")
        return ""
    if len(value) > merge.SOURCE_MOST:
        faults.add(field, f"Should have at most {merge.SOURCE_MOST} characters.")
    return value


def _template(caller: Caller, field: str, value: Any, faults: _Faults) -> int:
    return references.template(caller, value, field=field)


def _variables(caller: Caller, field: str, value: Any, faults: _Faults) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        faults.add(field, "Should be an object of names and values.")
        return {}
    if len(orjson.dumps(value)) > personal.VARIABLES_MOST:
        faults.add(field, f"Should have at most {personal.VARIABLES_MOST} bytes as JSON.")
    return dict(value)


def _headers(caller: Caller, field: str, value: Any, faults: _Faults) -> list[list[str]]:
    if not isinstance(value, Mapping) or len(value) > HEADERS_MOST:
        faults.add(field, f"Should be an object of at most {HEADERS_MOST} names and texts.")
        return []
    found = []
    for name, text in value.items():
        try:
            found.append(list(headers.check_custom(name, text)))
        except errors.Invalid as error:
            faults.take(field, error)
    return found


def _tags(caller: Caller, field: str, value: Any, faults: _Faults) -> list[str]:
    some = value.split(",") if isinstance(value, str) else value
    if not isinstance(some, list) or len(some) > TAGS_MOST or not all(isinstance(tag, str) for tag in some):
        faults.add(field, f"Should be a list of at most {TAGS_MOST} texts.")
        return []
    tags = list(dict.fromkeys(tag.strip() for tag in some if tag.strip()))
    if any(len(tag) > TAG_LENGTH or not tag.isprintable() for tag in tags):
        faults.add(field, f"Each should have at most {TAG_LENGTH} printable characters.")
    return tags


def _flag(caller: Caller, field: str, value: Any, faults: _Faults) -> bool:
    if not isinstance(value, bool):
        faults.add(field, "Should be true or false.")
    return bool(value)


def _routing(caller: Caller, field: str, value: Any, faults: _Faults) -> dict[str, str]:
    """`purpose`, and `server` (or `provider`): a sending server or the kind of one."""
    if not isinstance(value, Mapping):
        faults.add(field, "Should be an object of purpose and server.")
        return {}
    found = {"purpose": value.get("purpose"), "server": value.get("server", value.get("provider"))}
    for name, text in found.items():
        if text is not None and (not isinstance(text, str) or len(text) > _WORD_LENGTH):
            faults.add(f"{field}.{name}", f"Should be a text of at most {_WORD_LENGTH} characters.")
    return {name: text for name, text in found.items() if isinstance(text, str) and text}
