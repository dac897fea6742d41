"""Telling endpoints: one run an endpoint, all runs side by side, each with a few calls at once."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from gateway import clock, config, ids
from gateway.services import (
    domains,
    event_places,
    event_rows,
    mailbox_mail,
    message_events,
    notices,
    webhook_claims,
    webhook_payload,
    webhook_results,
)
from gateway.services.event_rows import EventRow
from gateway.services.notices import Notice
from gateway.services.webhook_claims import Call, Claim, Endpoint
from gateway.services.webhook_payload import Surface, Telling
from gateway.services.webhook_results import Done, Verdict
from gateway.transports import http_call
from gateway.transports.http_call import Reply
from models.database import StoreUnavailable
from models.domain import SenderDomain

RETRIES_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds after each failed call until the next, ± a tenth; when they are used up the call is a dead letter."""

_JITTER = 0.1
_BATCH = 100
_CONNECTIONS = 4  # to an endpoint that has answered
_CONNECTIONS_NEW = 2  # to one that has not yet: it may be dead
_RUNS = 32  # endpoints at once; those that have not answered fill half of it at most
_SENDERS = 96
_FLUSH_S = 0.05
_OUTAGE_S = 30.0
"""How long results wait for a database that is away; later the lease is too near its end."""
_OUTAGE_POLL_S = 0.3
_POLL_S = 0.1
_LEASE_LEFT_MS = 20_000
_SILENCES = 3  # calls in a row that got through and were not answered: the endpoint counts as not reached
_PAUSE_FIRST_MS, _PAUSE_MOST_MS = 5_000, 60_000
_PAUSE_ASKED_MS = 300_000

_log = logging.getLogger("commandpost.webhooks")


def drain(seconds: float) -> int:
    """Tell what is due for at most `seconds`; returns the number of calls made.

    A run that waits for a slow answer is left behind at the end and finishes by itself. Any number of
    drains may run at once, anywhere; the runs of a process go on until its last drain ends.
    """
    process = _own()
    until = time.monotonic() + seconds
    process.until = max(process.until, until)
    runs: set[Future[int]] = set()
    made = 0
    while True:
        open_ = time.monotonic() < until
        if open_:
            runs |= process.start()
        finished = {run for run in runs if run.done()}
        runs -= finished
        made += sum(run.result() for run in finished)
        if not runs and not finished:
            return made
        if not open_:
            return made
        wait(runs, timeout=_FLUSH_S, return_when=FIRST_COMPLETED)


def retry_ms(attempts: int, retry_after: int | None) -> int | None:
    """Milliseconds until the next call after `attempts` failed ones; None when they are used up."""
    if attempts > len(RETRIES_S):
        return None
    planned = RETRIES_S[attempts - 1] * ids.jitter(_JITTER)
    return round(1000 * max(planned, retry_after or 0))


