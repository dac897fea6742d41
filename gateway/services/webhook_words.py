"""What a webhook may ask for: words of events and notices, as each surface spells them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.errors import InvalidEvent
from gateway.services import email_events, event_words, message_events
from gateway.services.identity import OCTETH
from models.vocabulary import EventKind, NoticeKind

NATIVE = "native"
MAILERSIO = "mailersio"
MAILLAYER, MAILERLOGIC = "maillayer", "mailerlogic"
MESSAGE, NOTICE = "message.", "notice."
ALL = "all"

NATIVE_WORDS = (
    ALL,
    f"{MESSAGE}*",
    *(f"{MESSAGE}{kind.word}" for kind in EventKind),
    NoticeKind.MESSAGE_RECEIVED.value,
    f"{NOTICE}*",
    *(f"{NOTICE}{kind.value}" for kind in NoticeKind),
)
"""What a native webhook may ask for beside the words of the document; `all` is every event, and no notice."""

_MOST = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """`spelled` are the words as they were sent; `notices` has `*` for every kind."""

    spelled: list[str]
    kinds: int  # bit mask of 1 << EventKind
    notices: list[str]


def read(words: str | Sequence[str], surface: str) -> Wanted:
    """The events of a word, of words between commas, or of a list of them; raises `InvalidEvent`."""
    listed = words.split(",") if isinstance(words, str) else words
    spelled = [word.strip() for word in listed if word.strip()]
    if not spelled or len(spelled) > _MOST:
        raise InvalidEvent()
    kinds: set[EventKind] = set()
    notices: list[str] = []
    for word in spelled:
        low = word.lower()
        if surface == MAILERSIO:
            some, noticed = _of_mailersio(low)
            kinds |= some
            notices += noticed
        elif surface in (MAILLAYER, MAILERLOGIC):
            kinds |= _of_emails(low)
        elif low == ALL:
            kinds |= set(event_words.SHORT if surface == OCTETH else EventKind)
        elif surface == NATIVE and low == NoticeKind.MESSAGE_RECEIVED:
            notices.append(low)
        elif surface == NATIVE and low.startswith(MESSAGE):
            kinds |= _events(low.removeprefix(MESSAGE))
        elif surface == NATIVE and low.startswith(NOTICE):
            notices.append(_notice(low.removeprefix(NOTICE)))
        else:
            kinds |= event_words.for_webhook(low)
    return Wanted(spelled, mask(kinds), sorted(set(notices)))


def of_domain(wanted: Wanted, surface: str) -> Wanted:
    """What of it a webhook of one domain can hear: notices are of an account or a group.

    Words that stand for events as well keep these. Raises `InvalidEvent` for one that is a notice alone.
    """
    if wanted.notices and (surface != MAILERSIO or not all(read(word, surface).kinds for word in wanted.spelled)):
        raise InvalidEvent("A webhook of one domain hears of events; notices are for an account or a group.")
    return replace(wanted, notices=[])


def _of_mailersio(word: str) -> tuple[frozenset[EventKind], list[str]]:
    noticed = {name: kind.value for kind, name in message_events.NOTICES.items()}
    if word in (ALL, "*"):
        return frozenset(message_events.TYPES), list(noticed.values())
    if word not in message_events.WORDS and word not in noticed:
        known = dict.fromkeys((*message_events.WORDS, *noticed, "*"))
        raise InvalidEvent(f"events should be of {', '.join(known)}.", field="events")
    return message_events.WORDS.get(word, frozenset()), [noticed[word]] if word in noticed else []


def _of_emails(word: str) -> frozenset[EventKind]:
    if word in (ALL, "*"):
        return frozenset(email_events.TYPES)
    if word not in email_events.WORDS:
        raise InvalidEvent(f"events should be of {', '.join((*email_events.WORDS, '*'))}.", field="events")
    return email_events.WORDS[word]


def mask(kinds: Iterable[EventKind]) -> int:
    """The bit mask of `Webhook.kinds`."""
    return sum(1 << kind for kind in set(kinds))


def _events(name: str) -> set[EventKind]:
    if name == "*":
        return set(EventKind)
    found = {kind for kind in EventKind if kind.word == name}
    if not found:
        raise InvalidEvent()
    return found


def _notice(name: str) -> str:
    if name != "*" and name not in set(NoticeKind):
        raise InvalidEvent()
    return name
