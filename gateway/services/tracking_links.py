"""The links of delivered mail that lead over us: how they are made for a delivery, and what one leads to."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway import config
from gateway.mail import rewrite
from gateway.services import link_tokens
from gateway.services.link_tokens import Kind
from gateway.services.senders import Sender

PATH = "/t/"
"""Everything below it is answered on any host."""
CLICK_PATH = "/t/c/"
OPEN_PATH = "/t/o/"
TRAP_PATH = "/t/h/"
PIXEL_SUFFIX = ".gif"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a click of that delivery goes."""

    delivery_id: int
    url: str


def base_url(sender: Sender | None) -> str:
    """`scheme://host` of the domain's links; a host of its own is served under the scheme of ours, or as was seen."""
    ours = config.settings().base_url
    if sender is None or not sender.tracking_host:
        return ours
    seen = sender.tracking_tls
    scheme = urlsplit(ours).scheme if seen is None else "https" if seen else "http"
    return f"{scheme}://{sender.tracking_host}"


def fill(compiled: rewrite.Compiled, base: str, delivery_id: int) -> str:
    """The text with the links, the pixel and the hidden link of one delivery."""
    made: dict[str, str] = {}

    def link(target: str) -> str:
        if target not in made:
            token = link_tokens.encode(Kind.CLICK, delivery_id, target.encode("utf-8", "replace"))
            made[target] = f"{base}{CLICK_PATH}{token}"
        return made[target]

    def pixel() -> str:
        return f"{base}{OPEN_PATH}{link_tokens.encode(Kind.OPEN, delivery_id)}{PIXEL_SUFFIX}"

    def trap() -> str:
        return f"{base}{TRAP_PATH}{link_tokens.encode(Kind.TRAP, delivery_id)}"

    return compiled.fill(link, pixel, trap)


def click(token: str) -> Target | None:
    """The target as it was signed; None for a token that we did not make."""
    found = link_tokens.decode(Kind.CLICK, token)
    if found is None:
        return None
    url = found.payload.decode("utf-8", "replace")
    return Target(found.delivery_id, url) if rewrite.is_target(url) else None


def opened(token: str) -> int | None:
    """The delivery of a pixel; None for a token that we did not make."""
    found = link_tokens.decode(Kind.OPEN, token)
    return None if found is None else found.delivery_id


def trapped(token: str) -> int | None:
    """The delivery of a hidden link; None for a token that we did not make."""
    found = link_tokens.decode(Kind.TRAP, token)
    return None if found is None else found.delivery_id
