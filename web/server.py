"""Gunicorn inside our own process: the part that serves HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from gateway import config
from gateway.process import die_with_parent
from gateway.services import audit_calls, audit_chain, hit_spool, pulse, tracking
from models import database as db
from web.app import create_app
from web.worker import loads

GRACE = 8
"""Seconds that requests under way have after SIGTERM."""


class _Logs(Logger):
    """Gunicorn's messages go where all others go."""

    def setup(self, cfg: Any) -> None:
        self.error_log.propagate = True
        self.access_log.propagate = True


class _Server(BaseApplication):
    def __init__(self, settings: config.Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": str(self._settings.http),
            "workers": self._settings.web_workers,
            "threads": self._settings.web_threads,
            "worker_class": "web.worker.PatientWorker",
            "preload_app": True,
            "timeout": 60,
            "graceful_timeout": GRACE,
            "keepalive": 75,
            "control_socket_disable": True,
            # The heartbeat file of a worker must not wait for a slow disk.
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108 - gunicorn makes it safely
            "forwarded_allow_ips": "*" if self._settings.trusted_proxies else "",
            # Behind a proxy it would take the path from a client's header.
            "forwarder_headers": "",
            "logger_class": _Logs,
            "accesslog": None,
            "proc_name": "commandpost web",
            "post_fork": _after_fork,
            "post_worker_init": _serving,
            "child_exit": _gone,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return create_app()


def _after_fork(_server: Any, worker: Any) -> None:
    die_with_parent(worker.ppid)
    db.close()


def _serving(_worker: Any) -> None:
    pulse.start("web")
    hit_spool.look_after(tracking.drain)
    audit_calls.place.look_after(audit_chain.run)


def _gone(_server: Any, worker: Any) -> None:
    loads.forget(worker.age)


def main() -> int:
    """Serve HTTP until SIGTERM; returns the exit status."""
    # Gunicorn reads its own variable; only our settings count here.
    os.environ.pop("GUNICORN_CMD_ARGS", None)
    try:
        _Server(config.settings()).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0
