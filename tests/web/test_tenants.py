"""The tenant matrix: every command and every end-user route with a stranger's ids, absent ones, a revoked key.

A foreign id is answered exactly like an absent one, reads nothing and writes nothing. A new command is in the
matrix by being in the command table; one with a kind of id that is not known here fails the test.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

import models
from commands import registry
from commands.registry import Command, Needs
from gateway import ids as gateway_ids
from gateway.services import (
    allow_list,
    apis,
    audit_log,
    automation_runs,
    automations,
    campaigns,
    identity,
    inbound_mail,
    keys,
    lists,
    messages,
    routing_rules,
    sending_servers,
    smtps,
    subscribers,
    suppression_list,
    templates,
    users,
    webhooks,
)
from gateway.services.audit_log import Wanted
from models import database as db
from tests import cast

ABSENT = 987_654_321
IDS = {
    "domainid",
    "webhookid",
    "webhookdeliveryid",
    "smtpid",
    "apikeyid",
    "templateid",
    "listid",
    "subscriberid",
    "messageid",
    "inboundmailid",
}
NOT_OURS = {("EmailGateway.AddAPI", "listid"), ("EmailGateway.AddAPI", "subscriberid")}
"""Words that a key keeps and gives back; they name nothing here."""

SAMPLES: dict[str, Any] = {
    "event": "delivered",
    "webhookurl": "https://hooks.example.com/told",
    "domainname": "another.example",
    "emailaddress": "new@friends.test",
    "sendat": int(time.time()) + 86_400,
    "subscribers": [{"EmailAddress": "new@friends.test"}],
    "subdomain": "mail",
    "selector": "moved",
    "privatekey": cast.signing_keys()[1][1],
    "startfrom": 0,
    "retrievecount": 10,
}

OPTIONAL = {"EmailGateway.UpdateDomain": ("subdomain",)}
"""Parameters that are not obligatory and without which a request does nothing."""

USER_COMMANDS = [command for command in registry.all_commands() if command.needs is Needs.USER]


class Tenant:
    """An account with one of everything."""

    def __init__(self, name: str) -> None:
        self.sender = cast.sender(name, f"{name}.test")
        owner, domain = self.sender.owner, self.sender.domain
        self.key = apis.add(caller=owner, domain_id=domain.id, description="matrix")
        self.account_key = users.add_key(email=owner.email)["key"]
        list_ = lists.add(caller=owner, name="Friends")
        subscriber = subscribers.add(caller=owner, list_id=list_.id, email="friend@friends.test")
        template = templates.add(caller=owner, name="Hello", subject="Hi", html="<p>Hi</p>", text="Hi")
        login, _ = smtps.add(caller=owner, domain_id=domain.id)
        # New ones would do for most commands; those that take off need one that is there.
        suppression_list.add(caller=owner, addresses=["new@friends.test"], domain_id=domain.id)
        allow_list.add(caller=owner, address="new@friends.test", domain_id=domain.id)
        hook = webhooks.add(caller=owner, domain_id=domain.id, event="bounced", url="https://hooks.example.com/b")
        accepted = messages.accept(self.sender.caller, cast.draft(domain=f"{name}.test"))
        told = models.WebhookDelivery.create(
            uuid=gateway_ids.new_uuid(), webhook_id=hook.id, message_id=1, event_id=1, state="dead", created_ms=1
        )
        campaign = campaigns.add(
            caller=owner,
            given={"name": "News", "from": f"news@{name}.test", "subject": "Hi", "text": "Hi", "list_id": list_.id},
        )
        automation = automations.add(
            caller=owner,
            given={"name": "A", "trigger": {"type": "event", "event": "go"}, "actions": [{"type": "exit"}]},
        )
        mailersio = webhooks.add(
            caller=owner, domain_id=domain.id, event="*", url="https://hooks.example.com/m", surface="mailersio"
        )
        entries = audit_log.list_(caller=owner, wanted=Wanted(), count=1).entries
        server = sending_servers.create(caller=owner, name="Server", kind="capture", weight=0)
        rule = routing_rules.create(caller=owner, name="Rule", targets=[{"server": "Server"}], match={"tag": "none"})
        self.ids: dict[str, Any] = {
            "whk": gateway_ids.public_id("whk", UUID(mailersio.uuid)),
            "aud": entries[0]["id"],
            "serverid": server.public_id,
            "ruleid": rule.public_id,
            "campaignid": campaign.public_id,
            "automationid": automation.public_id,
            "runid": automation_runs.trigger(
                caller=owner, automation=automation, subscriber="friend@friends.test"
            ).public_id,
            "domainid": domain.id,
            "webhookid": hook.id,
            "webhookdeliveryid": told.id,
            "smtpid": login.id,
            "apikeyid": self.key.id,
            "apikeyuuid": str(models.ApiKey.get_by_id(self.key.id).uuid),
            "domainuuid": str(domain.uuid),
            "templateid": template.id,
            "listid": list_.id,
            "subscriberid": subscriber.id,
            "messageid": accepted.message_id,
            "inboundmailid": inbound_mail.keep(
                kind=inbound_mail.AUTO_REPLY, why="", recipient="", mail_from="", content=b"Subject: Away\r\n\r\n",
                delivery_id=models.Delivery.get(models.Delivery.account_id == owner.account_id).id, refused=False,
            ),
        }  # fmt: skip


@pytest.fixture
def owner(app: object) -> Tenant:
    return Tenant("owner")


@pytest.fixture
def stranger(app: object) -> Tenant:
    return Tenant("stranger")


def _fingerprint() -> str:
    """Every row of every durable table."""
    digest = hashlib.sha256()
    for model in models.DURABLE:
        for row in sorted(map(repr, db.rows(f"SELECT * FROM {model._meta.table_name}"))):
            digest.update(row.encode())
    return digest.hexdigest()


def _ids(command: Command) -> list[str]:
    found = [name for name in (field.lower() for field in command.params.fields) if name.endswith("id")]
    ours = [name for name in found if (command.name, name) not in NOT_OURS]
    unknown = {name for name in ours if name not in IDS and name not in ("journeyid", "actionid", "sessionid")}
    assert not unknown, f"{command.name}: teach the matrix about {unknown}"
    return [name for name in ours if name in IDS]


def _parameters(command: Command, ids: dict[str, Any]) -> dict[str, Any]:
    """A request that would be good if the ids were the caller's."""
    params: dict[str, Any] = {}
    wanted = _ids(command)
    for name, field in command.params.fields.items():
        low = name.lower()
        if low in wanted:
            # Either of two names may find a subscriber: the id is the one under test.
            params[name] = ids[low]
        elif low in SAMPLES and (field.obligatory or low in OPTIONAL.get(command.name, ())):
            params[name] = SAMPLES[low]
        elif field.obligatory:
            params[name] = field.example if field.example is not None else field.sample
    return params


