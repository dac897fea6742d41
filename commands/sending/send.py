"""One send from its fields to the accepted message, or to all that is wrong with it; or only what it would become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commands.sending import fields, forecasts
from commands.sending.faults import Faults
from gateway import errors
from gateway.mail.draft import Draft
from gateway.services import dry_runs, gates, messages
from gateway.services.dry_runs import DryRun
from gateway.services.identity import Caller
from gateway.services.messages import Accepted


def send(
    params: Mapping[str, Any], caller: Caller | None, faults: Faults, *, idempotency_key: str | None, scope: str
) -> Accepted | DryRun | None:
    """Accept what the request describes; None with every reason against it in `faults`.

    `params` has lower-case names. `caller` None: `faults` say already why nobody is known, and the fields
    are read all the same. `idempotency_key` is the header as it came, `scope` the endpoint it holds for.
    With `DryRun` nothing is kept and the forecast comes back. Raises `Unavailable`.
    """
    dry = fields.dry_run(params, faults)
    found = _send(params, caller, faults, dry, fields.idempotency_key(idempotency_key, faults), scope)
    if found is None and dry and faults.verdicts is None:
        faults.verdicts = forecasts.of_faults(faults.codes)
    return found


def _send(
    params: Mapping[str, Any], caller: Caller | None, faults: Faults, dry: bool, key: str | None, scope: str
) -> Accepted | DryRun | None:
    fingerprint = fields.fingerprint(params) if key is not None else ""
    if key is not None and caller is not None and not faults:
        # What the request names may be gone by now; that must not refuse what was accepted.
        replay = dry_runs.replay if dry else messages.replay
        earlier: Accepted | DryRun | None = replay(caller=caller, endpoint=scope, key=key, fingerprint=fingerprint)
        if earlier is not None:
            return earlier
    sender_name = None
    if caller is not None:
        try:
            sender_name = gates.check_sender(caller).name
        except errors.GatewayError as error:
            faults.refusal(error)
    draft = fields.read(params, caller, sender_name, faults)
    if draft is None or caller is None:
        return None
    if key is not None:
        draft.idempotency_key, draft.idempotency_scope, draft.fingerprint = key, scope, fingerprint
    return _dry_run(caller, draft, faults) if dry else _accept(caller, draft, faults)


def _accept(caller: Caller, draft: Draft, faults: Faults) -> Accepted | None:
    try:
        return messages.accept(caller, draft)
    except errors.Unavailable:
        raise
    except errors.GatewayError as error:
        faults.refusal(error)
        return None


def _dry_run(caller: Caller, draft: Draft, faults: Faults) -> DryRun | None:
    found = dry_runs.run(caller=caller, draft=draft)
    if found.refusal is None:
        return found
    faults.refusal(found.refusal)
    faults.verdicts = found.verdicts
    return None
