"""From the word in a setting or route to the transport."""

from __future__ import annotations

from gateway.config import Settings
from gateway.transports import mta_sts
from gateway.transports.base import Transport
from gateway.transports.capture import Capture, Store
from gateway.transports.mx import Direct
from gateway.transports.null import Null
from gateway.transports.smarthost import Smarthost


def build(
    spec: str, settings: Settings, store: Store, *, trusted: bool = True, policies: mta_sts.Store | None = None
) -> Transport:
    """The transport for `capture`, `direct`, `null`, `smtp://…` or `smtps://…`; ValueError for anything else.

    `trusted` False is for smarthosts that tenants name: those reach private addresses only where
    COMMANDPOST_DELIVERY_ALLOW has them. `policies` keeps MTA-STS policies; without it each process asks anew.
    """
    if spec == "capture":
        return Capture(store)
    if spec == "direct":
        return Direct(
            hostname=settings.hostname,
            port=settings.mx_port,
            allow=settings.delivery_allow,
            dane=settings.validates_tlsa,
            sts=mta_sts.MtaSts(policies, allow=settings.delivery_allow) if settings.mta_sts else None,
            sources=settings.source_addresses,
        )
    if spec == "null":
        return Null()
    if spec.startswith(("smtp://", "smtps://")):
        return Smarthost(spec, hostname=settings.hostname, allow=None if trusted else settings.delivery_allow)
    raise ValueError("should be capture, direct, null or smtp://[user:password@]host:port")
