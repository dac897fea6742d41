"""The parts of an installation, by name; doors do not import each other, so they are loaded by name too."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Collection
from typing import Any

from gateway import config

PARTS = {
    "web": "web.server:main",
    "smtp": "smtp.server:main",
    "deliver": "tasks.parts:deliver",
    "webhooks": "tasks.parts:webhooks",
    "aside": "tasks.parts:aside",
    "beat": "tasks.parts:beat",
}
"""Part -> its entry point `module:function`, which takes nothing, blocks until SIGTERM and returns an exit status."""

DOORS = ("web", "smtp")
"""Parts that take work in: they stop first."""

WORKERS = ("deliver", "webhooks", "aside")
"""Parts that work off a queue of the broker, each the one of its name."""


def prepare(settings: config.Settings, names: Collection[str]) -> None:
    """Tell the parts which of them run here; before the first of them is loaded."""
    os.environ[f"{config.PREFIX}RUN_PARTS"] = ",".join(names)
    if "web" not in names:
        return
    # The HTTP workers share their counters through files; the client library decides that when it is imported.
    folder = settings.data / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def load(point: str) -> Callable[..., Any]:
    """The function that `module:function` names."""
    module, _, name = point.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
