"""Auto-replies are told from people's answers."""

from __future__ import annotations

import pytest

from gateway.mail import autoreply


@pytest.mark.parametrize(
    "field",
    [
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: auto-generated; owner=x",
        "X-Autoreply: yes",
        "X-Autorespond: Away",
        "Precedence: auto_reply",
        "Subject: Out of Office: Hello",
        "Subject: Automatic reply: Hello",
        "Subject: =?utf-8?q?R=C3=A9ponse_automatique_=3A_Hello?=",
        "Subject: Automatische Antwort: Hallo",
        "Subject: RE: Out of the office",
    ],
)
def test_machines(field: str) -> None:
    assert autoreply.is_auto_reply(f"From: a@example.net\r\n{field}\r\n\r\nbody".encode())


@pytest.mark.parametrize(
    "field",
    [
        "Auto-Submitted: no",
        "X-Autoreply: no",
        "Precedence: bulk",
        "Subject: Re: Hello",
        "Subject: Autos for sale",
        "X: y",
    ],
)
def test_people(field: str) -> None:
    assert not autoreply.is_auto_reply(f"From: a@example.net\r\n{field}\r\n\r\nOut of office: haha".encode())
