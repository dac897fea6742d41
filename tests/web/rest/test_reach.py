"""`/v1/bounces`, `/v1/suppressions` and `/v1/campaign-stats`, for keys of one domain and of all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import time_machine
from flask.testing import FlaskClient

import models
from gateway import clock, ids
from gateway.services import ledger, messages, reach, suppression_list, suppressions
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import EventKind, TallyFacet
from tests import cast
from tests.web.rest.mailmark_world import Api, key


@pytest.fixture
def sender(client: FlaskClient) -> cast.Sender:
    return cast.sender()


@pytest.fixture
def api(client: FlaskClient, sender: cast.Sender) -> Api:
    return Api(client, key(sender))


@pytest.fixture
def still(store: str) -> Iterator[time_machine.Traveller]:
    with time_machine.travel(clock.now(), tick=False) as traveller:
        yield traveller


def second_domain(sender: cast.Sender, name: str = "second.test") -> models.SenderDomain:
    return cast.domains.add(caller=sender.owner, name=name, trusted=True, dkim=cast.signing_keys())


def test_suppressions_of_one_millisecond_are_paged_without_a_gap(
    api: Api, sender: cast.Sender, still: time_machine.Traveller
) -> None:
    names = [f"p{n}@friends.test" for n in range(7)]
    suppression_list.add(caller=sender.owner, addresses=names, domain_id=sender.domain.id, reason="unsubscribe")
    suppression_list.add(caller=sender.owner, addresses=["all@friends.test"])
    other = second_domain(sender)
    suppression_list.add(caller=sender.owner, addresses=["else@friends.test"], domain_id=other.id)
    seen: list[str] = []
    after, pages = 0, 0
    while True:
        page = api.get(f"/suppressions?limit=3&after={after}")
        seen += [item["email"] for item in page["items"]]
        pages += 1
        assert (page["domain"], page["total"]) == ("shop.test", 8)
        if not page["hasMore"]:
            break
        after = page["items"][-1]["unsubscribedAt"]
    assert (seen, pages) == ([*names, "all@friends.test"], 3)
    times = [row.listed_ms for row in models.Suppression.select()]
    assert len(set(times)) == 9
    first = api.get("/suppressions")["items"][0]
    assert (first["source"], first["unsubscribedAt"]) == ("unsubscribe", clock.now_ms())


def test_a_renewed_suppression_comes_again_behind_the_cursor(
    sender: cast.Sender, still: time_machine.Traveller
) -> None:
    def add(expires_ms: int | None) -> None:
        db.in_transaction(
            lambda tx: suppressions.add(
                tx, account_id=sender.owner.account_id, domain_id=0, address="a@b.test", reason="bounce",
                expires_ms=expires_ms,
            )
        )  # fmt: skip

    add(clock.now_ms() + 1000)
    before = models.Suppression.get().listed_ms
    still.shift(5)
    add(None)
    assert models.Suppression.get().listed_ms > before


def test_an_org_wide_key_reads_each_domain(client: FlaskClient, api: Api, sender: cast.Sender) -> None:
    second_domain(sender)
    stranger = cast.sender("stranger", "other.test")
    org = Api(client, key(sender, org_wide=True))
    for path in ("/bounces", "/suppressions"):
        assert [one["domain"] for one in org.get(path)] == ["shop.test", "second.test"]
        assert [one["domain"] for one in org.get(f"{path}?domain=second.test")] == ["second.test"]
        assert org("GET", f"{path}?domain=other.test").status_code == 404
        assert api("GET", f"{path}?domain=second.test").status_code == 404
        assert api.get(f"{path}?domain=SHOP.test")["domain"] == "shop.test"
    assert org.get("/campaign-stats") == []
    assert org("GET", "/sequences").status_code == 403
    assert org("POST", "/send", {}).status_code == 403
    assert Api(client, key(stranger)).get("/bounces")["domain"] == "other.test"


def test_what_became_of_the_mail(api: Api, sender: cast.Sender) -> None:
    for at, kinds in enumerate([(EventKind.DELIVERED, EventKind.OPENED, EventKind.REPLIED), (EventKind.BOUNCED,)]):
        accepted = messages.accept(sender.caller, cast.draft(to=f"p{at}@friends.test"))
        for kind in kinds:
            record(sender, accepted.row_id or 0, kind)
    found = api.get("/bounces?days=90")
    names = ("sent", "delivered", "bounced", "failed", "opened", "clicked", "replied")
    assert [found[name] for name in names] == [2, 1, 1, 0, 1, 0, 1]
    assert (found["bounceRate"], found["days"]) == (0.5, 90)


def record(sender: cast.Sender, message_id: int, kind: EventKind, origin: str | None = None) -> None:
    facts = [
        Fact(
            sender.owner.account_id, sender.domain.id, kind, clock.now_ms(), message_id, rcpt="p@friends.test",
            origin=origin, firsts=(TallyFacet.FIRST,) if kind >= EventKind.OPENED else (),
        )
    ]  # fmt: skip
    db.in_transaction(lambda tx: ledger.record(tx, facts))


def test_campaigns_are_counted_apart(api: Api, sender: cast.Sender) -> None:
    uuid = ids.new_uuid()
    models.Batch.create(
        uuid=uuid, account_id=sender.owner.account_id, domain_id=sender.domain.id, from_addr="hello@shop.test",
        subject="Big news", recipients=4, blocked=0, created_ms=clock.now_ms(),
    )  # fmt: skip
    origin = reach.origin_of(uuid)
    for kind in (*[EventKind.DELIVERED] * 3, EventKind.BOUNCED, EventKind.OPENED, EventKind.OPENED, EventKind.CLICKED):
        record(sender, 1, kind, origin)
    record(sender, 1, EventKind.OPENED)
    public = ids.public_id("bat", uuid)
    for query in ("", "?type=batch", f"?batchId={public}", "?domain=shop.test"):
        (one,) = api.get(f"/campaign-stats{query}")
        assert (one["batchId"], one["name"], one["sent"], one["opened"]) == (public, "Big news", 4, 2)
        assert (one["openRate"], one["clickRate"], one["replyRate"], one["bounceRate"]) == (0.6667, 0.3333, 0.0, 0.25)
    assert api.get("/campaign-stats?type=sequence") == []
    assert api("GET", "/campaign-stats?batchId=bat_nothing").status_code == 404
    assert api("GET", "/campaign-stats?type=other").status_code == 400


@pytest.mark.parametrize(
    "query", ["bounces?days=91", "bounces?days=x", "suppressions?limit=501", "suppressions?after=x"]
)
def test_numbers_out_of_bounds_are_400(api: Api, query: str) -> None:
    assert api("GET", f"/{query}").status_code == 400
