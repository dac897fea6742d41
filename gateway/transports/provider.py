"""The HTTP storey of the providers: the order of a send, and what an answer means; each leaf has its own words.

A leaf makes the request of a message, and reads the provider's answers; it opens no connection and makes no outcome.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, ClassVar

import orjson
import requests

from gateway.config import Networks
from gateway.mail import classify, verp
from gateway.mail.structured import Unsupported, unsupported
from gateway.transports.dialogue import Dialogue
from gateway.transports.http_line import Answer, Line, Unanswered, Unreached
from gateway.transports.outcome import Outcome, Result
from gateway.transports.submittable import on_the_wire, unsendable

REFERENCE = "commandpost"
"""The name under which a provider keeps the token of a delivery and gives it back with its events."""

MEGABYTE = 1024 * 1024

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
_SAID = 1000


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is to be sent: one message to one recipient; `token` names the delivery in the provider's events."""

    rcpt: str
    message: bytes
    token: str


class Means(Enum):
    """What a refusal is about: result, category, whether another server may be tried at once."""

    RECIPIENT = (Result.BOUNCED, classify.RECIPIENT, False)
    OURS = (Result.DEFERRED, classify.OURS, True)  # key, account, sender identity, address of the API
    QUOTA = (Result.DEFERRED, classify.POLICY, True)  # rate or amount of this account
    FAULT = (Result.DEFERRED, classify.NETWORK, True)  # the provider has trouble of its own
    RUNNING = (Result.DEFERRED, classify.NETWORK, False)  # an earlier request for the same delivery is not done
    DOUBT = (Result.IN_DOUBT, classify.PROTOCOL, False)  # it may have taken the message
    SIZE = (Result.BOUNCED, classify.CONTENT, True)
    UNFIT = (Result.BOUNCED, classify.OURS, True)  # the interface does not take such a message


@dataclass(frozen=True, slots=True)
class Check:
    """Whether credentials can send, in words for people."""

    ok: bool
    detail: str


class Provider(abc.ABC):
    """A transport over a provider's HTTP API.

    `name` is unique for the server, for connections and limits hang on it. `reports`: what was taken is handed over,
    and delivered once the provider says so. `allow` restricts the endpoint to public addresses and those networks.
    """

    kind: ClassVar[str]
    largest: ClassVar[int]
    """Bytes of the message that the provider takes."""
    single = True

    def __init__(
        self, *, name: str, endpoint: str, allow: Networks | None = (), seconds: float = 60.0, reports: bool = False
    ) -> None:
        self._name = name or f"{self.kind}:{endpoint.partition('://')[2].partition('/')[0]}"[:64]
        self.endpoint = endpoint
        self.allow = allow
        self.seconds = seconds
        self.reports = reports

    @property
    def name(self) -> str:
        return self._name

    def group(self, domain: str) -> str:
        """Its own destination: what one account is refused says nothing about another at the same provider."""
        return self._name

    def open(self) -> ProviderConnection:
        return ProviderConnection(self)

    def check(self) -> Check:
        """Prove the credentials without sending anything; never raises."""
        line = self.line()
        try:
            return self.checked(line.call(self.probe()))
        except Unreached as error:
            return Check(False, f"{self.endpoint} is not reached: {error.why}")
        except Unanswered as error:
            return Check(False, f"{self.endpoint} does not answer: {error.why}")
        finally:
            line.close()

    def line(self) -> Line:
        return Line(self.endpoint, allow=self.allow, seconds=self.seconds)

    @abc.abstractmethod
    def request(self, parcel: Parcel) -> requests.Request:
        """The request that sends it, its URL a path of the API; raises `Unsupported`."""

    @abc.abstractmethod
    def taken(self, answer: Answer) -> str | None:
        """The provider's id of the message out of a 2xx; None where that is no answer of this API."""

    @abc.abstractmethod
    def refusal(self, answer: Answer, parcel: Parcel) -> Means | None:
        """What a refusal is about, where its words say more than its status."""

    @abc.abstractmethod
    def said(self, answer: Answer) -> str:
        """The words of a refusal."""

    @abc.abstractmethod
    def probe(self) -> requests.Request:
        """A request that needs the same credentials and sends nothing."""

    @abc.abstractmethod
    def checked(self, answer: Answer) -> Check:
        """What the answer to `probe` proves."""


