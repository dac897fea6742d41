"""When DNS is asked again for the records of a sender domain."""

from __future__ import annotations

from gateway import clock, config, ids
from models.domain import SenderDomain
from models.vocabulary import DOMAIN_PENDING

FIRST_MS = 5 * 60_000
"""Between two checks of a domain or a new key whose records somebody may be publishing right now."""
_OUTAGE_MS = 30 * 60_000
_LATER_MS = 7 * clock.DAY_MS
_GIVEN_UP_MS = 30 * clock.DAY_MS  # who has published nothing for so long is in no hurry
_HOUR_MS = 3_600_000


def next_check_ms(domain: SenderDomain, *, drifting: bool = False, unanswered: bool = False) -> int:
    """The time of the next check, ± 20 %: soon while records are awaited, less and less often as nothing comes.

    An enabled domain is asked about once in RECHECK_HOURS, four times as often while records are missing, and soon
    again where DNS gave no usable answer.
    """
    now = clock.now_ms()
    pause = config.settings().recheck_hours * _HOUR_MS // (4 if drifting else 1)
    since = domain.rotation_ms
    if domain.status == DOMAIN_PENDING:
        since = max(since or 0, domain.pending_ms or domain.created_ms)
    if since is not None:
        waited = now - since
        # Each pause is a sixth of the wait so far: about twelve checks in the first hour, then one in four hours.
        awaited = max(FIRST_MS, waited // 6)
        most = _LATER_MS if domain.status == DOMAIN_PENDING and waited > _GIVEN_UP_MS else pause
        pause = min(awaited, most)
    if unanswered:
        pause = min(pause, _OUTAGE_MS)
    return now + int(pause * ids.jitter(0.2))
