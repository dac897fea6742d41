"""Tables and vocabulary; knows nothing of the gateway above it."""

from models.account import Account, Plan, QuotaUsage, Session
from models.api import ApiKey, KeyUse
from models.delivery import Attempt, CapturedMail, Delivery, Lane
from models.domain import DkimKey, SenderDomain
from models.event import Counter, Event, Facet, Mx, Reply
from models.mail_list import Expansion, MailList, Subscriber
from models.message import Content, ContentPart, IdempotencyKey, Message
from models.runtime import Heartbeat, RateCounter
from models.search import SearchMark, SearchTerm
from models.smtp_login import SmtpLogin
from models.suppression import Suppression
from models.template import Template
from models.webhook import Webhook, WebhookAttempt, WebhookDelivery

DURABLE = (
    Account,
    ApiKey,
    Attempt,
    CapturedMail,
    Content,
    ContentPart,
    Counter,
    Delivery,
    DkimKey,
    Event,
    Expansion,
    Facet,
    IdempotencyKey,
    Lane,
    MailList,
    Message,
    Mx,
    Plan,
    QuotaUsage,
    Reply,
    SearchMark,
    SearchTerm,
    SenderDomain,
    Session,
    SmtpLogin,
    Subscriber,
    Suppression,
    Template,
    Webhook,
    WebhookAttempt,
    WebhookDelivery,
)
"""Every table of `database`, made by the migrations."""

SCRATCH = (Heartbeat, KeyUse, RateCounter)
"""Every table of `scratch`, made at start."""

__all__ = [
    "DURABLE",
    "SCRATCH",
    "Account",
    "ApiKey",
    "Attempt",
    "CapturedMail",
    "Content",
    "ContentPart",
    "Counter",
    "Delivery",
    "DkimKey",
    "Event",
    "Expansion",
    "Facet",
    "Heartbeat",
    "IdempotencyKey",
    "KeyUse",
    "Lane",
    "MailList",
    "Message",
    "Mx",
    "Plan",
    "QuotaUsage",
    "RateCounter",
    "Reply",
    "SearchMark",
    "SearchTerm",
    "SenderDomain",
    "Session",
    "SmtpLogin",
    "Subscriber",
    "Suppression",
    "Template",
    "Webhook",
    "WebhookAttempt",
    "WebhookDelivery",
]
