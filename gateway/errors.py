"""Every refusal the engine knows; each door renders them in its own words in one place.

A service raises these and knows no number. RPC shows the number that the command's record maps the
class to, REST the `status` and `slug`, SMTP the `smtp` reply.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of all refusals. `status` is the HTTP status, `smtp` the reply code with its enhanced code."""

    slug = "refused"
    status = 422
    smtp = "550 5.7.1"
    message = "The request was refused."

    def __init__(self, message: str | None = None, **data: object) -> None:
        super().__init__(message or self.message)
        self.message = message or self.message
        self.data = data


class Invalid(GatewayError):
    """A value has the wrong type, form or size. `field` names it as the client spelled it."""

    slug = "invalid_parameter"
    status = 422
    smtp = "550 5.6.0"
    message = "A parameter is invalid."


class InvalidFields(Invalid):
    """Several values at once; `fields` lists `{"field", "message"}` of each."""

    message = "The request has fields that cannot be used."


class UnknownFields(InvalidFields):
    """A strict key's request names what nothing reads."""

    slug = "unknown_field"
    message = "The request has fields that are not known."


class TooLarge(Invalid):
    slug = "too_large"
    status = 413
    smtp = "552 5.3.4"
    message = "The message or request is too large."


class NotAuthenticated(GatewayError):
    slug = "not_authenticated"
    status = 401
    smtp = "535 5.7.8"
    message = "The session or API key is missing or invalid."


class NotAllowed(GatewayError):
    slug = "not_allowed"
    status = 403
    message = "The credentials do not allow this."


class NotFound(GatewayError):
    """Absent, deleted or somebody else's: the three are not told apart. `what` names the noun."""

    slug = "not_found"
    status = 404
    message = "There is no such object."

    def __init__(self, message: str | None = None, **data: object) -> None:
        if message is None and data.get("what") and type(self).message == NotFound.message:
            message = f"There is no such {data['what']}."
        super().__init__(message, **data)


class RateLimited(GatewayError):
    """Too many requests; `retry_after` seconds, `attempts` allowed afterwards."""

    slug = "rate_limited"
    status = 429
    smtp = "451 4.7.1"
    message = "Too many requests."


class LoginFailed(NotAuthenticated):
    slug = "login_failed"
    message = "Invalid login information"


class TfaRequired(LoginFailed):
    slug = "tfa_required"
    message = "Two-factor code required"


class TfaInvalid(LoginFailed):
    slug = "tfa_invalid"
    message = "Invalid two-factor code"


class AccountDisabled(GatewayError):
    slug = "account_disabled"
    status = 404
    message = "Invalid or deactivated user account"


class AccountUnverified(GatewayError):
    slug = "account_unverified"
    status = 403
    message = "User account is not verified"


class InvalidDomainName(Invalid):
    slug = "invalid_domain_name"
    message = "Invalid domain name provided"


class DomainExists(GatewayError):
    slug = "domain_exists"
    status = 409
    message = "The domain is there already."


class DomainLimitReached(GatewayError):
    slug = "domain_limit_reached"
    status = 403
    message = "The plan allows no more sender domains."


class DomainNotActive(GatewayError):
    slug = "domain_not_active"
    status = 403
    message = "Domain is not activated"


class DomainNotVerified(DomainNotActive):
    """The From address belongs to no sender domain of the account that may send."""

    slug = "domain_not_verified"
    message = "The domain of the From address is not verified for this account."


class TrackingDomainExists(GatewayError):
    slug = "tracking_domain_exists"
    status = 409
    message = "The tracking domain is there already."


class TrackingDomainNotVerified(GatewayError):
    slug = "tracking_domain_not_verified"
    status = 409
    message = "The tracking domain does not lead to us yet: publish its CNAME record and verify it."


class NotInPlan(NotAllowed):
    """The plan of the account does not include it."""

    slug = "not_in_plan"
    message = "The plan of the account does not include this."


class DomainGone(GatewayError):
    """The key's domain was deleted."""

    slug = "domain_gone"
    status = 404
    message = "Invalid DomainID"


class InvalidEvent(Invalid):
    slug = "invalid_event"
    message = "Invalid event type specified"


class InvalidUrl(Invalid):
    slug = "invalid_url"
    message = "WebhookURL is not an http or https URL"


class PrivateUrl(Invalid):
    slug = "private_url"
    message = "WebhookURL does not lead to a public address"


class WebhookLimitReached(GatewayError):
    slug = "webhook_limit_reached"
    status = 403
    message = "The plan allows no more webhooks."


class WebhookDisabled(GatewayError):
    slug = "webhook_disabled"
    status = 409
    message = "The webhook is disabled: enable it first."


class MissingWebhook(Invalid):
    slug = "missing_webhook"
    message = "WebhookID or WebhookDeliveryID is needed."


