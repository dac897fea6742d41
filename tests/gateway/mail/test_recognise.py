"""How much of a corpus is recognised, and that nothing in it or broken out of it does harm.

The corpus holds bounces and delays that Postfix and Exim made (with the names of hosts replaced) and messages in the
forms of other servers; `expected.tsv` says what each of them is. Verdicts of bounces: hard (the address is dead), soft
(refused, and the address may live), failed (retries used up), any (servers differ on what it means).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from gateway import config
from gateway.mail import dsn
from gateway.mail.recognise import Kind, recognise
from gateway.mail.recognise import outcome as outcome_of

CORPUS = Path(__file__).parent / "corpus"
ROWS = [line.split("\t") for line in (CORPUS / "expected.tsv").read_text().splitlines()[1:]]
KINDS = {
    "bounce": {Kind.BOUNCE},
    "delay": {Kind.DELAY},
    "complaint": {Kind.COMPLAINT},
    "autoreply": {Kind.AUTO_REPLY},
    "human": {Kind.LETTER},
}
WITH_SENDER = ("human", "complaint")
ROUNDS = int(os.environ.get("COMMANDPOST_TEST_FUZZ", "600"))
"""Broken messages that are tried; a thorough run takes 10,000."""


def read(name: str, folder: str) -> tuple[bytes, str]:
    return (CORPUS / name).read_bytes(), "jane@friends.example" if folder in WITH_SENDER else ""


def verdict(raw: bytes, mail_from: str, recipient: str) -> tuple[str, str]:
    """What the message is taken for, and what is wrong with it; '' when it is what it should be."""
    found = recognise(raw, mail_from=mail_from)
    if found.complaint is not None:
        return found.complaint.feedback_type, ",".join(found.complaint.recipients)
    if found.report is None:
        return "-", "-"
    statuses = found.report.recipients
    status = next((one for one in statuses if recipient in (one.recipient, one.original_recipient)), statuses[0])
    told = outcome_of(status)
    word = told.word if told.word != "bounced" else "hard" if told.dead else "soft"
    named = status.original_recipient if status.original_recipient == recipient else status.recipient
    return word, named


def test_what_came_back_is_recognised(settings: config.Settings, capsys: pytest.CaptureFixture[str]) -> None:
    right: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    taken: dict[str, Counter[str]] = defaultdict(Counter)
    wrong = []
    for name, wanted, recipient in ROWS:
        folder = name.partition("/")[0]
        raw, mail_from = read(name, folder)
        kind = recognise(raw, mail_from=mail_from).kind
        whole[folder] += 1
        taken[folder][kind.value] += 1
        word, named = verdict(raw, mail_from, recipient)
        as_wanted = word == wanted or (wanted == "any" and word in ("hard", "soft"))
        if kind in KINDS[folder] and as_wanted and (recipient == "-" or named == recipient):
            right[folder] += 1
        else:
            wrong.append(f"{name}: {kind.value} {word} {named}, should be {wanted} {recipient}")
    with capsys.disabled():
        figures = ", ".join(f"{folder} {right[folder]}/{whole[folder]}" for folder in whole)
        print(f"\nrecognised: {figures}", *wrong, sep="\n  ")  # noqa: T201 - the figure is what one wants to see
    assert whole["bounce"] >= 60 and whole["delay"] >= 15 and whole["complaint"] >= 12
    assert whole["autoreply"] >= 15 and whole["human"] >= 15
    for folder in whole:
        assert right[folder] >= 0.9 * whole[folder], wrong
    for folder in ("human", "autoreply"):
        assert taken[folder]["bounce"] == taken[folder]["delay"] == taken[folder]["complaint"] == 0


@pytest.mark.parametrize("folder", ["autoreply", "human"])
def test_the_sender_that_people_use_does_not_make_a_bounce(settings: config.Settings, folder: str) -> None:
    """Absence notes come from the null sender and from people; so may anything that a program forwards."""
    for name, *_ in ROWS:
        if name.startswith(folder):
            for mail_from in ("", "jane@friends.example"):
                kind = recognise((CORPUS / name).read_bytes(), mail_from=mail_from).kind
                assert kind in (*KINDS[folder], Kind.UNRECOGNISED), (name, mail_from, kind)


def test_bounces_with_a_sender_are_recognised_by_their_form(settings: config.Settings) -> None:
    for name, *_ in ROWS:
        raw = (CORPUS / name).read_bytes()
        if name.startswith("bounce") and b"report-type=delivery-status" in raw:
            assert recognise(raw, mail_from="postmaster@mail.example.net").kind is Kind.BOUNCE, name


def broken(raw: bytes, dice: random.Random) -> bytes:
    """The message cut, with octets changed, pieces doubled, swapped or multiplied, or another's middle in it."""
    data = bytearray(raw)
    for _ in range(dice.randint(1, 4)):
        at, to = sorted((dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)))
        match dice.randrange(8):
            case 0:
                del data[at:]
            case 1:
                del data[at:to]
            case 2:
                data[at:at] = data[at : min(to, at + 2000)] * dice.randint(1, 20)
            case 3:
                for _ in range(dice.randint(1, 50)):
                    if data:
                        data[dice.randrange(len(data))] = dice.randrange(256)
            case 4:
                data[at:at] = dice.choice((b" ", b"-", b"<", b"@", b"=", b"\r\n ", b"a", b"\t")) * dice.randint(1, 9000)
            case 5:
                data[at:at] = dice.choice((b"\r\n--BB\r\n", b"\r\n\r\n", b"\r", b"\0", b"=?x?b?", b"Content-Type: multipart/x; boundary=y\r\n\r\n--y\r\n")) * dice.randint(1, 200)  # fmt: skip  # noqa: E501
            case 6:
                other = (CORPUS / dice.choice(ROWS)[0]).read_bytes()
                data[at:to] = other[len(other) // 3 : 2 * len(other) // 3]
            case 7:
                data = data.replace(b"\r\n", b"\n")
        if not data:
            data = bytearray(b"x")
    return bytes(data)


def test_broken_messages_neither_raise_nor_take_long(settings: config.Settings) -> None:
    dice = random.Random(3464)
    slowest = (0.0, "")
    for number in range(ROUNDS):
        name = dice.choice(ROWS)[0]
        raw = broken((CORPUS / name).read_bytes(), dice)
        started = time.process_time()
        found = recognise(raw, mail_from=dice.choice(("", "a@b.test")))
        slowest = max(slowest, (time.process_time() - started, f"{name}, round {number}"))
        if found.report is not None:
            assert found.report.recipients
            assert all(one.action in (dsn.FAILED, dsn.DELAYED, dsn.DELIVERED, dsn.RELAYED, dsn.EXPANDED)
                       for one in found.report.recipients)  # fmt: skip
    assert slowest[0] < 5, slowest  # processor time: a hundred times what the slowest takes


@pytest.mark.parametrize(
    "line", [b" " * 70_000, b"a" * 70_000, b"@" * 70_000, b"a@" * 40_000, b"<" * 70_000, b"a " * 40_000, b"= " * 40_000,
             b"-" * 70_000, b"\n" * 70_000, b"a\n" * 40_000, b"<a@b\n" * 14_000, b"550 " * 20_000, b"the user " * 8_000]
)  # fmt: skip
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_no_line_keeps_the_words_busy(settings: config.Settings, line: bytes, kind: str) -> None:
    for start in (b"", b"Delivery to the following recipient failed permanently:\n", b"following addresses had\n"):
        raw = (
            b"From: MAILER-DAEMON@mail.example.net\nSubject: failure notice\nContent-Type: text/" + kind.encode()
            + b"\n\n" + start + line
        )  # fmt: skip
        started = time.process_time()
        recognise(raw, mail_from="")
        assert time.process_time() - started < 5
