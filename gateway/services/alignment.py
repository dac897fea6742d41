"""Whether receivers will find SPF, DKIM and DMARC of a message in order, as far as DNS tells before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.dns import dmarc, records
from gateway.dns.resolver import DnsUnavailable, resolver
from gateway.mail import dkim

PATIENCE_S = 3.0
"""Seconds that all questions of one forecast may take together; what is not answered by then is unknown."""

PASS, FAIL, UNKNOWN = "pass", "fail", "unknown"
NO_ANSWER = "DNS gave no answer in time"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """One mechanism: for `domain`, whether it is aligned with the header from, and what is to be expected."""

    domain: str
    strict: bool
    aligned: bool | None  # None: DNS did not say what belongs together
    result: str
    reason: str


@dataclass(frozen=True, slots=True)
class Selector:
    """A key that would sign; `result` is whether its record is in DNS."""

    name: str
    algorithm: str
    result: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """`policy` is what the From domain asks for: none, quarantine, reject, or empty where it has no record."""

    spf: Check
    dkim: Check
    selectors: list[Selector]
    from_domain: str
    policy: str
    policy_domain: str
    result: str
    reason: str


class Questions:
    """Asks DNS many things at once, for `PATIENCE_S` altogether."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(8, "forecast")
        self._asked: list[Future[object]] = []

    def ask(self, question: Callable[[], T], *, name: str = "") -> Answer[T]:
        """Submit a question; `name` says whom it is about, for when no answer comes."""
        future = self._pool.submit(question)
        self._asked.append(future)  # type: ignore[arg-type]
        return Answer(future, name)

    def wait(self) -> None:
        wait_for(self._asked, PATIENCE_S)
        self._pool.shutdown(wait=False, cancel_futures=True)


class Answer(Generic[T]):
    """What came of a question, once `Questions.wait` returned."""

    def __init__(self, future: Future[T], name: str) -> None:
        self._future = future
        self.name = name

    def get(self) -> T | None:
        """None where there was no answer in time; any refusal but DNS's is raised."""
        if not self._future.done() or self._future.cancelled():
            return None
        try:
            return self._future.result()
        except DnsUnavailable:
            return None


class Asked:
    """The questions about one message; `forecast` reads the answers."""

    def __init__(
        self, questions: Questions, *, from_domain: str, domain: str, return_path: str, keys: Sequence[dkim.SigningKey]
    ) -> None:
        self._from, self._domain, self._return_path, self._keys = from_domain, domain, return_path, keys
        txt = resolver().txt
        self._walks = {
            name: questions.ask(lambda name=name: dmarc.walk(name, txt))  # type: ignore[misc]
            for name in dict.fromkeys((from_domain, domain, return_path))
        }
        self._spf = questions.ask(lambda: txt(return_path))
        self._records = [questions.ask(lambda key=key: txt(f"{key.selector}._domainkey.{domain}")) for key in keys]  # type: ignore[misc]

    def forecast(self) -> Forecast:
        walk = self._walks[self._from].get()
        policy = dmarc.applying(self._from, walk) if walk is not None else None
        selectors = [
            Selector(key.selector, key.algorithm, _key_result(key, record.get()))
            for key, record in zip(self._keys, self._records, strict=True)
        ]
        spf = self._spf_check(policy is not None and policy.strict("aspf"))
        signed = self._dkim_check(policy is not None and policy.strict("adkim"), selectors)
        result, reason = _conclusion(spf, signed)
        if walk is None:
            reason += f"; the policy of {self._from} is not known, as {NO_ANSWER}"
        elif policy is None:
            reason += f"; {self._from} has no DMARC policy"
        asks = policy.asks(self._from) if policy is not None else ""
        where = policy.domain if policy is not None else ""
        return Forecast(spf, signed, selectors, self._from, asks, where, result, reason)

    def _aligned(self, domain: str, strict: bool) -> bool | None:
        if domain == self._from or strict:
            return domain == self._from
        mine, other = self._walks[self._from].get(), self._walks[domain].get()
        if mine is None or other is None:
            return None
        return dmarc.organisational(self._from, mine) == dmarc.organisational(domain, other)

    def _spf_check(self, strict: bool) -> Check:
        domain, aligned, found = self._return_path, self._aligned(self._return_path, strict), self._spf.get()
        if found is None:
            result, reason = UNKNOWN, NO_ANSWER
        elif not (texts := [text for text in found if records.is_spf(text)]):
            result, reason = FAIL, f"{domain} has no SPF record"
        elif len(texts) > 1:
            result, reason = FAIL, f"{domain} has {len(texts)} SPF records, which counts as none"
        else:
            result, reason = UNKNOWN, "there is a record; whether it names the address the message leaves from is open"
        return Check(domain, strict, aligned, result, reason)

    def _dkim_check(self, strict: bool, selectors: Sequence[Selector]) -> Check:
        domain, aligned = self._domain, self._aligned(self._domain, strict)
        results = {selector.result for selector in selectors}
        if not selectors:
            result, reason = FAIL, f"{domain} has no DKIM key"
        elif PASS in results:
            names = ", ".join(selector.name for selector in selectors if selector.result == PASS)
            result, reason = PASS, f"the record of {names} is in DNS"
        elif UNKNOWN in results:
            result, reason = UNKNOWN, NO_ANSWER
        else:
            result, reason = FAIL, "no record of a key that signs is in DNS as it should be"
        return Check(domain, strict, aligned, result, reason)


def _key_result(key: dkim.SigningKey, found: list[str] | None) -> str:
    if found is None:
        return UNKNOWN
    wanted = dkim.dns_value(key.algorithm, key.public)
    return PASS if any(records.is_dkim_key(text, wanted) for text in found) else FAIL


def _conclusion(spf: Check, signed: Check) -> tuple[str, str]:
    """DMARC passes where one of the two passes and is aligned (RFC 9989 §4.4)."""
    each = [(name, _counts(check)) for name, check in (("DKIM", signed), ("SPF", spf))]
    for name, result in each:
        if result == PASS:
            return PASS, f"{name} passes and is aligned"
    if all(result == FAIL for _, result in each):
        return FAIL, "neither DKIM nor SPF passes and is aligned"
    return UNKNOWN, "whether DKIM or SPF passes and is aligned cannot be told"


def _counts(check: Check) -> str:
    if check.result == FAIL or check.aligned is False:
        return FAIL
    return PASS if check.result == PASS and check.aligned else UNKNOWN