class _Process:
    """What one process keeps: its threads, and which endpoints have answered it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.runs = ThreadPoolExecutor(_RUNS, "webhook-run")
        self.senders = ThreadPoolExecutor(_SENDERS, "webhook-send")
        self.answered: set[int] = set()
        self.until = 0.0
        self._busy: dict[int, bool] = {}  # endpoint → has answered
        self._lock = threading.Lock()

    def start(self) -> set[Future[int]]:
        """Begin a run for each ready endpoint that there is room for."""
        with self._lock:
            busy = dict(self._busy)
        started: set[Future[int]] = set()
        for endpoint in webhook_claims.ready(_RUNS * 4, busy):
            with self._lock:
                known = endpoint.strikes == 0 and endpoint.id in self.answered
                doubtful = sum(not answered for answered in self._busy.values())
                if endpoint.id in self._busy or len(self._busy) >= _RUNS or (not known and doubtful >= _RUNS // 2):
                    continue
                self._busy[endpoint.id] = known
            started.add(self.runs.submit(self._run, endpoint.id, endpoint.strikes, known))
        return started

    def _run(self, webhook_id: int, strikes: int, known: bool) -> int:
        try:
            connections = 1 if strikes else _CONNECTIONS if known else _CONNECTIONS_NEW
            run = _Run(webhook_id, strikes, connections, self)
            made = run.work()
            with self._lock:
                if run.has_answered:
                    self.answered.add(webhook_id)
                else:
                    self.answered.discard(webhook_id)
            return made
        except Exception:
            # The claims run out and are taken up again; the other endpoints go on.
            _log.exception("webhook_run_failed", extra={"webhook_id": webhook_id})
            return 0
        finally:
            with self._lock:
                self._busy.pop(webhook_id, None)


def _body(surface: Surface, fact: EventRow | Notice | None, telling: Telling) -> bytes | None:
    """None where there is nothing to tell any more."""
    if isinstance(fact, Notice):
        return surface.notice(fact, telling) if surface.notice is not None else None
    return surface.event(fact, telling) if fact is not None and telling.signing_key else None


@dataclass(slots=True)
class _Chain:
    """The held calls of one message, told in order by one thread at a time."""

    message_id: int
    calls: deque[Call] = field(default_factory=deque)
    active: bool = False


class _Run:
    """The calls of one endpoint while this process holds it.

    The thread in `work` claims and writes, up to `connections` others send. All that they share is
    touched under `_changed`.
    """

    def __init__(self, webhook_id: int, strikes: int, connections: int, process: _Process) -> None:
        self.webhook_id = webhook_id
        self.has_answered = False
        self._strikes = strikes
        self._connections = connections
        self._limit = 1 if strikes else _BATCH
        self._process = process
        self._changed = threading.Condition()
        self._chains: dict[int, _Chain] = {}
        self._queue: deque[_Chain] = deque()
        self._facts: dict[int, EventRow | Notice] = {}  # by `Call.event_id`
        self._signing: dict[int, str] = {}  # domain → signing key
        self._providers: dict[int, str] = {}  # event → provider, where the surface tells it
        self._endpoint: Endpoint | None = None
        self._done: list[Done] = []
        self._delayed: dict[int, int] = {}  # message → time of its failed call, until that is written
        self._threads = 0
        self._silences = 0
        self._stop = False
        self._token: int | None = None
        self._verdict = Verdict(strikes=strikes)

    def work(self) -> int:
        """Claim, send and write until nothing is due or the time is up; returns the number of calls made."""
        made = 0
        while True:
            lost = self._wants_more() and not self._claim_more()
            with self._changed:
                if lost or time.monotonic() >= self._process.until:
                    self._stop = True
                self._spawn()
                if self._threads and (not self._done or (self._queue and len(self._done) < _BATCH // 2)):
                    self._changed.wait(_FLUSH_S if self._done else _POLL_S)
                if self._stop:
                    self._hand_back()
                done, self._done = self._done, []
                for one in done:
                    self._delayed.pop(one.call.message_id, None)
                self._chains = {id_: chain for id_, chain in self._chains.items() if chain.active or chain.calls}
                idle = not self._threads and not self._queue
                verdict = self._verdict
            if self._token is not None and (done or idle):
                self._write(self._token, done, verdict, release=idle)
                made += sum(one.reply is not None for one in done)
            if idle:
                return made

    def _write(self, token: int, done: list[Done], verdict: Verdict, *, release: bool) -> None:
        """Write results; a database that is away is waited for, so that what was told is not told again."""
        end = time.monotonic() + _OUTAGE_S
        while True:
            try:
                webhook_results.finish(self.webhook_id, token, done, verdict, release=release)
                return
            except StoreUnavailable:
                if time.monotonic() > end:
                    raise
                time.sleep(_OUTAGE_POLL_S)

    def _wants_more(self) -> bool:
        with self._changed:
            waiting = sum(len(chain.calls) for chain in self._queue)
            if self._stop or waiting >= max(1, self._limit // 2):
                return False
        return self._token is None or webhook_claims.any_due(self.webhook_id)

    def _claim_more(self) -> bool:
        """Claim and queue; False when another worker has the endpoint."""
        with self._changed:
            held = {message_id: self._held(message_id) for message_id in self._chains}
            limit = self._limit
        claim, token = webhook_claims.claim(self.webhook_id, self._token, limit, held)
        if token is None:
            return False
        self._token = token
        if claim is not None:
            self._load(claim)
            self._take(claim)
        return True

    def _spawn(self) -> None:
        for _ in range(min(self._connections - self._threads, len(self._queue))):
            self._threads += 1
            self._process.senders.submit(self._send)

    def _held(self, message_id: int) -> list[int]:
        """Ids of the message's calls that are in memory; the one being told is kept at the chain's head."""
        return [call.id for call in self._chains[message_id].calls]

    def _load(self, claim: Claim) -> None:
        events = event_rows.load([call.event_id for call in claim.calls if call.event_id > 0])
        told = notices.load([-call.event_id for call in claim.calls if call.event_id < 0])
        mailbox_mail.attach(events.values(), told.values())
        wanted = {row.domain_id for row in events.values()} - self._signing.keys()
        if wanted:
            for domain in SenderDomain.select().where(SenderDomain.id.in_(sorted(wanted))):
                self._signing[domain.id] = domains.signing_key(domain)
        providers: Mapping[int, str] = {}
        if webhook_payload.SURFACES[claim.endpoint.surface].wants_sequence:
            event_places.assign(events.values())
        if webhook_payload.SURFACES[claim.endpoint.surface].wants_provider:
            providers = message_events.providers(list(events.values()))
        with self._changed:
            self._providers.update(providers)
            self._facts |= events
            self._facts |= {-id_: notice for id_, notice in told.items()}

    def _take(self, claim: Claim) -> None:
        """Queue the claimed calls, each behind the earlier ones of its message."""
        with self._changed:
            self._endpoint = claim.endpoint
            for call in claim.calls:
                later = self._delayed.get(call.message_id)
                if later is not None:
                    self._done.append(Done(call, told=False, due_ms=later))
                    continue
                chain = self._chains.setdefault(call.message_id, _Chain(call.message_id))
                chain.calls.append(call)
                if not chain.active and chain not in self._queue:
                    self._queue.append(chain)

    def _send(self) -> None:
        """One connection's thread: chain after chain, until there are none."""
        try:
            while True:
                with self._changed:
                    if self._stop or not self._queue:
                        return
                    chain = self._queue.popleft()
                    chain.active = True
                self._tell_chain(chain)
        except Exception:
            _log.exception("webhook_sender_failed", extra={"webhook_id": self.webhook_id})
        finally:
            with self._changed:
                self._threads -= 1
                self._changed.notify_all()

    def _tell_chain(self, chain: _Chain) -> None:
        try:
            while True:
                with self._changed:
                    if self._stop or not chain.calls:
                        return
                    call = chain.calls[0]
                    fact = self._facts.pop(call.event_id, None)
                done = self._tell(call, fact)
                with self._changed:
                    chain.calls.popleft()
                    self._note(done)
                    if not done.told and done.due_ms is not None:
                        self._delay(chain, done.due_ms)
                    if len(self._done) >= _BATCH // 2 or not self._queue:
                        self._changed.notify_all()
        finally:
            with self._changed:
                chain.active = False
                if chain.calls and not self._stop:  # more came in just as it was let go
                    self._queue.append(chain)

    def _tell(self, call: Call, fact: EventRow | Notice | None) -> Done:
        now = clock.now_ms()
        endpoint = self._endpoint
        if endpoint is None or call.lease_ms - now < _LEASE_LEFT_MS:
            return Done(call, told=False, due_ms=call.due_ms)
        if isinstance(fact, EventRow) and not fact.live and not endpoint.test_events:
            return Done(call, told=True, due_ms=None)
        surface = webhook_payload.SURFACES[endpoint.surface]
        telling = self._telling(endpoint, fact, now // 1000)
        body = _body(surface, fact, telling)
        if body is None:
            return Done(call, told=False, due_ms=None, reply=Reply(None, "the event is gone"), started_ms=now)
        headers = webhook_payload.headers(surface, body, uuid=call.uuid, telling=telling)
        reply = http_call.post(endpoint.url, body, headers, allow=config.settings().webhook_allow)
        if reply.ok:
            return Done(call, told=True, due_ms=None, reply=reply, started_ms=now)
        wait_ms = retry_ms(call.attempts + 1, reply.retry_after)
        due = None if wait_ms is None else clock.now_ms() + wait_ms
        return Done(call, told=False, due_ms=due, reply=reply, started_ms=now)

    def _telling(self, endpoint: Endpoint, fact: EventRow | Notice | None, now_s: int) -> Telling:
        with self._changed:
            key = self._signing.get(fact.domain_id, "") if isinstance(fact, EventRow) else ""
            provider = {fact.id: self._providers.pop(fact.id, "")} if isinstance(fact, EventRow) else {}
        return Telling(key, endpoint.secrets, now_s, endpoint.workspace, provider)

    def _note(self, done: Done) -> None:
        """Keep the result, and judge the endpoint by it."""
        self._done.append(done)
        reply = done.reply
        if reply is None:
            return
        if reply.status is not None:
            self._silences = 0
            if not self._stop:
                self.has_answered = True
                self._strikes, self._limit, self._connections = 0, _BATCH, _CONNECTIONS
                self._verdict = Verdict()
            if reply.status == 410:
                self._halt(Verdict(gone=True))
            elif reply.status == 429:
                asked = min((reply.retry_after or 0) * 1000, _PAUSE_ASKED_MS)
                self._halt(Verdict(pause_ms=max(asked, _PAUSE_FIRST_MS), cause="the endpoint answered 429"))
            return
        if done.due_ms is None and not reply.ms:
            return  # nothing was called
        self._silences += 1
        if not reply.reached or self._strikes or self._silences >= _SILENCES:
            self.has_answered = False
            pause = min(_PAUSE_FIRST_MS * 2**self._strikes, _PAUSE_MOST_MS)
            self._halt(Verdict(strikes=self._strikes + 1, pause_ms=pause, cause=reply.error))

    def _halt(self, verdict: Verdict) -> None:
        if not self._stop or verdict.gone:
            self._verdict = verdict
        self._stop = True

    def _delay(self, chain: _Chain, due_ms: int) -> None:
        """What follows in the message waits for its failed call."""
        self._delayed[chain.message_id] = due_ms
        while chain.calls:
            self._done.append(Done(chain.calls.popleft(), told=False, due_ms=due_ms))

    def _hand_back(self) -> None:
        """Give back what was not begun, due as it was; called under the lock."""
        while self._queue:
            chain = self._queue.popleft()
            while chain.calls:
                call = chain.calls.popleft()
                self._done.append(Done(call, told=False, due_ms=call.due_ms))
        for chain in self._chains.values():
            if not chain.active:
                while chain.calls:
                    call = chain.calls.popleft()
                    self._done.append(Done(call, told=False, due_ms=call.due_ms))


_process: _Process | None = None
_process_lock = threading.Lock()


def _own() -> _Process:
    """This process's threads, made after the fork."""
    global _process
    with _process_lock:
        if _process is None or _process.pid != os.getpid():
            _process = _Process()
        return _process


def forget() -> None:
    """Drop what the process knows of endpoints (another database was connected)."""
    _own().answered.clear()
