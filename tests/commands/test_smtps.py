"""AddSMTP, GetSMTPs, DeleteSMTP and ResetSMTPPassword as the document prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

import models
from gateway import errors
from gateway.services import smtps
from tests import cast
from tests.commands.conftest import Call, caller
from tests.conftest import use_settings


@pytest.fixture
def who(store: str) -> cast.Sender:
    smtps.forget()
    return cast.sender()


def log_in(username: str, password: str) -> smtps.Login:
    return smtps.authenticate(username=username, password=password, ip="192.0.2.7")


def test_a_login_is_added_shown_renewed_and_deleted(call: Call, who: cast.Sender, tmp_path: Path) -> None:
    use_settings(tmp_path, SMTP_HOST="smtp.example.com", SMTP_PORTS="25,587,465")
    added = call(
        "AddSMTP",
        DomainID=who.domain.id,
        FromName="Example Sender",
        FromEmail="from@shop.test",
        ReplyToName="Example Reply",
        ReplyToEmail="reply-to@example.com",
    )
    assert (added["Success"], added["ErrorCode"]) == (True, 0)
    assert isinstance(added["NewSMTPID"], str)
    smtp = added["SMTP"]
    assert (smtp["SMTPHost"], smtp["SMTPPorts"]) == ("smtp.example.com", ["25", "587", "465"])
    assert isinstance(smtp["OtherSMTPInfo"], str)
    assert log_in(smtp["SMTPUsername"], smtp["SMTPPassword"]).domain_id == who.domain.id

    assert call("GetSMTPs", DomainID=str(who.domain.id)) == {
        "Success": True,
        "ErrorCode": 0,
        "SMTPs": [
            {
                "SMTPID": added["NewSMTPID"],
                "SMTPHost": "smtp.example.com",
                "SMTPPorts": ["25", "587", "465"],
                "Username": smtp["SMTPUsername"],
                "Password": "********",
                "FromEmail": "from@shop.test",
                "FromName": "Example Sender",
                "ReplyToEmail": "reply-to@example.com",
                "ReplyToName": "Example Reply",
                "IsActive": True,
            }
        ],
    }

    reset = call("ResetSMTPPassword", smtpid=added["NewSMTPID"])
    assert reset == {
        "Success": True,
        "ErrorCode": 0,
        "SMTP": {
            "SMTPID": added["NewSMTPID"],
            "Server": "smtp.example.com",
            "Port": 587,
            "Username": smtp["SMTPUsername"],
            "SMTPUsername": smtp["SMTPUsername"],
            "SMTPPassword": reset["SMTP"]["SMTPPassword"],
        },
    }
    assert reset["SMTP"]["SMTPPassword"] != smtp["SMTPPassword"]
    log_in(smtp["SMTPUsername"], reset["SMTP"]["SMTPPassword"])

    assert call("DeleteSMTP", SMTPID=int(added["NewSMTPID"])) == {"Success": True, "ErrorCode": 0}
    assert call("GetSMTPs", DomainID=who.domain.id)["SMTPs"] == []
    with pytest.raises(errors.LoginFailed):
        log_in(smtp["SMTPUsername"], reset["SMTP"]["SMTPPassword"])


def test_missing_and_unknown_ids(call: Call, who: cast.Sender) -> None:
    for value in ({}, {"DomainID": ""}):
        missing = call("AddSMTP", **value)
        assert (missing["ErrorCode"], missing["ErrorMessage"]) == (1, "Required field 'DomainID' is missing.")
        assert call("GetSMTPs", **value)["ErrorCode"] == 1
    for value in (0, -1, 999999, "x", "1 OR 1=1", 10**30, True, None, [1], {"a": 1}):
        expected = 1 if value is None else 2
        for name in ("AddSMTP", "GetSMTPs"):
            answer = call(name, DomainID=value)
            assert (answer["Success"], answer["ErrorCode"]) == (False, expected)
            assert ("ErrorMessage" in answer) is (name == "AddSMTP")
        for name in ("DeleteSMTP", "ResetSMTPPassword"):
            answer = call(name, smtpid=value)
            assert (answer["Success"], answer["ErrorCode"]) == (False, expected)
            assert "ErrorMessage" not in answer
    for name in ("DeleteSMTP", "ResetSMTPPassword"):
        assert call(name)["ErrorCode"] == 1
    assert not models.SmtpLogin.select().count()


def test_strangers_are_answered_as_if_nothing_was_there(call: Call, who: cast.Sender) -> None:
    added = call("AddSMTP", DomainID=who.domain.id)
    foreign = caller(cast.sender("stranger", "other.test"))
    for name, param in (
        ("AddSMTP", {"DomainID": who.domain.id}),
        ("GetSMTPs", {"DomainID": who.domain.id}),
        ("DeleteSMTP", {"smtpid": added["NewSMTPID"]}),
        ("ResetSMTPPassword", {"smtpid": added["NewSMTPID"]}),
    ):
        absent = dict.fromkeys(param, 999999)
        assert foreign(name, **param) == foreign(name, **absent)
        assert foreign(name, **param)["ErrorCode"] == 2
    log_in(added["SMTP"]["SMTPUsername"], added["SMTP"]["SMTPPassword"])


def test_a_bad_optional_field_has_the_general_number(call: Call, who: cast.Sender) -> None:
    for changed in ({"FromEmail": "nobody"}, {"FromName": "a\nb"}, {"ReplyToName": "n" * 256}, {"FromName": ["x"]}):
        answer = call("AddSMTP", DomainID=who.domain.id, **changed)
        assert (answer["Success"], answer["ErrorCode"]) == (False, 100010)
    assert not models.SmtpLogin.select().count()


def test_numeric_ids_for_accounts_that_want_them(who: cast.Sender) -> None:
    models.Account.update(options='{"numeric_ids": true}').execute()
    from gateway.services import identity

    identity.forget()
    assert isinstance(caller(who)("AddSMTP", DomainID=who.domain.id)["NewSMTPID"], int)
