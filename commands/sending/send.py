"""One send from its fields to the accepted message, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commands.sending import fields
from commands.sending.faults import Faults
from gateway import errors
from gateway.services import messages
from gateway.services.identity import Caller
from gateway.services.messages import Accepted


def send(
    params: Mapping[str, Any], caller: Caller | None, faults: Faults, *, idempotency_key: str | None, scope: str
) -> Accepted | None:
    """Accept what the request describes; None with every reason against it in `faults`.

    `params` has lower-case names. `caller` None: `faults` say already why nobody is known, and the fields
    are read all the same. `idempotency_key` is the header as it came, `scope` the endpoint it holds for.
    Raises `Unavailable`.
    """
    sender_name = None
    if caller is not None:
        try:
            sender_name = messages.check_sender(caller).name
        except errors.GatewayError as error:
            faults.refusal(error)
    key = fields.idempotency_key(idempotency_key, faults)
    draft = fields.read(params, caller, sender_name, faults)
    if draft is None or caller is None:
        return None
    if key is not None:
        draft.idempotency_key = key
        draft.idempotency_scope = scope
        draft.fingerprint = fields.fingerprint(params)
    try:
        return messages.accept(caller, draft)
    except errors.Unavailable:
        raise
    except errors.GatewayError as error:
        faults.refusal(error)
        return None
