"""`commandpost explain`: why a message went where it went."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, table, verb
from gateway import clock
from gateway.services import explanations, held


@click.command()
@click.argument("message_id")
@click.option("--recipient", default="", help="Only the delivery to this address.")
@verb
def explain(message_id: str, recipient: str) -> Answer:
    """Tell what became of a message and why: the sentence, what each gate decided, each delivery's state."""
    with opening.store():
        caller = held.owner(message_id=message_id)
        found = explanations.explain(caller=caller, message_id=message_id, recipient=recipient)
    gates = [
        {
            "gate": one.gate,
            "decision": one.decision,
            "rule": one.rule,
            "until": clock.rfc3339(one.until_ms) if one.until_ms is not None else None,
            "details": one.details,
        }
        for one in found.gates
    ]
    fates = [
        {
            "recipient": fate.recipient,
            "state": fate.state.name.lower(),
            "attempts": fate.attempt_count,
            "reason": fate.reason,
        }
        for fate in found.fates
    ]
    data = {"explanation": found.text, "verdicts": gates, "total_deliveries": found.total, "deliveries": fates}
    rows = [(fate["recipient"], fate["state"], fate["attempts"], fate["reason"]) for fate in fates]
    shown = table(("gate", "decision", "rule"), [(one["gate"], one["decision"], one["rule"]) for one in gates])
    return Answer(data, "\n\n".join([found.text, shown, table(("to", "state", "attempts", "reason"), rows)]))
