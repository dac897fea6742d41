"""SpamAssassin is asked by its protocol; whatever it does, content scoring has an answer."""

from __future__ import annotations

import email
import socket
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from email import policy
from pathlib import Path

import pytest

from gateway.services import spam_checks
from gateway.services.spam_checks import TOO_LARGE, UNAVAILABLE, Verdict
from tests.conftest import use_settings
from tests.peers.spamd import Spamd

pytestmark = pytest.mark.usefixtures("settings")


def check(html: str | None = "<p>Hello</p>", text: str | None = None, subject: str = "Grüße") -> Verdict | None:
    return spam_checks.check(sender="hello@shop.test", subject=subject, html=html, text=text)


def test_its_rules_with_points_and_descriptions(tmp_path: Path) -> None:
    with Spamd() as spamd:
        use_settings(tmp_path, SPAMD=spamd.address)
        found = check("<p>An offer</p>", "An offer", "Grüße\r\nBcc: x@y.test")
    assert found is not None
    assert (found.status, found.score, found.required) == ("ok", 2.9, 5.0)
    assert [(rule.name, rule.points) for rule in found.rules] == [
        ("GTUBE", 1000.0), ("URIBL_EXAMPLE", 2.8), ("MIME_HTML_ONLY", 0.1), ("NO_RELAYS", 0.0), ("ALL_TRUSTED", -1.0),
    ]  # fmt: skip
    assert found.rules[1].description == "Contains an URL listed in a blocklist [URIs: example.test]"
    assert str(found.rules[3].points) == "0.0"
    ((line, raw),) = spamd.asked
    assert line == "REPORT SPAMC/1.2"
    message = email.message_from_bytes(raw, policy=policy.default)
    assert (message["From"], message["Subject"], message["Bcc"]) == (
        "hello@shop.test", "Grüße Bcc: x@y.test", None,
    )  # fmt: skip
    assert message["Date"] and message["Message-ID"].endswith("@shop.test>")
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_off_without_the_setting() -> None:
    assert check() is None


@pytest.mark.parametrize("how", ["hang", "close", "refuse", "cut", "garbage", "flood"])
def test_no_answer_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(spam_checks, "PATIENCE_S", 0.3)
    with Spamd(how) as spamd:
        use_settings(tmp_path, SPAMD=spamd.address)
        assert check() == Verdict(UNAVAILABLE)
        assert len(spamd.asked) == 1


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        use_settings(tmp_path, SPAMD=f"127.0.0.1:{taken.getsockname()[1]}")
        assert check() == Verdict(UNAVAILABLE)


def test_what_is_too_large_is_not_asked_about(tmp_path: Path) -> None:
    with Spamd() as spamd:
        use_settings(tmp_path, SPAMD=spamd.address)
        assert check("x" * (spam_checks.LARGEST + 1)) == Verdict(TOO_LARGE)
        assert check("ü" * (spam_checks.LARGEST - 10)) == Verdict(TOO_LARGE)  # larger once it is encoded
        assert spamd.asked == []


def test_a_slow_one_takes_a_few_threads_only(tmp_path: Path) -> None:
    with Spamd("hang") as spamd, ThreadPoolExecutor(spam_checks.AT_ONCE + 2) as pool:
        use_settings(tmp_path, SPAMD=spamd.address)
        asked = [pool.submit(check) for _ in range(spam_checks.AT_ONCE + 2)]
        done, _ = wait(asked, timeout=6, return_when=FIRST_COMPLETED)
        assert done and all(future.result() == Verdict(UNAVAILABLE) for future in done)
        assert len(spamd.asked) == spam_checks.AT_ONCE
        spamd.closing.set()
        wait(asked)
        spamd.how = "report"
        found = check()
    assert found is not None and found.status == "ok"
