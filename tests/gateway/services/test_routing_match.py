"""What a routing rule looks at, and how servers are put in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from gateway import ids
from gateway.services import routes, routing_match
from gateway.services.routes import Share
from gateway.services.routing_match import Mail
from gateway.services.routing_tables import Server
from models.vocabulary import Stream

MAIL = Mail(1, "news.shop.test", "transactional", ("Order", "eu-west"), 5000, None)


def _match(**given: Any) -> routing_match.Match:
    faults: list[dict[str, str]] = []
    found = routing_match.read(given, faults)
    assert faults == []
    return routing_match.load(found.dump())


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({}, True),
        ({"domain": "news.shop.test"}, True),
        ({"domain": "*.shop.test"}, True),
        ({"domain": "shop.test"}, False),
        ({"from_domain": ["other.test", "NEWS.shop.test"]}, True),
        ({"purpose": "transactional"}, True),
        ({"purpose": ["marketing", "alerts"]}, False),
        ({"tag": "order"}, True),
        ({"tags": ["eu-*"]}, True),
        ({"tag": "eu-?est"}, False),
        ({"tag": "[eo]rder"}, False),
        ({"min_size": 5000, "max_size": 5000}, True),
        ({"size": {"max": 4999}}, False),
        ({"min_size": 5001}, False),
        ({"list": 7}, False),
        ({"purpose": "transactional", "tag": "nothing"}, False),
    ],
)
def test_all_conditions_have_to_hold_and_any_value_of_one(given: dict[str, Any], fits: bool) -> None:
    assert _match(**given).fits(MAIL) is fits


def test_the_recipients_domain_is_looked_at_apart() -> None:
    match = _match(recipient_domain=["*.shops.test", "bücher.example"])
    assert match.fits(MAIL)
    assert [match.fits_recipient(name) for name in ("a.shops.test", "shops.test", "xn--bcher-kva.example")] == [
        True, False, True,
    ]  # fmt: skip


def test_a_list_is_known_by_its_number() -> None:
    assert _match(list="7").fits(replace(MAIL, list_id=7))


@pytest.mark.parametrize(
    ("purpose", "stream", "word"),
    [
        ("", Stream.TRANSACTIONAL, "transactional"),
        ("", Stream.BULK, "bulk"),
        ("Marketing", Stream.TRANSACTIONAL, "bulk"),
        ("alerts", Stream.BULK, "alerts"),
    ],
)
def test_a_purpose_has_one_word(purpose: str, stream: Stream, word: str) -> None:
    assert routing_match.purpose_word(purpose, stream) == word
    if purpose:
        assert _match(purpose=purpose).fits(replace(MAIL, purpose=word))


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not _match(tag="*a" * 100 + "b").fits(replace(MAIL, tags=("a" * 250,)))


def _server(number: int) -> Server:
    return Server(number, f"srv_{number}", f"server {number}", "smtp", True, 10, 100, (), 1)


def test_equals_share_by_weight_and_keep_their_order_for_one_message() -> None:
    some = [Share(_server(1), 10, 70), Share(_server(2), 10, 30), Share(_server(3), 20, 1000)]
    orders = [[one.id for one in routes.order(some, ids.new_uuid().bytes + b"jane@friends.test")] for _ in range(4000)]
    assert all(order[2] == 3 for order in orders)
    # Five standard deviations.
    assert abs(Counter(order[0] for order in orders)[1] / 4000 - 0.7) < 5 * (0.21 / 4000) ** 0.5
    seed = ids.new_uuid().bytes
    first = routes.order(some, seed)
    assert all(routes.order(list(reversed(some)), seed) == first for _ in range(5))
    assert routes.order(some[:2], seed) == first[:2]


def test_without_a_weight_it_comes_last_among_equals() -> None:
    some = [Share(_server(1), 10, 0), Share(_server(2), 10, 1)]
    assert {routes.order(some, ids.new_uuid().bytes)[0].id for _ in range(50)} == {2}


@pytest.mark.parametrize(
    ("route", "way"),
    [
        ("rule:7/srv:12", routes.Way("rule:7", 12)),
        ("pool/srv:3", routes.Way("pool", 3)),
        ("", None),
        ("test", None),
        ("rule:7/srv:", None),
    ],
)
def test_a_route_is_read_back(route: str, way: routes.Way | None) -> None:
    assert routes.parse(route) == way
    if way is not None:
        assert way.route == route
        assert len(way.route) <= 64
