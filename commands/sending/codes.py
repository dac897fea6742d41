"""The documented errors of a send: numbers, texts, HTTP statuses, and the refusals of the engine they stand for."""

from __future__ import annotations

from gateway import errors

MISSING_KEY, INVALID_DOMAIN, FROM, SUBJECT, CONTENT_TYPE, HTML, PLAIN = 1, 2, 3, 8, 9, 10, 11
ACCOUNT, INVALID_KEY, SUPPRESSED, TEMPLATE, TARGET_LIST, SENDING_LIMIT = 12, 13, 14, 15, 16, 17
TO_MISSING, TO_INVALID, TO_COUNT, CC_MISSING, CC_INVALID, CC_COUNT = 18, 19, 20, 21, 22, 23
BCC_ARRAY, BCC_MISSING, BCC_INVALID, BCC_COUNT = 24, 25, 26, 27
REPLY_ARRAY, REPLY_MISSING, REPLY_INVALID, REPLY_COUNT = 28, 29, 30, 31
DOMAIN_INACTIVE, UNVERIFIED, LIST_ID, SUBSCRIBER_ID, JOURNEY_ID, ACTION_ID = 32, 34, 35, 36, 37, 38
TOO_MANY_REQUESTS = 429
OTHER = 100010
"""A fault that the document gives no number; the text says what is wrong."""

TEXTS: dict[int, str] = {
    MISSING_KEY: "Missing SenderAPIKey",
    INVALID_DOMAIN: "Invalid DomainID",
    FROM: (
        "From parameter is either missing or invalid. Make sure you pass both name and email address for the from field"
    ),
    SUBJECT: "Missing Subject",
    CONTENT_TYPE: "Missing ContentType",
    HTML: "Missing HTMLContent",
    PLAIN: "Missing PlainContent",
    ACCOUNT: "Invalid or deactivated user account",
    INVALID_KEY: "Invalid SenderAPIKey",
    SUPPRESSED: "Email address is in the suppression list. Email delivery is blocked.",
    TEMPLATE: "Invalid TemplateID",
    TARGET_LIST: "Invalid TargetListID",
    SENDING_LIMIT: "Email sending limit reached",
    TO_MISSING: "Recipient name or email address is missing",
    TO_INVALID: "Recipient email address is invalid.",
    TO_COUNT: "There is no recipient set for the email.",
    CC_MISSING: "CC name or email address is missing",
    CC_INVALID: "CC email address is invalid.",
    # The document prints "Invalid from email address format" here, amid the errors of CC; a malformed From is 3.
    CC_COUNT: "The number of CC email addresses exceed the allowed email address count",
    BCC_ARRAY: "BCC email addresses must be set as an array",
    BCC_MISSING: "BCC name or email address is missing",
    BCC_INVALID: "BCC email address is invalid.",
    BCC_COUNT: "The number of BCC email addresses exceed the allowed email address count",
    REPLY_ARRAY: "Reply-To email addresses must be set as an array",
    REPLY_MISSING: "Reply-To name or email address is missing",
    REPLY_INVALID: "Reply-To email address is invalid.",
    REPLY_COUNT: "The number of Reply-To email addresses exceed the allowed email address count",
    DOMAIN_INACTIVE: "Domain is not activated",
    UNVERIFIED: "User account is not verified",
    LIST_ID: "Invalid ListID",
    SUBSCRIBER_ID: "Invalid SubscriberID",
    JOURNEY_ID: "Invalid JourneyID",
    ACTION_ID: "Invalid ActionID",
}
TO_TOO_MANY_TEXT = "The number of To email addresses exceed the allowed email address count"

REFUSALS: dict[type[errors.GatewayError], int] = {
    errors.NotAuthenticated: INVALID_KEY,
    errors.DomainGone: INVALID_DOMAIN,
    errors.DomainNotActive: DOMAIN_INACTIVE,
    errors.AccountDisabled: ACCOUNT,
    errors.AccountUnverified: UNVERIFIED,
    errors.NotAllowed: FROM,
    errors.SuppressedRecipient: SUPPRESSED,
    errors.TemplateNotFound: TEMPLATE,
    errors.ListUnusable: TARGET_LIST,
    errors.QuotaReached: SENDING_LIMIT,
    errors.SendRateReached: TOO_MANY_REQUESTS,
    errors.RateLimited: TOO_MANY_REQUESTS,
}
"""The number of each refusal of the engine; every other one is `OTHER` with its own text and status."""
