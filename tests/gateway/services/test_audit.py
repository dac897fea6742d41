"""The audit log: what goes in, in which order it is chained, and that no secret does."""

from __future__ import annotations

import threading
import time

import orjson
import pytest

import models
from gateway import clock, config, errors, ids
from gateway.services import (
    audit,
    audit_calls,
    audit_chain,
    audit_entries,
    audit_head,
    audit_log,
    audit_redaction,
    audit_verify,
)
from gateway.services.audit_log import Wanted
from gateway.services.identity import Caller
from models import database as db
from tests import cast
from tests.conftest import use_settings

pytestmark = pytest.mark.usefixtures("store")


def change(caller: Caller | None, what: str = "domain:1", action: str = "domain.update", **more: object) -> None:
    db.in_transaction(lambda tx: audit.record(tx, caller=caller, action=action, what=what, **more))  # type: ignore[arg-type]


def call(caller: Caller, action: str = "GET /v1/lists", **more: object) -> None:
    made = audit_calls.Call("v1", "192.0.2.7", "req-1", caller=caller, action=action, status=200, **more)  # type: ignore[arg-type]
    assert audit_calls.keep(made)


def test_calls_and_changes_are_one_chain_in_the_order_of_their_times() -> None:
    owner = cast.account()
    change(owner, before={"name": "old"}, after={"name": "new"})
    time.sleep(0.002)  # their order is that of milliseconds
    call(owner)
    time.sleep(0.002)
    change(owner, "domain:2")
    page = audit_log.list_(caller=owner, wanted=Wanted())
    assert [(entry["sequence"], entry["kind"], entry["object"]) for entry in reversed(page.entries)] == [
        (1, "change", "domain:1"),
        (2, "call", ""),
        (3, "change", "domain:2"),
    ]
    newest, middle, oldest = page.entries
    assert oldest["before"] == {"name": "old"} and oldest["after"] == {"name": "new"}
    assert oldest["previous_hash"] == audit_entries.GENESIS
    assert (middle["previous_hash"], newest["previous_hash"]) == (oldest["hash"], middle["hash"])
    assert middle["actor"] == "owner@people.test" and middle["ip"] == "192.0.2.7" and middle["request_id"] == "req-1"
    head = audit_head.read()
    assert head is not None and head.is_signed and (head.last_seq, head.last_hash) == (3, newest["hash"])


def test_whoever_has_an_entry_can_check_it_with_the_public_key_alone() -> None:
    """As docs/audit.md says it: the hash from the entry's own JSON, the signature over the hash."""
    import hashlib
    import json

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    owner = cast.account()
    change(owner, after={"name": "Zoë", "n": 3})
    (entry,) = audit_log.list_(caller=owner, wanted=Wanted()).entries
    told = json.loads(orjson.dumps(entry))
    hash_, signature = told.pop("hash"), told.pop("signature")
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == hash_
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(audit_log.head()["public_key"]))
    key.verify(bytes.fromhex(signature), hash_.encode())


def test_an_altered_entry_is_shown_without_a_signature() -> None:
    owner = cast.account()
    change(owner)
    audit_chain.run(1)
    db.in_transaction(lambda tx: tx.execute("UPDATE audit_entry SET actor = 'nobody'"))
    (entry,) = audit_log.list_(caller=owner, wanted=Wanted()).entries
    assert entry["signature"] is None


def test_a_change_that_is_rolled_back_leaves_no_entry() -> None:
    owner = cast.account()

    def work(tx: db.Transaction) -> None:
        audit.record(tx, caller=owner, action="domain.update", what="domain:1")
        raise errors.NotFound

    with pytest.raises(errors.NotFound):
        db.in_transaction(work)
    assert audit_log.list_(caller=owner, wanted=Wanted()).entries == []