def _masked(answer: dict[str, Any], *values: Any) -> str:
    """The answer without the ids that were asked for, which texts may repeat."""
    text = repr(answer)
    for value in values:
        text = re.sub(rf"\b{re.escape(str(value))}\b", "#", text)
    return text


def _post(client: FlaskClient, command: Command, params: dict[str, Any], key: str) -> tuple[int, dict[str, Any]]:
    answer = client.post("/api.php", json={"Command": command.name, "APIKey": key, **params})
    return answer.status_code, answer.get_json()


def _absent(ids: dict[str, Any]) -> dict[str, Any]:
    none = "01a1fbad-0000-7000-8000-000000000000"
    return {name: none if name == "messageid" or name.endswith("uuid") else ABSENT for name in ids}


WITH_IDS = [command for command in USER_COMMANDS if _ids(command)]


@pytest.mark.parametrize("command", WITH_IDS, ids=[command.name for command in WITH_IDS])
def test_a_foreign_id_is_answered_like_an_absent_one(
    client: FlaskClient, owner: Tenant, stranger: Tenant, command: Command
) -> None:
    wanted = _ids(command)
    mixes: list[tuple[dict[str, Any], dict[str, Any]]] = [(owner.ids, _absent(owner.ids))]
    if len(wanted) > 1:  # all the stranger's own but one
        none = _absent(owner.ids)
        mixes += [(stranger.ids | {name: owner.ids[name]}, stranger.ids | {name: none[name]}) for name in wanted]
    before = _fingerprint()
    for foreign, absent in mixes:
        theirs = _post(client, command, _parameters(command, foreign), stranger.account_key)
        nobodys = _post(client, command, _parameters(command, absent), stranger.account_key)
        assert theirs[1]["Success"] is False, theirs
        masks = [*foreign.values(), *absent.values()]
        assert (theirs[0], _masked(theirs[1], *masks)) == (nobodys[0], _masked(nobodys[1], *masks))
        assert theirs[1]["ErrorCode"] not in (100005, 99998, 99999)
    assert _fingerprint() == before


