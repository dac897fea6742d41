"""The page of webhooks says what the code does."""

from __future__ import annotations

import json
import re

from gateway import config
from gateway.services import message_events, webhook_payload, webhook_words
from models.vocabulary import EventKind, NoticeKind
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "webhooks.md").read_text()


def test_every_word_stands_on_the_page() -> None:
    assert [kind for kind in EventKind if f"`message.{kind.word}`" not in PAGE] == []
    assert [name for name in webhook_payload._FACTS if f"`{name}`" not in PAGE] == []
    assert set(webhook_words.NATIVE_WORDS) >= {f"notice.{kind.value}" for kind in NoticeKind}


def test_the_examples_have_the_form_and_words_that_exist() -> None:
    examples = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    native = [example for example in examples if "timestamp" in example]
    (printed,) = [example for example in examples if example not in native]
    assert len(native) == 3
    for example in native:
        assert list(example) == ["type", "timestamp", "data"]
        assert example["type"] in webhook_words.NATIVE_WORDS
    assert list(printed)[-1] == "signature"
    assert printed["type"] in message_events.WORDS


def test_the_settings_are_named_with_their_defaults() -> None:
    for name in ("WEBHOOK_DISABLE_DAYS", "WEBHOOK_KEEP_DAYS", "WEBHOOK_DEAD_DAYS"):
        default = next(setting.default for setting in config.SETTINGS if setting.name == name)
        assert re.search(rf"`COMMANDPOST_{name}`[^(]*\({default}\)|`COMMANDPOST_{name}` days \({default}\)", PAGE), name
