"""The DMARC policy and the organisational domain of a name, found by the tree walk of RFC 9989 §4.10."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from publicsuffixlist import PublicSuffixList

from gateway.dns import records

_LONGEST = 8
"""Labels of a name beyond which the walk jumps to the last seven (RFC 9989 §4.10)."""

Ask = Callable[[str], list[str]]
"""The TXT records at a name; raises `DnsUnavailable`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A DMARC record and the name it stands under."""

    domain: str
    tags: dict[str, str]

    @property
    def psd(self) -> str:
        return self.tags.get("psd", "u").lower()

    def strict(self, tag: str) -> bool:
        """Whether `adkim` or `aspf` asks for equal names."""
        return self.tags.get(tag, "r").lower() == "s"

    def asks(self, domain: str) -> str:
        """What it asks receivers to do with mail of `domain` that fails: none, quarantine or reject."""
        policy = self.tags.get("p", "none")
        return (policy if domain == self.domain else self.tags.get("sp", policy)).lower()


def walk(domain: str, ask: Ask) -> list[Policy]:
    """The records from `domain` upwards, the nearest first; ends at one that says whether it is a suffix."""
    found: list[Policy] = []
    for name in _names(domain):
        policy = _policy(name, ask)
        if policy is not None:
            found.append(policy)
            if policy.psd == "n" or (policy.psd == "y" and name != domain):
                break
    return found


def organisational(domain: str, found: list[Policy]) -> str:
    """The organisational domain that the walk from `domain` found; by the public suffix list where it found nothing."""
    for policy in found:
        if policy.psd == "n":
            return policy.domain
        if policy.psd == "y" and policy.domain != domain:
            below = domain.removesuffix(f".{policy.domain}").rpartition(".")[2]
            return f"{below}.{policy.domain}"
    if found:
        return found[-1].domain
    # Receivers that still follow RFC 7489 go by such a list; nobody has a policy, so nothing hangs on it.
    return str(PublicSuffixList().privatesuffix(domain) or domain)


def applying(domain: str, found: list[Policy]) -> Policy | None:
    """The record that decides for mail from `domain`: its own, else that of its organisation, else the suffix's."""
    if found and found[0].domain == domain:
        return found[0]
    organisation = organisational(domain, found)
    own = next((policy for policy in found if policy.domain == organisation), None)
    return own or (found[-1] if found and found[-1].psd == "y" else None)


def _names(domain: str) -> list[str]:
    labels = domain.split(".")
    names = [domain]
    labels = labels[1:] if len(labels) <= _LONGEST else labels[-(_LONGEST - 1) :]
    while labels:
        names.append(".".join(labels))
        labels = labels[1:]
    return names


def _policy(name: str, ask: Ask) -> Policy | None:
    """The one valid record under a name; several count as none (RFC 9989 §4.10)."""
    texts = [text for text in ask(f"_dmarc.{name}") if text.replace(" ", "").startswith("v=DMARC1")]
    found = [tags for text in texts if (tags := records.tags(text))]
    return Policy(name, found[0]) if len(found) == 1 else None