@pytest.mark.parametrize("command", USER_COMMANDS, ids=[command.name for command in USER_COMMANDS])
def test_credentials_that_are_not_the_accounts(client: FlaskClient, owner: Tenant, command: Command) -> None:
    revoked = owner.account_key
    row = models.ApiKey.get(
        models.ApiKey.domain_id.is_null(), models.ApiKey.account_id == owner.sender.owner.account_id
    )
    keys.revoke(account_id=row.account_id, key_id=row.id)
    identity.forget()
    before = _fingerprint()
    for key in (revoked, owner.key.key, "", "FFFFFFFF-FFFFFFFF-FFFFFFFF-FFFFFFFF"):
        status, answer = _post(client, command, _parameters(command, owner.ids), key)
        assert (status, answer["ErrorCode"], answer["Success"]) == (200, 99998, False)
    assert _fingerprint() == before


@pytest.mark.parametrize("command", WITH_IDS, ids=[command.name for command in WITH_IDS])
def test_own_ids_are_found(client: FlaskClient, owner: Tenant, command: Command) -> None:
    """The matrix would prove nothing if its requests were bad anyway."""
    status, answer = _post(client, command, _parameters(command, owner.ids), owner.account_key)
    assert (status, answer["Success"]) == (200, True), answer


ROUTES = [
    ("GET", "/api/v1/events", None),
    ("GET", "/api/v1/webhooks", None),
    ("POST", "/api/v1/webhooks", {"Event": "opened", "WebhookURL": "https://hooks.example.com/o"}),
    ("DELETE", "/api/v1/webhooks", {"WebhookID": "{webhook}"}),
    ("DELETE", "/api/v1/webhooks/{webhook}", None),
    ("GET", "/v1/messages", None),
    ("GET", "/v1/messages/{message}", None),
    ("POST", "/v1/messages/{message}/cancel", {}),
    ("POST", "/v1/messages/{message}/reschedule", {"scheduled_at": "2020-01-01T00:00:00Z"}),
    ("POST", "/v1/send", {"from": "a@stranger.test", "to": "j@friends.test", "template": "{template}"}),
    ("GET", "/v1/keys", None),
    ("GET", "/v1/keys/{apikey}", None),
    ("PATCH", "/v1/keys/{apikey}", {"name": "taken"}),
    ("POST", "/v1/keys/{apikey}/rotate", {}),
    ("DELETE", "/v1/keys/{apikey}", None),
    ("GET", "/v1/sending-domains", None),
    ("GET", "/v1/sending-domains/{dom}", None),
    ("POST", "/v1/sending-domains/{dom}/verify", {}),
    ("PATCH", "/v1/sending-domains/{dom}", {"track_opens": False}),
    ("DELETE", "/v1/sending-domains/{dom}", None),
    ("GET", "/v1/webhooks/dead-letters", None),
    ("GET", "/v1/webhooks", None),
    ("GET", "/v1/webhooks/{whk}", None),
    ("PATCH", "/v1/webhooks/{whk}", {"status": "disabled"}),
    ("DELETE", "/v1/webhooks/{whk}", None),
    ("POST", "/v1/webhooks/{whk}/rotate-secret", None),
    ("POST", "/v1/webhooks/{whk}/test", None),
    ("GET", "/v1/webhooks/{whk}/deliveries", None),
    ("GET", "/v1/webhooks/{whk}/dead-letters", None),
    ("GET", "/v1/webhooks/{whk}/deliveries/{message}/attempts", None),
    ("POST", "/v1/webhooks/{whk}/replay", None),
    ("GET", "/v1/analytics/events", None),
    ("GET", "/v1/analytics/events?message={message}", None),
    ("GET", "/v1/analytics/events?campaign={campaign}", None),
    ("GET", "/v1/analytics/summary", None),
    ("GET", "/v1/audit-logs", None),
    ("GET", "/v1/audit-logs/{aud}", None),
    ("GET", "/v1/audit-logs/export", None),
    ("GET", "/api/v1/messages/{message}/explain", None),
    ("GET", "/v1/messages/{message}/explain", None),
    ("GET", "/v1/messages/{message}/provider-events", None),
    ("GET", "/v1/campaigns", None),
    ("GET", "/v1/campaigns/{campaign}", None),
    ("PATCH", "/v1/campaigns/{campaign}", {"name": "Theirs"}),
    ("DELETE", "/v1/campaigns/{campaign}", None),
    ("POST", "/v1/campaigns/{campaign}/launch", None),
    ("POST", "/v1/campaigns/{campaign}/pause", None),
    ("POST", "/v1/campaigns/{campaign}/resume", None),
    ("POST", "/v1/campaigns/{campaign}/cancel", None),
    ("GET", "/v1/campaigns/{campaign}/report", None),
    ("GET", "/v1/automations", None),
    ("GET", "/v1/automations/{automation}", None),
    ("PATCH", "/v1/automations/{automation}", {"name": "Theirs"}),
    ("DELETE", "/v1/automations/{automation}", None),
    ("POST", "/v1/automations/{automation}/pause", None),
    ("POST", "/v1/automations/{automation}/resume", None),
    ("POST", "/v1/automations/{automation}/trigger", {"subscriber": "new@friends.test"}),
    ("GET", "/v1/automations/{automation}/runs", None),
    ("GET", "/v1/automations/{automation}/runs/{run}", None),
    ("POST", "/v1/automations/{automation}/runs/{run}/cancel", None),
    ("GET", "/v1/sending-servers", None),
    ("GET", "/v1/sending-servers/{server}", None),
    ("PATCH", "/v1/sending-servers/{server}", {"weight": 1}),
    ("DELETE", "/v1/sending-servers/{server}", None),
    ("POST", "/v1/sending-servers/{server}/test", None),
    ("GET", "/v1/routing/rules", None),
    ("GET", "/v1/routing/rules/{rule}", None),
    ("PATCH", "/v1/routing/rules/{rule}", {"enabled": False}),
    ("DELETE", "/v1/routing/rules/{rule}", None),
    ("POST", "/v1/routing/rules/preview", {"from": "a@owner.test", "to": "b@c.test"}),
    (
        "POST",
        "/api/v1/email",
        {
            "Subject": "Hi",
            "ContentType": "plain",
            "PlainContent": "Hi",
            "From": {"email": "hello@owner.test", "name": "Owner"},
            "To": [{"email": "jane@friends.test", "name": "Jane"}],
            "TemplateID": "{template}",
            "TargetListID": "{list}",
        },
    ),
]


