"""What became of webhook calls: their states and attempts, and the health and numbers of their endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway import clock, config
from gateway.services import notices
from gateway.services.webhook_claims import Call, bury
from gateway.transports.http_call import Reply
from models import database as db
from models.vocabulary import NoticeKind

_ANSWER_KEPT = 4096
_ERROR_KEPT = 255


@dataclass(frozen=True, slots=True)
class Done:
    """What becomes of a call: `due_ms` None is the end (`told` or dead).

    `reply` None: it was not tried; then `told` means that the endpoint did not want it.
    """

    call: Call
    told: bool
    due_ms: int | None
    reply: Reply | None = None
    started_ms: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of the endpoint after some calls."""

    strikes: int = 0
    pause_ms: int = 0  # from now on
    cause: str = ""
    gone: bool = False  # it answered 410


def finish(webhook_id: int, token: int, done: Sequence[Done], verdict: Verdict, *, release: bool) -> None:
    """Write what became of calls whose claims still hold, the attempts, and what is known of the endpoint."""

    def work(tx: db.Transaction) -> None:
        _settle(tx, done)
        record(tx, done)
        last = next((one for one in reversed(done) if one.reply is not None), None)
        if last is not None and last.reply is not None:
            tx.execute(
                "UPDATE webhook SET last_code = ?, last_ms = ?, last_tries = ?, strikes = ? WHERE id = ?",
                (last.reply.status, clock.now_ms(), last.call.attempts + 1, verdict.strikes, webhook_id),
            )
            count(tx, webhook_id, [one.reply for one in done if one.reply is not None])
        too_long = _note_failing(tx, webhook_id, done)
        if verdict.gone:
            disable(tx, webhook_id, "the endpoint answered 410 Gone")
        elif too_long:
            disable(tx, webhook_id, too_long)
        elif verdict.pause_ms:
            tx.execute(
                "UPDATE lane SET paused_until_ms = ?, cause = ? WHERE id = (SELECT lane_id FROM webhook WHERE id = ?)",
                (clock.now_ms() + verdict.pause_ms, verdict.cause[:_ERROR_KEPT], webhook_id),
            )
        if release:
            tx.execute("UPDATE webhook SET busy_until_ms = 0 WHERE id = ? AND busy_until_ms = ?", (webhook_id, token))

    db.in_transaction(work)


def disable(tx: db.Transaction, webhook_id: int, cause: str) -> None:
    """Tell the webhook nothing more: what waits goes to the dead letters, the account gets a notice."""
    found = tx.execute(
        "UPDATE webhook SET status = 'disabled', disabled_ms = ?, disabled_cause = ?"
        " WHERE id = ? AND status = 'active' AND deleted_ms IS NULL",
        (clock.now_ms(), cause[:_ERROR_KEPT], webhook_id),
    ).rowcount
    if not found:
        return
    buried = bury(tx, webhook_id, cause)
    account_id, domain_id, url = tx.rows("SELECT account_id, domain_id, url FROM webhook WHERE id = ?", (webhook_id,))[
        0
    ]
    notices.record(
        tx,
        NoticeKind.WEBHOOK_DISABLED,
        account_id=account_id,
        domain_id=domain_id,
        data={"webhook_id": webhook_id, "url": url, "cause": cause, "dead_letters": buried},
    )


