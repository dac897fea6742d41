"""The commands of the suppression list and the allow-list, every number included."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway.services import deliveries, messages, suppressions
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.commands.conftest import Call, caller
from tests.web.conftest import Account

JANE = "jane@friends.test"


def code(answer: dict[str, Any]) -> int:
    found: int = answer["ErrorCode"]
    return found


def bounce(who: cast.Sender, address: str, **more: Any) -> None:
    db.in_transaction(
        lambda tx: suppressions.add(
            tx,
            account_id=who.owner.account_id,
            domain_id=who.domain.id,
            address=address,
            reason="bounce",
            rule="bounce:5.1.1",
            **more,
        )
    )


def test_from_adding_to_deleting(who: cast.Sender, call: Call) -> None:
    added = call("AddSuppression", EmailAddress="Jane@Friends.test", DomainID=who.domain.id, Detail="asked us to")
    assert (added["Success"], added["Added"], added["Known"], added["Invalid"]) == (True, 1, 0, [])
    many = call("AddSuppression", EmailAddress=[JANE, "carl@friends.test", "nobody"], Reason="Unsubscribe")
    assert (many["Added"], many["Known"], many["Invalid"]) == (2, 0, ["nobody"])
    assert call("AddSuppression", EmailAddress=[JANE], Reason="unsubscribe")["Known"] == 1
    listed = call("GetSuppressions")
    assert listed["TotalRecords"] == 3
    assert [row["EmailAddress"] for row in listed["Suppressions"]] == ["carl@friends.test", JANE, JANE]
    row = listed["Suppressions"][2]
    assert (row["Domain"], row["DomainID"], row["Reason"], row["Rule"], row["Detail"], row["ExpiresAt"]) == (
        "shop.test", str(who.domain.id), "manual", "manual", "asked us to", None,
    )  # fmt: skip
    assert call("DeleteSuppression", EmailAddress=JANE, DomainID=who.domain.id)["Deleted"] == 1
    assert code(call("DeleteSuppression", EmailAddress=JANE, DomainID=who.domain.id)) == 2
    assert code(call("DeleteSuppression", EmailAddress=JANE, Reason="bounce")) == 2
    assert call("DeleteSuppression", EmailAddress="JANE@friends.test", Reason="unsubscribe")["Deleted"] == 1
    assert call("GetSuppressions")["TotalRecords"] == 1


def test_what_narrows_the_list(who: cast.Sender, call: Call) -> None:
    accepted = messages.accept(who.caller, cast.draft(to="other@friends.test"))
    bounce(who, JANE, mx="MX.friends.test", message_id=models.Message.get().id)
    call("AddSuppression", EmailAddress="carl@friends.test")
    call("AddSuppression", EmailAddress="gone@friends.test", ExpiresAt="2999-01-01")
    models.Suppression.update(expires_ms=1).where(models.Suppression.address == "gone@friends.test").execute()
    elsewhere = cast.domains.add(caller=who.owner, name="else.test", trusted=True, dkim=cast.signing_keys())

    def found(**params: Any) -> list[str]:
        return sorted(row["EmailAddress"] for row in call("GetSuppressions", **params)["Suppressions"])

    both = ["carl@friends.test", JANE]
    assert found() == found(DomainID=who.domain.id) == found(Since="2020-01-01", Until="2999-01-01") == both
    assert found(DomainID=elsewhere.id) == found(Reason="manual") == ["carl@friends.test"]
    assert found(EmailAddress="JANE@friends.test") == found(Rule="bounce") == found(Rule="bounce:5.1.1") == [JANE]
    assert found(Since="2999-01-01") == found(Until="2020-01-01") == []
    assert found(StartFrom=1, RetrieveCount=1) == [JANE]
    (row,) = call("GetSuppressions", Rule="bounce")["Suppressions"]
    assert (row["MX"], row["MessageID"]) == ("mx.friends.test", accepted.message_id)


@pytest.mark.parametrize(
    ("name", "params", "number"),
    [
        ("GetSuppressions", {"Reason": "spite"}, 1),
        ("GetSuppressions", {"DomainID": 987654}, 2),
        ("AddSuppression", {}, 1),
        ("AddSuppression", {"EmailAddress": "nobody"}, 2),
        ("AddSuppression", {"EmailAddress": [f"u{n}@x.test" for n in range(1001)]}, 2),
        ("AddSuppression", {"EmailAddress": JANE, "DomainID": 987654}, 3),
        ("AddSuppression", {"EmailAddress": JANE, "Reason": "spite"}, 4),
        ("AddSuppression", {"EmailAddress": JANE, "ExpiresAt": "2020-01-01"}, 5),
        ("AddSuppression", {"EmailAddress": JANE, "ExpiresAt": "soon"}, 5),
        ("DeleteSuppression", {}, 1),
        ("DeleteSuppression", {"EmailAddress": JANE}, 2),
        ("DeleteSuppression", {"EmailAddress": JANE, "DomainID": 987654}, 3),
        ("UndoSuppressions", {}, 1),
        ("UndoSuppressions", {"Rule": "unsubscribe"}, 2),
        ("UndoSuppressions", {"Rule": "bounce", "MX": "."}, 2),
        ("UndoSuppressions", {"Rule": "bounce", "DomainID": 987654}, 3),
        ("ImportSuppressions", {}, 1),
        ("ImportSuppressions", {"Data": "name,colour\nx,y\n"}, 2),
        ("ImportSuppressions", {"Data": JANE, "DomainID": 987654}, 3),
        ("ImportSuppressions", {"Data": JANE, "Reason": "spite"}, 4),
        ("ExportSuppressions", {"DomainID": 987654}, 1),
        ("ExportSuppressions", {"Cursor": "x"}, 2),
        ("GetAllowList", {"DomainID": 987654}, 1),
        ("AddAllowed", {}, 1),
        ("AddAllowed", {"EmailAddress": "nobody"}, 2),
        ("AddAllowed", {"EmailAddress": "@"}, 2),
        ("AddAllowed", {"EmailAddress": JANE, "DomainID": 987654}, 3),
        ("DeleteAllowed", {}, 1),
        ("DeleteAllowed", {"EmailAddress": "nobody"}, 2),
        ("DeleteAllowed", {"EmailAddress": JANE, "DomainID": 987654}, 3),
        ("DeleteAllowed", {"EmailAddress": JANE}, 4),
    ],
)
def test_every_number(call: Call, name: str, params: dict[str, Any], number: int) -> None:
    answer = call(name, **params)
    assert (answer["Success"], code(answer)) == (False, number)
    assert models.Suppression.select().count() == 0


def test_import_export_and_undo(who: cast.Sender, call: Call) -> None:
    data = "EmailAddress,Reason\r\njane@friends.test,bounce\r\nnobody,\r\n=carl@friends.test,\r\n"
    done = call("ImportSuppressions", Data=data, DomainID=who.domain.id, Reason="complaint")
    assert (done["Added"], done["Known"], done["Invalid"]) == (2, 0, 1)
    assert done["InvalidLines"] == [{"Line": 3, "EmailAddress": "nobody", "Error": "is not an email address"}]
    first = call("ExportSuppressions", RetrieveCount=1)
    rest = call("ExportSuppressions", RetrieveCount=1, Cursor=first["NextCursor"])
    assert (first["Records"], rest["Records"], rest["NextCursor"]) == (1, 1, "")
    assert first["Data"].startswith("EmailAddress,Domain,Reason,")
    assert rest["Data"].startswith("'=carl@friends.test,shop.test,complaint,")
    assert call("ImportSuppressions", Data=first["Data"] + rest["Data"])["Known"] == 2
    assert call("UndoSuppressions", Rule=done["Rule"], DryRun="1")["Removed"] == 2
    assert call("UndoSuppressions", Rule=done["Rule"])["Removed"] == 2
    assert call("GetSuppressions")["TotalRecords"] == 0


def test_undo_between_two_times_of_one_host(who: cast.Sender, call: Call) -> None:
    bounce(who, JANE, mx="mx1.big.test")
    bounce(who, "carl@friends.test", mx="mx.small.test")
    call("AddSuppression", EmailAddress="hand@friends.test", Reason="bounce")
    assert call("UndoSuppressions", Rule="automatic", To="2020-01-01")["Removed"] == 0
    assert call("UndoSuppressions", Rule="automatic", From="2020-01-02", To="2020-01-01")["ErrorCode"] == 2
    assert call("UndoSuppressions", Rule="automatic", From="2020-01-01", MX="BIG.test")["Removed"] == 1
    assert call("UndoSuppressions", Rule="bounce:5.1.1", DomainID=who.domain.id)["Removed"] == 1
    assert [row.address for row in models.Suppression.select()] == ["hand@friends.test"]
    assert sum(row.removed for row in models.SuppressionUndo.select()) == 2


def test_the_allow_list(who: cast.Sender, call: Call) -> None:
    bounce(who, JANE)
    assert call("AddAllowed", EmailAddress="@Friends.TEST", Note="our own")["Lifted"] == 1
    assert call("AddAllowed", EmailAddress=JANE, DomainID=who.domain.id)["Lifted"] == 0
    assert call("AddAllowed", EmailAddress=JANE, DomainID=who.domain.id, Note="again")["Success"] is True
    listed = call("GetAllowList")
    assert listed["TotalRecords"] == 2
    assert [(row["EmailAddress"], row["Domain"], row["Note"]) for row in listed["Allowed"]] == [
        ("@friends.test", "", "our own"),
        (JANE, "shop.test", "again"),
    ]
    assert call("GetAllowList", StartFrom=1)["Allowed"][0]["EmailAddress"] == JANE
    assert call("DeleteAllowed", EmailAddress=JANE, DomainID=who.domain.id)["Success"] is True
    assert call("DeleteAllowed", EmailAddress="@friends.test")["Success"] is True
    assert call("GetAllowList")["TotalRecords"] == 0


def test_a_stranger_sees_and_changes_nothing(who: cast.Sender, call: Call) -> None:
    call("AddSuppression", EmailAddress=JANE)
    call("AddAllowed", EmailAddress=JANE)
    stranger = caller(cast.sender("stranger", "else.test"))
    assert stranger("GetSuppressions")["Suppressions"] == stranger("GetAllowList")["Allowed"] == []
    assert stranger("ExportSuppressions")["Records"] == 0
    assert code(stranger("DeleteSuppression", EmailAddress=JANE)) == 2
    assert code(stranger("DeleteAllowed", EmailAddress=JANE)) == 4
    assert stranger("UndoSuppressions", Rule="manual")["Removed"] == 0
    assert call("GetSuppressions")["TotalRecords"] == 1


def test_by_form(client: FlaskClient, owner: Account) -> None:
    form = {"APIKey": owner.api_key, "ResponseFormat": "JSON"}
    added = client.post(
        "/api.php",
        data=form | {"Command": "EmailGateway.AddSuppression", "EmailAddress[0]": JANE, "EmailAddress[1]": "a@b.test"},
    ).get_json()
    assert (added["Success"], added["Added"]) == (True, 2)
    file = form | {"Command": "EmailGateway.ImportSuppressions", "Data": "EmailAddress\r\nx@y.test\r\n"}
    assert client.post("/api.php", data=file).get_json()["Added"] == 1


@pytest.mark.parametrize("reason", ["unsubscribe", "manual"])
def test_what_is_queued_already_is_not_sent(who: cast.Sender, call: Call, reason: str) -> None:
    messages.accept(who.caller, cast.draft(to=JANE))
    messages.accept(who.caller, cast.draft(to="carl@friends.test"))
    call("AddSuppression", EmailAddress=JANE, Reason=reason, DomainID=who.domain.id)
    while deliveries.drain(0.1):
        pass
    assert deliveries.engine().wait_idle(20)
    deliveries.close()
    states = {row.rcpt: row.state for row in models.Delivery.select()}
    assert states == {JANE: DeliveryState.SUPPRESSED, "carl@friends.test": DeliveryState.DELIVERED}
    assert [row.rcpt for row in models.Event.select().where(models.Event.kind == EventKind.SUPPRESSED)] == [JANE]
    assert [row.rcpt for row in models.CapturedMail.select()] == ["carl@friends.test"]
