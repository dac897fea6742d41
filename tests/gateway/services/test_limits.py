"""Request rates: exact, in windows, across processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine

from gateway import clock, errors
from gateway.services import limits
from gateway.services.identity import Caller, Limits
from models import database as db
from models.runtime import RateCounter
from tests.conftest import ROOT, use_settings


def caller(key_id: int | None = 5, **plan: Any) -> Caller:
    return Caller(1, "owner@example.com", "user", "active", Limits(**plan), key_id=key_id)


@pytest.fixture
def frozen(store: str) -> Iterator[Any]:
    with time_machine.travel(clock.now(), tick=False) as traveller:
        yield traveller


def test_counts_down_and_refuses(frozen: Any) -> None:
    who = caller(requests=2, request_window=60)
    assert limits.admit(who) == limits.RateState(2, 1, 60, 60)
    frozen.shift(10)
    assert limits.admit(who) == limits.RateState(2, 0, 50, 60)
    with pytest.raises(errors.RateLimited) as refused:
        limits.admit(who)
    assert (refused.value.data["retry_after"], refused.value.data["attempts"]) == (50, 2)


def test_window_begins_anew_with_its_first_request(frozen: Any) -> None:
    who = caller(requests=1, request_window=10)
    limits.admit(who)
    frozen.shift(9)
    with pytest.raises(errors.RateLimited):
        limits.admit(who)
    frozen.shift(1.001)
    assert limits.admit(who).reset == 10
    with pytest.raises(errors.RateLimited):
        limits.admit(who)


def test_a_plan_with_another_window_begins_anew(frozen: Any) -> None:
    for _ in range(5):
        limits.admit(caller(requests=100, request_window=60))
    assert limits.admit(caller(requests=1, request_window=1)) == limits.RateState(1, 0, 1, 1)
    assert limits.admit(caller(requests=100, request_window=60)).remaining == 94


def test_each_key_has_its_own_count(frozen: Any) -> None:
    for who in (caller(1, requests=1), caller(2, requests=1), caller(None, requests=1)):
        limits.admit(who)
        with pytest.raises(errors.RateLimited):
            limits.admit(who)


def test_without_a_limit_nothing_is_counted(store: str) -> None:
    assert limits.admit(caller(requests=None)) == limits.RateState()
    assert RateCounter.select().count() == 0


def test_exact_with_threads(store: str) -> None:
    who, admitted = caller(requests=25), []

    def run() -> None:
        for _ in range(10):
            with contextlib.suppress(errors.RateLimited):
                admitted.append(limits.admit(who))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 25
    assert sorted(state.remaining for state in admitted) == list(range(25))


_COUNTER = """
import sys
from pathlib import Path
from gateway import config, errors
from gateway.services import limits
from gateway.services.identity import Caller, Limits
from models import database as db
db.connect(sys.argv[1], Path(sys.argv[2]))
who = Caller(1, "a", "user", "active", Limits(requests=30), key_id=5)
n = 0
for _ in range(20):
    try:
        limits.admit(who)
        n += 1
    except errors.RateLimited:
        pass
print(n)
"""


def test_exact_across_processes(store: str, tmp_path: Any) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _COUNTER, store, str(tmp_path)],
            cwd=ROOT,
            env=os.environ | {"COMMANDPOST_DATA": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert sum(int(process.communicate(timeout=60)[0]) for process in running) == 30


def test_failed_logins(frozen: Any, tmp_path: Any) -> None:
    use_settings(tmp_path, LOGIN_ATTEMPTS="2")
    who = limits.login_key("smtp", "Jane", "127.0.0.1")
    assert who == limits.login_key("smtp", "jane", "127.0.0.1") != limits.login_key("smtp", "jane", "127.0.0.2")
    for _ in range(2):
        limits.check_login(who)
        limits.note_failure(who)
    frozen.shift(60)
    with pytest.raises(errors.RateLimited) as refused:
        limits.check_login(who)
    assert refused.value.data["retry_after"] == 14 * 60
    limits.forgive(who)
    limits.check_login(who)
    limits.note_failure(who)
    limits.note_failure(who)
    frozen.shift(15 * 60 + 1)
    limits.check_login(who)


def test_attempts_that_run_together_do_not_pass_together(store: str, tmp_path: Any) -> None:
    use_settings(tmp_path, LOGIN_ATTEMPTS="2")
    who = limits.login_key("login", "jane", "127.0.0.1")
    limits.attempt_login(who)
    limits.attempt_login(who)
    with pytest.raises(errors.RateLimited):
        limits.attempt_login(who)


def test_storage_of_the_library(frozen: Any) -> None:
    storage = limits._storage
    assert storage.check() and storage.get("a") == 0
    assert [storage.incr("a", 60), storage.incr("a", 60, 2)] == [1, 3]
    assert storage.get("a") == 3 and storage.get_expiry("a") == pytest.approx(clock.now_ms() / 1000 + 60)
    storage.clear("a")
    assert storage.get("a") == 0
    storage.incr("b", 60)
    assert storage.reset() == 1


def test_a_login_is_counted_under_one_name_however_it_is_written(store: str) -> None:
    key = limits.login_key("login", "owner@people.test", "192.0.2.1")
    for name in (" owner@people.test", "owner@people.test  ", "\tOWNER@people.test\u00a0"):
        assert limits.login_key("login", name, "192.0.2.1") == key
    assert limits.login_key("login", "owner@people.test", "::ffff:192.0.2.1") == key
    assert limits.login_key("login", "owner@people.test", "192.0.2.2") != key
    assert limits.login_key("smtp", "owner@people.test", "192.0.2.1") != key
    wide = limits.login_key("login", "a", "2001:db8:1:2::1")
    assert limits.login_key("login", "a", "2001:db8:1:2:ffff::9") == wide
    assert limits.login_key("login", "a", "2001:db8:1:3::1") != wide


@pytest.mark.parametrize("store_url", ["mariadb"], indirect=True)
def test_a_table_that_strangers_filled_goes_on_counting(frozen: Any) -> None:
    far = clock.now_ms() + 900_000
    with contextlib.suppress(db.StoreUnavailable):  # the table is full
        while RateCounter.select().count() < 200_000:
            at = RateCounter.select().count()
            RateCounter.insert_many([(f"stranger/{at + i}", 1, far + i) for i in range(2000)]).execute()
    who = caller(77, requests=1)
    limits.admit(who)
    with pytest.raises(errors.RateLimited):
        limits.admit(who)
    assert RateCounter.select().count() > 1000