def record(tx: db.Transaction, done: Sequence[Done]) -> None:
    """Write the attempts of calls that were made."""
    rows = [
        (
            one.call.id,
            one.call.attempts + 1,
            one.reply.status,
            one.reply.error[:_ERROR_KEPT],
            one.reply.body[:_ANSWER_KEPT].decode("utf-8", "replace"),
            one.started_ms,
            one.reply.ms,
        )
        for one in done
        if one.reply is not None
    ]
    if rows:
        tx.executemany(
            "INSERT INTO webhook_attempt (webhook_delivery_id, no, code, error, answer, started_ms, ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def count(tx: db.Transaction, webhook_id: int, replies: Sequence[Reply]) -> None:
    """Add calls to the numbers of today."""
    answered = [reply.ms for reply in replies if reply.status is not None]
    values = (
        webhook_id,
        clock.day_number(clock.now_ms()),
        len(replies),
        sum(reply.ok for reply in replies),
        len(replies) - len(answered),
        sum(answered),
        max(answered, default=0),
    )
    sums = ("calls", "told", "silent", "sum_ms")
    if tx.dialect == "sqlite":
        adding = ", ".join(f"{name} = {name} + excluded.{name}" for name in sums)
        update = f"ON CONFLICT (webhook_id, day) DO UPDATE SET {adding}, most_ms = MAX(most_ms, excluded.most_ms)"
    else:
        adding = ", ".join(f"{name} = {name} + VALUES({name})" for name in sums)
        update = f"ON DUPLICATE KEY UPDATE {adding}, most_ms = GREATEST(most_ms, VALUES(most_ms))"
    tx.execute(
        "INSERT INTO webhook_count (webhook_id, day, calls, told, silent, sum_ms, most_ms)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?) {update}",
        values,
    )


def _note_failing(tx: db.Transaction, webhook_id: int, done: Sequence[Done]) -> str:
    """Keep since when every call has failed; why the endpoint is to be disabled, empty where it is not."""
    replies = [one.reply for one in done if one.reply is not None]
    if not replies:
        return ""
    if any(reply.ok for reply in replies):
        tx.execute("UPDATE webhook SET failing_ms = NULL WHERE id = ? AND failing_ms IS NOT NULL", (webhook_id,))
        return ""
    now = clock.now_ms()
    tx.execute("UPDATE webhook SET failing_ms = ? WHERE id = ? AND failing_ms IS NULL", (now, webhook_id))
    days = config.settings().webhook_disable_days
    since = tx.rows("SELECT failing_ms FROM webhook WHERE id = ?", (webhook_id,))[0][0]
    if not days or now - since < days * clock.DAY_MS:
        return ""
    last = replies[-1]
    what = last.error or f"the endpoint answered {last.status}"
    return f"every call has failed since {clock.rfc3339(since)}; the last: {what}"


def _settle(tx: db.Transaction, done: Sequence[Done]) -> None:
    told: dict[int | None, list[Call]] = {}
    for one in done:
        if one.told and one.reply is not None:
            told.setdefault(one.reply.status, []).append(one.call)
    values = "VALUES " if tx.dialect == "sqlite" else ""
    for code, calls in told.items():
        marks = ", ".join(["(?, ?)"] * len(calls))
        tx.execute(
            "UPDATE webhook_delivery SET state = 'told', due_ms = NULL, attempts = attempts + 1, last_code = ?,"
            f" last_error = '' WHERE (id, fence) IN ({values}{marks})",
            (code, *(value for call in calls for value in (call.id, call.fence))),
        )
    for one in done:
        if one.told and one.reply is not None:
            continue
        if one.told:
            tx.execute(
                "UPDATE webhook_delivery SET state = 'skipped', due_ms = NULL WHERE id = ? AND fence = ?",
                (one.call.id, one.call.fence),
            )
        elif one.reply is None:
            tx.execute(
                "UPDATE webhook_delivery SET due_ms = ? WHERE id = ? AND fence = ? AND due_ms IS NOT NULL",
                (one.due_ms, one.call.id, one.call.fence),
            )
        else:
            tx.execute(
                "UPDATE webhook_delivery SET state = ?, due_ms = ?, attempts = attempts + 1, last_code = ?,"
                " last_error = ? WHERE id = ? AND fence = ?",
                (
                    "dead" if one.due_ms is None else "live",
                    one.due_ms,
                    one.reply.status,
                    one.reply.error or f"the endpoint answered {one.reply.status}",
                    one.call.id,
                    one.call.fence,
                ),
            )
