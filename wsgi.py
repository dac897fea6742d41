"""The WSGI entry: `application` for gunicorn and every other server."""

from web.app import create_app

application = create_app()
