"""The world of `serve --demo`: an account, its keys and a domain, made once and greeted at every start."""

from __future__ import annotations

import http.client
import json
import os
import time
from pathlib import Path

from gateway import config, errors, ids
from gateway.services import apis, certificates, domains, identity, smtps, users
from gateway.services.identity import Caller
from models import Account
from models import database as db

EMAIL = "demo@example.com"
DOMAIN = "example.com"
_FRESH = "demo-credentials.json"
_PATIENCE = 30.0


def make(settings: config.Settings) -> None:
    """Make the account, its API key, the trusted domain and a sender key, where there is no account at all.

    The password and the account's key are left for the greeting in a file that only we can read.
    """
    if Account.select().exists():
        return
    password = ids.password(16)
    account = users.add(email=EMAIL, password=password, name="Demo")
    caller = identity.for_account(account["id"])
    domain = domains.add(caller=caller, name=DOMAIN, trusted=True)
    users.add_key(email=EMAIL, domain=DOMAIN, description="Demo")
    login, secret = smtps.add(caller=caller, domain_id=domain.id)
    path = settings.data / _FRESH
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        smtp = {"smtp_user": login.username, "smtp_password": secret}
        json.dump({"password": password, "api_key": account["api_key"]} | smtp, file)


def wait_until_healthy(settings: config.Settings, seconds: float = _PATIENCE) -> bool:
    """Ask `/health` until every part serves; whether it came to that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if health(settings)[0] == 200:
            return True
        time.sleep(0.1)
    return False


def reachable(host: str) -> str:
    """Where a listener on `host` is reached from here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def health(settings: config.Settings) -> tuple[int, bytes]:
    """Status and body of `/health`; status 0 while nothing answers."""
    connection = http.client.HTTPConnection(reachable(settings.http.host), settings.http.port, timeout=5)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error).encode()
    finally:
        connection.close()


def greeting(settings: config.Settings) -> str:
    """What can be done now; credentials that exist as hashes only are in it once, at the first start."""
    try:
        caller = identity.for_account(users.find(EMAIL).id)
        domain = domains.find_by_name(caller=caller, name=DOMAIN)
    except errors.NotFound:
        return f"Commandpost serves at {settings.base_url}; this database has no demo account {EMAIL}."
    sender_key = _sender_key(caller, domain.id)
    db.close()
    fresh = _take_fresh(settings.data / _FRESH)
    lines = ["", f"Commandpost serves at {settings.base_url}", ""]
    lines += [f"  account      {EMAIL}"]
    if fresh:
        lines += [f"  password     {fresh['password']}", f"  API key      {fresh['api_key']}"]
    else:
        lines += [f"  API key      shown at the first start; make another: commandpost key add --user {EMAIL}"]
    lines += [f"  domain       {DOMAIN} (trusted, DNS not asked)"]
    if sender_key:
        lines += [f"  sender key   {sender_key}", "", "Send a message:", "", _curl(settings, sender_key)]
    else:
        lines += [f"  sender key   none; make one: commandpost key add --user {EMAIL} --domain {DOMAIN}"]
    lines += ["", *_submission(settings, fresh)]
    if settings.delivery == "capture":
        lines += ["", "Mail is captured, not sent. Look at it:", ""]
        lines += ["  .venv/bin/commandpost mail list", "  .venv/bin/commandpost mail show 1"]
    lines += ["", "Stop with Ctrl-C; everything is kept in " + _shown(settings.data), ""]
    return "\n".join(lines)


def _submission(settings: config.Settings, fresh: dict[str, str]) -> list[str]:
    """How to hand mail in over SMTP."""
    lines = [f"Or hand it in over SMTP at {settings.smtp}, with STARTTLS or, on this machine, without:", ""]
    if settings.smtps is not None:
        lines[0] = f"Or hand it in over SMTP at {settings.smtp} with STARTTLS, or at {settings.smtps} with TLS:"
    if not fresh:
        return [*lines, "  SMTP login   shown at the first start; make another: commandpost smtp add"]
    lines += [f"  SMTP user    {fresh['smtp_user']}", f"  SMTP secret  {fresh['smtp_password']}"]
    if settings.tls_cert is None:
        lines += [f"  certificate  self-signed: {_shown(settings.data / certificates.FILE)}"]
    return lines


def _curl(settings: config.Settings, sender_key: str) -> str:
    message = json.dumps(
        {
            "From": {"Name": "Demo", "Email": f"hello@{DOMAIN}"},
            "To": [{"Name": "Jane Doe", "Email": "jane@example.net"}],
            "Subject": "Hello from Commandpost",
            "ContentType": "html",
            "PlainContent": "It works.",
            "HTMLContent": "<p>It <b>works</b>.</p>",
        }
    )
    return (
        f"  curl -sS {settings.base_url}/api/v1/email \\\n"
        f"    -H 'Content-Type: application/json' -H 'Authorization: Bearer {sender_key}' \\\n"
        f"    -d '{message}'"
    )


def _sender_key(caller: Caller, domain_id: int) -> str:
    """The newest sender key that can be shown."""
    return next((row.key for row in reversed(apis.list_(caller=caller, domain_id=domain_id)) if row.key), "")


def _take_fresh(path: Path) -> dict[str, str]:
    """The credentials of a first start; the file goes with the reading."""
    try:
        found: dict[str, str] = json.loads(path.read_text())
        path.unlink()
    except (OSError, ValueError):
        return {}
    return found


def _shown(path: Path) -> str:
    try:
        return f"./{path.relative_to(Path.cwd())}"
    except ValueError:
        return str(path)
