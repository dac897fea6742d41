"""The setting that names the addresses mail leaves from."""

from __future__ import annotations

import pytest

from gateway.config import ConfigError, Source, load


def test_addresses_with_and_without_names() -> None:
    text = "192.0.2.1=MX1.Example.net., 2001:DB8::1 ,,192.0.2.2="
    assert load({"COMMANDPOST_SOURCE_ADDRESSES": text}).source_addresses == (
        Source("192.0.2.1", "mx1.example.net"),
        Source("2001:db8::1"),
        Source("192.0.2.2"),
    )
    assert load({}).source_addresses == ()


@pytest.mark.parametrize(
    "text", ["mx1.example.net", "192.0.2.1:25", "192.0.2.0/24", "192.0.2.1=a..b", "=mx1.example.net x"]
)
def test_what_is_no_address_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigError, match="COMMANDPOST_SOURCE_ADDRESSES"):
        load({"COMMANDPOST_SOURCE_ADDRESSES": text})


def test_dane_is_one_of_two_words() -> None:
    with pytest.raises(ConfigError, match=r"COMMANDPOST_DANE.*auto or off"):
        load({"COMMANDPOST_DANE": "always"})
