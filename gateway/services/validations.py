"""Whether an address is worth writing to: by its form, its domain, what it tells of itself and our own history with it.

No mail server of a stranger is asked whether a mailbox exists: that harms the asker's reputation and is often answered
with a lie. So an address without history is at best probably valid, and the confidence says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from gateway import clock, errors
from gateway.dns.resolver import DnsUnavailable, resolver
from gateway.mail import address as addresses
from gateway.mail import address_traits as traits
from gateway.services import suppressions
from gateway.services.identity import Caller
from models import database as db

AT_ONCE = 500
"""Addresses of one call."""

ENGAGED_DAYS, DELIVERED_DAYS = 180, 365
_DNS_THREADS = 8


class Verdict(StrEnum):
    VALID = "valid"  # nothing speaks against it
    RISKY = "risky"  # mail would arrive, and better should not be sent
    INVALID = "invalid"  # mail would bounce
    UNKNOWN = "unknown"  # DNS gave no answer


@dataclass(frozen=True, slots=True)
class Reason:
    """`code` is one of a documented few; `against` tells what speaks against the address from what speaks for it."""

    code: str
    text: str
    against: bool = True


@dataclass(frozen=True, slots=True)
class Validation:
    """`confidence` from 0 to 1 in the verdict; `address` as it came, `normalised` as it would be written to."""

    address: str
    normalised: str
    verdict: Verdict
    confidence: float
    reasons: list[Reason]
    suggestion: str = ""  # the whole address that was probably meant
    domain: str = ""
    mx: list[str] = field(default_factory=list)
    syntax_ok: bool = True
    disposable: bool = False
    role: bool = False
    free: bool = False
    history: str = ""  # bounced, complained, unsubscribed, suppressed, engaged, delivered or ''


@dataclass(frozen=True, slots=True)
class _Exchangers:
    """`known` False: DNS did not answer."""

    hosts: tuple[str, ...] = ()
    null: bool = False
    known: bool = True
    implicit: bool = False  # no MX, but an address (RFC 5321 §5.1)


_HISTORY = {
    suppressions.BOUNCE: ("bounced", "Mail to it bounced for good."),
    suppressions.COMPLAINT: ("complained", "Its owner called your mail spam."),
    suppressions.UNSUBSCRIBE: ("unsubscribed", "Its owner unsubscribed."),
    suppressions.MANUAL: ("suppressed", "It stands on your suppression list."),
}


def validate(*, caller: Caller, emails: Sequence[str]) -> list[Validation]:
    """One result for each address, in their order; raises `TooManyAtOnce` for more than `AT_ONCE`."""
    if len(emails) > AT_ONCE:
        raise errors.TooManyAtOnce(f"At most {AT_ONCE} addresses at once.", field="emails")
    read: dict[str, str] = {}
    faults: dict[str, str] = {}
    for one in dict.fromkeys(emails):
        try:
            read[one] = addresses.check(one)
        except errors.Invalid as error:
            faults[one] = error.message
    domains = _domains({email.rpartition("@")[2] for email in read.values()})
    blocked = suppressions.check(
        None, account_id=caller.account_id, domain_id=caller.domain_id or 0, addresses=list(read.values())
    )
    seen = _engagement(caller.account_id, {suppressions.normalise(email) for email in read.values()})
    found: dict[str, Validation] = {}
    for one, fault in faults.items():
        found[one] = _malformed(one, fault)
    for one, email in read.items():
        why = blocked.get(email)
        times = seen.get(suppressions.normalise(email), (0, 0))
        found[one] = _judged(one, email, domains[email.rpartition("@")[2]], why.reason if why else "", times)
    return [found[one] for one in emails]


def _domains(names: Iterable[str]) -> Mapping[str, _Exchangers]:
    listed = sorted(names)
    if len(listed) < 2:
        return {name: _ask(name) for name in listed}
    with ThreadPoolExecutor(min(_DNS_THREADS, len(listed)), thread_name_prefix="validate") as pool:
        return dict(zip(listed, pool.map(_ask, listed), strict=True))


def _ask(domain: str) -> _Exchangers:
    try:
        hosts = resolver().mx(domain)
        if hosts:
            return _Exchangers(tuple(host.host for host in hosts if not host.null), null=hosts[0].null)
        return _Exchangers((domain,), implicit=True) if resolver().addresses(domain) else _Exchangers()
    except DnsUnavailable:
        return _Exchangers(known=False)


def _engagement(account_id: int, emails: Iterable[str]) -> dict[str, tuple[int, int]]:
    """By address when it was last opened or clicked by a person, and when mail last arrived."""
    listed = sorted(emails)
    if not listed:
        return {}
    rows = db.rows(
        "SELECT address, opened_ms, clicked_ms, delivered_ms FROM engagement WHERE account_id = ? AND mark = ''"
        f" AND address IN ({', '.join('?' * len(listed))})",
        (account_id, *listed),
    )
    return {address: (max(opened, clicked), delivered) for address, opened, clicked, delivered in rows}


def _malformed(text: str, fault: str) -> Validation:
    email = text.strip()
    domain = email.rpartition("@")[2]
    meant = traits.suggestion(domain) if "@" in email else ""
    return Validation(
        address=text, normalised="", verdict=Verdict.INVALID, confidence=1.0, reasons=[Reason("syntax", fault)],
        suggestion=f"{email.rpartition('@')[0]}@{meant}" if meant else "", domain=domain, syntax_ok=False,
    )  # fmt: skip


def _judged(text: str, email: str, way: _Exchangers, blocked: str, times: tuple[int, int]) -> Validation:
    local, _, domain = email.rpartition("@")
    meant = traits.suggestion(domain)
    role, free, disposable = traits.is_role(email), traits.is_free(domain), traits.is_disposable(domain)
    engaged, delivered = times
    now = clock.now_ms()
    is_engaged = engaged > now - ENGAGED_DAYS * clock.DAY_MS
    has_arrived = delivered > now - DELIVERED_DAYS * clock.DAY_MS
    reasons: list[Reason] = []
    history = ""
    # From what is certain to what is likely: a later step never softens what an earlier one decided.
    verdict, confidence = Verdict.VALID, 0.7
    if not way.known:
        verdict, confidence = Verdict.UNKNOWN, 0.5
        reasons.append(Reason("dns_unavailable", f"DNS gave no answer for {domain}; ask again later."))
    elif way.null:
        verdict, confidence = Verdict.INVALID, 0.99
        reasons.append(Reason("null_mx", f"{domain} says that it accepts no mail (RFC 7505)."))
    elif not way.hosts:
        verdict, confidence = Verdict.INVALID, 0.98
        reasons.append(Reason("no_mail_server", f"{domain} has no mail server."))
    elif way.implicit:
        confidence = 0.5
        reasons.append(Reason("no_mx", f"{domain} has no MX record, only an address."))
    if blocked:
        history, words = _HISTORY[blocked]
        reasons.append(Reason(history, words))
        if blocked == suppressions.BOUNCE:
            verdict, confidence = Verdict.INVALID, max(confidence, 0.95)
        elif verdict is not Verdict.INVALID:
            verdict, confidence = Verdict.RISKY, 0.95
    elif is_engaged or has_arrived:
        history = "engaged" if is_engaged else "delivered"
        words = "Its owner opened or clicked your mail." if is_engaged else "Mail to it arrived."
        reasons.append(Reason(history, words, against=False))
        if verdict in (Verdict.VALID, Verdict.UNKNOWN):
            verdict, confidence = Verdict.VALID, 0.98 if is_engaged else 0.9
    if meant and not history:
        reasons.append(Reason("typo", f"{domain} was probably meant to be {meant}."))
        if verdict is Verdict.VALID:
            verdict, confidence = Verdict.RISKY, 0.8
    if disposable:
        reasons.append(Reason("disposable", f"{domain} gives out mailboxes to be thrown away."))
        if verdict is Verdict.VALID:
            verdict, confidence = Verdict.RISKY, 0.9
    if role:
        reasons.append(Reason("role", "It stands for a function and is read by several people."))
        if verdict is Verdict.VALID and not is_engaged:
            verdict, confidence = Verdict.RISKY, 0.6
    return Validation(
        address=text, normalised=email, verdict=verdict, confidence=round(confidence, 2), reasons=reasons,
        suggestion=f"{local}@{meant}" if meant else "", domain=domain, mx=list(way.hosts) if not way.implicit else [],
        disposable=disposable, role=role, free=free, history=history,
    )  # fmt: skip
