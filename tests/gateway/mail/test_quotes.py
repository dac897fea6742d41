"""The new words of replies, as the clients of people write them."""

from __future__ import annotations

import pytest

from gateway.mail import quotes

REPLIES = {
    "gmail": (
        "Yes please!\n\nOn Mon, 1 Jan 2026 at 10:00, Shop\n<hello@shop.test> wrote:\n> Hi\n> there\n",
        "Yes please!",
    ),
    "apple": ("Ok\n\nSent from my iPhone\n\n> On Jan 1, 2026, at 10:00, Shop <h@shop.test> wrote:\n> \n> Hi", "Ok"),
    "outlook": ("Sure.\n\nFrom: Shop <h@shop.test>\nSent: Monday\nTo: Jane\nSubject: Hi\n\nHi Jane", "Sure."),
    "old outlook": ("Sure.\n\n-----Original Message-----\nFrom: Shop\nHi", "Sure."),
    "german": ("Ja gern\n\nAm 01.01.2026 um 10:00 schrieb Shop <h@shop.test>:\n\n> Hallo", "Ja gern"),
    "french": ("Oui\n\nLe lun. 1 janv. 2026 à 10:00, Shop <h@shop.test> a écrit :\n\n> Bonjour", "Oui"),
    "no marks": ("Yes\n\nOn Monday, Shop wrote:\n\nHi Jane\nhow are you", "Yes"),
    "between": ("> Tea?\nyes\n> Milk?\nno", "yes\nno"),
    "signature": ("Yes\n-- \nJane Doe\nFriends Ltd", "Yes"),
    "only quotes": ("> Tea?\n> Milk?", "> Tea?\n> Milk?"),
    "plain": ("On the whole I like it.\nFrom: here to there.\n", "On the whole I like it.\nFrom: here to there."),
    "empty": ("", ""),
}


@pytest.mark.parametrize(("text", "said"), REPLIES.values(), ids=REPLIES.keys())
def test_what_was_said(text: str, said: str) -> None:
    assert quotes.split(text).text == said


def test_nothing_is_lost() -> None:
    found = quotes.split("Yes\n-- \nJane\n\nOn Monday, Shop <h@shop.test> wrote:\n> Tea?")
    assert (found.text, found.signature) == ("Yes", "Jane")
    assert found.quoted == "On Monday, Shop <h@shop.test> wrote:\n> Tea?"


def test_long_texts_take_no_time_of_their_square() -> None:
    for text in ("on " * 200_000, "on a\n\n" * 5_000, "> on a\n" * 5_000, "\n" * 100_000):
        quotes.split(text)
