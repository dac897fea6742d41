"""The WSGI application for tests, put together once for all of them that change nothing about it."""

from __future__ import annotations

import functools

from flask import Flask

from gateway import config
from web.app import create_app


def application() -> Flask:
    """The application as the settings in use make it, shared: to put one together takes longer than most tests.

    Who adds a route to it, or is about how it is made, calls `web.app.create_app`.
    """
    settings = config.settings()
    return _made(settings.body_size, settings.trusted_proxies, settings.cors_origins)


@functools.cache
def _made(*_: object) -> Flask:
    return create_app()
