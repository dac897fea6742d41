"""What a message that goes out now would owe to encryption on its way, as far as is known without connecting."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway import clock
from gateway.dns import names
from gateway.services import tls_policies
from gateway.transports.mx import Direct
from gateway.transports.smarthost import Smarthost

NONE, IMPLICIT, OPPORTUNISTIC, REQUIRED = "none", "implicit", "opportunistic", "required"


@dataclass(frozen=True, slots=True)
class Tls:
    """`policy` is who asks: none, opportunistic, required (the sender's domain), implicit, mta-sts or dane."""

    policy: str
    detail: str


_WAITS = "where that fails the message waits and is tried again until its time is used up"
STAYS = Tls(NONE, "no mail leaves this machine by this transport")
_DEMANDED = Tls(REQUIRED, f"RequireTLS of the sender's domain: TLS, whatever the certificate; {_WAITS}")
_OFFERED = Tls(OPPORTUNISTIC, "TLS where it is offered, else clear text: RequireTLS of the sender's domain is off")


def to_relay(relay: Smarthost, *, required: bool) -> Tls:
    """What holds on the way to a smarthost; the way beyond is its own affair."""
    if relay.options.tls == "implicit":
        return Tls(IMPLICIT, "smtps: TLS from the first byte, whatever RequireTLS says")
    asked = _DEMANDED if required else _OFFERED
    return Tls(asked.policy, f"to the smarthost only: {asked.detail}")


def to_provider(endpoint: str, *, required: bool) -> Tls:
    """What holds on the way to a provider's API; the way beyond is its own affair."""
    if endpoint.startswith("https:"):
        return Tls(IMPLICIT, "to the provider only: https with a verified certificate, whatever RequireTLS says")
    asked = f"RequireTLS of the sender's domain; {_WAITS}" if required else "RequireTLS of the sender's domain is off"
    return Tls(REQUIRED if required else NONE, f"to the provider only: its endpoint is not https; {asked}")


def to_exchanger(direct: Direct, domain: str, *, required: bool) -> Tls:
    """What holds at the first mail exchanger of a domain, by TLSA records and a kept MTA-STS policy.

    A policy that is not known yet is fetched when the message goes, and may ask for more.
    Raises `NoRoute` and `DnsUnavailable`.
    """
    way = direct.way(domain)
    policy = tls_policies.load(names.a_labels(domain).lower())
    if policy is not None and policy.mode != "none" and policy.expires_ms > clock.now_ms():
        way = replace(way, policy=(policy.mode, policy.mx))
    host = way.exchangers[0].host
    guard = direct.guard(host, way)
    if guard is None:
        return Tls("mta-sts", f"the MTA-STS policy of {domain} does not name {host}: it gets nothing")
    if guard.policy == "dane":
        how = "one of its TLSA records proves the certificate" if guard.tlsa else "no TLSA record of it can be used"
        return Tls("dane", f"{guard.demand} at {host}, {how}; {_WAITS}")
    if guard.required:
        return Tls(guard.policy, f"{guard.demand} at {host} with a valid certificate; {_WAITS}")
    return _DEMANDED if required else _OFFERED
