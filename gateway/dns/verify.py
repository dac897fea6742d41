"""Asks DNS for the records that a sender domain should have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from gateway.dns import records
from gateway.dns.records import Purpose, WantedRecord
from gateway.dns.resolver import DnsUnavailable, Resolver, resolver

TIMEOUT = 5.0
"""Seconds for all records together."""

_QUESTION = 4.5  # seconds for one question, so that its own error is told before the whole ends
_WALK = 8  # RFC 9989: a tree walk asks at most eight names
_SHOWN = 200  # characters of a found value in a note


@dataclass(frozen=True, slots=True)
class Checked:
    """What DNS says of one wanted record. `verified` is None where DNS gave no usable answer."""

    record: WantedRecord
    verified: bool | None
    note: str = ""  # why not, for people
    advice: str = ""  # the value to publish, where it is not the wanted one (a merged SPF record)

    @property
    def value(self) -> str:
        return self.advice or self.record.value


def check(wanted: Sequence[WantedRecord], *, timeout: float = TIMEOUT) -> list[Checked]:
    """Ask for all records at once and answer in their order within `timeout` seconds; nothing is cached."""
    if not wanted:
        return []
    dns = resolver().uncached(lifetime=min(_QUESTION, timeout))
    pool = ThreadPoolExecutor(max_workers=len(wanted), thread_name_prefix="verify")
    try:
        futures = [pool.submit(_one, dns, record) for record in wanted]
        done, _ = wait(futures, timeout=timeout)
        return [
            future.result() if future in done else Checked(record, None, "DNS gave no answer in time")
            for future, record in zip(futures, wanted, strict=True)
        ]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one(dns: Resolver, record: WantedRecord) -> Checked:
    try:
        return _CHECKS[record.purpose](dns, record)
    except DnsUnavailable as error:
        return Checked(record, None, f"DNS gave no usable answer: {error}")


def _ownership(dns: Resolver, record: WantedRecord) -> Checked:
    return _any_of(record, dns.txt(record.host), records.is_ownership)


def _dkim(dns: Resolver, record: WantedRecord) -> Checked:
    """The key itself decides, whether it is published there or seen through a CNAME."""
    found = dns.txt(record.host)
    if any(records.is_dkim_key(text, record.content or record.value) for text in found):
        return Checked(record, True)
    if record.type == "CNAME" and not found:
        target = dns.cname(record.host)
        if target == record.value:
            return Checked(record, False, f"the CNAME is there, but {target} has no key yet: ask the operator")
        return Checked(record, False, _found("CNAME", [target] if target else []))
    return Checked(record, False, _found("TXT", found))


def _any_of(record: WantedRecord, found: list[str], fulfils: Callable[[str, str], bool]) -> Checked:
    if any(fulfils(text, record.value) for text in found):
        return Checked(record, True)
    return Checked(record, False, _found(record.type, found))


def _cname(dns: Resolver, record: WantedRecord) -> Checked:
    target = dns.cname(record.host)
    if target == record.value:
        return Checked(record, True)
    return Checked(record, False, _found("CNAME", [target] if target else []))


def _spf(dns: Resolver, record: WantedRecord) -> Checked:
    found = [text.strip() for text in dns.txt(record.host) if records.is_spf(text)]
    if len(found) == 1 and records.spf_includes(found[0], record.gateway):
        return Checked(record, True, advice=found[0])
    if not found:
        return Checked(record, False, "no SPF record was found")
    note = (
        "the SPF record does not include this gateway: replace it with the one given here"
        if len(found) == 1
        else f"there are {len(found)} SPF records and only one may be: replace them all with the one given here"
    )
    return Checked(record, False, note, records.merged_spf(found, record.gateway))


def _dmarc(dns: Resolver, record: WantedRecord) -> Checked:
    """The policy at the domain or the nearest one above it (RFC 9989, the tree walk)."""
    domain = record.host.removeprefix("_dmarc.").split(".")
    names = [".".join(domain), *(".".join(domain[at:]) for at in range(max(1, len(domain) - 7), len(domain) - 1))]
    for name in names[:_WALK]:
        found = [text.strip() for text in dns.txt(f"_dmarc.{name}") if records.is_dmarc_policy(text)]
        if len(found) == 1:
            return Checked(record, True, advice=found[0] if name == names[0] else "")
        if found:
            return Checked(record, False, f"there are {len(found)} DMARC records at _dmarc.{name} and only one may be")
    return Checked(record, False, "no DMARC record with a policy was found")


def _found(type_: str, values: list[str]) -> str:
    if not values:
        return f"no {type_} record was found"
    shown = ", ".join(values)
    return "another value was found: " + (shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…")


_CHECKS: dict[Purpose, Callable[[Resolver, WantedRecord], Checked]] = {
    Purpose.OWNERSHIP: _ownership,
    Purpose.DKIM: _dkim,
    Purpose.RETURN_PATH: _cname,
    Purpose.SPF: _spf,
    Purpose.DMARC: _dmarc,
    Purpose.TRACKING: _cname,
}
