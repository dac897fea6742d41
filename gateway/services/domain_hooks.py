"""Webhooks that the key of one domain has for itself: groups of that domain alone, which hear of its notices too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway import errors, ids
from gateway.services import domains, webhooks
from gateway.services.identity import Caller
from gateway.services.webhook_words import NATIVE
from gateway.services.webhooks import Hook


def add(*, caller: Caller, events: Sequence[str], url: str) -> Hook:
    """With the native payload. Raises `NotFound` (the domain) and what `webhooks.add` does."""
    domain_id = _domain_id(caller)
    return webhooks.add(
        caller=_owner(caller), domain_ids=[domain_id], event=list(events), url=url, surface=NATIVE,
        test_events=not caller.live,
    )  # fmt: skip


def list_(*, caller: Caller) -> list[Hook]:
    """The oldest first; raises `NotFound` (the domain)."""
    domain_id = _domain_id(caller)
    found = webhooks.list_surface(caller=_owner(caller), surface=NATIVE)
    return [hook for hook in found if hook.domain_id is None and list(hook.domain_ids or ()) == [domain_id]]


def delete(*, caller: Caller, hook_id: str) -> Hook:
    """By public id; raises `WebhookNotFound`."""
    uuid = ids.uuid_of(webhooks.PREFIX, hook_id)
    hook = next((one for one in list_(caller=caller) if uuid is not None and one.uuid == str(uuid)), None)
    if hook is None:
        raise errors.WebhookNotFound(what="webhook")
    webhooks.delete(caller=_owner(caller), webhook_id=hook.id)
    return hook


def _domain_id(caller: Caller) -> int:
    if caller.domain_id is None:
        raise errors.NotFound("The key has no domain.", what="domain")
    return int(domains.find(caller=caller, domain_id=caller.domain_id).id)


def _owner(caller: Caller) -> Caller:
    return replace(caller, domain_id=None, domain_ids=())
