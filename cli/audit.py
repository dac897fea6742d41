"""`commandpost audit`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TextIO

import click

from cli import opening
from cli.answer import Answer, Failed, fields, table, verb
from cli.events import milliseconds
from gateway.services import audit_files, audit_log, audit_verify
from gateway.services.audit_log import KINDS, RESULTS, Wanted

_DAY = click.DateTime(("%Y-%m-%d",))
_FORMATS = {"jsonl": audit_files.as_lines, "csv": audit_files.as_csv}


@click.group()
def audit() -> None:
    """The audit log: who called what, and who changed what."""


def _filters(function: Any) -> Any:
    for option in (
        click.option("--key", default="", help="Only calls with this key: its id or its prefix."),
        click.option("--actor", default="", help="Only by this user, or cli:NAME; a * at the end stands for anything."),
        click.option("--action", default="", help="Only this action, such as domain.update or domain.*"),
        click.option("--object", "what", default="", help="Only about this object, such as webhook:7."),
        click.option("--kind", type=click.Choice(KINDS), default=None, help="Only calls, or only changes."),
        click.option("--result", type=click.Choice(RESULTS), default=None, help="Only calls with this result."),
        click.option("--from", "start", type=_DAY, help="First day (UTC)."),
        click.option("--to", "end", type=_DAY, help="Last day (UTC)."),
    ):
        function = option(function)
    return function


def _wanted(
    key: str,
    actor: str,
    action: str,
    what: str,
    kind: str | None,
    result: str | None,
    start: datetime | None,
    end: datetime | None,
) -> Wanted:
    return Wanted(
        key=key, actor=actor, action=action, object=what, kind=kind or "", result=result or "",
        since_ms=milliseconds(start), until_ms=milliseconds(end, end=True),
    )  # fmt: skip


@audit.command("list")
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--count", type=click.IntRange(1, audit_log.MOST), default=50, show_default=True, help="How many.")
@_filters
@verb
def list_(email: str, count: int, **filters: Any) -> Answer:
    """List entries of an account, the newest first."""
    with opening.store():
        found = audit_log.list_(caller=opening.caller(email), wanted=_wanted(**filters), count=count).entries
    names = ("sequence", "created_at", "actor", "action", "object", "result")
    return Answer(found, table(names, ([one[name] for name in names] for one in found)))


@audit.command()
@click.option("--user", "email", help="Only this account's; without it those of the whole installation.")
@click.option("--format", "form", type=click.Choice(list(_FORMATS)), default="jsonl", show_default=True)
@click.option("--output", type=click.File("w", encoding="utf-8", lazy=True), default="-", help="File to write to.")
@_filters
def export(email: str | None, form: str, output: TextIO, **filters: Any) -> None:
    """Write entries, the oldest first, however many they are."""
    with opening.store():
        caller = opening.caller(email) if email else None
        for piece in _FORMATS[form](audit_log.export(caller=caller, wanted=_wanted(**filters))):
            output.write(piece)


@audit.command()
@verb
def head() -> Answer:
    """Show the signed end of the log; kept elsewhere, `verify --expect` compares the log with it later."""
    with opening.store():
        found = audit_log.head()
    expect = f"{found['sequence']}:{found['hash']}"
    return Answer(found | {"expect": expect}, fields([*found.items(), ("expect", expect)]))


@audit.command()
@click.option("--expect", metavar="SEQUENCE:HASH", help="An entry that was seen earlier, as `audit head` shows it.")
@verb
def verify(expect: str | None) -> Answer:
    """Check that no entry was removed, altered, moved or put in; exit status 1 names the first that is not whole."""
    wanted = _expected(expect) if expect else None
    with opening.store():
        report = audit_verify.verify(expect=wanted)
    data: dict[str, Any] = {
        "ok": report.ok, "entries": report.entries, "first": report.first, "last": report.last,
        "last_hash": report.last_hash, "waiting": report.waiting, "unsealed": report.unsealed, "broken": None,
    }  # fmt: skip
    if report.broken is None:
        text = f"the audit log is whole: {report.entries} entries, {report.first} to {report.last}"
        if report.unsealed:
            text += f"; {report.unsealed} bear the mark of a secret that is not in the settings"
        return Answer(data, text)
    broken = report.broken
    data["broken"] = {"sequence": broken.sequence, "entry": broken.entry or None, "why": broken.why}
    where = f" at {broken.sequence}" if broken.sequence is not None else ""
    name = f" ({broken.entry})" if broken.entry else ""
    return Answer(data, f"the audit log is broken{where}{name}: {broken.why}", 1)


def _expected(text: str) -> tuple[int, str]:
    number, _, hash_ = text.partition(":")
    if not (number.isascii() and number.isdigit() and len(number) < 19 and len(hash_) == 64):
        raise Failed("usage", "--expect should be SEQUENCE:HASH, as `commandpost audit head` shows it", 2)
    return int(number), hash_
