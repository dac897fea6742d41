"""The three formats of an answer: JSON, JSON in a callback, XML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

_CALLBACK = re.compile(r"[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*\Z", re.ASCII)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_NAME = re.compile(r"[^A-Za-z0-9_.-]")


def render(body: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[bytes, str]:
    """The answer as bytes and its content type, as the request's (lower-case) fields ask for it."""
    if fields.get("responseformat") == "XML":
        return xml(body), "text/xml; charset=utf-8"
    text = orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS)
    callback = fields.get("callback")
    wanted = str(fields.get("jsonpcallback", "")).lower() in ("true", "1")
    if wanted and isinstance(callback, str) and len(callback) <= 128 and _CALLBACK.match(callback):
        # Two line ends that JSON allows in a text and older JavaScript does not.
        text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
        return callback.encode() + b"(" + text + b")", "application/javascript; charset=utf-8"
    return text, "application/json; charset=utf-8"


def xml(body: Mapping[str, Any]) -> bytes:
    """Root `<response>`, scalars in CDATA, list items `<node_0>` and so on; what XML cannot say is taken out."""
    return f'<?xml version="1.0" encoding="utf-8"?>\n<response>{_content(body)}</response>'.encode()


def _content(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(_element(str(name), item) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return "".join(_element(f"node_{index}", item) for index, item in enumerate(value))
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<![CDATA[{_NOT_XML.sub('', text).replace(']]>', ']]]]><![CDATA[>')}]]>"


def _element(name: str, value: Any) -> str:
    safe = _NOT_NAME.sub("_", name)
    if not safe or not (safe[0].isalpha() or safe[0] == "_") or safe.lower().startswith("xml"):
        safe = "_" + safe
    return f"<{safe}>{_content(value)}</{safe}>"
