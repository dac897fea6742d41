"""`commandpost domain dkim`."""

from __future__ import annotations

from pathlib import Path

import click

from cli import opening
from cli.answer import USAGE, Answer, Failed, table, verb
from gateway import clock
from gateway.services import dkim_zone, domains, key_rotations
from gateway.services.key_rotations import KeyView

_USER = click.option("--user", "email", required=True, help="Email address of the account.")


@click.group()
def dkim() -> None:
    """DKIM keys of a sender domain."""


@dkim.command("list")
@click.argument("name")
@_USER
@verb
def list_(name: str, email: str) -> Answer:
    """Show every key: which signs, which waits for its record, whose record may be removed."""
    with opening.store():
        caller = opening.caller(email)
        domain = domains.find_by_name(caller=caller, name=name)
        return _listed(key_rotations.list_(caller=caller, domain_id=domain.id))


@dkim.command()
@verb
def zone() -> Answer:
    """Print the records of COMMANDPOST_DKIM_ZONE for your name server: the keys that domains point to with CNAMEs."""
    with opening.store():
        found = dkim_zone.records()
    lines = "\n".join(f"{name}. 300 IN TXT {dkim_zone.quoted(value)}" for name, value in found)
    return Answer({"records": [{"name": name, "value": value} for name, value in found]}, lines or "there are no keys")


@dkim.command()
@click.argument("name")
@_USER
@click.option("--cancel", is_flag=True, help="Take back the keys of the running rotation that do not sign yet.")
@verb
def rotate(name: str, email: str, cancel: bool) -> Answer:
    """Make new keys; each signs once its record is seen in DNS, the old one until then."""
    with opening.store():
        caller = opening.caller(email)
        domain = domains.find_by_name(caller=caller, name=name)
        if cancel:
            gone = key_rotations.cancel(caller=caller, domain_id=domain.id)
            return Answer({"canceled": gone}, "\n".join(gone) or "no rotation is running")
        made = key_rotations.rotate(caller=caller, domain_id=domain.id)
    rows = [("TXT", key.host, key.record) for key in made]
    return Answer([_data(key) for key in made], table(("type", "name", "value"), rows))


@dkim.command("import")
@click.argument("name")
@click.argument("key", metavar="SELECTOR:FILE")
@_USER
@verb
def import_(name: str, key: str, email: str) -> Answer:
    """Bring an existing private key (PEM); it signs once its record is seen in DNS."""
    selector, pem = read_key(key)
    with opening.store():
        caller = opening.caller(email)
        domain = domains.find_by_name(caller=caller, name=name)
        taken = key_rotations.import_key(caller=caller, domain_id=domain.id, selector=selector, private_key=pem)
    answer = _listed([taken])
    data = {**_data(taken), "warning": taken.warning}
    return Answer(data, f"{answer.text}\n{taken.warning}".rstrip())


@dkim.command()
@click.argument("name")
@click.argument("selector")
@_USER
@click.option("--now", is_flag=True, help="Before its time: mail under way will fail its check.")
@verb
def retire(name: str, selector: str, email: str, now: bool) -> Answer:
    """Destroy a key that was replaced; its record may be removed then."""
    with opening.store():
        caller = opening.caller(email)
        domain = domains.find_by_name(caller=caller, name=name)
        gone = key_rotations.retire(caller=caller, domain_id=domain.id, selector=selector, now=now)
    return Answer(_data(gone), f"retired; the record {gone.host} may be removed")


def read_key(text: str) -> tuple[str, str]:
    """Selector and PEM of a `SELECTOR:FILE`."""
    selector, _, path = text.partition(":")
    if not selector or not path:
        raise Failed("usage", f"{text}: should be SELECTOR:FILE", USAGE)
    try:
        return selector, Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a PEM file"
        raise Failed("usage", f"{text}: {reason}", USAGE) from None


def _listed(keys: list[KeyView]) -> Answer:
    headings = ("selector", "algorithm", "bits", "state", "in dns", "record may be removed")
    rows = [
        (key.selector, key.algorithm, key.bits, key.state, "yes" if key.in_dns else "no", _removable(key))
        for key in keys
    ]
    return Answer([_data(key) for key in keys], table(headings, rows))


def _removable(key: KeyView) -> str:
    if key.retire_ms is not None:
        return f"from {clock.rfc3339(key.retire_ms)}"
    return "yes" if key.may_be_removed else "no"


def _data(key: KeyView) -> dict[str, object]:
    return {
        "selector": key.selector,
        "algorithm": key.algorithm,
        "bits": key.bits,
        "state": key.state,
        "host": key.host,
        "type": "TXT",
        "value": key.record,
        "in_dns": key.in_dns,
        "record_may_be_removed": key.may_be_removed,
        "created_ms": key.created_ms,
        "seen_ms": key.seen_ms,
        "replaced_ms": key.replaced_ms,
        "retire_ms": key.retire_ms,
        "retired_ms": key.retired_ms,
    }
