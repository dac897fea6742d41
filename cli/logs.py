"""How log lines look, and that no secret is ever in one."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog

from gateway import config

_HIDDEN = "[hidden]"
_SECRET_NAMES = re.compile(
    r"(?i)passw|secret|token|authorization|cookie|api_?key|signing_?key|private|credential|^(key|sealed|session|pepper)$"
)
_SECRET_TEXTS = (
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"), _HIDDEN),  # user:password of a URL
    (re.compile(r"\b[0-9A-F]{8}(?:-[0-9A-F]{8}){3}\b"), _HIDDEN),  # API keys of the command API
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]{8,}"), _HIDDEN),
    (re.compile(r"(?i)\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {_HIDDEN}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), _HIDDEN),
    (
        re.compile(r"(?i)(\"?(?:password|api_?key|admin_?api_?key|session_?id|secret)\"?\s*[=:]\s*\"?)[^\s\"&,;}]+"),
        rf"\1{_HIDDEN}",
    ),
)
_QUIET = ("celery", "kombu", "amqp", "gunicorn", "urllib3", "mail.log", "asyncio")


def scrub(text: str, known: tuple[str, ...] = ()) -> str:
    """`text` without anything that looks like a secret, and without the `known` ones."""
    for secret in known:
        text = text.replace(secret, _HIDDEN)
    for pattern, replacement in _SECRET_TEXTS:
        text = pattern.sub(replacement, text)
    return text


def _hide_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: _hide(name, value) for name, value in event.items()}


def _hide(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name) and value not in (None, "", True, False):
        return _HIDDEN
    if isinstance(value, dict):
        return {key: _hide(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hide("", item) for item in value]
    return value


class _Formatter(structlog.stdlib.ProcessorFormatter):
    def __init__(self, known: tuple[str, ...], **options: Any) -> None:
        super().__init__(**options)
        self._known = known

    def format(self, record: logging.LogRecord) -> str:
        # Last of all, so that the text of exceptions and of foreign libraries is covered too.
        return scrub(super().format(record), self._known)


def _own_secrets(settings: config.Settings) -> tuple[str, ...]:
    passwords = (urlsplit(url).password for url in (settings.database_url, settings.broker_url, settings.delivery))
    return tuple(text for text in (*settings.secret.split(","), *passwords) if text and len(text) >= 6)


def configure(settings: config.Settings, *, level: str | None = None) -> None:
    """Send the logs of this process to stderr; `level` overrides the setting."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.CallsiteParameterAdder([structlog.processors.CallsiteParameter.PROCESS]),
        structlog.processors.format_exc_info,
        _hide_fields,
    ]
    if settings.log_format == "json":
        renderer: Any = structlog.processors.JSONRenderer(
            serializer=lambda event, **_: orjson.dumps(event, default=str).decode()
        )
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Formatter(
            _own_secrets(settings),
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    wanted = getattr(logging, (level or settings.log_level).upper())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(wanted)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.DEBUG if wanted == logging.DEBUG else max(wanted, logging.WARNING))