def test_filters_find_what_they_name_and_nothing_of_others() -> None:
    owner, stranger = cast.account(), cast.account("stranger")
    row = models.ApiKey.create(
        uuid=ids.new_uuid(), account_id=owner.account_id, surface="mailersio", fingerprint="f" * 64,
        prefix="mk_live_abcd", created_ms=clock.now_ms(),
    )  # fmt: skip
    keyed = Caller(owner.account_id, owner.email, "user", "active", owner.plan, key_id=row.id)
    call(keyed, "POST /v1/send", what="message:1")
    call(owner, "GET /v1/lists", result="refused", code="not_allowed")
    change(owner, "list:7", "list.create")
    change(owner, audit.person(owner.account_id, "Jane@friends.test"), "suppression.create")
    call(stranger, "GET /v1/lists")
    change(stranger, "list:7", "list.create")

    def found(**wanted: object) -> list[str]:
        page = audit_log.list_(caller=owner, wanted=Wanted(**wanted))  # type: ignore[arg-type]
        assert {entry["account_id"] for entry in page.entries} <= {owner.account_id}
        return [entry["action"] for entry in page.entries]

    assert len(found()) == 4
    assert found(key=str(row.id)) == found(key="mk_live_abcd") == ["POST /v1/send"]
    assert found(result="refused") == ["GET /v1/lists"]
    assert found(object="list:7") == ["list.create"]
    assert found(action="list.*") == ["list.create"]
    assert found(object="jane@friends.test") == ["suppression.create"]
    assert found(kind="change") == ["suppression.create", "list.create"]
    assert found(actor="stranger@people.test") == []
    assert found(request_id="req-1") == ["GET /v1/lists", "POST /v1/send"]
    now = clock.now_ms()
    assert len(found(since_ms=now - 60_000, until_ms=now)) == 4
    assert found(until_ms=now - 60_000) == found(since_ms=now + 60_000) == []
    with pytest.raises(errors.Invalid):
        found(kind="other")
    (entry,) = audit_log.list_(caller=owner, wanted=Wanted(action="POST /v1/send")).entries
    assert entry["key"] == {"id": row.id, "prefix": "mk_live_abcd"}
    assert audit_log.find(caller=owner, entry_id=entry["id"]) == entry
    with pytest.raises(errors.NotFound):
        audit_log.find(caller=stranger, entry_id=entry["id"])


def test_pages_are_whole_and_without_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "_WINDOW", 4)
    owner, other = cast.account(), cast.account("other")
    for number in range(11):
        change(owner, f"list:{number}")
        change(other, f"list:{number}")
    seen: list[str] = []
    before = None
    while True:
        page = audit_log.list_(caller=owner, wanted=Wanted(), before=before, count=3)
        seen += [entry["object"] for entry in page.entries]
        if page.next_seq is None:
            break
        before = page.next_seq
    assert seen == [f"list:{number}" for number in reversed(range(11))]
    # One that matches little ends early, and goes on.
    monkeypatch.setattr(audit_log, "_LOOKED_MOST", 4)
    page = audit_log.list_(caller=owner, wanted=Wanted(object="list:1"))
    found, pages = list(page.entries), 1
    while page.next_seq is not None:
        page = audit_log.list_(caller=owner, wanted=Wanted(object="list:1"), before=page.next_seq)
        found, pages = found + page.entries, pages + 1
    assert [entry["object"] for entry in found] == ["list:1"] and pages > 1


def test_a_key_of_one_domain_reads_nothing() -> None:
    with pytest.raises(errors.NotAllowed):
        audit_log.list_(caller=cast.sender().caller, wanted=Wanted())


