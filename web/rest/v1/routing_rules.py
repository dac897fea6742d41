"""`/v1/routing/rules`: which sending servers take which mail."""

from __future__ import annotations

from typing import Any

from gateway import clock, errors
from gateway.services import domains, routing_previews, routing_rules, sending_servers, server_kinds
from gateway.services.identity import Caller
from gateway.services.routing_previews import Preview
from gateway.services.routing_rules import RoutingRule, Target
from web.rest import fields, paging
from web.rest.v1.operation import Answer, operation
from web.rest.v1.sending.shapes import ROUTING

DIALECTS = {"mailersio", "octeth"}
EXAMPLE: dict[str, Any] = {
    "id": "rul_01K0Q4T2X8Z3V5N7B9C1D3F5G7",
    "name": "Receipts",
    "priority": 10,
    "enabled": True,
    "domain": None,
    "match": {"purpose": ["transactional"]},
    "provider": "amazon-ses",
    "servers": [
        {
            "server": "srv_01K0Q4T2X8Z3V5N7B9C1D3F5G7",
            "name": "SES Ireland",
            "provider": "amazon-ses",
            "priority": 10,
            "weight": 70,
        },
    ],
    "created_at": "2026-04-01T08:00:00Z",
    "updated_at": "2026-04-01T08:00:00Z",
}
_PREVIEW: dict[str, Any] = {
    "data": [
        {
            "recipient": "jane@example.com", "decision": "server", "rule": "Receipts", "server": "SES Ireland",
            "server_id": "srv_01K0Q4T2X8Z3V5N7B9C1D3F5G7", "provider": "amazon-ses", "until": None,
            "passed_over": ["Mailgun: it is paused"], "candidates": ["Mailgun", "SES Ireland"],
        }
    ]
}  # fmt: skip
_MATCH = {
    "type": "object",
    "properties": {
        "domain": {}, "purpose": {}, "tag": {}, "recipient_domain": {}, "list": {}, "min_size": {"type": "integer"},
        "max_size": {"type": "integer"},
    },
}  # fmt: skip


_TARGET = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "server": {"type": "string"}, "provider": {"type": "string"}, "id": {"type": "string"},
                "priority": {"type": ["integer", "null"]}, "weight": {"type": ["integer", "null"]},
            },
        },
    ]
}  # fmt: skip


class _Listing(fields.Listing):
    enabled = fields.Flag(doc="Only those that are asked, or only the others")
    domain = fields.Text(max=253, load_default="", doc="Only those for mail of this sending domain alone")


class _Rule(fields.Params):
    match = fields.Anything(
        shape=_MATCH, doc="Conditions, all of which have to hold; each takes one value or a list of which one is enough"
    )
    provider = fields.Text(max=100, min=1, doc="A server by id or name, or a kind: every server of it")
    servers = fields.Anything(
        shape={"type": "array", "items": _TARGET},
        closed=True,
        doc="Instead of `provider`: objects of `server` or `provider`, `priority` and `weight`",
    )
    enabled = fields.Flag(doc="A rule that is not enabled is not asked")
    domain = fields.Text(max=253, allow_none=True, doc="Only mail of this sending domain")


class _Add(_Rule):
    name = fields.Text(max=100, min=1, required=True, doc="What people and verdicts call it")
    priority = fields.Whole(high=sending_servers.PRIORITY_MOST, load_default=10, doc="The lowest is asked first")


class _Change(_Rule):
    name = fields.Text(max=100, min=1, doc="What people and verdicts call it")
    priority = fields.Whole(high=sending_servers.PRIORITY_MOST, doc="The lowest is asked first")


class _Preview(fields.Params):
    sender = fields.Text(max=320, min=1, required=True, data_key="from", doc="An address or a sending domain")
    to = fields.Words(max=320, most=100, required=True, doc="Recipients")
    routing = fields.Anything(shape=ROUTING, closed=True, doc="`purpose` and `server`, as in a send")
    tags = fields.Words(max=128, most=50, load_default=[], doc="Tags of the message")
    size = fields.Whole(high=2**40, load_default=0, doc="Bytes of the message")


