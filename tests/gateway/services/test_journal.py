"""The journal: what survives a killed process, and what must not be believed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.services import journal

CHILD = """
import os, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from gateway.services.journal import Journal
j = Journal(Path({folder!r}))
j.claimed([(1, 1), (2, 1), (3, 1), (4, 7)])
j.sending((2, 1))
j.sending((3, 1))
j.answered((3, 1), b'{{"o":{{}}}}')
j.sending((4, 7))
j.answered((4, 7), b'{{}}')
j.flushed([(4, 7)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def _die(folder: Path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    child = subprocess.run([sys.executable, "-c", CHILD.format(root=root, folder=str(folder))], timeout=20)
    assert child.returncode == -signal.SIGKILL


def test_a_killed_process_leaves_what_it_knew(tmp_path: Path) -> None:
    _die(tmp_path)
    (remains,) = list(journal.orphans(tmp_path))
    assert remains.unstarted == [(1, 1)]
    assert remains.in_doubt == [(2, 1)]
    assert remains.answered == {(3, 1): b'{"o":{}}', (4, 7): b"{}"}
    assert list(journal.orphans(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_living_process_keeps_its_journal(tmp_path: Path) -> None:
    mine = journal.Journal(tmp_path)
    mine.claimed([(1, 1)])
    assert list(journal.orphans(tmp_path)) == []
    mine.flushed([(1, 1)])
    mine.close()
    assert list(tmp_path.iterdir()) == []


def test_another_boot_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _die(tmp_path)
    monkeypatch.setattr(journal, "boot_id", lambda: "another-boot")
    (remains,) = list(journal.orphans(tmp_path))
    assert (remains.unstarted, remains.in_doubt, remains.answered) == ([], [], {})


def test_a_torn_last_line_does_not_count(tmp_path: Path) -> None:
    _die(tmp_path)
    (path,) = tmp_path.glob("*.journal")
    with open(path, "ab") as file:
        file.write(b'R 2 1 {"o":')
    (remains,) = list(journal.orphans(tmp_path))
    assert remains.in_doubt == [(2, 1)]


def test_growing_starts_a_new_file_with_what_is_unsettled(tmp_path: Path) -> None:
    mine = journal.Journal(tmp_path)
    mine.claimed([(0, 1)])
    for n in range(1, 6000):
        mine.claimed([(n, 1)])
        mine.sending((n, 1))
        mine.answered((n, 1), b'{"o":{"result":"delivered","code":250}}')
        mine.flushed([(n, 1)])
    (path,) = tmp_path.glob("*.journal")
    assert path.stat().st_size < 400_000
    assert b"C 0 1\n" in path.read_bytes()
    mine.flushed([(0, 1)])
    assert path.stat().st_size < 100 or len(list(tmp_path.glob("*.journal"))) == 1
    mine.close()
    assert os.listdir(tmp_path) == []


def test_the_journal_of_another_host_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "7-foreign.journal"
    path.write_bytes(b"another-boot 1 another-host\nC 1 1\nD 1 1\n")
    assert list(journal.orphans(tmp_path)) == []
    assert path.exists()
    long_ago = time.time() - 8 * 86_400
    os.utime(path, (long_ago, long_ago))
    assert list(journal.orphans(tmp_path)) == []
    assert not path.exists()


def test_a_container_of_another_name_on_the_same_kernel_is_believed(tmp_path: Path) -> None:
    (tmp_path / "7-gone.journal").write_bytes(f"{journal.boot_id()} 0 another-name\nC 1 1\n".encode())
    (remains,) = list(journal.orphans(tmp_path))
    assert remains.unstarted == [(1, 1)]


FULL = """
import resource, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from gateway.services.journal import Journal
j = Journal(Path({folder!r}))
j.claimed([(1, 1), (2, 1)])
j.sending((1, 1))
size = j._path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5, -1))
j.answered((1, 1), b"{{}}")  # half of it would fit
try:
    j.sending((2, 1))
    raise SystemExit("should have been refused")
except OSError:
    pass
j.flushed([])
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
j.answered((1, 1), b"{{}}")
import os
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_full_disk_tears_no_line_and_loses_no_answer(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    child = subprocess.run([sys.executable, "-c", FULL.format(root=root, folder=str(tmp_path))], timeout=20)
    assert child.returncode == -signal.SIGKILL
    (remains,) = list(journal.orphans(tmp_path))
    assert remains.answered == {(1, 1): b"{}"}
    assert remains.unstarted == [(2, 1)]


def test_only_a_confirmed_claim_is_certain(tmp_path: Path) -> None:
    mine = journal.Journal(tmp_path)
    mine.claimed([(1, 1), (2, 1)], 77)
    mine.confirmed([(1, 1)])
    mine.close()
    (remains,) = list(journal.orphans(tmp_path))
    assert (remains.unstarted, remains.leases) == ([(1, 1), (2, 1)], {(2, 1): 77})
    again = journal.Journal(tmp_path)
    again.claimed([(3, 1)], 78)
    assert again.unconfirmed() == {(3, 1): 78}
    assert again.unconfirmed() == {}
    again.flushed([(3, 1)])
    again.close()
    assert os.listdir(tmp_path) == []
