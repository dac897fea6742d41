"""SMTP logins on both databases: made, shown, renewed, deleted, imported, checked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import models
from gateway import errors, vault
from gateway.services import smtps
from tests import cast
from tests.conftest import use_settings

IP = "192.0.2.7"


@pytest.fixture
def owner(store: str) -> Iterator[cast.Sender]:
    smtps.forget()
    yield cast.sender()
    smtps.forget()


def log_in(username: str, password: str, ip: str = IP) -> smtps.Login:
    return smtps.authenticate(username=username, password=password, ip=ip)


def test_a_new_login_works_at_once(owner: cast.Sender) -> None:
    login, password = smtps.add(
        caller=owner.owner, domain_id=owner.domain.id, from_name="The Shop", from_email="Hello@SHOP.test"
    )
    assert login.username.endswith("@shop.test")
    assert login.active
    assert (login.from_name, login.from_email, login.reply_to_email) == ("The Shop", "Hello@shop.test", "")
    assert smtps.list_(caller=owner.owner, domain_id=owner.domain.id) == [login]
    found = log_in(login.username, password)
    assert (found.id, found.account_id, found.domain_id) == (login.id, owner.owner.account_id, owner.domain.id)
    assert smtps.still_valid(found)


def test_the_password_is_nowhere_in_clear(owner: cast.Sender) -> None:
    login, password = smtps.add(caller=owner.owner, domain_id=owner.domain.id)
    (row,) = models.SmtpLogin.select().dicts()
    assert password not in repr(row)
    assert vault.unseal(row["password"], login.uuid) == password
    assert password not in repr(log_in(login.username, password))


@pytest.mark.parametrize("wrong", ["", "x", "PASSWORD "])
def test_wrong_passwords_and_unknown_names_look_the_same(owner: cast.Sender, wrong: str) -> None:
    login, password = smtps.add(caller=owner.owner, domain_id=owner.domain.id)
    wrong = wrong.replace("PASSWORD", password)
    for username in (login.username, "nobody@shop.test", "", "n" * 300, f"deleted:{login.uuid}"):
        with pytest.raises(errors.LoginFailed) as refused:
            log_in(username, wrong)
        assert refused.value.message == errors.LoginFailed.message


def test_failures_are_limited_by_name_and_address(owner: cast.Sender, tmp_path) -> None:  # type: ignore[no-untyped-def]
    use_settings(tmp_path, LOGIN_ATTEMPTS="3")
    login, password = smtps.add(caller=owner.owner, domain_id=owner.domain.id)
    for _ in range(3):
        with pytest.raises(errors.LoginFailed):
            log_in(login.username, "wrong")
    with pytest.raises(errors.RateLimited):
        log_in(login.username, password)
    assert log_in(login.username, password, ip="192.0.2.8").id == login.id


def test_a_reset_ends_the_old_password(owner: cast.Sender) -> None:
    login, old = smtps.add(caller=owner.owner, domain_id=owner.domain.id)
    session = log_in(login.username, old)
    again, new = smtps.reset_password(caller=owner.owner, smtp_id=login.id)
    assert again == login and new != old
    with pytest.raises(errors.LoginFailed):
        log_in(login.username, old)
    assert not smtps.still_valid(session)
    assert log_in(login.username, new).id == login.id


def test_a_deleted_login_is_gone_and_its_name_free(owner: cast.Sender) -> None:
    login = smtps.import_(caller=owner.owner, domain_id=owner.domain.id, username="app1", password="first")
    session = log_in("app1", "first")
    smtps.delete(caller=owner.owner, smtp_id=login.id)
    assert not smtps.still_valid(session)
    assert smtps.list_(caller=owner.owner, domain_id=owner.domain.id) == []
    for action in (smtps.delete, smtps.reset_password):
        with pytest.raises(errors.NotFound):
            action(caller=owner.owner, smtp_id=login.id)
    smtps.import_(caller=owner.owner, domain_id=owner.domain.id, username="app1", password="second")
    assert log_in("app1", "second").id != login.id


@pytest.mark.parametrize(
    ("username", "password", "refusal"),
    [
        ("app1", "other", errors.UsernameTaken),
        ("", "x", errors.Invalid),
        ("a\nb", "x", errors.Invalid),
        ("u" * 255, "x", errors.Invalid),
        ("app2", "", errors.Invalid),
        ("app2", "p" * 256, errors.Invalid),
        ("app2", "a\0b", errors.Invalid),
    ],
)
def test_imports_are_checked(owner: cast.Sender, username: str, password: str, refusal: type[Exception]) -> None:
    smtps.import_(caller=owner.owner, domain_id=owner.domain.id, username="app1", password="first")
    with pytest.raises(refusal):
        smtps.import_(caller=owner.owner, domain_id=owner.domain.id, username=username, password=password)
    assert models.SmtpLogin.select().count() == 1


def test_a_name_taken_by_a_stranger_stays_theirs(owner: cast.Sender) -> None:
    stranger = cast.sender("stranger", "other.test")
    smtps.import_(caller=stranger.owner, domain_id=stranger.domain.id, username="app1", password="theirs")
    with pytest.raises(errors.UsernameTaken):
        smtps.import_(caller=owner.owner, domain_id=owner.domain.id, username="app1", password="mine")


def test_strangers_find_nothing(owner: cast.Sender) -> None:
    login, password = smtps.add(caller=owner.owner, domain_id=owner.domain.id)
    stranger = cast.sender("stranger", "other.test").owner
    with pytest.raises(errors.NotFound):
        smtps.add(caller=stranger, domain_id=owner.domain.id)
    with pytest.raises(errors.NotFound):
        smtps.list_(caller=stranger, domain_id=owner.domain.id)
    for action in (smtps.delete, smtps.reset_password):
        with pytest.raises(errors.NotFound):
            action(caller=stranger, smtp_id=login.id)
    assert log_in(login.username, password).id == login.id


@pytest.mark.parametrize(
    "changed", [{"from_email": "nobody"}, {"from_name": "a\r\nBcc: x"}, {"reply_to_name": "n" * 256}]
)
def test_what_is_shown_is_checked(owner: cast.Sender, changed: dict[str, str]) -> None:
    with pytest.raises(errors.Invalid):
        smtps.add(caller=owner.owner, domain_id=owner.domain.id, **changed)
    assert not models.SmtpLogin.select().count()


def test_a_login_of_a_suspended_domain_is_shown_inactive(owner: cast.Sender) -> None:
    smtps.add(caller=owner.owner, domain_id=owner.domain.id)
    models.SenderDomain.update(status="suspended", enabled_name=None).execute()
    assert [login.active for login in smtps.list_(caller=owner.owner, domain_id=owner.domain.id)] == [False]
