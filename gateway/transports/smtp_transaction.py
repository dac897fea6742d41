"""One message over an established connection, pipelined where offered (RFC 5321 §3.3, 1870, 2920, 6152, 6531).

A signed message goes out as it is or not at all: where a server takes no 8-bit lines, re-encoding would break
the signature, so the message bounces (5.6.3). 8-bit headers are sent to servers without SMTPUTF8 all the same, as
they always were; an 8-bit local part is not, for the server could not tell whose it is (5.6.7).
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.transports.outcome import Outcome, Result
from gateway.transports.smtp_client import SmtpClient, meaning
from gateway.transports.smtp_reply import Broken, Reply
from gateway.transports.submittable import END, on_the_wire, stuffed

_LAST_WORDS = 1.0
"""Seconds to wait for what a server says when it hung up in the middle of a message."""

_OF_THE_SESSION = frozenset({503, 530, 538})
"""5xx about the session (wrong order, TLS or login wanted) and not about the message: deferred, and ours to mend."""


class Unanswered(Exception):
    """The connection broke before any reply to this transaction came: a new one may do better."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.why)
        self.broken = broken


class _Refused(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


def hand_over(client: SmtpClient, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None]) -> Outcome:
    """Hand over one message that `submittable.unsendable` let pass; raises `Unanswered`.

    Afterwards the client is closed unless it can take another message. What `on_data` raises is passed on.
    """
    mail_from, rcpt = on_the_wire(mail_from), on_the_wire(rcpt)
    parameters = _parameters(client, mail_from, rcpt, message)
    if isinstance(parameters, Outcome):
        return parameters
    client.transactions += 1
    try:
        _envelope(client, mail_from, rcpt, parameters)
    except _Refused as refused:
        return _judged(client, refused.reply)
    except Broken as error:
        client.close()
        return client.failure(error)
    try:
        on_data()
    except BaseException:
        client.close()
        raise
    outcome = _content(client, message)
    client.used()
    return outcome


def _parameters(client: SmtpClient, mail_from: str, rcpt: str, message: bytes) -> str | Outcome:
    """What follows MAIL FROM, or why this server cannot take the message."""
    parameters = ""
    if client.has_extn("size"):
        limit = client.esmtp_features["size"].strip()
        # RFC 1870 §4: absent or 0, no limit was told. Its octets are those before dot-stuffing.
        if limit.isdecimal() and 0 < int(limit) < len(message):
            why = f"the message has {len(message)} bytes, the server takes {limit}"
            return client.outcome(Result.BOUNCED, why=why, category="content", enhanced="5.3.4")
        parameters = f" SIZE={len(message)}"
    if not message.isascii():
        if not client.has_extn("8bitmime"):
            why = "the message has 8-bit lines, which the server does not take"
            return client.outcome(Result.BOUNCED, why=why, category="content", enhanced="5.6.3")
        parameters += " BODY=8BITMIME"
    addresses_need_it = not (mail_from.isascii() and rcpt.isascii())
    if addresses_need_it and not client.has_extn("smtputf8"):
        why = "the address needs SMTPUTF8, which the server does not offer"
        return client.outcome(Result.BOUNCED, why=why, category="protocol", enhanced="5.6.7")
    if addresses_need_it or (client.has_extn("smtputf8") and not _is_ascii_header(message)):
        parameters += " SMTPUTF8"
    return parameters


def _is_ascii_header(message: bytes) -> bool:
    return message.isascii() or message.partition(b"\r\n\r\n")[0].isascii()


def _envelope(client: SmtpClient, mail_from: str, rcpt: str, parameters: str) -> None:
    """MAIL, RCPT and DATA until the server wants the message; raises `_Refused`, `Broken` or `Unanswered`."""
    commands = [f"MAIL FROM:<{mail_from}>{parameters}", f"RCPT TO:<{rcpt}>", "DATA"]
    if client.unfinished:
        commands.insert(0, "RSET")
        client.unfinished = False
    pipelined = client.has_extn("pipelining")
    refused: tuple[str, Reply] | None = None
    answered = False
    try:
        if pipelined:
            client.write(("\r\n".join(commands) + "\r\n").encode())
        for command in commands:
            client.dialogue.client(command)
            if not pipelined:
                client.write(f"{command}\r\n".encode())
            verb = command[:4]
            reply = _answer(client, verb)
            answered = True
            if refused is not None:
                if reply.kind == 3:
                    _take_back(client, refused[0])
            elif reply.kind in (4, 5):
                refused = verb, reply
                if not pipelined:
                    break
    except Broken as error:
        # A server may hang up right after its refusal.
        if refused is not None:
            client.close()
            raise _Refused(refused[1]) from None
        # A 421 to the first command is about what the connection has carried before, and so is any no to RSET.
        if not answered and (error.reply is None or error.reply.code == 421 or commands[0] == "RSET"):
            client.close()
            raise Unanswered(error) from None
        raise
    if refused is not None:
        raise _Refused(refused[1])
    if client.pending:
        raise client.broken("the server replied to the message before it was sent", "protocol")


def _answer(client: SmtpClient, verb: str) -> Reply:
    """The reply to one command of the envelope: yes, or a 4xx or 5xx that is no 421."""
    limits = client.options.timeouts
    reply = client.reply(verb, limits.data if verb == "DATA" else limits.command)
    if reply.code == 421:
        raise client.refused(reply)
    if reply.kind != (3 if verb == "DATA" else 2) and (reply.kind < 4 or verb == "RSET"):
        raise Broken(f"{reply.code} is no reply to {verb}", "protocol", reply)
    return reply


def _take_back(client: SmtpClient, refused_verb: str) -> None:
    """The server waits for a message although it refused: give it none (RFC 2920 §3.1)."""
    if refused_verb != "RCPT":
        client.close()  # it may have a recipient, whom an empty message must not reach
        return
    client.write(END)
    client.reply("the empty message", client.options.timeouts.command)


def _content(client: SmtpClient, message: bytes) -> Outcome:
    """Send the message and read its fate."""
    client.dialogue.client(f"(message of {len(message)} bytes)")
    cut, ended = client.push(stuffed(message), len(END))
    unknown = Result.IN_DOUBT if ended else Result.DEFERRED
    try:
        reply = client.reply("the message", _LAST_WORDS if cut else client.options.timeouts.end)
    except Broken as error:
        client.close()
        return client.outcome(unknown, why=cut or error.why, category="network" if cut else error.category)
    if cut:
        client.close()
    if reply.kind == 3 or (reply.kind == 2 and not ended):
        client.close()
        return client.outcome(unknown, reply, why=f"{reply.code} is no reply to a message", category="protocol")
    return _judged(client, reply)


def _judged(client: SmtpClient, reply: Reply) -> Outcome:
    """The outcome of a final 2xx, 4xx or 5xx."""
    if reply.kind == 2:
        return client.outcome(Result.DELIVERED, reply)
    client.unfinished = True
    if reply.code in (421, 503):
        client.close()  # 503: the two sides do not agree on where they are
    if reply.code in _OF_THE_SESSION:
        return client.outcome(Result.DEFERRED, reply, category="protocol" if reply.code == 503 else "ours")
    result = Result.DEFERRED if reply.kind == 4 else Result.BOUNCED
    return client.outcome(result, reply, category=meaning(reply))
