"""What recipients of the simulator need of the database: earlier attempts, and reports that come in afterwards."""

from __future__ import annotations

import logging
import threading

from gateway import config
from gateway.mail import reports, verp
from gateway.services import inbound
from gateway.transports.base import Transport
from gateway.transports.simulator import Simulator
from models import database as db

REPORT_AFTER_S = 1.0
_log = logging.getLogger("commandpost.deliver")


def wrapped(transport: Transport) -> Transport:
    """The transport behind the simulator, where there is one."""
    domain = config.settings().simulator_domain
    if not domain:
        return transport
    return Simulator(transport, domain, attempts=_attempts, aftermath=_aftermath)


def _attempts(mail_from: str) -> int:
    delivery_id = verp.decode(mail_from)
    found = db.rows("SELECT attempts FROM delivery WHERE id = ?", (delivery_id,)) if delivery_id else []
    return int(found[0][0]) if found else 0


def _aftermath(*, kind: str, mail_from: str, rcpt: str, message: bytes) -> None:
    """A report that is lost with this process is no mail of anybody's, so a timer will do."""
    reporter = rcpt.rpartition("@")[2]
    if kind == "complaint":
        content = reports.complaint(reporter=reporter, return_path=mail_from, rcpt=rcpt, message=message)
    else:
        content = reports.bounce(
            reporter=reporter, return_path=mail_from, rcpt=rcpt, message=message, status="5.1.1",
            reply="550 5.1.1 simulated: no such user",
        )  # fmt: skip
    timer = threading.Timer(REPORT_AFTER_S, _come_in, (mail_from, content))
    timer.daemon = True
    timer.start()


def _come_in(recipient: str, content: bytes) -> None:
    try:
        inbound.receive(recipient=recipient, mail_from="", content=content)
    except Exception:
        _log.warning("simulated_report_lost", exc_info=True)
    finally:
        db.close()
