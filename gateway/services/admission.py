"""Which deliveries find room in a process's memory, and what those are told that have to wait in the queue instead."""

from __future__ import annotations

import orjson

from gateway import ids
from gateway.mail import reply_rules
from gateway.services import shaping
from gateway.services.destinations import Destination, Place
from gateway.services.lanes import Claimed, PutOff
from gateway.services.shaping import Limit

_CAUSE = 400


class Admission:
    """`capacity` is how many deliveries the process holds."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def room(self, place: Place, held: int, now_s: float) -> int:
        """How many deliveries of a stream may wait here, where `held` wait for destinations that are doubtful."""
        soft, hard = self.capacity // 2, self.capacity * 5 // 8
        if isinstance(place, Destination):
            ahead = place.ahead(now_s)
            if place.is_rationed:
                return min(ahead, self.capacity // 4)
            if place.trusted:
                return soft if place.is_slow(now_s) else self.capacity
            if place.is_slow(now_s):
                return 1 if held < soft else 0
            if place.proven and place.single:
                return self.capacity
            if place.proven:
                return max(8 if held >= soft else self.capacity // 4, min(ahead, self.capacity))
        return 0 if held >= hard else 2 if held >= soft else max(self.capacity // 4, soft - held)

    def refusal(self, row: Claimed, place: Place, ahead: int, held: int, now_s: float, now_ms: int) -> PutOff | None:
        """Why a delivery does not go on now, if so; `ahead` of it wait of the same stream."""
        if isinstance(place, Destination) and place.pause is not None:
            ends_ms = place.pause.ends_ms
            if place.health is not None and (ends_ms is None or ends_ms > now_ms):
                # Claimed again, it goes over the next server of its rule.
                return _put_off(row, now_ms, now_ms, place.pause.cause, place.pause, ends_ms)
            if ends_ms is None or ends_ms > now_ms:
                left_ms = shaping.STEP_MS if ends_ms is None else ends_ms - now_ms
                due_ms = now_ms + min(left_ms + _jittered(min(left_ms, 5000)), _step_ms())
                return _put_off(row, due_ms, now_ms, place.pause.cause, place.pause, ends_ms)
        if ahead < self.room(place, held, now_s):
            return None
        if isinstance(place, str):
            due_ms = now_ms + 1000 + _jittered(2000)
            return _put_off(row, due_ms, now_ms, f"the mail exchangers of {place} are being looked up", None, due_ms)
        at_ms = place.put_off_ms(bulk=row.is_bulk, now_s=now_s, now_ms=now_ms)
        due_ms = min(at_ms + _jittered((at_ms - now_ms) // 5), now_ms + _step_ms())
        limit = place.narrow
        if limit is not None:
            cause = limit.cause
        elif place.is_slow(now_s):
            cause = f"{place.group} answers slowly, so that others go first"
        else:
            cause = f"{place.group} has as many messages as it takes now"
        return _put_off(row, due_ms, now_ms, cause, limit, due_ms)


def _put_off(row: Claimed, due_ms: int, now_ms: int, cause: str, limit: Limit | None, until_ms: int | None) -> PutOff:
    """Looked at again at its end at the latest, so that its time limit holds."""
    due_ms = min(due_ms, max(row.expires_ms, now_ms + 1000))
    verdict = {
        "gate": "shaping",
        "limit": limit.id if limit is not None else None,
        "until_ms": until_ms,
        "cause": cause[:_CAUSE],
    }
    paused = limit is not None and limit.kind == reply_rules.PAUSE
    return PutOff(row, due_ms, orjson.dumps(verdict).decode(), cause, paused)


def _jittered(ms: int) -> int:
    """From nothing to `ms`."""
    return int(ms * ids.jitter(1.0) / 2)


def _step_ms() -> int:
    """Up to the longest step, never the same: what was put off together comes back spread out."""
    return int(shaping.STEP_MS * 0.8 * ids.jitter(0.25))
