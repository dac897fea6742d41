"""From the word in a setting or route to the transport."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from gateway.config import Settings
from gateway.transports import mta_sts
from gateway.transports.base import Transport
from gateway.transports.capture import Capture, Store
from gateway.transports.mailgun import Mailgun
from gateway.transports.mx import Direct
from gateway.transports.null import Null
from gateway.transports.provider import Provider
from gateway.transports.provider_fields import Fields
from gateway.transports.resend import Resend
from gateway.transports.sendgrid import Sendgrid
from gateway.transports.ses import Ses
from gateway.transports.smarthost import Smarthost
from gateway.transports.smtp_options import Timeouts

PROVIDERS = {provider.kind: provider for provider in (Ses, Mailgun, Sendgrid, Resend)}
"""By the word for the kind of a sending server."""

_HOOK_FIELDS = {"mailgun": "signing_key", "sendgrid": "verification_key", "resend": "signing_secret"}
"""The credential by which the events of a provider are believed; `services.provider_hooks` reads it."""


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


def build_provider(
    kind: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, Any],
    settings: Settings,
    *,
    name: str = "",
    reports: bool = False,
) -> Provider:
    """The transport of a sending server of `PROVIDERS`; ValueError that begins with the field for what it cannot use.

    `name` is what attempts are recorded under, at most 64 characters, and has to be the server's alone: connections
    and limits hang on it. Without one it is the kind and the host of the API. `reports`: the provider tells what
    becomes of a message, so that one it took is handed over and not delivered yet. An endpoint at a private address
    is reached only where COMMANDPOST_DELIVERY_ALLOW has it.
    """
    made = PROVIDERS.get(kind)
    if made is None:
        raise ValueError(f"kind: should be one of {', '.join(PROVIDERS)}")
    fields = Fields(config, credentials)
    fields.leave("config", "connections", "topic_arn", "sns_endpoint")
    fields.leave("credentials", _HOOK_FIELDS.get(kind, ""))
    provider = made(fields, name=name, allow=settings.delivery_allow, seconds=fields.seconds(), reports=reports)
    fields.finish()
    return provider


def build_server(
    kind: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, str],
    settings: Settings,
    store: Store,
    *,
    name: str = "",
    reports: bool = False,
    policies: mta_sts.Store | None = None,
) -> Transport:
    """The transport of a tenant's sending server of that kind; ValueError for a kind that there is not.

    `name` and `reports` are as for `build_provider`. Private addresses are reached only where
    COMMANDPOST_DELIVERY_ALLOW has them.
    """
    if kind == "capture":
        return Capture(store)
    if kind == "mx":
        return build("direct", settings, store, policies=policies)
    if kind == "smtp":
        return _relay(config, credentials, settings)
    return build_provider(kind, config, credentials, settings, name=name, reports=reports)


def _relay(config: Mapping[str, Any], credentials: Mapping[str, str], settings: Settings) -> Smarthost:
    tls = config.get("tls", "opportunistic")
    host = f"[{config['host']}]" if ":" in config["host"] else config["host"]
    login = ":".join(quote(credentials[name], safe="") for name in ("username", "password") if name in credentials)
    port = config.get("port") or (465 if tls == "implicit" else 587)
    usual = Timeouts()
    seconds = config.get("timeout") or usual.end
    return Smarthost(
        f"{'smtps' if tls == 'implicit' else 'smtp'}://{login}{'@' if login else ''}{host}:{port}",
        hostname=settings.hostname,
        tls="opportunistic" if tls == "implicit" else tls,
        allow=settings.delivery_allow,
        timeouts=Timeouts(
            connect=min(usual.connect, seconds), greeting=min(usual.greeting, seconds),
            command=min(usual.command, seconds), data=min(usual.data, seconds), end=seconds,
        ),
    )  # fmt: skip
