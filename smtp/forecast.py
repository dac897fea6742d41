"""The reply to a dry run: what sending would have done, under a code that no client takes for an acceptance.

554 is a transaction that failed for good: nothing is kept for another try, and whoever did not mean a dry run
hears of it. 5.3.0 (RFC 3463: other or undefined mail system status) is said to nothing else here.
"""

from __future__ import annotations

import re

from gateway.services import verdicts
from gateway.services.dry_runs import DryRun

CODE = "554"
ENHANCED = "5.3.0"
_LINE = 480  # RFC 5321 §4.5.3.1.5: 512 with the code and the line end
_LINES = 40


def reply(found: DryRun) -> str:
    """Several lines: the verdict, every gate, the recipients, the route with its TLS, the alignment."""
    lines = [_ascii(line) for line in _told(found)][:_LINES]
    ends = [f"{CODE}-{ENHANCED} {line}" for line in lines[:-1]]
    return "\r\n".join([*ends, f"{CODE} {ENHANCED} {lines[-1]}"])


def _told(found: DryRun) -> list[str]:
    lines = ["Dry run: nothing was sent or stored"]
    if found.refusal is not None:
        return [*lines, f"Verdict: it would be refused with {found.refusal.smtp} {found.refusal.message}"]
    if found.replays:
        return [*lines, f"Verdict: it would be answered with {found.replays}, as the same request was before"]
    lines.append("Verdict: it would be accepted")
    lines += [f"Gate {one.gate}: {one.decision} ({one.rule})" for one in verdicts.read_all(found.verdicts)]
    suppressed = [one for one in found.recipients if one.suppressed is not None]
    lines.append(f"Recipients: {found.total}, of which {len(suppressed)} are suppressed")
    lines += [f"Suppressed: {one.address} ({one.suppressed.reason})" for one in suppressed[:5] if one.suppressed]
    lines.append(f"Route: {found.transport}, return path at {found.return_path}")
    for place in found.destinations[:5]:
        where = ", ".join(place.hosts[:3]) or "nowhere"
        lines.append(f"Route of {place.domain}: {where}{f' ({place.reason})' if place.reason else ''}")
        if place.tls is not None:
            lines.append(f"TLS to {place.domain}: {place.tls.policy} ({place.tls.detail})")
    if found.forecast is not None:
        lines.append(f"DMARC of {found.forecast.from_domain}: {found.forecast.result} ({found.forecast.reason})")
    return [*lines, f"Size: {found.size} bytes as sent"]


def _ascii(line: str) -> str:
    return re.sub(r"[^\x20-\x7e]+", " ", line).strip()[:_LINE]
