"""The container of a draft's parts gives back what it was given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import container
from gateway.mail.draft import Attachment

_texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
_plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(_texts, _texts, st.lists(st.builds(Attachment, _plain, _plain, st.binary(), st.booleans(), _plain), max_size=3))
def test_round_trip(html: str | None, text: str | None, parts: list[Attachment]) -> None:
    data = container.serialise(html, text, parts)
    assert container.deserialise(data) == (html, text, parts)
    assert container.serialise(html, text, parts) == data
    if html:
        with pytest.raises(ValueError, match=r"container|unexpected|JSON"):
            container.deserialise(data[:-1] if not parts and not text else data[: len(data) // 4])


@pytest.mark.parametrize("data", [b"", b"x", b"CP1\n", b"CP1\n\0\0\0\x05", b"CP1\n\xff\xff\xff\xff{}"])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        container.deserialise(data)
