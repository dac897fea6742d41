"""Names of the background jobs; whoever runs them binds a ringer.

A bell only says "look now": the rows are the truth, so a lost bell costs latency and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

DELIVER = "deliver"
WEBHOOKS = "webhooks"
REPLAY = "replay"
EXPAND = "expand"
SEQUENCES = "sequences"
CLEAR = "clear"
HOUSEKEEPING = "housekeeping"
SEARCH = "search"
DOMAINS = "domains"
HITS = "hits"
AUDIT = "audit"
ENGAGEMENT = "engagement"
IMPORT = "import"
CONFIRM = "confirm"
VALIDATE = "validate"
CAMPAIGNS = "campaigns"
AUTOMATIONS = "automations"

_log = logging.getLogger("commandpost.jobs")
_ringer: Callable[[str], None] | None = None


def bind(ringer: Callable[[str], None] | None) -> None:
    """Say who is called with a job's name after a commit; None rings nobody."""
    global _ringer
    _ringer = ringer


def ring(name: str) -> None:
    """Called after the commit; never raises."""
    if _ringer is None:
        return
    try:
        _ringer(name)
    except Exception:
        _log.exception("bell_lost", extra={"job": name})
