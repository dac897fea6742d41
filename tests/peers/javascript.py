"""Receivers of webhooks that are written in JavaScript: the standardwebhooks library under Node."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

_SCRIPT = """
const { Webhook } = require('standardwebhooks');
const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const now = Date.now;
const told = given.map(({ secret, body, headers, now_ms }) => {
  Date.now = now_ms === null ? now : () => now_ms;
  try { return new Webhook(secret).verify(body, headers); } catch (error) { return String(error); }
});
console.log(JSON.stringify(told));
"""


def environment() -> dict[str, str]:
    """Where node looks for modules: NODE_PATH, and what is installed for everybody."""
    places = [os.environ.get("NODE_PATH", "")]
    if shutil.which("npm") is not None:
        done = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, timeout=60)
        places.append(done.stdout.strip())
    return {**os.environ, "NODE_PATH": os.pathsep.join(place for place in places if place)}


@functools.cache
def why_not() -> str:
    """Empty when signatures can be verified so, else why not."""
    if shutil.which("node") is None:
        return "node is not installed: JavaScript does not verify webhooks"
    found = subprocess.run(
        ["node", "-e", "require('standardwebhooks')"], env=environment(), capture_output=True, timeout=60
    )
    if found.returncode:
        return (
            "standardwebhooks is not installed for node (NODE_PATH or npm install --global): JavaScript does not verify"
            " webhooks"
        )
    return ""


def verify(given: Sequence[tuple[str, bytes, Mapping[str, str], int | None]]) -> list[Any]:
    """What the library makes of each (secret, body, headers, its clock in milliseconds or None for the real one).

    The body as it was parsed where the signature holds, else the text of the error.
    """
    asked = [
        {"secret": secret, "body": body.decode(), "headers": dict(headers), "now_ms": now_ms}
        for secret, body, headers, now_ms in given
    ]
    done = subprocess.run(
        ["node", "-e", _SCRIPT], input=json.dumps(asked), env=environment(), capture_output=True, text=True,
        timeout=300, check=True,
    )  # fmt: skip
    told: list[Any] = json.loads(done.stdout)
    return told
