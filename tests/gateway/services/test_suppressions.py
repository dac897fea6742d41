"""The suppression list on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import clock, errors
from gateway.services import suppressions
from models import database as db

pytestmark = pytest.mark.usefixtures("store")

ACCOUNT, DOMAIN = 7, 70


def add(address: str, *, reason: str = "bounce", account: int = ACCOUNT, domain: int = DOMAIN, **more: Any) -> bool:
    return db.in_transaction(
        lambda tx: suppressions.add(tx, account_id=account, domain_id=domain, address=address, reason=reason, **more)
    )


def remove(address: str, *, domain: int = DOMAIN, reason: str | None = None, account: int = ACCOUNT) -> int:
    return db.in_transaction(
        lambda tx: suppressions.remove(tx, account_id=account, domain_id=domain, address=address, reason=reason)
    )


def check(*addresses: str, account: int = ACCOUNT, domain: int = DOMAIN) -> dict[str, suppressions.Suppressed]:
    inside = db.in_transaction(
        lambda tx: suppressions.check(tx, account_id=account, domain_id=domain, addresses=addresses)
    )
    outside = suppressions.check(None, account_id=account, domain_id=domain, addresses=addresses)
    assert inside == outside
    return inside


def test_a_bounced_address_is_found_with_its_cause() -> None:
    before = clock.now_ms()
    assert add("jane@example.org", detail="550 5.1.1 no such user", message_id=12)
    found = check("jane@example.org", "john@example.org")
    assert list(found) == ["jane@example.org"]
    row = found["jane@example.org"]
    assert (row.reason, row.detail, row.message_id, row.domain_id) == ("bounce", "550 5.1.1 no such user", 12, DOMAIN)
    assert before <= row.created_ms <= clock.now_ms()
    assert row.expires_ms is None
    assert row.rule == "bounce"


@pytest.mark.parametrize("asked", ["JANE@xn--bcher-kva.example", "jane@BÜCHER.example", "Jane@Bücher.EXAMPLE "])
def test_case_and_international_spelling_do_not_matter_and_the_answer_keeps_it(asked: str) -> None:
    add("Jane@Bücher.EXAMPLE")
    found = check(asked, "jane@bucher.example", "jane@bücher.example", asked)
    assert list(found) == [asked, "jane@bücher.example"]
    assert found[asked].address == suppressions.normalise(asked) == "jane@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  Jane@Example.COM ", "jane@example.com"),
        ("JÖRG@Example.com", "jörg@example.com"),
        ("x@\u2024", "x@\u2024"),  # no domain: kept as it is rather than lost
        ("no-at-sign", "no-at-sign"),
    ],
)
def test_normalise(given: str, kept: str) -> None:
    assert suppressions.normalise(given) == kept
    assert suppressions.normalise(kept) == kept


def test_a_domain_keeps_to_its_own_list_and_to_the_accounts() -> None:
    add("own@example.org")
    add("everywhere@example.org", domain=suppressions.WHOLE_ACCOUNT)
    add("other@example.org", domain=DOMAIN + 1)
    add("stranger@example.org", account=ACCOUNT + 1)
    add("stranger@example.org", account=ACCOUNT + 1, domain=suppressions.WHOLE_ACCOUNT)
    asked = ("own@example.org", "everywhere@example.org", "other@example.org", "stranger@example.org")
    assert set(check(*asked)) == {"own@example.org", "everywhere@example.org"}
    assert set(check(*asked, domain=DOMAIN + 1)) == {"other@example.org", "everywhere@example.org"}


def test_an_expired_row_counts_no_more_and_can_be_renewed() -> None:
    past = clock.now_ms() - 1
    assert add("jane@example.org", detail="old", expires_ms=past)
    assert check("jane@example.org") == {}
    assert add("jane@example.org", detail="new", expires_ms=past + 600_000)
    assert check("jane@example.org")["jane@example.org"].detail == "new"
    assert db.rows("SELECT COUNT(*) FROM suppression")[0][0] == 1


def test_a_second_report_keeps_the_first_cause_and_only_lengthens() -> None:
    soon, later = clock.now_ms() + 60_000, clock.now_ms() + 120_000
    assert add("jane@example.org", detail="first", message_id=1, expires_ms=soon)
    assert not add("jane@example.org", detail="second", message_id=2, expires_ms=later)
    row = check("jane@example.org")["jane@example.org"]
    assert (row.detail, row.message_id, row.expires_ms) == ("first", 1, later)
    assert not add("jane@example.org", expires_ms=soon)
    assert check("jane@example.org")["jane@example.org"].expires_ms == later
    assert not add("jane@example.org")
    assert check("jane@example.org")["jane@example.org"].expires_ms is None
    assert not add("jane@example.org", expires_ms=later)
    assert check("jane@example.org")["jane@example.org"].expires_ms is None


def test_of_several_reasons_the_lasting_one_answers() -> None:
    add("jane@example.org", reason="bounce", expires_ms=clock.now_ms() + 60_000)
    add("jane@example.org", reason="complaint", domain=suppressions.WHOLE_ACCOUNT)
    assert check("jane@example.org")["jane@example.org"].reason == "complaint"


def test_remove_is_bound_to_domain_reason_and_account() -> None:
    add("jane@example.org", reason="bounce")
    add("jane@example.org", reason="unsubscribe")
    add("jane@example.org", domain=suppressions.WHOLE_ACCOUNT)
    assert remove("jane@example.org", account=ACCOUNT + 1) == 0
    assert remove("JANE@example.org", reason="bounce") == 1
    assert check("jane@example.org")
    assert remove("jane@example.org") == 1
    assert check("jane@example.org")["jane@example.org"].domain_id == suppressions.WHOLE_ACCOUNT
    assert remove("jane@example.org", domain=suppressions.WHOLE_ACCOUNT) == 1
    assert check("jane@example.org") == {}
    assert remove("jane@example.org") == 0


@pytest.mark.parametrize("count", [1, 500, 501, 1203])
def test_long_lists_are_asked_in_batches(count: int) -> None:
    listed = [f"user{i}@example.org" for i in range(0, count, 100)] + [f"user{count - 1}@example.org"]
    for address in listed:
        add(address)
    assert set(check(*[f"user{i}@example.org" for i in range(count)])) == set(listed)


def test_no_addresses_no_answer() -> None:
    assert check() == {}


@pytest.mark.parametrize("bad", [{"reason": "spite"}, {"address": ""}, {"address": "x" * 321}])
def test_what_cannot_be_stored_is_refused(bad: dict[str, str]) -> None:
    with pytest.raises(errors.Invalid):
        add(**({"address": "jane@example.org"} | bad))
    assert db.rows("SELECT COUNT(*) FROM suppression")[0][0] == 0


def test_a_long_detail_is_cut_not_refused() -> None:
    add("jane@example.org", detail="ü" * 100_000)
    assert check("jane@example.org")["jane@example.org"].detail == "ü" * 4096


def test_the_look_up_reads_the_address_index() -> None:
    for i in range(50):
        add(f"user{i}@example.org")
    statement = suppressions._FIND.format(index=suppressions._USE_INDEX[db.dialect()], marks="?,?")
    params = (ACCOUNT, "user1@example.org", "user2@example.org", DOMAIN, -1, 0)
    if db.dialect() == "sqlite":
        plan = " ".join(str(row) for row in db.rows("EXPLAIN QUERY PLAN " + statement, params))
        assert f"SEARCH suppression USING INDEX {suppressions._INDEX}" in plan
        assert "address=?" in plan
    else:
        (row,) = db.rows("EXPLAIN " + statement, params)
        assert suppressions._INDEX in row
        assert int(row[8]) <= 8  # rows it expects to read