class ReplayRunning(GatewayError):
    slug = "replay_running"
    status = 409
    message = "A replay of that webhook is still running."


class InvalidQuery(Invalid):
    slug = "invalid_query"
    message = "The query cannot be understood."


class SuppressedRecipient(GatewayError):
    slug = "recipient_suppressed"
    status = 409
    message = "Email address is in the suppression list. Email delivery is blocked."


class QuotaReached(GatewayError):
    slug = "quota_reached"
    status = 429
    smtp = "451 4.7.1"
    message = "Email sending limit reached"


class SendRateReached(QuotaReached):
    """The limit of one minute; told from the longer ones, which waiting a little does not lift."""

    slug = "send_rate_reached"
    message = "You have exceeded your send rate limits. Please wait before sending another email."


class IdempotencyMismatch(GatewayError):
    slug = "idempotency_mismatch"
    status = 422
    message = "The idempotency key was used with another payload."


class IdempotencyRunning(GatewayError):
    slug = "idempotency_running"
    status = 409
    smtp = "451 4.3.0"
    message = "A request with this idempotency key is still running."


class Unavailable(GatewayError):
    """The store is away; nothing was stored. `retry_after` seconds."""

    slug = "unavailable"
    status = 503
    smtp = "451 4.3.0"
    message = "The service is unavailable for a moment; nothing was stored."


class StorageFull(Unavailable):
    """There is no room; nothing was stored (RFC 3463 §3.4, X.3.1)."""

    smtp = "452 4.3.1"
    message = "There is no room for more mail now; nothing was stored."


class AccountExists(GatewayError):
    slug = "account_exists"
    status = 409
    message = "There is an account with this email address already."


class KeyExists(GatewayError):
    slug = "key_exists"
    status = 409
    message = "This key is in use already."


class UsernameTaken(GatewayError):
    slug = "username_taken"
    status = 409
    message = "There is an SMTP login with this user name already."


class NotJson(Invalid):
    """The body of an HTTP request should be a JSON object and is not."""

    slug = "invalid_json"
    status = 400
    message = "The request body is not a JSON object."


class WebhookNotFound(NotFound):
    """Told from an absent domain: the document numbers the two."""

    message = "There is no such webhook."


class UnknownReason(Invalid):
    """A suppression has one of a few reasons."""

    message = "The reason is unknown."


class EntryNotFound(NotFound):
    """What is to be taken off a list of addresses is not on it; told from an absent domain."""

    message = "There is no such address on the list."


class InvalidTemplate(Invalid):
    """A template cannot be read, or its variables make it fail or pass a limit; the message says why.

    `field` is the part of the request that has it, where one has.
    """

    slug = "invalid_template"
    message = "The template cannot be used."


class TemplateNotFound(NotFound):
    """The template of a send is absent or somebody else's."""

    status = 422
    message = "Invalid TemplateID"


class ListUnusable(NotFound):
    """The list of a send is absent, somebody else's or has no active subscriber."""

    status = 422
    message = "Invalid TargetListID"


class InvalidAddress(Invalid):
    slug = "invalid_address"
    message = "The email address is invalid."


class SubscriberExists(GatewayError):
    slug = "subscriber_exists"
    status = 409
    message = "The address is on the list already."


class SubscriberNotFound(NotFound):
    """Told from an absent list: the two have numbers of their own."""

    message = "There is no such subscriber on the list."


class NotConfirmed(GatewayError):
    """The list asks those who are put on it, and this one has not answered."""

    slug = "not_confirmed"
    status = 409
    message = "The list has double opt-in: only they themselves can confirm, by the link in their mail."


class NotPending(GatewayError):
    """Nobody waits for that confirmation."""

    slug = "not_pending"
    status = 409
    message = "The subscriber is not asked for a confirmation."


class WhichSubscriber(Invalid):
    """Neither a number nor an address says who is meant."""

    message = "SubscriberID or EmailAddress is missing."


class NoContent(Invalid):
    """Neither HTML nor plain text."""

    slug = "no_content"
    message = "A template has HTML, plain text or both."


class TooManyAtOnce(Invalid):
    """A bulk request without items, or with more than it may have."""

    slug = "too_many_at_once"


class RotationRunning(GatewayError):
    """New DKIM keys of the domain wait for their records already."""

    slug = "rotation_running"
    status = 409
    message = "A DKIM rotation of this domain is running: publish its records, or cancel it."


class InvalidSelector(Invalid):
    slug = "invalid_selector"
    message = "The DKIM selector is invalid."


class SelectorInUse(GatewayError):
    """The domain has, or had, a DKIM key under that selector; receivers may remember its record."""

    slug = "selector_in_use"
    status = 409
    message = "The selector is in use."


class KeyNeeded(GatewayError):
    """A DKIM key signs, or mail under way bears its signature."""

    slug = "key_needed"
    status = 409
    message = "The DKIM key is still needed."


