"""`commandpost suppression`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli import allowed, opening
from cli.answer import REFUSED, USAGE, Answer, Failed, fields, table, verb
from gateway import clock
from gateway.services import domains, suppression_csv, suppression_files, suppression_list, suppressions
from gateway.services.identity import Caller
from gateway.services.suppression_list import Listed, Wanted

_REASON = click.Choice(suppressions.REASONS)


class Moment(click.ParamType):
    """A date or time, in UTC where it names no zone, as milliseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return suppression_csv.time_ms(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} should be a time such as 2026-01-31 or 2026-01-31T12:00:00Z", param, ctx)


def _user(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--user", "email", required=True, help="Email address of the account.")(command)


def _domain(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--domain", help="The sender domain; without it the whole account.")(command)


@click.group()
def suppression() -> None:
    """Who must not be written to, and who always may be."""


suppression.add_command(allowed.allow)


@suppression.command("list")
@_user
@click.option("--domain", help="What this sender domain keeps to, the rows of the whole account too.")
@click.option("--address", default="", help="One address.")
@click.option("--reason", type=_REASON, help="One reason.")
@click.option("--rule", default="", help="A rule, or how it begins: bounce, bounce:5.1.1, strikes …")
@click.option("--since", type=Moment(), help="Put on the list at this time or later.")
@click.option("--until", type=Moment(), help="Put on the list at this time or earlier.")
@click.option("--start", type=click.IntRange(min=0), default=0, help="How many rows to skip.")
@click.option("--count", type=click.IntRange(1, suppression_list.MOST_LISTED), default=100, show_default=True)
@verb
def list_(
    email: str,
    domain: str | None,
    address: str,
    reason: str | None,
    rule: str,
    since: int | None,
    until: int | None,
    start: int,
    count: int,
) -> Answer:
    """List who must not be written to, the latest first."""
    with opening.store():
        caller = opening.caller(email)
        wanted = Wanted(domain_id(caller, domain), address, reason or "", rule, since, until)
        found, total = suppression_list.list_(caller=caller, wanted=wanted, start=start, count=count)
    rows = [(row.address, row.domain or "-", row.reason, row.rule, _until(row), row.detail[:60]) for row in found]
    text = table(("address", "domain", "reason", "rule", "until", "detail"), rows)
    data = {"total": total, "suppressions": [_shown(row) for row in found]}
    return Answer(data, f"{text}\n{len(found)} of {total}")


@suppression.command()
@click.argument("addresses", nargs=-1, required=True)
@_user
@_domain
@click.option("--reason", type=_REASON, default=suppressions.MANUAL, show_default=True)
@click.option("--detail", default="", help="A note.")
@click.option("--expires", type=Moment(), help="When it ends; without it when it is deleted.")
@verb
def add(
    addresses: tuple[str, ...], email: str, domain: str | None, reason: str, detail: str, expires: int | None
) -> Answer:
    """Never write to these addresses again."""
    with opening.store():
        caller = opening.caller(email)
        added, known, bad = suppression_list.add(
            caller=caller,
            addresses=addresses,
            domain_id=domain_id(caller, domain),
            reason=reason,
            detail=detail,
            expires_ms=expires,
        )
    data = {"added": added, "known": known, "invalid": bad}
    return Answer(data, fields((name, value or 0) for name, value in data.items()), REFUSED if bad else 0)


@suppression.command()
@click.argument("address")
@_user
@_domain
@click.option("--reason", type=_REASON, help="Only this reason.")
@verb
def delete(address: str, email: str, domain: str | None, reason: str | None) -> Answer:
    """Take an address off the list."""
    with opening.store():
        caller = opening.caller(email)
        gone = suppression_list.delete(
            caller=caller, address=address, domain_id=domain_id(caller, domain), reason=reason
        )
    return Answer({"deleted": gone}, f"deleted {gone}")


@suppression.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@_user
@_domain
@click.option("--reason", type=_REASON, default=suppressions.MANUAL, help="Of lines that name none.", show_default=True)
@verb
def import_(file: Path, email: str, domain: str | None, reason: str) -> Answer:
    """Put the addresses of a CSV file on the list; the status is 1 when a line was refused.

    The columns are those of an export; EmailAddress alone is enough, and so is one address a line. FILE may be `-`.
    """
    try:
        text = (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failed("usage", f"{file}: should be UTF-8: {error.reason} at byte {error.start}", USAGE) from None
    with opening.store():
        caller = opening.caller(email)
        done = suppression_files.import_(caller=caller, text=text, domain_id=domain_id(caller, domain), reason=reason)
    data = {
        "added": done.added,
        "known": done.known,
        "invalid": [{"line": bad.line, "address": bad.address, "error": bad.error} for bad in done.invalid],
        "ignored_columns": done.ignored,
        "rule": done.rule,
    }
    lines = [f"line {bad.line}: {bad.address} {bad.error}" for bad in done.invalid]
    lines += [f"column {name!r} means nothing here" for name in done.ignored]
    counts = f"{done.added} added, {done.known} known, {len(done.invalid)} invalid; undo it with --rule {done.rule}"
    return Answer(data, "\n".join([*lines, counts]), REFUSED if done.invalid else 0)


@suppression.command()
@_user
@click.option("--domain", help="What this sender domain keeps to, the rows of the whole account too.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The file; without it stdout.")
@verb
def export(email: str, domain: str | None, output: Path | None) -> Answer:
    """Write the list as CSV; with --json as a text in the answer, or its count where it went to a file."""
    pieces: list[str] = []
    count, cursor, first = 0, "", True
    with opening.store():
        caller = opening.caller(email)
        scope = domain_id(caller, domain)
        while first or cursor:
            rows, behind = suppression_files.export(caller=caller, domain_id=scope, cursor=cursor)
            pieces.append(suppression_csv.write(rows, heading=first))
            count, cursor, first = count + len(rows), behind, False
    text = "".join(pieces)
    if output is None:
        return Answer({"records": count, "data": text}, text.removesuffix("\r\n"))
    try:
        output.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise Failed("usage", f"{output}: {error.strerror}", USAGE) from None
    return Answer({"records": count, "file": str(output)}, f"{count} written to {output}")


@suppression.command()
@_user
@click.option("--rule", required=True, help="automatic, bounce, bounce:5.1.1, complaint, strikes, manual, import:… …")
@click.option("--from", "since", type=Moment(), help="What was put on the list at this time or later.")
@click.option("--to", "until", type=Moment(), help="What was put on the list at this time or earlier.")
@click.option("--domain", help="Only rows of this sender domain.")
@click.option("--mx", default="", help="Only refusals by this host, or by hosts under this name.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@verb
def undo(
    email: str, rule: str, since: int | None, until: int | None, domain: str | None, mx: str, dry_run: bool
) -> Answer:
    """Take back what one rule put on the list between two times."""
    with opening.store():
        caller = opening.caller(email)
        count = suppression_list.undo(
            caller=caller,
            rule=rule,
            from_ms=since,
            to_ms=until,
            domain_id=domain_id(caller, domain),
            mx=mx,
            dry_run=dry_run,
        )
    text = f"would remove {count}" if dry_run else f"removed {count}"
    return Answer({"removed": count, "dry_run": dry_run}, text)


@suppression.command()
@_user
@verb
def undos(email: str) -> Answer:
    """List what was undone, the latest first."""
    with opening.store():
        found = suppression_list.undos(caller=opening.caller(email))
    data = [
        {
            "id": one.id,
            "by": one.by,
            "rules": one.rules,
            "mx": one.mx,
            "from": suppression_csv.time_text(one.from_ms),
            "to": suppression_csv.time_text(one.to_ms),
            "removed": one.removed,
            "started": suppression_csv.time_text(one.started_ms),
            "ended": None if one.ended_ms is None else suppression_csv.time_text(one.ended_ms),
        }
        for one in found
    ]
    columns = ("id", "started", "by", "rules", "mx", "from", "to", "removed")
    return Answer(data, table(columns, [[row[name] for name in columns] for row in data]))


def domain_id(caller: Caller, name: str | None) -> int | None:
    """Raises `NotFound`."""
    return None if name is None else domains.find_by_name(caller=caller, name=name).id


def _until(row: Listed) -> str:
    return "-" if row.expires_ms is None else clock.sql_text(row.expires_ms)


def _shown(row: Listed) -> dict[str, Any]:
    return {
        "address": row.address,
        "domain": row.domain or None,
        "reason": row.reason,
        "rule": row.rule,
        "detail": row.detail,
        "mx": row.mx,
        "message_id": str(row.message) if row.message else None,
        "created": suppression_csv.time_text(row.created_ms),
        "expires": None if row.expires_ms is None else suppression_csv.time_text(row.expires_ms),
    }
