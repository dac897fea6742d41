"""Reading a printed curl command line into the request that curl would send."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

FORM = "application/x-www-form-urlencoded"


@dataclass
class Request:
    """`path` has the query in it; `body` is what goes over the wire, None where curl sends none."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What query and body say, whichever of the two forms the body has."""
        said: dict[str, Any] = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self.body or ""
        return said | (orjson.loads(body) if body.startswith("{") else dict(parse_qsl(body, keep_blank_values=True)))


def read(command_line: str) -> Request:
    """The request of `curl -X … -H … -d … URL`; any other option is a ValueError.

    As in curl's manual: several `-d` are joined with `&`, data without a method means POST, and without a
    Content-Type of its own is sent as a form, whatever it looks like.
    """
    # A shell takes a line's last backslash away together with the line end.
    words = iter(shlex.split(command_line.replace("\\\n", " ")))
    if next(words, "") != "curl":
        raise ValueError(f"not a curl command line: {command_line}")
    method, url, headers, data = "", "", {}, []
    for word in words:
        if word == "-X":
            method = _next(words, word)
        elif word == "-H":
            name, colon, value = _next(words, word).partition(":")
            if not colon:
                raise ValueError(f"not a header: {name}")
            headers[name.strip()] = value.strip()
        elif word == "-d":
            data.append(_next(words, word))
        elif word.startswith("-") or url:
            raise ValueError(f"not understood: {word}")
        else:
            url = word
    body = "&".join(data) if data else None
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = FORM
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return Request(method or ("GET" if body is None else "POST"), path or "/", headers, body)


def _next(words: Iterator[str], option: str) -> str:
    try:
        return next(words)
    except StopIteration:
        raise ValueError(f"{option} wants a value") from None
