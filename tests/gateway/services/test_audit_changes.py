"""Changes where a person would look for them: what was before and after, by whom, and never a secret."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.services import (
    account_options,
    allow_list,
    apis,
    audit,
    audit_calls,
    audit_log,
    domain_changes,
    erasures,
    identity,
    key_rotations,
    keys,
    lists,
    retention,
    shaping,
    smtps,
    suppression_list,
    templates,
    users,
    webhook_changes,
    webhooks,
)
from gateway.services.audit_log import Wanted
from gateway.services.retention import Retention
from models import database as db
from tests import cast

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def who(store: str) -> cast.Sender:
    return cast.sender()


def changes(who: cast.Sender) -> list[dict[str, Any]]:
    """The oldest first, without the making of the domain."""
    found = audit_log.list_(caller=who.owner, wanted=Wanted(kind="change"), count=200).entries
    return [entry for entry in reversed(found) if entry["action"] not in ("domain.create", "domain.enabled")]


def test_before_and_after_of_what_is_changed(who: cast.Sender) -> None:
    owner, domain = who.owner, who.domain
    hook = webhooks.add(caller=owner, domain_id=domain.id, event="delivered", url="https://example.com/a")
    webhook_changes.update(caller=owner, webhook_id=hook.id, url="https://example.com/b", active=False)
    webhooks.delete(caller=owner, webhook_id=hook.id)
    domain_changes.update(caller=owner, domain_id=domain.id, link_tracking=False, require_tls=True)
    retention.change(caller=owner, changed=Retention(body=7))
    suppression_list.add(caller=owner, addresses=["jane@friends.test"], domain_id=domain.id)
    suppression_list.delete(caller=owner, address="jane@friends.test", domain_id=domain.id)
    users.set_plan(email=owner.email, plan="Default")
    account_options.change(email=owner.email, changed={"numeric_ids": True})
    one = lists.add(caller=owner, name="Friends")
    lists.update(caller=owner, list_id=one.id, name="Family")
    lists.delete(caller=owner, list_id=one.id)
    letter = templates.add(caller=owner, name="Hi", subject="Hi", html=None, text="Hello jane@friends.test")
    templates.update(caller=owner, template_id=letter.id, changes={"text": "Bye"})
    templates.delete(caller=owner, template_id=letter.id)
    allow_list.add(caller=owner, address="jane@friends.test")
    allow_list.remove(caller=owner, address="jane@friends.test")
    told = {entry["action"]: entry for entry in changes(who)}

    def sides(action: str) -> tuple[Any, Any]:
        return told[action]["before"], told[action]["after"]

    assert sides("webhook.create")[1]["url"] == "https://example.com/a"
    assert sides("webhook.update") == (
        {"url": "https://example.com/a", "status": "active"}, {"url": "https://example.com/b", "status": "disabled"},
    )  # fmt: skip
    assert told["webhook.delete"]["object"] == f"webhook:{hook.id}"
    assert sides("domain.update") == (
        {"link_tracking": True, "require_tls": None}, {"link_tracking": False, "require_tls": True},
    )  # fmt: skip
    assert sides("retention.update") == ({"body_days": None}, {"body_days": 7})
    person = audit.person(owner.account_id, "jane@friends.test")
    assert told["suppression.create"]["object"] == told["suppression.delete"]["object"] == person
    assert sides("user.set_plan") == ({"plan": "Unlimited"}, {"plan": "Default"})
    assert sides("user.options") == ({"numeric_ids": False}, {"numeric_ids": True})
    assert sides("list.update") == ({"name": "Friends"}, {"name": "Family"})
    assert sides("list.delete") == ({"name": "Family", "segments": 0}, None)
    assert list(sides("template.update")[0]) == ["text"] and sides("template.delete") == ({"name": "Hi"}, None)
    assert told["allowed.create"]["object"] == told["allowed.delete"]["object"] == person
    assert "jane" not in orjson.dumps(list(told.values())).decode()


def test_who_did_it_is_told_by_the_call(who: cast.Sender) -> None:
    call = audit_calls.begin("command", ip="192.0.2.3", request_id="req-9")
    try:
        domain_changes.update(caller=who.owner, domain_id=who.domain.id, open_tracking=False)
    finally:
        audit_calls.end()
    assert call.what == f"domain:{who.domain.id}"
    domain_changes.update(caller=who.owner, domain_id=who.domain.id, open_tracking=True)
    audit_calls.begin("cli", actor="cli:root")
    try:
        users.set_status(email=who.owner.email, status="unverified")
    finally:
        audit_calls.end()
    told = [(one["door"], one["actor"], one["ip"], one["request_id"]) for one in changes(who)]
    assert told == [
        ("command", "owner@people.test", "192.0.2.3", "req-9"),
        ("system", "owner@people.test", "", ""),
        ("cli", "cli:root", "", ""),
    ]


def test_secrets_of_everything_that_has_one_stay_out(who: cast.Sender) -> None:
    """Each secret is a canary: none of them may be found in the log, in whatever form it is read."""
    owner, domain = who.owner, who.domain
    canaries = ["correct-horse-canary"]
    made = users.add(email="second@people.test", password=canaries[0])
    canaries.append(made["api_key"])
    canaries.append(users.add_key(email=owner.email, surface="mailersio")["key"])
    canaries.append(users.add_key(email=owner.email, value="imported-canary-key", surface="maillayer")["key"])
    users.set_password(email=owner.email, password=canaries[0])
    session = users.login(username=owner.email, password=canaries[0], ip="192.0.2.1")
    canaries.append(session.session_id)
    key = apis.add(caller=owner, domain_id=domain.id, description="app")
    canaries += [key.key, apis.replace(caller=owner, key_id=key.id).key]
    login, password = smtps.add(caller=owner, domain_id=domain.id)
    canaries += [password, smtps.reset_password(caller=owner, smtp_id=login.id)[1]]
    smtps.import_(caller=owner, domain_id=domain.id, username="app", password="smtp-canary-password")
    canaries.append("smtp-canary-password")
    hook = webhooks.add(
        caller=owner, event="delivered", surface="native",
        url="https://user:canaryuser@example.com/hook?token=canarytoken",
    )  # fmt: skip
    turned = webhook_changes.rotate_secret(caller=owner, webhook_id=hook.id)
    canaries += [hook.secret, turned.secret, "canaryuser", "canarytoken"]
    canaries.append(domain_changes.regenerate_signing_key(caller=owner, domain_id=domain.id))
    key_rotations.import_key(caller=owner, domain_id=domain.id, selector="moved", private_key=cast.signing_keys()[1][1])
    canaries.append(cast.signing_keys()[1][1].splitlines()[1])
    keys.revoke(account_id=owner.account_id, key_id=key.id + 1)
    erasures.begin(caller=owner, address="canary@friends.test")
    canaries.append("canary@friends.test")
    operator = cast.account("operator", role="operator")
    shaping.add(caller=operator, scope="domain", target="slow.test", kind="rate", value=5)
    identity.forget()

    actions = {entry["action"] for entry in audit_log.export(caller=None, wanted=Wanted())}
    assert actions >= {
        "user.create", "key.create", "key.replace", "user.set_password", "user.login", "smtp.create",
        "smtp.reset_password", "webhook.create", "webhook.rotate_secret", "domain.rotate_signing_key",
        "dkim.rotation_started", "address.erase", "limit.create", "key.revoke",
    }  # fmt: skip
    whole = orjson.dumps(list(audit_log.export(caller=None, wanted=Wanted()))).decode()
    whole += str(db.rows("SELECT * FROM audit_entry"))
    assert [canary for canary in canaries if canary in whole] == []
