"""The numbers and words that tables store, each with what it means."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class DeliveryState(IntEnum):
    """The fate of one message for one recipient; from `TERMINAL` on it is not tried again, and never changes but once:

    what was handed over becomes delivered, bounced or failed when the provider says so.
    """

    QUEUED = 1  # due at its time, not yet tried
    CLAIMED = 2  # a worker holds the lease that ends at `due_ms`
    DEFERRED = 3  # tried, refused for now or interrupted; due again at its time
    HELD = 4  # waits for a person; due far ahead so that it is looked at again
    DELIVERED = 10  # the next hop took responsibility (SMTP 250)
    BOUNCED = 11  # refused for good, at once or by a later report
    FAILED = 12  # retries or time used up, or the queue was cleared
    SUPPRESSED = 13  # never sent: the recipient must not be written to
    CANCELED = 14  # never sent: the sender took it back
    HANDED_OVER = 15  # a provider took it and will report what becomes of it; see `services.provider_reports`


TERMINAL = 10
"""States from here on have no due time; a CHECK constraint holds both directions."""


class EventKind(IntEnum):
    ACCEPTED = 1  # stored and promised; once a message
    QUEUED = 2  # waits for a time or a limit that is not the remote's
    DEFERRED = 3  # the remote or the network refused for now
    DELIVERED = 4
    BOUNCED = 5
    FAILED = 6
    SUPPRESSED = 7
    OPENED = 8
    CLICKED = 9
    COMPLAINED = 10
    UNSUBSCRIBED = 11
    CANCELED = 12
    REPLIED = 13  # a person answered it, to a mailbox of ours

    @property
    def word(self) -> str:
        return self.name.lower()


class FacetKind(IntEnum):
    """What else than tags events are counted by; the values of one are few, or few a day."""

    RECIPIENTS = 0  # of accepted messages, beyond the first of each; by tag, '' is all
    RECIPIENT_DOMAIN = 1
    MX = 2
    RESPONSE = 3  # the id of the reply
    CATEGORY = 4
    CODE = 5
    ENHANCED = 6
    TRANSPORT = 7
    VERDICT = 8
    URL = 9
    DELIVERY_TIME = 10  # the step of the scale of delivery times; of delivered events
    HOUR = 11  # of the day, in UTC
    GONE = 12  # events that were taken out of the log: the counters still have them
    DEVICE = 13  # of opens and clicks: its family
    DEVICE_KIND = 14  # desktop, mobile or tablet
    CLIENT = 15  # mail client or browser


class TallyFacet(IntEnum):
    """By what the events of an origin (a campaign, an automation) are counted."""

    ALL = 0
    HOUR = 1  # since 1970, UTC
    RECIPIENT_DOMAIN = 2
    URL = 3  # of clicks
    FIRST = 4  # the first open, click or reply of each delivery
    HUMAN = 5  # the first that is a person's


class RetentionPart(IntEnum):
    """What of a message is kept for a number of days."""

    BODY = 1  # its content, what was captured of it and its recipients' merge fields
    METADATA = 2  # the rest: its row, deliveries, attempts, events and what the search knows of them


class Stream(IntEnum):
    TRANSACTIONAL = 1
    BULK = 2


class NoticeKind(StrEnum):
    """Facts about what an account has that are not about one delivery."""

    DOMAIN_ENABLED = "domain.enabled"  # it may send from now on
    DOMAIN_DISABLED = "domain.disabled"  # it sends nothing new until its records are verified again
    DOMAIN_RECORDS_DRIFTED = "domain.records_drifted"  # records that were in DNS are missing or changed
    DOMAIN_RECORDS_RESTORED = "domain.records_restored"  # they are there again
    DOMAIN_HEALTH_CHANGED = "domain.health_changed"  # parts of its health got worse or better
    DKIM_ROTATION_STARTED = "dkim.rotation_started"  # new keys wait for their records
    DKIM_ROTATION_CANCELED = "dkim.rotation_canceled"  # they were taken back
    DKIM_SEEN = "dkim.seen"  # the record of a key that waited is in DNS
    DKIM_SWITCHED = "dkim.switched"  # another key signs from now on
    DKIM_RETIRED = "dkim.retired"  # the record of a key may be removed
    WEBHOOK_DISABLED = "webhook.disabled"  # it is told nothing more: it answered 410, or failed for days
    WEBHOOK_ENABLED = "webhook.enabled"  # it is told again
    AUTOMATION_TRIGGERED = "automation.triggered"  # a run of an automation began for a subscriber
    AUTOMATION_NOTICE = "automation.notice"  # a run of an automation came to a step that tells so
    MESSAGE_RECEIVED = "message.received"  # mail came to a mailbox
    SUBSCRIBER_UNSUBSCRIBED = "subscriber.unsubscribed"  # on behalf of a subscriber of a list, not by a link
    SUBSCRIBER_CONFIRMED = "subscriber.confirmed"  # a subscriber of a list with double opt-in said that it was they
    ADDRESS_ERASED = "address.erased"  # of a recipient that asked for it nothing is left but a pseudonym


class AuditKind(IntEnum):
    CALL = 1  # somebody asked for something, and what became of it
    CHANGE = 2  # something is different from now on

    @property
    def word(self) -> str:
        return self.name.lower()


class LaneKind(IntEnum):
    DELIVER = 1
    WEBHOOK = 2


class SubscriberStatus(IntEnum):
    ACTIVE = 1
    UNSUBSCRIBED = 2  # stays on the list, is not written to
    REMOVED = 3  # no longer on the list; goes once no message still has to come by
    PENDING = 4  # was asked whether it was they, and has not confirmed: is not written to


class ListKind(IntEnum):
    LIST = 1
    SEGMENT = 2  # those of a list who fulfil conditions

    @property
    def word(self) -> str:
        return self.name.lower()


class EnrolmentStatus(IntEnum):
    """Where a person stands in a sequence; everything but `ACTIVE` is an end."""

    ACTIVE = 1
    COMPLETED = 2  # everything was sent
    REPLIED = 3
    BOUNCED = 4
    COMPLAINED = 5
    UNSUBSCRIBED = 6
    CANCELLED = 7  # the sequence was, or the next message could not be made or may not be sent

    @property
    def word(self) -> str:
        return self.name.lower()


class Codec(IntEnum):
    """How a content is packed."""

    RAW = 0
    ZLIB = 1


ACCOUNT_ACTIVE, ACCOUNT_UNVERIFIED, ACCOUNT_DISABLED = "active", "unverified", "disabled"
ROLE_USER, ROLE_OPERATOR = "user", "operator"
DOMAIN_PENDING, DOMAIN_ENABLED, DOMAIN_DISABLED, DOMAIN_SUSPENDED = "pending", "enabled", "disabled", "suspended"
STATUS_WORDS = {
    DOMAIN_PENDING: "Approval Pending",
    DOMAIN_ENABLED: "Enabled",
    DOMAIN_DISABLED: "Disabled",
    DOMAIN_SUSPENDED: "Suspended",
}
"""A domain's status as people and clients see it."""

