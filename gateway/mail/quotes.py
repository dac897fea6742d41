"""The new words of a reply: what it quotes and the signature under it split off."""

from __future__ import annotations

import re
from dataclasses import dataclass

LINES_MOST = 20_000

_INTRODUCTION = re.compile(
    r"(?:"
    r"on\b.{0,300}\bwrote|am\b.{0,300}\bschrieb\b.{0,200}|le\b.{0,300}\ba écrit|el\b.{0,300}\bescribió|"
    r"il\b.{0,300}\bha scritto|em\b.{0,300}\bescreveu|op\b.{0,300}\bschreef\b.{0,200}|den\b.{0,300}\bskrev\b.{0,200}|"
    r"w dniu\b.{0,300}\bnapisał\(?a?\)?"
    r")\s*:\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
"""What clients put before the lines that they quote, in one line or folded into a few."""
_BARE = re.compile(r".{0,300}<[^<>\s]+@[^<>\s]+> (?:wrote|schrieb|a écrit|escribió|ha scritto)\s*:\s*\Z", re.IGNORECASE)
"""The same without a date, in one line."""
_DIVIDER = re.compile(
    r"\s*(?:[-_]{2,}\s*(?:original message|ursprüngliche nachricht|message d'origine|mensaje original|"
    r"messaggio originale|mensagem original|oorspronkelijk bericht|forwarded message|weitergeleitete nachricht)"
    r"\s*[-_]{2,}|_{20,})\s*\Z",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\s*\*?(?:from|von|de|da|van|od|från|fra)\s*:\*?\s+\S", re.IGNORECASE)
_HEADERS = re.compile(
    r"\s*\*?(?:sent|date|to|subject|gesendet|datum|an|betreff|envoyé|à|objet|enviado|para|asunto|fecha|inviato|"
    r"a|oggetto|data|verzonden|aan|onderwerp|skickat|till|ämne)\s*:\*?\s*\S",
    re.IGNORECASE,
)
_SENT_FROM = re.compile(
    r"\s*(?:sent from my \S.{0,60}|sent from (?:outlook|yahoo|mail) .{0,60}|get outlook for (?:ios|android).{0,80}|"
    r"von meinem \S.{0,40} gesendet|envoyé de mon \S.{0,40}|enviado desde mi \S.{0,40}|inviato da \S.{0,40})\s*\Z",
    re.IGNORECASE,
)
_FOLDED = 4
"""Lines that an introduction may be folded into."""


@dataclass(frozen=True, slots=True)
class Reply:
    """`text` are the new words; `quoted` and `signature` what was taken off, '' without any."""

    text: str
    quoted: str = ""
    signature: str = ""


def split(text: str) -> Reply:
    """Split a plain text with LF line ends; answers between quoted lines stay, a text of quotes only is left whole."""
    lines = text.split("\n")[:LINES_MOST]
    kept: list[str] = []
    quoted: list[str] = []
    for index, line in enumerate(lines):
        if _DIVIDER.match(line) or _is_header(lines, index):
            quoted += lines[index:]
            break
        if line.lstrip().startswith(">"):
            _take_introduction(kept, quoted)
            quoted.append(line)
        else:
            kept.append(line)
    else:
        # Some clients quote without any mark: what follows an introduction then is theirs to the end.
        if not quoted:
            kept, quoted = _at_introduction(kept)
    if kept and quoted:
        _take_introduction(kept, quoted)
    kept, signature = _signature(kept)
    said = _joined(kept)
    if not said and not signature:
        return Reply(text.strip())
    return Reply(said, _joined(quoted), signature)


def _take_introduction(kept: list[str], quoted: list[str]) -> None:
    """Move the line that says who wrote the quoted ones from the end of what is kept."""
    end = len(kept)
    while end and not kept[end - 1].strip():
        end -= 1
    for length in range(1, min(_FOLDED, end) + 1):
        if not kept[end - length].strip():
            break
        if _INTRODUCTION.match(" ".join(kept[end - length : end]).strip()):
            quoted += kept[end - length :]
            del kept[end - length :]
            return
    if end and _BARE.match(kept[end - 1].strip()):
        quoted += kept[end - 1 :]
        del kept[end - 1 :]


def _at_introduction(lines: list[str]) -> tuple[list[str], list[str]]:
    for index in range(1, len(lines)):
        if lines[index].strip() and not lines[index - 1].strip():
            for length in range(1, _FOLDED + 1):
                block = lines[index : index + length]
                if len(block) == length and all(block) and _INTRODUCTION.match(" ".join(block).strip()):
                    return lines[:index], lines[index:]
    return lines, []


def _is_header(lines: list[str], index: int) -> bool:
    """Whether the header block that Outlook puts before a quoted message begins here."""
    if not _HEADER.match(lines[index]):
        return False
    following = [line for line in lines[index + 1 : index + 6] if line.strip()]
    return sum(1 for line in following if _HEADERS.match(line)) >= 2


def _signature(lines: list[str]) -> tuple[list[str], str]:
    """RFC 3676 §4.3, and the line of a telephone at the end."""
    for index, line in enumerate(lines):
        if line in ("-- ", "--") and any(part.strip() for part in lines[:index]):
            return lines[:index], _joined(lines[index + 1 :])
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    if end > 1 and _SENT_FROM.match(lines[end - 1]):
        return lines[: end - 1], lines[end - 1].strip()
    return lines, ""


def _joined(lines: list[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n").strip()
