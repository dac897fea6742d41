"""A collection of replies of many receivers: what each means, and whether it takes the address off for good."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.mail import classify

WANTED = 0.95


class Reply(NamedTuple):
    category: str
    suppresses: bool
    code: int | None
    text: str


def _replies() -> list[Reply]:
    found = []
    for line in (Path(__file__).parent / "replies.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            category, suppresses, text = line.split("|", 2)
            code = None if text.startswith("None ") else int(text[:3])
            found.append(Reply(category, suppresses == "yes", code, text.removeprefix("None ")))
    return found


REPLIES = _replies()


def _category(reply: Reply) -> str:
    return classify.category(reply.code, classify.enhanced_code(reply.text), reply.text)


def test_nearly_all_are_recognised() -> None:
    wrong = [(one.category, _category(one), one.text) for one in REPLIES if _category(one) != one.category]
    assert len(REPLIES) >= 150
    assert len({one.text for one in REPLIES}) == len(REPLIES)
    assert len(wrong) <= len(REPLIES) * (1 - WANTED), wrong


def test_every_category_has_enough_of_them() -> None:
    for name in ("recipient", "mailbox_full", "policy", "reputation", "content", "network", "ours"):
        assert sum(one.category == name for one in REPLIES) >= 10, name


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply.text[:50])
def test_who_is_suppressed_is_never_guessed_wrong(reply: Reply) -> None:
    refused = reply.code is not None and reply.code >= 500
    assert (refused and classify.suppresses(_category(reply), classify.enhanced_code(reply.text))) == reply.suppresses


@pytest.mark.parametrize("enhanced", ["5.7.1", "5.7.26", "5.4.1", "5.4.4", "4.1.1", "4.2.2"])
def test_no_words_make_a_policy_or_a_way_there_a_dead_address(enhanced: str) -> None:
    for reply in REPLIES:
        assert not classify.suppresses(classify.category(reply.code, enhanced, reply.text), enhanced), reply


@pytest.mark.parametrize("enhanced", sorted(classify.SUPPRESSING))
@pytest.mark.parametrize(
    ("words", "suppresses"),
    [
        ("refused", True),
        ("host not found", True),
        ("no such user", True),
        ("blocked using zen.spamhaus.org", False),
        ("the reputation of your network is bad: listed at an rbl", False),
        ("rejected due to the domain's DMARC policy", False),
        ("greylisted", False),
        ("mailbox is over quota", False),
    ],
)
def test_codes_of_dead_addresses_count_but_for_policy_and_reputation(
    enhanced: str, words: str, suppresses: bool
) -> None:
    assert classify.suppresses(classify.category(550, enhanced, words), enhanced) is suppresses


def test_words_inside_addresses_prove_nothing() -> None:
    for local in ("spam", "blacklist", "virus-team", "quota.full", "postgrey"):
        text = f"550 5.1.1 <{local}@spamhaus.example>: user unknown"
        assert classify.category(550, "5.1.1", text) == "recipient"
