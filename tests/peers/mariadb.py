"""A MariaDB server of the test's own: own folder, own port, to be killed and started again at will."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

import pymysql

from tests.installation import free_port

INSTALL, SERVER = shutil.which("mariadb-install-db"), shutil.which("mariadbd")


def why_not() -> str:
    """Empty when a server can be started here, else why not."""
    return "" if INSTALL and SERVER else "mariadbd or mariadb-install-db is not installed"


class MariaDb:
    """Starts with the database `commandpost`; `kill` is SIGKILL, `start` begins anew on the same files."""

    def __init__(self, folder: Path) -> None:
        assert INSTALL and SERVER
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self._run = [
            SERVER, "--no-defaults", f"--datadir={folder / 'data'}", f"--port={self.port}", "--bind-address=127.0.0.1",
            f"--socket={folder / 'sock'}", f"--pid-file={folder / 'pid'}", "--user=root", "--skip-grant-tables",
            "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M", "--performance-schema=OFF",
            "--innodb-flush-log-at-trx-commit=1", "--max-connections=200",
        ]  # fmt: skip
        subprocess.run(
            [
                INSTALL, "--no-defaults", f"--datadir={folder / 'data'}", "--user=root",
                "--auth-root-authentication-method=normal", "--skip-test-db",
            ],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        self.start()
        connection = self.connect("")
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE commandpost CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        connection.close()

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/commandpost"

    def connect(self, database: str = "commandpost") -> pymysql.connections.Connection:  # type: ignore[type-arg]
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database or None, autocommit=True, connect_timeout=5
        )

    def start(self, timeout: float = 40.0) -> None:
        """Start and wait until it answers."""
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(self._run, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + timeout
        while True:
            try:
                self.connect("").close()
                return
            except pymysql.err.Error:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text(errors="replace")[-3000:]) from None
                time.sleep(0.05)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
