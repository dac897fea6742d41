"""Changing sender domains: their options, their return path, their signing key, and taking them away."""

from __future__ import annotations

from gateway import clock, errors, ids, vault
from gateway.dns import names
from gateway.services import audit, clearances, domain_checks, domain_drift, domain_schedule, domains, senders
from gateway.services.clearances import Begun
from gateway.services.identity import Caller
from models.database import Transaction, in_transaction
from models.domain import SenderDomain
from models.vocabulary import CHECK_PENDING, DOMAIN_ENABLED, DeliveryState

_PROVIDER_LENGTH = 255


def update(
    *,
    caller: Caller,
    domain_id: int,
    link_tracking: bool | None = None,
    open_tracking: bool | None = None,
    unsubscribe_link: bool | None = None,
    hosting_provider: str | None = None,
    subdomain: str | None = None,
    require_tls: bool | None = None,
    tracking_host: str | None = None,
    tracking_privacy: bool | None = None,
    text_link_tracking: bool | None = None,
    honeypot_link: bool | None = None,
) -> SenderDomain:
    """Change what is not None; options act on messages accepted from now on.

    But `require_tls` acts at once, also on what waits: nothing of the domain leaves in the clear any more.
    So do `tracking_host`, the host of links and opens ('' for that of the gateway), which has to lead to us by
    then, `text_link_tracking` and `honeypot_link`, which are about tracked links, and `tracking_privacy`: opens
    and clicks keep their verdict, and neither address nor user agent.

    `subdomain` is the label of the return path's host. Another one has other DNS records, so an enabled
    domain goes back to pending until they are verified. Raises `NotFound` and `Invalid`.
    """
    if hosting_provider is not None and len(hosting_provider) > _PROVIDER_LENGTH:
        raise errors.Invalid(f"HostingProvider has at most {_PROVIDER_LENGTH} characters.", field="HostingProvider")
    host = _tracking_host(tracking_host)

    def work(tx: Transaction) -> SenderDomain:
        domain = domains.locked(tx, caller, domain_id)
        before = _told(domain)
        if link_tracking is not None:
            domain.link_tracking = link_tracking
        if open_tracking is not None:
            domain.open_tracking = open_tracking
        if unsubscribe_link is not None:
            domain.unsubscribe_link = unsubscribe_link
        if require_tls is not None:
            domain.require_tls = require_tls
        if host is not None:
            domain.tracking_host, domain.tracking_tls = host or None, None
        if tracking_privacy is not None:
            domain.tracking_privacy = tracking_privacy
        if text_link_tracking is not None:
            domain.text_link_tracking = text_link_tracking
        if honeypot_link is not None:
            domain.honeypot_link = honeypot_link
        if hosting_provider is not None:
            domain.hosting_provider = hosting_provider.strip()
        if subdomain is not None:
            _move_return_path(tx, domain, names.label_below(subdomain, domain.name))
        domain.save()
        _record(tx, caller, "domain.update", domain, before=before, after=_told(domain))
        return domain

    changed = in_transaction(work)
    senders.forget()
    return changed


def delete(*, caller: Caller, domain_id: int) -> int:
    """Take the domain away: it sends nothing new from now on, and what waits is canceled; returns about how many.

    Its name is free for others, its history and keys stay. Raises `NotFound`.
    """

    def work(tx: Transaction) -> Begun:
        domain = domains.locked(tx, caller, domain_id)
        domain.deleted_ms = clock.now_ms()
        domain.enabled_name = domain.next_check_ms = None
        domain.save()
        _record(tx, caller, "domain.delete", domain, before={"name": domain.name} | _told(domain))
        return clearances.begin(
            tx,
            account_id=domain.account_id,
            domain_id=domain.id,
            state=DeliveryState.CANCELED,
            reason="the sender domain was deleted",
        )

    begun = in_transaction(work)
    senders.forget()
    # What a worker holds, or is accepted in this very moment, is canceled by the worker when it comes due.
    return clearances.finish_some(begun)


def regenerate_signing_key(*, caller: Caller, domain_id: int) -> str:
    """A new key for the signatures of the domain's webhooks; the old one signs no more. Raises `NotFound`."""
    key = ids.token(64)

    def work(tx: Transaction) -> None:
        domain = domains.locked(tx, caller, domain_id)
        domain.signing_key = vault.seal(key, domain.uuid.hex)
        domain.save()
        _record(tx, caller, "domain.rotate_signing_key", domain)

    in_transaction(work)
    return key


def _tracking_host(text: str | None) -> str | None:
    if not (text or "").strip():
        return None if text is None else ""
    try:
        return names.sender_name(text or "")
    except errors.InvalidDomainName:
        raise errors.Invalid(
            "TrackingDomain should be a host name, for example track.example.com.", field="TrackingDomain"
        ) from None


def _move_return_path(tx: Transaction, domain: SenderDomain, subdomain: str) -> None:
    if subdomain == domain.subdomain:
        return
    domain.subdomain = subdomain
    domain.ownership_status = domain.dkim_status = domain.spf_status = CHECK_PENDING
    domain.checks, domain.checked_ms, domain.verified_ms = "[]", None, None
    if domain.status == DOMAIN_ENABLED:  # a suspended one stays suspended
        domain_checks.disable(domain)
        domain_drift.tell_disabled(tx, domain, "its return path was moved to another host")
    domain.next_check_ms = domain_schedule.next_check_ms(domain)


_TOLD = (
    "status", "link_tracking", "open_tracking", "unsubscribe_link", "require_tls", "tracking_host", "tracking_privacy",
    "hosting_provider", "subdomain",
)  # fmt: skip


def _told(domain: SenderDomain) -> dict[str, object]:
    return {name: getattr(domain, name) for name in _TOLD}


def _record(
    tx: Transaction,
    caller: Caller,
    action: str,
    domain: SenderDomain,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    audit.record(tx, caller=caller, action=action, what=f"domain:{domain.id}", before=before, after=after)