class ProviderConnection:
    """A `base.Connection`; its line is dialled for the first message and again when it was idle."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._line: Line | None = None

    def send(
        self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None], tls_required: bool = False
    ) -> Outcome:
        provider = self._provider
        impossible = unsendable(mail_from, rcpt, message)
        if impossible is not None:
            return impossible
        if tls_required and not provider.endpoint.startswith("https:"):
            return _means(Means.OURS, f"{provider.kind} is reached in the clear, and the domain requires TLS", "5.7.10")
        parcel = Parcel(on_the_wire(rcpt), message, verp.token(mail_from))
        try:
            request = self._request(parcel)
        except Unsupported as error:
            return _means(Means.UNFIT, f"{provider.kind} cannot be told {error.what}", "5.6.3")
        if len(message) > provider.largest:
            why = f"the message has {len(message)} bytes, {provider.kind} takes {provider.largest}"
            return _means(Means.SIZE, why, "5.3.4")
        dialogue = Dialogue()
        dialogue.client(f"{request.method} {provider.endpoint}{request.url} (message of {len(message)} bytes)")
        if self._line is None:
            self._line = provider.line()
        try:
            answer = self._line.call(request, on_data)
        except Unreached as error:
            dialogue.note(error.why)
            made = _means(Means.OURS if error.ours else Means.FAULT, error.why, "5.7.1" if error.ours else "4.4.1")
            return replace(made, remote=provider.endpoint.partition("://")[2], dialogue=dialogue.take())
        except Unanswered as error:
            dialogue.note(error.why)
            made = Outcome(Result.IN_DOUBT, None, "4.4.2", error.why, classify.NETWORK)
            return replace(made, remote=provider.endpoint.partition("://")[2], dialogue=dialogue.take())
        outcome = self._judged(answer, parcel)
        dialogue.server(answer.status, outcome.reply)
        return replace(outcome, remote=answer.remote, tls=answer.tls, dialogue=dialogue.take())

    def close(self) -> None:
        if self._line is not None:
            self._line.close()

    def _request(self, parcel: Parcel) -> requests.Request:
        if not parcel.token:
            unsupported("an envelope sender that names no delivery")
        if not parcel.rcpt.isascii():
            unsupported("a recipient whose local part is not ASCII")
        return self._provider.request(parcel)

    def _judged(self, answer: Answer, parcel: Parcel) -> Outcome:
        provider = self._provider
        if 200 <= answer.status < 300:
            id_ = provider.taken(answer)
            if id_ is None:
                means = provider.refusal(answer, parcel) or Means.DOUBT
                return _means(means, f"HTTP {answer.status} is no answer of {provider.kind}", _ENHANCED[means])
            result = Result.HANDED_OVER if provider.reports else Result.DELIVERED
            return Outcome(result, None, "", _CONTROLS.sub(" ", f"HTTP {answer.status}, id {id_}")[:_SAID].strip())
        means = provider.refusal(answer, parcel) or _by_status(answer.status)
        words = " ".join(_CONTROLS.sub(" ", provider.said(answer)).split())[:_SAID]
        text = f"HTTP {answer.status}: {words}" if words else f"HTTP {answer.status}"
        return replace(_means(means, text, _ENHANCED[means]), retry_after=answer.retry_after)


_ENHANCED = {
    Means.RECIPIENT: "5.1.3",
    Means.OURS: "4.7.8",
    Means.QUOTA: "4.7.1",
    Means.FAULT: "4.3.0",
    Means.RUNNING: "4.3.0",
    Means.DOUBT: "4.5.0",
    Means.SIZE: "5.3.4",
    Means.UNFIT: "5.6.0",
}


def _by_status(status: int) -> Means:
    """What a status means where the provider's words say nothing (RFC 9110 §15)."""
    if status in (408, 425) or status >= 500:
        return Means.FAULT
    if status == 429:
        return Means.QUOTA
    if status == 413:
        return Means.SIZE
    return Means.UNFIT if status in (400, 422) else Means.OURS


def _means(means: Means, text: str, enhanced: str) -> Outcome:
    result, category, movable = means.value
    return Outcome(result, None, enhanced, text, category, ours_to_move=movable)


def json_of(answer: Answer) -> Any:
    """The JSON of an answer, None where it is none."""
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None


def text_of(answer: Answer, *path: str) -> str:
    """The text at a path of keys in an answer's JSON, else what the body says as it is."""
    found = json_of(answer)
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else answer.body.decode("utf-8", "replace")
