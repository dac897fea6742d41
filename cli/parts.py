"""The parts of an installation, by name; doors do not import each other, so they are loaded by name too."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

PARTS = {
    "web": "web.server:main",
    "smtp": "smtp.server:main",
    "deliver": "tasks.parts:deliver",
    "aside": "tasks.parts:aside",
    "beat": "tasks.parts:beat",
}
"""Part -> its entry point `module:function`, which takes nothing, blocks until SIGTERM and returns an exit status."""

DOORS = ("web", "smtp")
"""Parts that take work in: they stop first."""


def load(point: str) -> Callable[..., Any]:
    """The function that `module:function` names."""
    module, _, name = point.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
