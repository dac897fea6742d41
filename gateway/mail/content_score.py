"""The content of a message scored before it is sent: own rules, each with its place and what mends it.

A hundred is faultless. The points were chosen by weight: what gets mail refused costs 15, what readers dislike 1 or 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.mail import content_html
from gateway.mail.content_findings import Finding, Notes, Place

LOOKED_AT = 512 * 1024
"""Characters of a part that are looked at."""

GOOD, FAIR = 80, 60
_PHRASES = re.compile(
    r"\b(?:100% free|act now|apply now|bad credit|bitcoin doubl\w+|buy direct|cash bonus|casino|cheap (?:meds|viagra)"
    r"|claim your (?:prize|reward)|congratulations,? you|dear friend|double your|earn (?:extra )?(?:cash|money|\$)"
    r"|eliminate debt|extra income|fast cash|free (?:gift|money|trial offer)|get paid|guaranteed|hidden charges"
    r"|increase (?:sales|traffic)|lose weight|lowest price|make money|million (?:dollars|euros)|miracle"
    r"|no (?:catch|obligation)|not (?:junk|spam)|once in a lifetime|order now|pre-?approved|risk[- ]free"
    r"|this is not spam|urgent(?:ly)? (?:action|reply)|viagra|weight loss|while supplies last|winner|work from home"
    r"|you have been selected|you(?:'ve| have) won)\b",
    re.IGNORECASE,
)
_SHOUTING = re.compile(r"[!?]{3,}|\${2,}")
_FALSE_REPLY = re.compile(r"\s*(?:re|fwd?|aw|wg)\s*:", re.IGNORECASE)
_LETTERS = re.compile(r"[^\W\d_]")
_DANGEROUS = frozenset(
    "exe com bat cmd scr pif js jse vbs vbe wsf wsh ps1 msi jar hta cpl lnk reg dll iso img vhd docm xlsm pptm".split()
)
_SUBJECT_LONG, _PHRASES_MOST = 70, 10
_NO_TEXT = Finding("no_text_part", 6, "There is no plain text part.", "Send one beside the HTML.", Place("text"))
_EMPTY = Finding("empty", 30, "There is nothing to read.", "Write something.", Place("text"))
_NO_UNSUBSCRIBE = Finding(
    "no_unsubscribe", 20, "There is no way to unsubscribe, which bulk mail must have.",
    "Switch UnsubscribeLink on for the domain, or put %unsubscribe_url% in the body.", Place("html"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Content:
    """What is scored. `bulk`: it goes to many, so that there has to be a way to leave."""

    subject: str = ""
    html: str | None = None
    text: str | None = None
    attachments: Sequence[str] = ()  # file names
    size: int = 0  # bytes of the whole message, 0 where it is not known
    bulk: bool = False
    has_unsubscribe: bool = False  # the gateway adds header fields or a footer


@dataclass(frozen=True, slots=True)
class Score:
    """`score` from 0 to 100; `grade` is good, fair or poor; `partial`: a part was longer than is looked at."""

    score: float
    grade: str
    findings: list[Finding]
    partial: bool = False


def score(content: Content) -> Score:
    """Look at everything once; never raises for what the content says."""
    partial = any(part is not None and len(part) > LOOKED_AT for part in (content.html, content.text))
    leaves = content.has_unsubscribe
    words = content.text[:LOOKED_AT] if content.text else ""
    notes = Notes()
    if content.html:
        seen = content_html.look(content.html[:LOOKED_AT])
        notes = seen.notes
        _words(notes, "html", "".join(seen.text))
        leaves = leaves or seen.leaves
        if not words.strip():
            notes.add(_NO_TEXT)
    if words.strip():
        _words(notes, "text", words)
        leaves = leaves or "unsubscribe" in words.lower()
    elif not content.html:
        notes.add(_EMPTY)
    if content.bulk and not leaves:
        notes.add(_NO_UNSUBSCRIBE)
    for finding in (*_subject(content.subject), *_attachments(content)):
        notes.add(finding)
    found = notes.list()
    left = max(0.0, round(100.0 - sum(finding.points for finding in found), 1))
    return Score(left, "good" if left >= GOOD else "fair" if left >= FAIR else "poor", found, partial)


def _subject(subject: str) -> Iterator[Finding]:
    where = Place("subject", 1, subject[:120])
    text = subject.strip()
    if not text:
        yield Finding("subject_empty", 10, "There is no subject.", "Say what the mail is about.", where)
        return
    letters = _LETTERS.findall(text)
    if len(letters) > 7 and sum(char.isupper() for char in letters) > 0.7 * len(letters):
        yield Finding("subject_capitals", 8, "The subject is written in capitals.", "Write it as a sentence.", where)
    if _SHOUTING.search(text):
        yield Finding("subject_shouting", 6, "The subject shouts.", "One sign is enough.", where)
    if len(text) > _SUBJECT_LONG:
        yield Finding(
            "subject_long", 1, f"The subject has {len(text)} characters; phones show about 40.",
            "Put what matters first.", where,
        )  # fmt: skip
    if _FALSE_REPLY.match(text):
        yield Finding("subject_reply", 8, "The subject looks like an answer.", "Take the Re: or Fwd: away.", where)
    found = _PHRASES.search(text)
    if found is not None:
        yield Finding("subject_phrase", 6, f"A phrase that spam uses: {found[0]!r}.", "Say it in other words.", where)


def _words(notes: Notes, part: str, text: str) -> None:
    where = Place(part)
    for at, found in enumerate(_PHRASES.finditer(text)):
        if at == _PHRASES_MOST:
            break
        notes.add(
            Finding("spam_phrase", 3, f"A phrase that spam uses: {found[0]!r}.", "Say it in other words.", where),
            text, max(0, found.start() - 20), found.end() + 20,
        )  # fmt: skip
    shouting = _SHOUTING.search(text)
    if shouting is not None:
        notes.add(Finding("shouting", 2, "The text shouts.", "One sign is enough.", where), text, shouting.start())
    sample = text[:20_000]
    letters = sum(char.isalpha() for char in sample)
    if letters > 60 and sum(char.isupper() for char in sample) > 0.4 * letters:
        notes.add(Finding("capitals", 5, "Much of the text is written in capitals.", "Write sentences.", where))


def _attachments(content: Content) -> Iterator[Finding]:
    for name in content.attachments:
        ending = name.rpartition(".")[2].lower()
        if ending in _DANGEROUS:
            yield Finding(
                "attachment_kind", 25, f"Many receivers refuse attachments like {name[:80]!r}.",
                "Link to it instead.", Place("attachments", 0, name[:80]),
            )  # fmt: skip
    if content.size > 10 * 1024 * 1024:
        yield Finding(
            "message_size", 6, f"The message has {content.size // (1024 * 1024)} MB; many receivers take 10.",
            "Link to large files.", Place("attachments"),
        )  # fmt: skip
