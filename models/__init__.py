"""Tables and vocabulary; knows nothing of the gateway above it."""

from models.account import Account, Plan, QuotaUsage, Session
from models.api import ApiKey, KeyDay, KeyUse
from models.audit import AuditEntry, AuditHead, AuditSpool
from models.batch import Batch
from models.campaign import Campaign, Tally
from models.clearance import Clearance
from models.delivery import Attempt, CapturedMail, Delivery, Lane
from models.domain import DkimKey, SenderDomain
from models.event import Counter, Event, Facet, Mx, Reply
from models.inbound_mail import InboundMail, InboundMailPart
from models.list_import import ListImport, ListImportError, ListImportPart
from models.mail_list import Confirmation, Engagement, Expansion, ListCount, MailList, Subscriber
from models.mailbox import (
    Mailbox,
    MailboxMessage,
    MailboxMessagePart,
    SenderGroup,
    SenderGroupEmail,
    SenderGroupMailbox,
)
from models.message import Content, ContentPart, IdempotencyKey, Message
from models.notice import Notice
from models.provider_event import HandedOver, HookNonce, ProviderEvent
from models.retention import Erasure, RetentionDue, RetentionMark
from models.runtime import DestinationMinute, Heartbeat, HoneypotHit, RateCounter
from models.search import SearchMark, SearchTerm
from models.sending_server import RoutingRule, SendingServer, ServerUsage
from models.sequence import Enrolment, Sequence
from models.shaping import Limit
from models.smtp_login import SmtpLogin
from models.suppression import Allowed, Strike, Suppression, SuppressionUndo
from models.template import Template
from models.tls_policy import TlsPolicy
from models.tracking import HitSpool
from models.tracking_domain import TrackingDomain
from models.webhook import Webhook, WebhookAttempt, WebhookCount, WebhookDelivery, WebhookReplay

DURABLE = (
    Account,
    Allowed,
    ApiKey,
    Attempt,
    AuditEntry,
    AuditHead,
    AuditSpool,
    Batch,
    Campaign,
    CapturedMail,
    Clearance,
    Confirmation,
    Content,
    ContentPart,
    Counter,
    Delivery,
    DkimKey,
    Engagement,
    Enrolment,
    Erasure,
    Event,
    Expansion,
    Facet,
    HandedOver,
    HitSpool,
    HookNonce,
    IdempotencyKey,
    InboundMail,
    InboundMailPart,
    Lane,
    Limit,
    ListCount,
    ListImport,
    ListImportError,
    ListImportPart,
    MailList,
    Mailbox,
    MailboxMessage,
    MailboxMessagePart,
    Message,
    Mx,
    Notice,
    Plan,
    ProviderEvent,
    QuotaUsage,
    Reply,
    RetentionDue,
    RetentionMark,
    RoutingRule,
    SearchMark,
    SearchTerm,
    SenderDomain,
    SenderGroup,
    SenderGroupEmail,
    SenderGroupMailbox,
    SendingServer,
    Sequence,
    ServerUsage,
    Session,
    SmtpLogin,
    Strike,
    Subscriber,
    Suppression,
    SuppressionUndo,
    Tally,
    Template,
    TlsPolicy,
    TrackingDomain,
    Webhook,
    WebhookAttempt,
    WebhookCount,
    WebhookDelivery,
    WebhookReplay,
)
"""Every table of `database`, made by the migrations."""

SCRATCH = (DestinationMinute, Heartbeat, HoneypotHit, KeyDay, KeyUse, RateCounter)
"""Every table of `scratch`, made at start."""

__all__ = [
    "DURABLE",
    "SCRATCH",
    "Account",
    "Allowed",
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "AuditHead",
    "AuditSpool",
    "Batch",
    "Campaign",
    "CapturedMail",
    "Clearance",
    "Confirmation",
    "Content",
    "ContentPart",
    "Counter",
    "Delivery",
    "DestinationMinute",
    "DkimKey",
    "Engagement",
    "Enrolment",
    "Erasure",
    "Event",
    "Expansion",
    "Facet",
    "HandedOver",
    "Heartbeat",
    "HitSpool",
    "HoneypotHit",
    "HookNonce",
    "IdempotencyKey",
    "InboundMail",
    "InboundMailPart",
    "KeyDay",
    "KeyUse",
    "Lane",
    "Limit",
    "ListCount",
    "ListImport",
    "ListImportError",
    "ListImportPart",
    "MailList",
    "Mailbox",
    "MailboxMessage",
    "MailboxMessagePart",
    "Message",
    "Mx",
    "Notice",
    "Plan",
    "ProviderEvent",
    "QuotaUsage",
    "RateCounter",
    "Reply",
    "RetentionDue",
    "RetentionMark",
    "RoutingRule",
    "SearchMark",
    "SearchTerm",
    "SenderDomain",
    "SenderGroup",
    "SenderGroupEmail",
    "SenderGroupMailbox",
    "SendingServer",
    "Sequence",
    "ServerUsage",
    "Session",
    "SmtpLogin",
    "Strike",
    "Subscriber",
    "Suppression",
    "SuppressionUndo",
    "Tally",
    "Template",
    "TlsPolicy",
    "TrackingDomain",
    "Webhook",
    "WebhookAttempt",
    "WebhookCount",
    "WebhookDelivery",
    "WebhookReplay",
]
