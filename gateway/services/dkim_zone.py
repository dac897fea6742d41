"""The zone in which the operator publishes the DKIM keys that domains point to with CNAMEs."""

from __future__ import annotations

from gateway import config, errors
from gateway.mail import dkim
from models import database as db
from models.vocabulary import KEY_RETIRED

_STRING = 255  # bytes of one string of a TXT record (RFC 1035 §3.3)


def records() -> list[tuple[str, str]]:
    """(name, value) of a TXT record for each key that signs, did or will, of domains that are not deleted.

    Raises `Invalid` where COMMANDPOST_DKIM_ZONE is not set.
    """
    zone = config.settings().dkim_zone
    if not zone:
        raise errors.Invalid("COMMANDPOST_DKIM_ZONE is not set: domains publish their keys themselves.")
    rows = db.rows(
        "SELECT k.selector, k.algorithm, k.public FROM dkim_key k JOIN sender_domain d ON d.id = k.domain_id"
        " WHERE d.deleted_ms IS NULL AND k.state <> ? ORDER BY k.id",
        (KEY_RETIRED,),
    )
    return [(f"{selector}.{zone}", dkim.dns_value(algorithm, public)) for selector, algorithm, public in rows]


def quoted(value: str) -> str:
    """The value as quoted strings of a zone file."""
    return " ".join(f'"{value[at : at + _STRING]}"' for at in range(0, len(value), _STRING))
