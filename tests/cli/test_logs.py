"""Logs with canaries: no secret comes through, whatever carries it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import structlog

from cli import logs
from gateway import config
from tests.conftest import use_settings

_CANARY = "canary0123456789"


@pytest.fixture(params=["text", "json"])
def secretive(request: pytest.FixtureRequest, tmp_path: Path) -> config.Settings:
    """Settings in each form, full of canaries."""
    return use_settings(
        tmp_path,
        LOG_FORMAT=request.param,
        SECRET=f"{_CANARY}-one,{_CANARY}-two",
        DATABASE_URL=f"mysql://root:{_CANARY}@127.0.0.1/x",
    )


@pytest.mark.parametrize(
    "extra",
    [
        {"password": _CANARY},
        {"api_key": _CANARY},
        {"ApiKey": _CANARY},
        {"Authorization": f"Bearer {_CANARY}"},
        {"details": {"signing_key": _CANARY, "list": [{"token": _CANARY}]}},
        {"url": f"smtp://user:{_CANARY}@relay.example"},
        {"cause": f"-----BEGIN PRIVATE KEY-----\n{_CANARY}\n-----END PRIVATE KEY-----"},
        {"body": f"SessionID={_CANARY}&Password={_CANARY}"},
        {"body": f'{{"Password": "{_CANARY}"}}'},
        {"note": f"the secret is {_CANARY}-two"},
    ],
)
def test_no_secret_in_fields(
    secretive: config.Settings, extra: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(secretive)
    logging.getLogger("commandpost.test").warning("happened", extra=extra)
    structlog.get_logger("commandpost.test").warning("again", **extra)
    said = capsys.readouterr().err
    assert "happened" in said
    assert "again" in said
    assert _CANARY not in said


def test_no_secret_in_exceptions_and_foreign_messages(
    secretive: config.Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(secretive)
    try:
        raise ValueError(f"cannot connect to amqp://guest:{_CANARY}@127.0.0.1")
    except ValueError:
        logging.getLogger("kombu").exception("failed with key 4D196964-B909FDD7-134A4E29-6B0E923E")
    said = capsys.readouterr().err
    assert "ValueError" in said
    assert _CANARY not in said
    assert "4D196964" not in said


def test_json_lines_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(use_settings(tmp_path, LOG_FORMAT="json"))
    logging.getLogger("commandpost.test").info("part_started", extra={"part": "web"})
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["part"], line["level"], line["logger"]) == (
        "part_started", "web", "info", "commandpost.test",
    )  # fmt: skip
    assert line["timestamp"].endswith("Z")


def test_the_level_is_a_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(use_settings(tmp_path, LOG_LEVEL="error"))
    logging.getLogger("commandpost.test").warning("quiet")
    assert capsys.readouterr().err == ""
