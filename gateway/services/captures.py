"""What the capture transport took: kept in the database, where any host can read it back."""

from __future__ import annotations

from gateway import clock
from gateway.mail import verp
from gateway.services import contents
from models import database as db
from models.group_commit import in_shared_transaction

KIND_CAPTURED = "captured"


def store(mail_from: str, rcpt: str, message: bytes) -> None:
    """Keep a captured message; a repeated attempt at the same delivery replaces its row."""
    delivery_id = verp.decode(mail_from)
    if delivery_id is None:
        raise ValueError(f"not a return path of ours: {mail_from}")
    rows = db.rows(
        "SELECT d.message_id, d.account_id, m.subject FROM delivery d JOIN message m ON m.id = d.message_id"
        " WHERE d.id = ?",
        (delivery_id,),
    )
    message_id, account_id, subject = rows[0]
    prepared = contents.prepare(account_id, KIND_CAPTURED, message)

    def work(tx: db.Transaction) -> None:
        tx.execute("DELETE FROM captured_mail WHERE delivery_id = ?", (delivery_id,))
        tx.execute(
            "INSERT INTO captured_mail (delivery_id, message_id, account_id, content_id, mail_from, rcpt, subject,"
            " created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                delivery_id, message_id, account_id, contents.store(tx, prepared), mail_from, rcpt, subject,
                clock.now_ms(),
            ),
        )  # fmt: skip

    in_shared_transaction(work)
