"""The query language: what it means, what it refuses, and that it never crashes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidQuery
from gateway.services.event_query import FIELDS, And, Node, Not, Or, Term, parse

MAIL = {
    "subject": ["Welcome to our Spring Sale, Zoë!"],
    "from": ["hello@shop.test", "The Shop"],
    "to": ["jane.doe@friends.test"],
    "tag": ["spring-2026", "newsletter"],
    "ip": ["192.0.2.1"],
    "mx": ["mx1.friends.test"],
    "response": ["550 5.1.1 <…>: user unknown"],
}


@pytest.mark.parametrize(
    "query",
    [
        "subject:welcome", "SUBJECT:Welcome", "welcome", "subject:\"spring sale\"", "\"to our spring\"",
        "subject:welc*",
        "subject:zoë", "subject:ZOË", "from:shop.test", "from:hello@shop.test", "from:\"The Shop\"",
        "to:jane.doe@friends.test",
        "to:friends.test", "to:jane*", "tag:newsletter", "tag:spring-2026", "tag:news*", "ip:192.0.2.1", "mx:mx1",
        "mx:mx1.friends.test", "response:550", "response:\"user unknown\"", "response:5.1.1", "NOT subject:goodbye",
        "-goodbye", "welcome spring", "welcome AND spring", "goodbye OR welcome", "goodbye OR welcome AND spring",
        "(goodbye OR welcome) AND NOT (autumn OR winter)", "NOT NOT welcome", "- -goodbye -winter", "((welcome))",
        "welcome  (  spring )", "sale,", "550",
    ],
)  # fmt: skip
def test_what_matches(query: str) -> None:
    if query.startswith("- -"):
        with pytest.raises(InvalidQuery):
            parse(query)
        return
    assert parse(query).judge(MAIL) is True


@pytest.mark.parametrize(
    "query",
    [
        "subject:goodbye", "subject:elcome", "subject:\"sale spring\"", "to:jane@friends.test", "tag:spring",
        "tag:2026",
        "ip:192.0.2", "ip:92.0.2.1", "response:55", "NOT welcome", "-welcome", "welcome goodbye", "welcome AND goodbye",
        "from:jane", "welcome AND NOT spring", "goodbye AND (welcome OR spring)", "subject:from",
    ],
)  # fmt: skip
def test_what_does_not(query: str) -> None:
    assert parse(query).judge(MAIL) is False


@pytest.mark.parametrize(
    "query",
    [
        "foo:bar", "subject:", "subject: welcome", "\"open", "subject:\"open", "(", ")", "()", "(a", "a)",
        "a AND", "AND a",
        "OR", "a OR", "NOT", "a NOT", "a AND OR b", "*", "***", "a*b", "-", "!!!", "\"\"", "&&", "a && b", ":a",
        "subject:\"a\"b", "a\"b\"", "(" * 40 + "a" + ")" * 40, "NOT " * 40 + "a", "a " * 51, "a" * 1001, "http://x/",
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_an_error(query: str) -> None:
    with pytest.raises(InvalidQuery) as refusal:
        parse(query)
    assert refusal.value.message != InvalidQuery.message


def test_addresses_with_colons() -> None:
    assert parse("ip:2001:db8::1").judge({**MAIL, "ip": ["2001:db8::1"]}) is True


def test_fields_that_are_not_known_yet_leave_it_open() -> None:
    known = {name: MAIL[name] for name in ("subject", "from", "tag")}
    assert parse("subject:welcome").judge(known) is True
    assert parse("subject:goodbye to:jane*").judge(known) is False
    assert parse("subject:welcome to:jane*").judge(known) is None
    assert parse("subject:goodbye OR to:jane*").judge(known) is None
    assert parse("NOT to:jane*").judge(known) is None
    assert parse("nobody").judge(known) is None
    assert parse("welcome").judge(known) is True


_PIECES = [*'ab:"()*-\\ .@é\0中', "subject:", " AND ", " OR ", " NOT "]


@given(st.lists(st.sampled_from(_PIECES)).map("".join))
def test_no_text_crashes_it(text: str) -> None:
    with contextlib.suppress(InvalidQuery):
        parse(text).judge(MAIL)


@given(st.text())
def test_nor_any_text_at_all(text: str) -> None:
    with contextlib.suppress(InvalidQuery):
        parse(text).judge(MAIL)


_WORDS = st.sampled_from(["welcome", "spring", "sale", "jane", "goodbye", "zoë", "550", "shop"])
_TERMS = st.builds(lambda field, word: Term(field, (word,)), st.sampled_from(["", *FIELDS]), _WORDS)
_TREES = st.recursive(
    _TERMS,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(lambda parts: And(tuple(parts)), st.lists(inner, min_size=2, max_size=3))
        | st.builds(lambda parts: Or(tuple(parts)), st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=8,
)


def _spell(node: Node) -> str:
    if isinstance(node, Term):
        return f"{node.field}:{node.words[0]}" if node.field else node.words[0]
    if isinstance(node, Not):
        return f"NOT ({_spell(node.part)})"
    return "(" + (" AND " if isinstance(node, And) else " OR ").join(f"({_spell(p)})" for p in node.parts) + ")"


def _naive(node: Node) -> bool:
    if isinstance(node, Term):
        texts = [t for name in ([node.field] if node.field else FIELDS) for t in MAIL[name]]
        if node.field in ("tag", "ip"):
            return node.words[0] in texts
        split = [w for t in texts for w in "".join(c if c.isalnum() else " " for c in t.lower()).split()]
        return node.words[0] in split
    if isinstance(node, Not):
        return not _naive(node.part)
    return (all if isinstance(node, And) else any)(_naive(part) for part in node.parts)


@given(_TREES)
def test_a_parsed_query_means_what_its_tree_says(tree: Node) -> None:
    assert parse(_spell(tree)).judge(MAIL) is _naive(tree)
