"""What came of a campaign: numbers that were counted with its events, and how far it has got."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from gateway import clock
from gateway.services import expansions, tallies
from gateway.services.campaigns import Campaign
from gateway.services.tallies import Counts
from models.vocabulary import EventKind, TallyFacet

LINKS_MOST = 100
DOMAINS_MOST = 100
HOURS_MOST = 60 * 24
DAYS_MOST = 366

_KINDS = (EventKind.DELIVERED, EventKind.BOUNCED, EventKind.FAILED, EventKind.SUPPRESSED, EventKind.CANCELED)


@dataclass(frozen=True, slots=True)
class Report:
    """`pending` wait to be made or sent; `waiting` says for what, where that is no worker, until `resume_ms`.

    `days` and `hours` begin at the time given in milliseconds.
    """

    recipients: int
    pending: int
    waiting: str
    resume_ms: int
    counts: Counts
    unique: Counts
    human: Counts
    links: list[tuple[str, Counts]]
    domains: list[tuple[str, Counts]]
    hours: list[tuple[int, Counts]]
    days: list[tuple[int, Counts]]

    def of(self, kind: EventKind) -> int:
        return self.counts.get(int(kind), 0)

    @property
    def sent(self) -> int:
        """Deliveries that were handed on or refused; a bounce may come after the delivery that it takes back."""
        tried = self.of(EventKind.DELIVERED) + self.of(EventKind.BOUNCED) + self.of(EventKind.FAILED)
        return max(0, min(tried, self.recipients - self.of(EventKind.SUPPRESSED) - self.of(EventKind.CANCELED)))


def of(campaign: Campaign) -> Report:
    """Reads a row for each counter, whatever the size of the audience."""
    progress = expansions.progress([campaign.message_id]) if campaign.message_id is not None else {}
    made = progress.get(campaign.message_id or 0)
    found = tallies.totals(campaign.origin)
    counts = found[TallyFacet.ALL]
    ended = sum(counts.get(int(kind), 0) for kind in _KINDS)
    recipients = max(campaign.recipients, made.made if made is not None else 0)
    if made is not None and made.done:
        recipients = made.made  # who left before their delivery was made never was one
    hours = tallies.by_hour(campaign.origin, most=DAYS_MOST * 24)
    days: defaultdict[int, Counts] = defaultdict(dict)
    for hour, some in hours:
        day = days[hour // 24]
        for kind, n in some.items():
            day[kind] = day.get(kind, 0) + n
    return Report(
        recipients=recipients,
        pending=max(0, recipients - ended) if campaign.message_id is not None else 0,
        waiting=made.waiting if made is not None else "",
        resume_ms=made.resume_ms if made is not None else 0,
        counts=counts,
        unique=found[TallyFacet.FIRST],
        human=found[TallyFacet.HUMAN],
        links=tallies.by_value(campaign.origin, TallyFacet.URL, most=LINKS_MOST),
        domains=tallies.by_value(campaign.origin, TallyFacet.RECIPIENT_DOMAIN, most=DOMAINS_MOST),
        hours=[(hour * clock.HOUR_MS, some) for hour, some in hours[:HOURS_MOST]],
        days=[(day * clock.DAY_MS, some) for day, some in sorted(days.items())],
    )
