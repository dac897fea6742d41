"""Calls of providers to our hooks: whose they are, whether they are to be believed, and what they say."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping

from gateway import config, errors
from gateway.services import provider_reports, sending_servers, server_kinds
from gateway.transports import http_call
from gateway.transports.hooks import mailgun, resend, sendgrid, ses, sns
from gateway.transports.hooks.report import BadSignature, Call, Unreadable

PATH = "/hooks/"
SIZE = 4 * 1024 * 1024
"""Bytes of one call."""

_READERS = {
    server_kinds.SES: ses.read,
    server_kinds.MAILGUN: mailgun.read,
    server_kinds.SENDGRID: sendgrid.read,
    server_kinds.RESEND: resend.read,
}
_log = logging.getLogger("commandpost.hooks")


def url(server: sending_servers.SendingServer) -> str:
    """Where the provider of a server should send its events; '' for kinds that send none."""
    if server.kind not in _READERS:
        return ""
    return f"{config.settings().base_url}{PATH}{server.kind}/{server.public_id}"


def receive(*, kind: str, server_id: str, headers: Mapping[str, str], body: bytes) -> Counter[str]:
    """Record what a call says; durable when it returns, and harmless when repeated.

    Raises `NotFound` for a server that is not there, `NotAuthenticated` for a call that is not to be believed,
    `Invalid` for one that cannot be understood, `Unavailable` where that cannot be decided now.
    """
    found = sending_servers.of_hook(server_kinds.kind_of(kind) or "", server_id)
    reader = _READERS.get(found[0].kind) if found is not None else None
    if found is None or reader is None:
        raise errors.NotFound("There is no such sending server.", what="sending server")
    server, credentials = found
    settings = config.settings()
    call = Call({name.lower(): value for name, value in headers.items()}, body)
    try:
        batch = reader(call, server.config, credentials, settings)
        if batch.confirm:
            _confirm(batch.confirm, settings, own=bool(server.config.get("sns_endpoint")))
        return provider_reports.record(server=server, batch=batch, digest=hashlib.sha256(body).hexdigest())
    except BadSignature as error:
        _log.warning("hook_refused", extra={"server": server.id, "cause": str(error)})
        raise errors.NotAuthenticated(f"The call is not believed: {error}.") from None
    except Unreadable as error:
        raise errors.Invalid(f"The call cannot be understood: {error}.") from None
    except sns.Unfetched as error:
        _log.warning("hook_postponed", extra={"server": server.id, "cause": str(error)})
        raise errors.Unavailable("The certificate of the call cannot be fetched now.") from None


def _confirm(url: str, settings: config.Settings, *, own: bool) -> None:
    reply = http_call.get(url, allow=settings.delivery_allow if own else ())
    if not reply.ok:
        raise errors.Unavailable(f"The subscription could not be confirmed: {reply.error or f'HTTP {reply.status}'}.")