@operation(
    "GET", "/routing/rules", permission="read:routing", params=_Listing,
    summary="List routing rules in the order in which they are asked",
    answer={"data": [EXAMPLE], "has_more": False, "next_cursor": None}, dialects=DIALECTS,
)  # fmt: skip
def list_routing_rules(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    limit = params["limit"]
    priority, row_id = paging.place(params["cursor"], int, int) if params["cursor"] else (None, None)
    rows = routing_rules.list_(
        caller=caller,
        after=None if priority is None or row_id is None else (priority, row_id),
        count=limit + 1,
        enabled=params.get("enabled"),
        domain_id=domains.find_by_name(caller=caller, name=params["domain"]).id if params["domain"] else None,
    )
    return paging.page(rows, limit, lambda row: paging.cursor(row.priority, row.id), _shown)


@operation(
    "POST", "/routing/rules", permission="write:routing", summary="Make a routing rule", params=_Add, answer=EXAMPLE,
    status=201, dialects=DIALECTS,
)  # fmt: skip
def create_routing_rule(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    targets = _targets(params)
    if targets is None:
        raise errors.Invalid("provider or servers is needed.", field="provider")
    made = routing_rules.create(
        caller=caller,
        name=params["name"],
        priority=params["priority"],
        enabled=params.get("enabled", True),
        match=fields.mapping(params.get("match"), "match"),
        targets=targets,
        domain=params.get("domain"),
    )
    return _shown(made)


@operation(
    "GET", "/routing/rules/<rule_id>", permission="read:routing", summary="Show a routing rule", answer=EXAMPLE,
    dialects=DIALECTS,
)  # fmt: skip
def get_routing_rule(caller: Caller, params: dict[str, Any], rule_id: str) -> dict[str, Any]:
    return _shown(routing_rules.find(caller=caller, rule_id=rule_id))


@operation(
    "PATCH", "/routing/rules/<rule_id>", permission="write:routing", summary="Change what is given of a routing rule",
    params=_Change, answer=EXAMPLE, dialects=DIALECTS,
)  # fmt: skip
def update_routing_rule(caller: Caller, params: dict[str, Any], rule_id: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    changes |= {name: params[name] for name in ("name", "priority", "enabled", "domain") if name in params}
    if "match" in params:
        changes["match"] = fields.mapping(params["match"], "match")
    if (targets := _targets(params)) is not None:
        changes["targets"] = targets
    return _shown(routing_rules.update(caller=caller, rule_id=rule_id, changes=changes))


@operation(
    "DELETE", "/routing/rules/<rule_id>", permission="write:routing", summary="Remove a routing rule", status=204,
    dialects=DIALECTS,
)  # fmt: skip
def delete_routing_rule(caller: Caller, params: dict[str, Any], rule_id: str) -> Answer:
    routing_rules.delete(caller=caller, rule_id=rule_id)
    return Answer(None, 204)


@operation(
    "POST", "/routing/rules/preview", permission="read:routing",
    summary="Tell which server a message would go over now, and why", params=_Preview, answer=_PREVIEW,
    dialects=DIALECTS,
)  # fmt: skip
def preview_routing(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    routing = fields.mapping(params.get("routing"), "routing")
    wished = {name: str(routing.get(name) or "") for name in ("purpose", "server", "provider")}
    found = routing_previews.preview(
        caller=caller,
        sender_domain=params["sender"],
        recipients=params["to"],
        purpose=wished["purpose"],
        server=wished["server"] or wished["provider"],
        tags=params["tags"],
        size=params["size"],
    )
    return {"data": [_previewed(one) for one in found]}


def _targets(params: dict[str, Any]) -> Any:
    if "servers" in params:
        return params["servers"]
    return [{"server": params["provider"]}] if "provider" in params else None


def _shown(rule: RoutingRule) -> dict[str, Any]:
    first = rule.targets[0] if len(rule.targets) == 1 else None
    return {
        "id": rule.public_id,
        "name": rule.name,
        "priority": rule.priority,
        "enabled": rule.enabled,
        "domain": rule.domain or None,
        "match": rule.match,
        "provider": server_kinds.provider_word(first.kind) if first is not None else None,
        "servers": [_target(one) for one in rule.targets],
        "created_at": clock.rfc3339(rule.created_ms),
        "updated_at": clock.rfc3339(rule.updated_ms),
    }


def _target(target: Target) -> dict[str, Any]:
    """With `server` it is that one alone, else every server of the provider."""
    whose = {"server": target.server, "name": target.server_name} if target.server else {}
    return {
        **whose,
        "provider": server_kinds.provider_word(target.kind),
        "priority": target.priority,
        "weight": target.weight,
    }


def _previewed(one: Preview) -> dict[str, Any]:
    verdict, details = one.verdict, one.verdict.details
    return {
        "recipient": one.recipient,
        "decision": verdict.decision,
        "rule": verdict.rule,
        "server": details.get("server"),
        "server_id": details.get("server_id"),
        "provider": details.get("provider"),
        "until": clock.rfc3339(verdict.until_ms) if verdict.until_ms is not None else None,
        "passed_over": details.get("passed_over", []),
        "candidates": one.candidates,
    }