KEY_STANDBY = "standby"
KEY_PENDING, KEY_ACTIVE, KEY_RETIRING, KEY_RETIRED = "pending", "active", "retiring", "retired"
KEY_STATES = {
    KEY_STANDBY: "its record is published ahead of the next rotation; does not sign",
    KEY_PENDING: "not in DNS as far as is known; does not sign",
    KEY_ACTIVE: "signs",
    KEY_RETIRING: "signs no more, but mail under way bears its signature: its record has to stay",
    KEY_RETIRED: "its record may be removed",
}
"""The life of a DKIM key, in its order."""

CAMPAIGN_DRAFT, CAMPAIGN_SCHEDULED, CAMPAIGN_SENDING, CAMPAIGN_PAUSED = "draft", "scheduled", "sending", "paused"
CAMPAIGN_SENT, CAMPAIGN_CANCELED, CAMPAIGN_FAILED = "sent", "canceled", "failed"
CAMPAIGN_STATES = {
    CAMPAIGN_DRAFT: "waits to be launched or given a time",
    CAMPAIGN_SCHEDULED: "is launched by itself at its time",
    CAMPAIGN_SENDING: "its deliveries are made and leave",
    CAMPAIGN_PAUSED: "nothing of it leaves until it is resumed",
    CAMPAIGN_SENT: "everybody was written to, or is known to be out of reach; retries go on",
    CAMPAIGN_CANCELED: "what had not left was taken back",
    CAMPAIGN_FAILED: "could not be launched at its time",
}
"""The life of a campaign; the last three are its ends."""

IMPORT_RECEIVING, IMPORT_QUEUED, IMPORT_RUNNING = "receiving", "queued", "running"
IMPORT_DONE, IMPORT_FAILED = "done", "failed"
IMPORT_STATES = {
    IMPORT_RECEIVING: "its file is on its way in",
    IMPORT_QUEUED: "waits for a worker",
    IMPORT_RUNNING: "its rows are put on the list",
    IMPORT_DONE: "every row was taken, or stands among the errors",
    IMPORT_FAILED: "came to an end before all rows: the cause says why",
}
"""The life of a file of subscribers."""

CHECK_PENDING, CHECK_VERIFIED, CHECK_FAILED = "Pending", "Verified", "Failed"
PERMISSIONS = (
    "send",
    "read",
    "write",
    *(
        f"{verb}:{noun}"
        for noun in (
            "domains",
            "keys",
            "smtp",
            "webhooks",
            "events",
            "statistics",
            "messages",
            "templates",
            "lists",
            "suppressions",
            "account",
            "campaigns",
            "automations",
            "sending-servers",
            "routing",
        )
        for verb in ("read", "write")
    ),
    "read:analytics",
    "read:audit",
)
"""What a key of the command API may be limited to; `read` and `write` stand for all of theirs."""

V1_SCOPES = (
    "send",
    "read",
    "write",
    *(
        f"{verb}:{noun}"
        for noun in (
            "messages",
            "events",
            "analytics",
            "campaigns",
            "automations",
            "templates",
            "lists",
            "suppressions",
            "webhooks",
            "sending-domains",
            "sending-servers",
            "routing",
            "keys",
            "audit",
            "mailboxes",
            "sequences",
        )
        for verb in ("read", "write")
    ),
)
"""What a key of `/v1` may be limited to; `read` and `write` stand for all of theirs."""

SURFACES = ("octeth", "mailersio", "mailmark", "mailerlogic", "maillayer")
