"""The `commandpost` command: its verbs, loaded when they are called for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from cli import answer

# noun or verb -> module and the click command in it; a lazy table keeps every start quick.
_COMMANDS = {
    "serve": ("cli.serve", "serve", "Run everything under one supervisor."),
    "web": ("cli.single", "web", "Run the HTTP part alone."),
    "worker": ("cli.single", "worker", "Run the workers alone."),
    "beat": ("cli.single", "beat", "Run the sweeper's clock alone; one per installation."),
    "smtp": ("cli.smtps", "smtp", "Run the SMTP part alone, or manage SMTP logins."),
    "migrate": ("cli.migrate", "migrate", "Bring the database schema up to date."),
    "user": ("cli.users", "user", "Accounts."),
    "key": ("cli.keys", "key", "API keys."),
    "domain": ("cli.domains", "domain", "Sender domains."),
    "notice": ("cli.notices", "notice", "What happened to domains and keys."),
    "plan": ("cli.plans", "plan", "Plans of accounts."),
    "events": ("cli.events", "events", "The event log: export it, or follow it."),
    "audit": ("cli.audit", "audit", "The audit log: read it, export it, check that it is whole."),
    "retention": ("cli.retention", "retention", "For how many days messages are kept."),
    "erase": ("cli.erase", "erase", "Erase one recipient of an account."),
    "webhook": ("cli.webhooks", "webhook", "Webhooks."),
    "suppression": ("cli.suppressions", "suppression", "Who must not be written to, and who always may be."),
    "mail": ("cli.mail", "mail", "Captured mail."),
    "inbound": ("cli.inbound", "inbound", "Inbound mail that was kept for inspection."),
    "explain": ("cli.explain", "explain", "Why a message went where it went."),
    "queue": ("cli.queue", "queue", "Deliveries held for a person."),
    "campaign": ("cli.campaigns", "campaign", "Campaigns."),
    "server": ("cli.servers", "server", "Sending servers: relays and providers of an account."),
    "limit": ("cli.limits", "limit", "Limits on destinations."),
    "warmup": ("cli.warmups", "warmup", "Source addresses that begin small."),
    "import": ("cli.imports", "import_", "Bring over what clients of another installation hold."),
    "bench": ("cli.bench", "bench", "Measure this machine with a whole installation."),
    "settings": ("cli.settings", "settings", "All settings and their values."),
    "health": ("cli.health", "health", "Ask a running installation whether every part serves."),
    "doctor": ("cli.doctor", "doctor", "Check this installation."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="commandpost", message="%(version)s")
def cli() -> None:
    """Commandpost, a self-hosted email gateway."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = cli.main(words, prog_name="commandpost", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        return answer.show(error, as_json="--json" in words)
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