def test_a_log_line_is_written_once_whoever_dies_when(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = cast.account()
    for number in range(5):
        call(owner, f"GET /v1/lists/{number}")
    with monkeypatch.context() as patched:

        def die(*_: object) -> None:
            raise RuntimeError("killed between the commit and the removal of the file")

        patched.setattr(audit_chain.Sealed, "remove", die)
        with pytest.raises(RuntimeError):
            audit_chain.run(5)
    call(owner, "GET /v1/lists/5")
    audit_chain.run(5)
    actions = [entry["action"] for entry in audit_log.list_(caller=owner, wanted=Wanted()).entries]
    assert sorted(actions) == [f"GET /v1/lists/{number}" for number in range(6)]


def test_what_cannot_be_read_in_the_spool_keeps_nothing_else_back() -> None:
    owner = cast.account()
    call(owner)
    for line in (b"{", b"[1,2]", b'["a","b",1,2,3,4,5,6,7,8,9,0]'):
        audit_calls.place.append(line)
    call(owner, "GET /v1/campaigns")
    assert audit_chain.run(5) == 2


def test_a_call_that_cannot_be_kept_is_no_failure_of_it(settings: config.Settings) -> None:
    owner = cast.account()
    assert not audit_calls.keep(audit_calls.Call("v1", caller=owner, action="\ud800"))
    blocked = use_settings(settings.data / "other").data
    blocked.write_text("a file where the folder should be")
    assert not audit_calls.keep(audit_calls.Call("v1", caller=owner, action="GET /v1/lists"))


SECRETS = (
    "whsec_c2VjcmV0Y2FuYXJ5c2VjcmV0Y2FuYXJ5",
    "4D196964-B909FDD7-134A4E29-6B0E923E",
    "ml_live_Canary23CanaryCanary",
    "AKIACANARYCANARY1234",
    "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----",
    "Bearer canary.canary.canary",
)


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_goes_in_by_its_form(secret: str) -> None:
    owner = cast.account()
    change(owner, f"key:{secret}", after={"note": f"it is {secret}, see", "list": [secret], "deep": {"x": [secret]}})
    assert secret not in orjson.dumps(audit_log.list_(caller=owner, wanted=Wanted()).entries).decode()
    assert secret not in str(db.rows("SELECT * FROM audit_entry"))


def test_no_secret_goes_in_by_its_name() -> None:
    names = (
        "password",
        "Secret",
        "api_key",
        "APIKey",
        "signing_key",
        "key",
        "access_token",
        "credentials",
        "tfa_secret",
    )
    told = audit_redaction.redacted(dict.fromkeys(names, "canary") | {"inner": dict.fromkeys(names, "canary")})
    assert "canary" not in str(told)
    assert audit_redaction.redacted({"name": "kept", "key_id": 5, "monkey": "kept", "empty": None, "password": ""}) == {
        "name": "kept", "key_id": 5, "monkey": "kept", "empty": None, "password": "",
    }  # fmt: skip
    url = "https://user:canary@hooks.example.com/T0/canarycanarycanarycanary?token=canary&x=1"
    assert "canary" not in audit_redaction.text(url) and "hooks.example.com/T0/" in audit_redaction.text(url)


def test_another_secret_is_a_change_that_is_told_without_its_value() -> None:
    owner = cast.account()
    change(owner, before={"secret": "one", "url": "same"}, after={"secret": "two", "url": "same"})
    (entry,) = audit_log.list_(caller=owner, wanted=Wanted()).entries
    assert entry["before"] == entry["after"] == {"secret": audit_redaction.REDACTED}


def test_a_login_is_told_once_an_hour() -> None:
    owner = cast.account()
    for _ in range(5):
        audit_calls.logged_in(account_id=owner.account_id, username="app-x", ip="192.0.2.9")
    audit_calls.logged_in(account_id=owner.account_id, username="app-x", ip="192.0.2.10")
    entries = audit_log.list_(caller=owner, wanted=Wanted(action="smtp.login")).entries
    assert sorted((entry["actor"], entry["ip"]) for entry in entries) == [
        ("smtp:app-x", "192.0.2.10"),
        ("smtp:app-x", "192.0.2.9"),
    ]
    audit_calls._logins.clear()


def test_the_oldest_go_and_the_rest_is_still_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = cast.account()
    old = clock.now_ms() - 400 * clock.DAY_MS
    for number in range(6):
        with monkeypatch.context() as patched:
            if number < 2:
                patched.setattr(clock, "now_ms", lambda: old)
            change(owner, f"list:{number}")
    audit_chain.run(5)
    assert audit_chain.collect() == (2, False)
    report = audit_verify.verify()
    assert report.ok and (report.first, report.last, report.entries) == (3, 6, 4)
    entries = audit_log.list_(caller=owner, wanted=Wanted()).entries
    assert [entry["object"] for entry in entries] == ["list:5", "list:4", "list:3", "list:2"]
    assert all(entry["signature"] for entry in entries)


def test_the_secret_may_rotate(settings: object) -> None:
    owner = cast.account()
    change(owner, "list:1")
    audit_chain.run(5)
    data = config.settings().data
    use_settings(data, SECRET="a-new-one,a-secret-for-tests")
    change(owner, "list:2")
    audit_chain.run(5)
    report = audit_verify.verify()
    assert report.ok and report.entries == 2 and not report.unsealed
    # Without the old one: what it sealed is still whole, for the end is signed with the new one.
    use_settings(data, SECRET="a-new-one")
    report = audit_verify.verify()
    assert report.ok and report.entries == 2 and report.unsealed == 1
    use_settings(data, SECRET="quite-another")
    assert not audit_verify.verify().ok


def test_many_write_and_several_chain_at_once() -> None:
    owner = cast.account()
    stop = threading.Event()
    failed: list[BaseException] = []

    def work(who: int) -> None:
        try:
            for number in range(15):
                change(owner, f"list:{who}-{number}")
                call(owner, f"GET /v1/lists/{who}-{number}")
        except BaseException as error:
            failed.append(error)
        finally:
            db.close()

    def chain() -> None:
        try:
            while not stop.is_set():
                audit_chain.run(1)
        except BaseException as error:
            failed.append(error)
        finally:
            db.close()

    writers = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    chainers = [threading.Thread(target=chain) for _ in range(2)]
    for thread in (*writers, *chainers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in chainers:
        thread.join()
    while audit_chain.run(5) or audit_calls.place.waiting():
        time.sleep(0.05)  # a file is sealed once a second
    assert failed == []
    report = audit_verify.verify()
    assert report.ok and report.entries == 4 * 15 * 2
    objects = [one["object"] or one["action"] for one in audit_log.export(caller=owner, wanted=Wanted())]
    assert len(set(objects)) == 120
