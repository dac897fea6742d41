"""The query language of event search: parsed into a tree, and judged against one message or event.

    subject:welcome from:jane@example.com to:example.org tag:spring ip:192.0.2.1 mx:mx1 response:"user unknown"

Terms side by side must all hold; `OR` binds weaker than `AND`, `NOT` (or a leading `-`) strongest;
parentheses group; quotes make a phrase; `*` at the end of a word stands for its rest. A word without a
field is looked for in all of them. Words are compared whole and without regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.errors import InvalidQuery

FIELDS = ("subject", "from", "to", "tag", "ip", "mx", "response")
MESSAGE_FIELDS = frozenset({"subject", "from", "tag"})
"""Fields that are the same for all events of a message."""

Texts = Mapping[str, Sequence[str]]
"""What a field says, by field; a field that is absent is not known yet."""

_LENGTH = 1000
_TERMS = 50
_DEPTH = 30
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<open>\() | (?P<close>\)) |
        (?P<minus>-)(?=[^\s()]) |
        (?: (?P<field>[A-Za-z_][\w.-]*): (?: "(?P<said>(?:[^"\\]|\\.)*)" | (?P<value>[^\s()"]+) )
          | "(?P<phrase>(?:[^"\\]|\\.)*)" | (?P<word>[^\s()":]+) )(?=[\s()]|\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Term:
    """`words` in this order, side by side, in `field` ('' is any); with `prefix` the last may go on."""

    field: str
    words: tuple[str, ...]
    prefix: bool = False

    def judge(self, texts: Texts) -> bool | None:
        fields = (self.field,) if self.field else FIELDS
        unknown = False
        for name in fields:
            values = texts.get(name)
            if values is None:
                unknown = True
            elif any(self._in(value) for value in values):
                return True
        return None if unknown else False

    def _in(self, text: str) -> bool:
        found = words(text)
        if self.field in ("tag", "ip"):  # these are names as a whole, not texts
            found_prefix = found[: len(self.words)]
            return self._matches(found_prefix) and (self.prefix or len(found) == len(self.words))
        size = len(self.words)
        return any(self._matches(found[at : at + size]) for at in range(len(found) - size + 1))

    def _matches(self, found: Sequence[str]) -> bool:
        if not self.prefix:
            return tuple(found) == self.words
        return (
            len(found) == len(self.words)
            and tuple(found[:-1]) == self.words[:-1]
            and found[-1].startswith(self.words[-1])
        )


@dataclass(frozen=True, slots=True)
class Not:
    part: Node

    def judge(self, texts: Texts) -> bool | None:
        found = self.part.judge(texts)
        return None if found is None else not found


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]

    def judge(self, texts: Texts) -> bool | None:
        answer: bool | None = True
        for part in self.parts:
            found = part.judge(texts)
            if found is False:
                return False
            if found is None:
                answer = None
        return answer


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]

    def judge(self, texts: Texts) -> bool | None:
        answer: bool | None = False
        for part in self.parts:
            found = part.judge(texts)
            if found:
                return True
            if found is None:
                answer = None
        return answer


Node = Term | Not | And | Or
"""`judge` says whether the texts match; None where fields that are not known yet decide."""


def parse(text: str) -> Node:
    """The tree of a query that is not blank; raises `InvalidQuery` for everything that is not understood."""
    if len(text) > _LENGTH:
        raise InvalidQuery(f"The query should have at most {_LENGTH} characters.", field="Query")
    return _Parser(text).whole()


@lru_cache(maxsize=8192)
def words(text: str) -> tuple[str, ...]:
    """The words of a text: runs of letters and digits, without case."""
    return tuple(_WORD.findall(text.casefold()))


class _Parser:
    """Recursive descent over: or ← and (OR and)*; and ← not (AND? not)*; not ← (NOT | -) not | ( or ) | term."""

    def __init__(self, text: str) -> None:
        self._tokens = self._scan(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._or()
        if self._at < len(self._tokens):
            raise _refuse(f"There is a {self._tokens[self._at]!s} too many.")
        return node

    @staticmethod
    def _scan(text: str) -> list[str | Term]:
        tokens: list[str | Term] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None or found.end() == at:
                raise _refuse(f"From {text[at:].strip()[:40]!r} on it cannot be read.")
            at = found.end()
            kind, value = found.lastgroup, found[0].strip()
            if kind in ("open", "close"):
                tokens.append(value)
            elif kind == "minus":
                tokens.append("NOT")
            elif found["word"] in ("AND", "OR", "NOT"):
                tokens.append(found["word"])
            else:
                said = found["said"] if found["field"] else found["phrase"]
                tokens.append(_term(found["field"] or "", found["value"] or found["word"], said))
        if sum(isinstance(token, Term) for token in tokens) > _TERMS:
            raise _refuse(f"It has more than {_TERMS} terms.")
        return tokens

    def _peek(self) -> str | Term | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _or(self) -> Node:
        parts = [self._and()]
        while self._peek() == "OR":
            self._at += 1
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self) -> Node:
        parts = [self._not()]
        while (part := self._peek()) is not None and part not in ("OR", ")"):
            if part == "AND":
                self._at += 1
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self) -> Node:
        part = self._peek()
        self._at += 1
        if isinstance(part, Term):
            return part
        self._depth += 1
        if self._depth > _DEPTH:
            raise _refuse("It is nested too deep.")
        try:
            if part == "NOT":
                return Not(self._not())
            if part == "(":
                node = self._or()
                if self._peek() != ")":
                    raise _refuse("A closing parenthesis is missing.")
                self._at += 1
                return node
        finally:
            self._depth -= 1
        raise _refuse("It ends where a term should be." if part is None else f"There is no term before {part}.")


def _term(field: str, word: str | None, phrase: str | None) -> Term:
    name = field.lower()
    if field and name not in FIELDS:
        raise _refuse(f"{field!r} is no field; there are {', '.join(FIELDS)}.")
    text = re.sub(r"\\(.)", r"\1", phrase, flags=re.DOTALL) if phrase is not None else word or ""
    prefix = phrase is None and text.endswith("*")
    found = words(text)
    if not found or ("*" in text[:-1] and phrase is None):
        raise _refuse(f"{text[:40]!r} is nothing to look for.")
    return Term(name, found, prefix)


def _refuse(why: str) -> InvalidQuery:
    return InvalidQuery(f"The query cannot be understood. {why}", field="Query")
