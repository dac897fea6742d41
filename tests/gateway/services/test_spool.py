"""The spool: nothing written is lost or read twice, whoever writes, seals or dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway import config
from gateway.services import hit_spool, spool
from tests.conftest import ROOT, use_settings

pytestmark = pytest.mark.usefixtures("settings")


def _read_all() -> list[bytes]:
    hit_spool.seal()
    return [line for file in hit_spool.sealed() for line, _ in file.lines(0, 1_000_000)]


def test_threads_write_while_it_is_sealed() -> None:
    mine = spool.Spool(hit_spool.folder())

    def write(who: int) -> None:
        for number in range(300):
            assert mine.append(b"%d-%d" % (who, number))

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        hit_spool.seal()
    found = _read_all()
    assert len(found) == 1200
    assert set(found) == {b"%d-%d" % (who, number) for who in range(4) for number in range(300)}


_WRITER = """
import sys
from pathlib import Path
from gateway.services.spool import Spool
spool = Spool(Path(sys.argv[1]))
n = 0
while True:
    spool.append(b"%s-%d" % (sys.argv[2].encode(), n))
    print(n, flush=True)
    n += 1
"""


def test_what_a_killed_process_wrote_stays(tmp_path: Path) -> None:
    folder = hit_spool.folder()
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(folder), name], cwd=ROOT, stdout=subprocess.PIPE)
        for name in ("a", "b")
    ]
    said: dict[str, int] = {}
    for name, writer in zip(("a", "b"), writers, strict=True):
        assert writer.stdout is not None
        for _ in range(200):
            said[name] = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    found = _read_all()
    assert len(found) == len(set(found))
    for name, last in said.items():
        assert {f"{name}-{n}".encode() for n in range(last + 1)} <= set(found)


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "FILE_MOST", 100)
    kept = [hit_spool.append(b"x" * 30) for _ in range(5)]
    assert kept == [True, True, True, False, False]
    hit_spool.seal()
    assert hit_spool.append(b"y")


def test_a_torn_line_spoils_no_other() -> None:
    assert hit_spool.append(b"one")
    with (hit_spool.folder() / "current").open("ab") as file:
        file.write(b"\nhalf a li")
    assert hit_spool.append(b"two")
    assert _read_all() == [b"one", b"half a li", b"two"]


def test_lines_say_where_they_end() -> None:
    for text in (b"one", b"two", b"three"):
        hit_spool.append(text)
    file = hit_spool.seal()
    assert file is not None
    (first, end), *_ = file.lines(0, 1)
    assert (first, [line for line, _ in file.lines(end, 9)]) == (b"one", [b"two", b"three"])
    assert hit_spool.seal() is None


def test_one_reader_at_a_time() -> None:
    with hit_spool.reading() as alone, hit_spool.reading() as other:
        assert (alone, other) == (True, False)
    with hit_spool.reading() as again:
        assert again


def test_another_folder_costs_no_descriptor(settings: config.Settings) -> None:
    place = spool.Place("lines")
    place.append(b"one")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        use_settings(settings.data / str(number))
        assert place.append(b"one")
    assert len(os.listdir("/proc/self/fd")) == before
