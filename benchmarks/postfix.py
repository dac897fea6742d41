"""The optional peer: Postfix, with opendkim where it signs, each with folders and ports of its own on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from benchmarks import world
from tests.installation import free_port

_DAEMONS = Path("/usr/lib/postfix/sbin")
_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
"""


def missing(*, signing: bool) -> str:
    """Why the peer cannot run here; empty when it can."""
    if os.geteuid():
        return "Postfix starts as root only"
    for program in ("postfix", *(("opendkim",) if signing else ())):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return "" if _DAEMONS.is_dir() else f"{_DAEMONS} is not there"


class Postfix:
    """Takes mail without a login and relays it to `sink`; `held` keeps it in the queue until `release`.

    Its own throttles are off (`in_flow_delay`), and nothing is logged where there is no syslog. `settings` are
    lines of main.cf over those here.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sink: int,
        signing: bool = False,
        held: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self._folder, self._sink, self._signing, self._held = folder, sink, signing, held
        self._settings = settings or {}
        self._config = folder / "etc"
        self._milter: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for name in ("etc", "queue", "data"):
            (self._folder / name).mkdir(parents=True)
        for part in (self._folder, *self._folder.parents):  # its daemons are not root
            if part.stat().st_uid == os.geteuid() and not part.stat().st_mode & 1:
                part.chmod(part.stat().st_mode | 0o111)
        shutil.chown(self._folder / "data", "postfix")
        milter = self._start_milter() if self._signing else ""
        self._start(milter)
        world.wait_for(self.port)
        return self

    def _start(self, milter: str) -> None:
        """On a loaded machine the port may be taken in between, or its master be too slow for its own patience."""
        for last in (False, False, True):
            self._write(milter)
            try:
                self._postfix("start")
                break
            except RuntimeError:
                self._postfix("stop", check=False)
                if last:
                    raise
                self.port = free_port()

    def __exit__(self, *_: object) -> None:
        self._postfix("stop", check=False)
        if self._milter is not None:
            self._milter.send_signal(signal.SIGTERM)
            self._milter.wait(20)

    def release(self) -> None:
        """Let the held mail go."""
        self._held = False
        self._write("")
        self._postfix("reload")
        subprocess.run(["postqueue", "-c", str(self._config), "-f"], check=True, timeout=60)

    def _postfix(self, verb: str, *, check: bool = True) -> None:
        told = self._folder / "postfix.log"
        with open(told, "ab") as log:
            done = subprocess.run(
                ["postfix", "-c", str(self._config), verb], timeout=60, stdout=subprocess.DEVNULL, stderr=log
            )
        if check and done.returncode:
            raise RuntimeError(f"postfix {verb}: {told.read_text(errors='replace')[-2000:]}")

    def _write(self, milter: str) -> None:
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": str(self._folder / "queue"),
            "data_directory": str(self._folder / "data"),
            "daemon_directory": str(_DAEMONS),
            "myhostname": "peer.gateway.test",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "relayhost": f"[127.0.0.1]:{self._sink}",
            "disable_dns_lookups": "yes",
            "alias_maps": "",
            "alias_database": "",
            "local_recipient_maps": "",
            "biff": "no",
            "in_flow_delay": "0s",
            "smtpd_peername_lookup": "no",
            "smtpd_client_connection_count_limit": "0",
            "smtp_tls_security_level": "none",
            "smtpd_tls_security_level": "none",
            "smtpd_milters": milter,
            "milter_default_action": "tempfail",
            "defer_transports": "smtp relay" if self._held else "",
        } | dict(self._settings)
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self._config / "main.cf").write_text(text)
        (self._config / "master.cf").write_text(_SERVICES.format(port=self.port))

    def _start_milter(self) -> str:
        key = self._folder / "key.pem"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True, timeout=60)
        key.chmod(0o600)
        path = self._folder / "milter.sock"
        conf = self._folder / "opendkim.conf"
        conf.write_text(
            f"Domain {world.DOMAIN}\nSelector bench\nKeyFile {key}\nMode s\nCanonicalization relaxed/relaxed\n"
            f"SignatureAlgorithm rsa-sha256\nSocket local:{path}\nRequireSafeKeys no\nSyslog no\n"
        )
        self._milter = subprocess.Popen(
            ["opendkim", "-f", "-x", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 20
        while not path.exists():
            if time.monotonic() > end or self._milter.poll() is not None:
                raise RuntimeError("opendkim does not start")
            time.sleep(0.05)
        path.chmod(0o777)
        return f"unix:{path}"
