"""Tables and vocabulary; knows nothing of the gateway above it."""

from models.account import Account, Plan, QuotaUsage, Session
from models.api import ApiKey, KeyUse
from models.delivery import Attempt, CapturedMail, Delivery, Lane
from models.domain import DkimKey, SenderDomain
from models.event import Counter, Event, Mx, Reply
from models.message import Content, ContentPart, IdempotencyKey, Message
from models.runtime import Heartbeat, RateCounter
from models.smtp_login import SmtpLogin
from models.suppression import Suppression
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
    IdempotencyKey,
    Lane,
    Message,
    Mx,
    Plan,
    QuotaUsage,
    Reply,
    SenderDomain,
    Session,
    SmtpLogin,
    Suppression,
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
    "Heartbeat",
    "IdempotencyKey",
    "KeyUse",
    "Lane",
    "Message",
    "Mx",
    "Plan",
    "QuotaUsage",
    "RateCounter",
    "Reply",
    "SenderDomain",
    "Session",
    "SmtpLogin",
    "Suppression",
    "Webhook",
    "WebhookAttempt",
    "WebhookDelivery",
]
