"""What a look at a message's content finds: each finding with its place, what it costs and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass, replace

SNIPPET = 120
"""Characters of the content that a finding shows."""
_COSTLY = 3


@dataclass(frozen=True, slots=True)
class Place:
    """`part` is subject, html, text, headers or attachments; `line` counts from 1, 0 where there is none."""

    part: str
    line: int = 0
    snippet: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """`points` of a hundred that it takes, at most; 0 is advice only. `fix` says what to do."""

    rule: str
    points: float
    message: str
    fix: str
    place: Place = Place("")
    count: int = 1


class Notes:
    """Gathers findings by rule: the first of each keeps its place, up to three of a rule cost points.

    A place is looked up for the first only: of a hostile content there may be a hundred thousand findings.
    """

    def __init__(self) -> None:
        self._first: dict[str, Finding] = {}
        self._counts: dict[str, int] = {}
        self._points: dict[str, float] = {}

    def add(self, finding: Finding, text: str = "", start: int = 0, end: int | None = None) -> None:
        """Note it; where it has only the part as its place, that is completed from `start` to `end` of `text`."""
        rule = finding.rule
        count = self._counts.get(rule, 0)
        self._counts[rule] = count + 1
        if count < _COSTLY:
            self._points[rule] = self._points.get(rule, 0.0) + finding.points
        if not count:
            if text:
                stop = min(start + SNIPPET if end is None else end, start + SNIPPET)
                line = text.count("\n", 0, start) + 1
                where = Place(finding.place.part, line, " ".join(text[start:stop].split()))
                finding = replace(finding, place=where)
            self._first[rule] = finding

    def list(self) -> list[Finding]:
        """One for each rule, the dearest first."""
        found = [
            replace(first, points=round(self._points[rule], 1), count=self._counts[rule])
            for rule, first in self._first.items()
        ]
        return sorted(found, key=lambda finding: (-finding.points, finding.rule))