class InboundMailNotFound(NotFound):
    slug = "inbound_mail_not_found"
    message = "There is no such inbound mail."


class ServerExists(GatewayError):
    slug = "server_exists"
    status = 409
    message = "There is a sending server with this name already."


class ServerInUse(GatewayError):
    """`rules` are the names of the routing rules that name the server."""

    slug = "server_in_use"
    status = 409
    message = "Routing rules name this server."


class ListInUse(GatewayError):
    """`used_by` lists `{"type", "id", "name"}` of the scheduled campaigns and the automations that need the list."""

    slug = "list_in_use"
    status = 409
    message = "A scheduled campaign or an automation uses this list."


class ServerLimitReached(GatewayError):
    slug = "server_limit_reached"
    status = 403
    message = "The account can have no more sending servers or routing rules."


class CampaignNotFound(NotFound):
    slug = "campaign_not_found"
    message = "There is no such campaign."


class CampaignState(GatewayError):
    """What is asked for cannot be done with a campaign in its state; `state` names it."""

    slug = "campaign_state"
    status = 409
    message = "The campaign cannot do this now."


class AutomationNotFound(NotFound):
    slug = "automation_not_found"
    message = "There is no such automation."


class RunNotFound(NotFound):
    slug = "run_not_found"
    message = "There is no such run of the automation."


class AutomationPaused(GatewayError):
    slug = "automation_paused"
    status = 409
    message = "The automation is paused: resume it first."


class AutomationLimitReached(GatewayError):
    slug = "automation_limit_reached"
    status = 403
    message = "There are no more automations to be had."


class RunEnded(GatewayError):
    slug = "run_ended"
    status = 409
    message = "The run has ended."


class NotAgain(GatewayError):
    """The automation has had that subscriber, or has them too often: its re-entry, or the limit against loops."""

    slug = "no_reentry"
    status = 409
    message = "The automation does not take that subscriber again now."


class AudienceEmpty(GatewayError):
    """The list or segment has nobody who may be written to."""

    slug = "audience_empty"
    status = 409
    message = "Nobody in the audience can be written to."


class LimitNotFound(NotFound):
    slug = "limit_not_found"
    message = "There is no such limit."


class LimitEnded(GatewayError):
    slug = "limit_ended"
    status = 409
    message = "The limit has ended or was canceled."


class NoSuchMailbox(NotFound):
    slug = "mailbox_not_found"
    smtp = "550 5.1.1"
    message = "There is no such mailbox."


class MailboxNeeded(Invalid):
    """The From of a send is no mailbox of the key's domain."""

    slug = "mailbox_needed"
    message = "from should be a mailbox of the key's domain: create it first."


class MailboxExists(GatewayError):
    slug = "mailbox_exists"
    status = 409
    message = "There is a mailbox with this address already."


class MailboxLimitReached(GatewayError):
    slug = "mailbox_limit_reached"
    status = 403
    message = "The domain has as many mailboxes as it may have."


class MailboxFull(GatewayError):
    """No room until its owner deletes something (RFC 3463 §3.3, X.2.2)."""

    slug = "mailbox_full"
    status = 409
    smtp = "452 4.2.2"
    message = "The mailbox is full, try again later."


class MailboxTooSmall(GatewayError):
    """The mail is larger than everything that the mailbox may hold (RFC 3463 §3.3, X.2.3)."""

    slug = "mailbox_too_small"
    status = 413
    smtp = "552 5.2.3"
    message = "The mail is larger than the mailbox may ever hold."


class MailboxAsleep(GatewayError):
    """Its domain is disabled or waits for its records; it may be enabled again (RFC 3463 §3.3, X.2.1)."""

    slug = "mailbox_asleep"
    smtp = "450 4.2.1"
    message = "Mail to this domain is not taken now, try again later."


class NothingWaits(GatewayError):
    """All deliveries of the message have ended, or are on their way at this very moment."""

    slug = "nothing_waits"
    status = 409
    message = "Nothing of the message waits any more: it was sent, has failed, or is being sent now."


class KeyEnded(GatewayError):
    """The key was revoked, has expired, or has a successor already."""

    slug = "key_ended"
    status = 409
    message = "The key was revoked, has expired, or is being rotated already."


class SequenceEnded(GatewayError):
    slug = "sequence_completed"
    status = 409
    message = "The sequence is completed: nothing can be changed any more."


class SequencePaused(Invalid):
    slug = "sequence_not_active"
    status = 400
    message = "The sequence is not active: resume it before anybody is enrolled."


class AllRefused(GatewayError):
    """Every recipient of a send is refused; `blocked` has those on the suppression list."""

    slug = "all_recipients_refused"
    status = 422
    message = "Every recipient is refused; nothing was sent."


class WarmupExists(GatewayError):
    slug = "warmup_exists"
    status = 409
    message = "It is being warmed up already."
