"""Which part of an account's suppression list a caller sees, and which part they change."""

from __future__ import annotations

from gateway.services import domains
from gateway.services.identity import Caller

WHOLE_ACCOUNT = 0


def written(caller: Caller, domain_id: int | None) -> int:
    """The `domain_id` of rows that a caller changes, 0 for the whole account; raises `NotFound`.

    A sender key changes what its domain keeps to, never what the account's other domains do.
    """
    if domain_id is None:
        return WHOLE_ACCOUNT if caller.domain_id is None else caller.domain_id
    return domains.find(caller=caller, domain_id=domain_id, past=True).id


def read(caller: Caller, domain_id: int | None) -> tuple[str, list[object]]:
    """The condition on rows that a caller sees, with `{0}` for the table's name; raises `NotFound`.

    Of one domain what it keeps to: its own rows and the account's. Without one everything, what holds for the mail of
    one list too.
    """
    if domain_id is not None:
        domain_id = domains.find(caller=caller, domain_id=domain_id, past=True).id
    elif caller.domain_id is not None:
        domain_id = caller.domain_id
    if domain_id is None:
        return "{0}.account_id = ?", [caller.account_id]
    return "{0}.account_id = ? AND {0}.domain_id IN (0, ?)", [caller.account_id, domain_id]
