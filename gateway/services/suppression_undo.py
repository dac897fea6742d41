"""Taking back what rules did to the suppression list between two times, with a record of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway import clock, errors
from models import database as db

AUTOMATIC = ("bounce", "complaint", "strikes")
"""The rules that act by themselves."""

_BATCH = 500
_log = logging.getLogger("commandpost.suppressions")


@dataclass(frozen=True, slots=True)
class Undo:
    """The record of one undo; `ended_ms` None: it broke off and can be repeated."""

    id: int
    domain_id: int | None
    by: str
    rules: str
    mx: str
    from_ms: int
    to_ms: int
    removed: int
    started_ms: int
    ended_ms: int | None


def undo(
    *,
    rule_prefix: str | Sequence[str] = AUTOMATIC,
    from_ms: int = 0,
    to_ms: int | None = None,
    account_id: int | None = None,
    domain_id: int | None = None,
    mx_hosts: Iterable[str] = (),
    mx_suffix: str = "",
    addresses: str = "",
    by: str = "gateway",
    dry_run: bool = False,
) -> int:
    """Take off the list what these rules put there from `from_ms` to `to_ms`; returns how many rows, 0 for none.

    `rule_prefix` is `bounce`, `strikes:mailbox_full` and so on, one or several. `account_id` None: of every
    account; `domain_id` None: of every domain and account-wide, 0: account-wide only. `mx_hosts` and `mx_suffix`
    narrow it to refusals by these hosts, or hosts under that name; `addresses` to one address, or to those of
    `@domain`. With `dry_run` nothing changes. It works in small transactions: one that broke off is finished by
    calling it again. `by` is who wanted it, for the record. Raises `Invalid` for a suffix without a name.
    """
    if mx_suffix and not mx_suffix.strip(". "):
        raise errors.Invalid("MX should be a host name or the end of one.", field="MX")
    prefixes = (rule_prefix,) if isinstance(rule_prefix, str) else tuple(rule_prefix)
    hosts = tuple(sorted({host.lower() for host in mx_hosts}))
    to_ms = clock.now_ms() if to_ms is None else to_ms
    suffix = mx_suffix.lower().strip(". ")
    where, params = _condition(prefixes, from_ms, to_ms, domain_id, hosts, suffix, addresses)
    if account_id is None:
        accounts = [row[0] for row in db.rows(f"SELECT DISTINCT account_id FROM suppression WHERE {where}", params)]
    else:
        accounts = [account_id]
    record = (domain_id, by[:254], ",".join(prefixes)[:255], ",".join((*hosts, suffix)).strip(","), from_ms, to_ms)
    total = 0
    for account in accounts:
        where_here, params_here = f"account_id = ? AND {where}", [account, *params]
        if dry_run:
            total += db.rows(f"SELECT COUNT(*) FROM suppression WHERE {where_here}", params_here)[0][0]
        else:
            total += _remove(account, where_here, params_here, record)
    return total


def hosts(*, rule_prefix: Sequence[str], from_ms: int) -> set[str]:
    """The mail exchangers whose refusals put somebody on a list by these rules since `from_ms`, of every account."""
    where, params = _condition(rule_prefix, from_ms, clock.now_ms(), None, (), "", "")
    return {host for (host,) in db.rows(f"SELECT DISTINCT mx FROM suppression WHERE mx <> '' AND {where}", params)}


def undos(*, account_id: int, count: int = 100) -> list[Undo]:
    """What was undone for an account, the latest first."""
    found = db.rows(
        "SELECT id, domain_id, by_whom, rules, mx, from_ms, to_ms, removed, started_ms, ended_ms FROM suppression_undo"
        " WHERE account_id = ? ORDER BY id DESC LIMIT ?",
        (account_id, count),
    )
    return [Undo(*row) for row in found]


def _condition(
    prefixes: Sequence[str],
    from_ms: int,
    to_ms: int,
    domain_id: int | None,
    hosts: Sequence[str],
    suffix: str,
    addresses: str,
) -> tuple[str, list[object]]:
    # SUBSTR instead of LIKE: an underscore in a rule's name is no wildcard.
    parts = ["created_ms BETWEEN ? AND ?", "(" + " OR ".join(["SUBSTR(rule, 1, ?) = ?"] * len(prefixes)) + ")"]
    params: list[object] = [from_ms, to_ms, *(value for prefix in prefixes for value in (len(prefix), prefix))]
    if domain_id is not None:
        parts.append("domain_id = ?")
        params.append(domain_id)
    if hosts or suffix:
        named = ["mx = ?"] * len(hosts)
        params += hosts
        if suffix:
            under = "." + suffix
            named += ["mx = ?", "SUBSTR(mx, ?) = ?"]
            params += [under[1:], -len(under), under]
        parts.append("(" + " OR ".join(named) + ")")
    if addresses.startswith("@"):
        parts.append("SUBSTR(address, ?) = ?")
        params += [-len(addresses), addresses]
    elif addresses:
        parts.append("address = ?")
        params.append(addresses)
    return " AND ".join(parts), params


def _remove(account_id: int, where: str, params: list[object], record: tuple[object, ...]) -> int:
    def begin(tx: db.Transaction) -> int:
        cursor = tx.execute(
            "INSERT INTO suppression_undo (account_id, domain_id, by_whom, rules, mx, from_ms, to_ms, removed,"
            " started_ms) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)",
            (account_id, *record, clock.now_ms()),
        )
        return int(cursor.lastrowid)

    undo_id = db.in_transaction(begin)
    total = last = 0
    more = True
    while more:
        # Found outside the transaction, judged again inside it: between the two a row may have been renewed.
        ids = [
            row[0]
            for row in db.rows(
                f"SELECT id FROM suppression WHERE {where} AND id > ? ORDER BY id LIMIT {_BATCH}", [*params, last]
            )
        ]
        more = len(ids) == _BATCH
        last = ids[-1] if ids else last

        def batch(tx: db.Transaction, ids: list[int] = ids, ended: bool = not more) -> int:
            marks = ",".join("?" * len(ids))
            sql = f"DELETE FROM suppression WHERE {where} AND id IN ({marks})"
            gone = int(tx.execute(sql, [*params, *ids]).rowcount) if ids else 0
            tx.execute(
                "UPDATE suppression_undo SET removed = removed + ?, ended_ms = ? WHERE id = ?",
                (gone, clock.now_ms() if ended else None, undo_id),
            )
            return gone

        total += db.in_transaction(batch)
    _log.info(
        "suppressions_undone",
        extra={"account_id": account_id, "undo_id": undo_id, "by": record[1], "rules": record[2], "removed": total},
    )
    return total
