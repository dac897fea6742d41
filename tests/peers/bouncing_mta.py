"""Postfix and Exim on loopback: they take mail in, try their next hops, and bounce what is refused."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

HOST = "mx.example.net"
"""What they call themselves in their reports."""

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_MAIN = """\
compatibility_level = 3.6
myhostname = {host}
mydomain = example.net
myorigin = {host}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
queue_directory = {queue}
data_directory = {data}
maillog_file = {log}
maillog_file_prefixes = {folder}
biff = no
alias_maps =
alias_database =
local_recipient_maps =
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_reject_unlisted_recipient = no
smtpd_peername_lookup = no
transport_maps = texthash:{transports}
virtual_mailbox_domains = local.example.net
virtual_mailbox_base = {boxes}
virtual_mailbox_maps = texthash:{mailboxes}
virtual_mailbox_limit = 1000000
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 100
message_size_limit = 1000000
mailbox_size_limit = 1000000
smtputf8_enable = yes
smtp_dns_support_level = disabled
smtp_host_lookup = native
disable_dns_lookups = yes
minimal_backoff_time = 2s
maximal_backoff_time = 3s
queue_run_delay = 2s
maximal_queue_lifetime = {lifetime}
bounce_queue_lifetime = {lifetime}
delay_warning_time = {warning}
{more}
"""

_EXIM = """\
primary_hostname = {host}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/exim.pid
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
exim_path = {binary}
exim_user = nobody
exim_group = nogroup
tls_advertise_hosts =
smtputf8_advertise_hosts = *
message_size_limit = 1M
delay_warning = {warning}
host_lookup =
keep_environment =
acl_smtp_rcpt = accept_all
acl_smtp_data = accept_all
begin acl
accept_all:
  accept
begin routers
next_hop:
  driver = manualroute
  domains = {domains}
  route_list = {routes}
  transport = remote
  self = send
  host_find_failed = fail
  no_more
here:
  driver = accept
  domains = local.example.net
  local_parts = full
  transport = box
begin transports
remote:
  driver = smtp
  allow_localhost
  hosts_try_fastopen =
box:
  driver = appendfile
  file = {folder}/box
  user = nobody
  group = nogroup
  quota = 10
begin retry
*  quota
*  *  F,{lifetime},1s
"""


def why_no_postfix() -> str:
    """Empty when Postfix can be run here, else why not."""
    if not os.path.exists("/usr/sbin/postfix"):
        return "Postfix is not installed"
    return "" if os.geteuid() == 0 else "Postfix starts as root only"


def exim_binary() -> str | None:
    """Where Exim is: `COMMANDPOST_TEST_EXIM` or installed."""
    return os.environ.get("COMMANDPOST_TEST_EXIM") or shutil.which("exim4", path="/usr/sbin:/usr/bin")


def why_no_exim() -> str:
    """Empty when Exim can be run here, else why not."""
    binary = exim_binary()
    if not binary:
        return "Exim is not installed and COMMANDPOST_TEST_EXIM names none"
    if not os.access(binary, os.X_OK):
        return f"COMMANDPOST_TEST_EXIM names {binary}, which cannot be run"
    if os.geteuid() != 0:
        return "Exim takes a configuration of its own from root only"
    tried = subprocess.run([binary, "-bV"], capture_output=True, text=True)
    return "" if "Exim version" in tried.stdout else f"Exim does not run: {tried.stderr.strip()[:200]}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _let_in(folder: Path) -> None:
    """Let the users that the daemons run as pass through the folders of a test."""
    for path in (folder, *folder.parents):
        mode = path.stat().st_mode
        if mode & 0o011 != 0o011:
            path.chmod(mode | 0o011)


class _Mta:
    port: int

    def answers(self, seconds: float = 20.0) -> None:
        """Return once it takes connections; AssertionError after that time."""
        end = time.monotonic() + seconds
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                    if sock.recv(3) == b"220":
                        return
            except OSError:
                pass
            assert time.monotonic() < end, f"no answer at {self.port}: {self.log()}"
            time.sleep(0.1)

    def log(self) -> str:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        try:
            self.answers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Postfix(_Mta):
    """An instance of its own below `folder`; `routes` has the port on loopback of each domain's next hop."""

    def __init__(
        self, folder: Path, routes: Mapping[str, int], *, lifetime: str = "1d", warning: str = "0h", more: str = ""
    ) -> None:
        self.folder, self.port = folder, free_port()
        names = ("config", "queue", "data", "boxes")
        self.config, queue, data, boxes = (folder / name for name in names)
        for made in (self.config, queue, data, boxes):
            made.mkdir(parents=True)
        _let_in(folder)
        shutil.chown(data, "postfix")
        shutil.chown(boxes, 65534, 65534)
        (self.config / "transports").write_text(
            "".join(f"{domain} smtp:[127.0.0.1]:{port}\n" for domain, port in routes.items())
        )
        (self.config / "mailboxes").write_text("full@local.example.net full\n")
        (self.config / "master.cf").write_text(_MASTER.format(port=self.port))
        (self.config / "main.cf").write_text(
            _MAIN.format(
                host=HOST, queue=queue, data=data, boxes=boxes, folder=folder, log=folder / "log",
                transports=self.config / "transports", mailboxes=self.config / "mailboxes",
                lifetime=lifetime, warning=warning, more=more,
            )
        )  # fmt: skip

    def start(self) -> None:
        done = subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.config), "start"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr + self.log()

    def stop(self) -> None:
        subprocess.run(["/usr/sbin/postfix", "-c", str(self.config), "stop"], capture_output=True, timeout=60)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""


class Exim(_Mta):
    """A daemon of its own below `folder`; `routes` has the port on loopback of each domain's next hop."""

    def __init__(self, folder: Path, routes: Mapping[str, int], *, lifetime: str = "1d", warning: str = "0s") -> None:
        self.folder, self.port = folder, free_port()
        (folder / "spool").mkdir(parents=True)
        self._binary = exim_binary() or ""
        self._process: subprocess.Popen[bytes] | None = None
        self.config = folder / "exim.conf"
        self.config.write_text(
            _EXIM.format(
                host=HOST, folder=folder, port=self.port, lifetime=lifetime, warning=warning, binary=self._binary,
                domains=" : ".join((*routes, "nohost.example.org")),
                routes=" ; ".join(
                    (
                        *(f"{domain} 127.0.0.1::{port}" for domain, port in routes.items()),
                        "nohost.example.org no-such-host.invalid",
                    )
                ),
            )
        )  # fmt: skip
        self.config.chmod(0o644)
        _let_in(folder)
        for made in (folder, folder / "spool"):
            shutil.chown(made, "nobody", "nogroup")

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._binary, "-C", str(self.config), "-bdf", "-q1s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("*log"))[-4000:]
