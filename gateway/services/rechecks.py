"""The checks of DNS that nobody asks for: domains whose time has come, and keys whose record may go."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import peewee
import pymysql

from gateway import clock
from gateway.dns import verify as dns_check
from gateway.dns.records import WantedRecord
from gateway.dns.verify import Checked
from gateway.services import domain_checks, key_states, tracking_domains
from models import database as db
from models.database import Transaction, in_transaction
from models.domain import DkimKey, SenderDomain
from models.vocabulary import KEY_RETIRING

_AT_ONCE = 8
"""Domains that are asked for at the same time: a slow zone holds up seven others at most."""
_LEASE_MS = 10 * 60_000
"""A check that a death cut off is made again after this."""
_BATCH = 100

_log = logging.getLogger("commandpost.rechecks")


def run(seconds: float) -> int:
    """Check sender and tracking domains that are due, for up to about `seconds`; returns how many.

    Safe anywhere, twice at once.
    """
    end = time.monotonic() + seconds
    _retire_due()
    count = 0
    while time.monotonic() < end:
        claimed = _claim()
        if not claimed:
            break
        with ThreadPoolExecutor(max_workers=len(claimed), thread_name_prefix="recheck") as pool:
            answers = list(pool.map(_ask, [domain_checks.wanted_of(domain) for domain in claimed]))
        for domain, checked in zip(claimed, answers, strict=True):
            if checked is not None:
                _note(domain.id, checked)
        count += len(claimed)
    return count + tracking_domains.run(end - time.monotonic())


def _claim() -> list[SenderDomain]:
    """Some domains that are due, moved out of the sight of others; what fails comes back with its lease."""
    now = clock.now_ms()
    due = db.rows(
        "SELECT id, next_check_ms FROM sender_domain WHERE next_check_ms <= ? ORDER BY next_check_ms LIMIT ?",
        (now, _AT_ONCE),
    )
    if not due:
        return []

    def work(tx: Transaction) -> list[int]:
        move = "UPDATE sender_domain SET next_check_ms = ? WHERE id = ? AND next_check_ms = ?"
        return [key for key, at_ms in due if tx.execute(move, (now + _LEASE_MS, key, at_ms)).rowcount == 1]

    mine = in_transaction(work)
    return list(SenderDomain.select().where(SenderDomain.id.in_(mine), SenderDomain.deleted_ms.is_null()))


def _ask(wanted: list[WantedRecord]) -> list[Checked] | None:
    try:
        return dns_check.check(wanted)
    except Exception:
        _log.exception("recheck_failed")
        return None


def _note(domain_id: int, checked: list[Checked]) -> None:
    def work(tx: Transaction) -> None:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        tx.rows(f"SELECT id FROM sender_domain WHERE id = ?{lock}", (domain_id,))
        domain = SenderDomain.get_by_id(domain_id)
        if domain.deleted_ms is None:
            domain_checks.note(tx, domain, checked, scheduled=True)

    try:
        in_transaction(work)
    except db.StoreUnavailable:
        raise
    except (peewee.IntegrityError, pymysql.err.IntegrityError):
        in_transaction(work)  # another account enabled the name in this moment: look again
    except Exception:  # one domain's trouble is not that of the others
        _log.exception("recheck_failed", extra={"domain_id": domain_id})


def _retire_due() -> None:
    now = clock.now_ms()
    for key_id, domain_id in db.rows(
        f"SELECT id, domain_id FROM dkim_key WHERE retire_ms <= ? ORDER BY retire_ms LIMIT {_BATCH}", (now,)
    ):

        def work(tx: Transaction, key_id: int = key_id, domain_id: int = domain_id) -> None:
            lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
            tx.rows(f"SELECT id FROM sender_domain WHERE id = ?{lock}", (domain_id,))
            key = DkimKey.get_by_id(key_id)
            if key.state == KEY_RETIRING and key.retire_ms is not None and key.retire_ms <= now:
                key_states.retire(tx, SenderDomain.get_by_id(domain_id), key)

        in_transaction(work)