def _filled(value: Any, ids: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, ids) for name, item in value.items()}
    names = {
        "{webhook}": "webhookid",
        "{template}": "templateid",
        "{list}": "listid",
        "{message}": "messageid",
        "{campaign}": "campaignid",
        "{automation}": "automationid",
        "{run}": "runid",
        "{whk}": "whk",
        "{apikey}": "apikeyuuid",
        "{dom}": "domainuuid",
        "{aud}": "aud",
        "{server}": "serverid",
        "{rule}": "ruleid",
    }
    for mark, name in names.items():
        if isinstance(value, str) and mark in value:
            value = value.replace(mark, str(ids[name]))
    return value


_PASSING = re.compile(r"'(NewWebhookID|request_id|last_used_at|calls)': (?:'[^']+'|None|\d+)")
"""What differs between two answers that say the same."""


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
def test_routes_keep_to_the_keys_domain(
    client: FlaskClient, owner: Tenant, stranger: Tenant, method: str, path: str, body: Any
) -> None:
    before = _fingerprint()
    seen = []
    for ids in (owner.ids, _absent(owner.ids)):
        answer = client.open(
            _filled(path, ids), method=method, json=_filled(body, ids),
            headers={"Authorization": f"Bearer {stranger.key.key}"},
        )  # fmt: skip
        text = re.sub(_PASSING, r"'\1': '#'", repr(answer.get_json()))
        seen.append((answer.status_code, text))
    assert seen[0] == seen[1]
    text = seen[0][1]
    for secret in ("owner.test", owner.ids["messageid"], owner.key.key):
        assert secret not in text
    if method == "DELETE" or path.endswith(("/email", "/explain")):
        assert seen[0][0] >= 400
        assert _fingerprint() == before


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
def test_routes_refuse_a_revoked_key(client: FlaskClient, owner: Tenant, method: str, path: str, body: Any) -> None:
    apis.delete(caller=owner.sender.owner, key_id=owner.key.id)
    before = _fingerprint()
    answer = client.open(
        _filled(path, owner.ids), method=method, json=_filled(body, owner.ids),
        headers={"Authorization": f"Bearer {owner.key.key}"},
    )  # fmt: skip
    told = answer.get_json()
    assert answer.status_code == 401
    assert (told["code"] if path.startswith("/v1/") else told["Errors"][0]["Code"]) in (13, "not_authenticated")
    assert _fingerprint() == before


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    identity.forget()
    yield
    identity.forget()
