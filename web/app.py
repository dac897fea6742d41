"""The WSGI application: puts the doors of HTTP together."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway import config, ids
from models import database as db
from web import audit, confirm, cors, errors, health, hooks, metrics, openapi, rates, rest, tls, tracking, unsubscribe

_SCRIPT = Path(__file__).resolve().parents[1] / "api.php.py"


class _Application(Flask):
    """Flask without its question, for each hook of each request, whether it is a coroutine: none is.

    Repeated slashes in front of a path count as one, and in a path below `/api` everywhere: a base URL and a path are
    easily joined with two, and the redirect that Flask would answer is followed by few clients.
    """

    def wsgi_app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if "//" in path and path.lstrip("/").startswith("api"):
            environ["PATH_INFO"] = re.sub("/{2,}", "/", path)
        elif path.startswith("//"):
            environ["PATH_INFO"] = "/" + path.lstrip("/")
        return super().wsgi_app(environ, start_response)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def create_app() -> Flask:
    """The application with every surface; connects to the database if nothing has done so yet."""
    settings = config.settings()
    if db.database.obj is None:
        db.connect(settings.database_url, settings.data)
    app = _Application("web", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=settings.body_size, MAX_FORM_MEMORY_SIZE=None, TRAP_HTTP_EXCEPTIONS=False)
    app.url_map.strict_slashes = False
    # An id that is empty names nothing: a redirect to where it is left out would be to another operation.
    app.url_map.merge_slashes = False
    if settings.trusted_proxies:
        n = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=n, x_proto=n, x_host=0)  # type: ignore[method-assign]

    app.before_request(_begin)
    audit.register(app)
    errors.register(app)
    metrics.register(app)
    if settings.cors_origins:
        cors.register(app)
    app.after_request(rates.add)
    app.after_request(_finish)

    app.register_blueprint(_script().blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(hooks.blueprint)
    app.register_blueprint(openapi.blueprint)
    app.register_blueprint(tracking.blueprint)
    app.register_blueprint(tls.blueprint)
    app.register_blueprint(unsubscribe.blueprint)
    app.register_blueprint(confirm.blueprint)
    for blueprint in rest.blueprints():
        app.register_blueprint(blueprint)
    return app


def _begin() -> None:
    g.request_id = str(ids.new_uuid())


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.path.startswith("/api"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _script() -> ModuleType:
    """Load `api.php.py`, whose dot keeps it from a plain import.

    It is registered before it runs: without that Flask takes the working directory as its root path.
    """
    name = "api_php"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, _SCRIPT)
    if spec is None or spec.loader is None:
        raise ImportError(str(_SCRIPT))
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
