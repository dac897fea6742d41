"""Every setting: one line, one sentence, one default."""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PREFIX = "COMMANDPOST_"
NO_WAY_OUT = ("capture", "null")
"""Transports by which no mail leaves this machine."""

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


class ConfigError(Exception):
    """A setting has a value that cannot be used; the text names the variable and what it should be."""


@dataclass(frozen=True)
class Address:
    """Where a listener listens or a peer is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(text: str) -> Address:
    parts = urlsplit(f"//{text}")
    try:
        if not parts.hostname or parts.port is None or parts.path or parts.username:
            raise ValueError
    except ValueError:
        raise ValueError("should be host:port, for example 127.0.0.1:8080") from None
    return Address(parts.hostname, parts.port)


def _optional_address(text: str) -> Address | None:
    return _address(text) if text and text != "off" else None


def _addresses(text: str) -> tuple[Address, ...]:
    return tuple(_address(part.strip()) for part in text.split(",") if part.strip())


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ValueError(f"should be a whole number from {low} to {high}")
        return number

    return parse


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("should be 1 or 0")


def is_loopback(host: str) -> bool:
    """Whether `host` is an address or the name of this host's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _text(text: str) -> str:
    return text.strip()


def _path(text: str) -> Path:
    if not text.strip():
        raise ValueError("should be a directory")
    return Path(text).expanduser().absolute()


def _file(text: str) -> Path | None:
    if not text.strip():
        return None
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise ValueError("should be a readable file")
    return path


def _hostname(text: str) -> str:
    name = (text.strip() or socket.getfqdn()).rstrip(".").lower()
    if not name or len(name) > 253 or any(not part or len(part) > 63 for part in name.split(".")):
        raise ValueError("should be a host name, for example mx.example.net")
    return name


def _zone(text: str) -> str:
    return _hostname(text) if text.strip() else ""


def _simulator(text: str) -> str:
    return "" if text.strip().lower() in ("", "off") else _hostname(text)


def _url(text: str) -> str:
    if not text.strip():
        return ""
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("should be an http or https URL, for example https://mail.example.net")
    return text.strip().rstrip("/")


def _database(text: str) -> str:
    text = text.strip()
    if not text:
        return "sqlite:"
    scheme = text.partition(":")[0].partition("+")[0]
    if scheme == "sqlite" and text.startswith("sqlite:///"):
        return text
    if scheme in ("mysql", "mariadb") and urlsplit(text).hostname and len(urlsplit(text).path) > 1:
        return text
    raise ValueError("should be sqlite:///path or mysql://user:password@host:port/name")


def _broker(text: str) -> str:
    text = text.strip()
    if text and text.partition(":")[0] not in ("amqp", "amqps", "redis", "rediss"):
        raise ValueError("should be amqp://… or redis://…, or empty for the embedded broker")
    return text


def _delivery(text: str) -> str:
    text = text.strip()
    if text in ("capture", "direct", "null"):
        return text
    parts = urlsplit(text)
    try:
        port = {"smtp": 25, "smtps": 465}.get(parts.scheme)
        if port is not None and parts.hostname and parts.path in ("", "/"):
            return f"{parts.scheme}://{parts.netloc}" + ("" if parts.port is not None else f":{port}")
    except ValueError:
        pass
    raise ValueError("should be capture, direct, null or smtp://[user:password@]host:port")


def _networks(text: str) -> Networks:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("should be networks, for example 10.0.0.0/8,127.0.0.0/8") from None


def _ports(text: str) -> tuple[str, ...]:
    ports = tuple(part.strip() for part in text.split(",") if part.strip())
    if any(not port.isdigit() or not 0 < int(port) < 65536 for port in ports):
        raise ValueError("should be port numbers, for example 25,587,465")
    return ports


def _origins(text: str) -> tuple[str, ...]:
    return tuple(_url(part) for part in text.split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class Source:
    """An address of this host that mail leaves from, and the name it says in EHLO there."""

    address: str
    hostname: str = ""  # empty: that of the settings


def _zones(text: str) -> tuple[str, ...]:
    return tuple(_hostname(part) for part in text.split(",") if part.strip())


def _sources(text: str) -> tuple[Source, ...]:
    found = []
    for part in text.split(","):
        if not part.strip():
            continue
        address, _, name = part.partition("=")
        try:
            ip = ipaddress.ip_address(address.strip())
            found.append(Source(str(ip), _hostname(name) if name.strip() else ""))
        except ValueError:
            raise ValueError("should be addresses of this host, for example 192.0.2.1=mx1.example.net") from None
    return tuple(found)


@dataclass(frozen=True)
class Setting:
    name: str  # without the prefix; lower-case it is the attribute of `Settings`
    default: str
    parse: Callable[[str], Any]
    help: str
    secret: bool = False

    @property
    def variable(self) -> str:
        return PREFIX + self.name


_port = _integer(1, 65535)
_HOUR = 3600

SETTINGS: tuple[Setting, ...] = (
    Setting("DATA", "./var", _path, "directory of the embedded default"),
    Setting("HTTP", "127.0.0.1:8080", _address, "HTTP listener"),
    Setting("SMTP", "127.0.0.1:2525", _address, "submission listener"),
    Setting("MX", "127.0.0.1:2526", _address, "inbound listener: bounces and complaints"),
    Setting("SMTPS", "off", _optional_address, "implicit-TLS submission listener"),
    Setting("TLS_CERT", "", _file, "certificate chain (PEM) for SMTPS and STARTTLS"),
    Setting("TLS_KEY", "", _file, "private key (PEM) of that certificate"),
    Setting(
        "HOSTNAME", "", _hostname, "EHLO name; target of return-path, SPF and tracking records (default: the FQDN)"
    ),
    Setting("SMTP_HOST", "", _text, "host that AddSMTP and GetSMTPs show (default: the host name)"),
    Setting("SMTP_PORTS", "", _ports, "ports that AddSMTP and GetSMTPs show (default: those of the listeners)"),
    Setting("PUBLIC_URL", "", _url, "base of tracking and unsubscribe links (default: made from HTTP)"),
    Setting("DATABASE_URL", "", _database, "mysql://user:pass@host/db to scale out (default: SQLite in DATA)", True),
    Setting("BROKER_URL", "", _broker, "amqp://… or redis://… to scale out (default: embedded)", True),
    Setting("DNS", "", _addresses, "resolvers as host:port[,host:port] (default: the system's)"),
    Setting("DNS_TRUSTED", "0", _boolean, "1: the resolvers validate DNSSEC, and the way to them is safe"),
    Setting(
        "DANE",
        "auto",
        _text,
        "auto or off: TLSA records of exchangers count where DNS names only resolvers on loopback, or DNS_TRUSTED is 1",
    ),
    Setting("DNSBL_ZONES", "", _zones, "blocklists that are asked about the source addresses: zone,zone"),
    Setting("DNSBL_DOMAIN_ZONES", "", _zones, "blocklists that are asked about sender domains: zone,zone"),
    Setting("MTA_STS", "1", _boolean, "0: the MTA-STS policies of recipients' domains are not asked for"),
    Setting(
        "SOURCE_ADDRESSES",
        "",
        _sources,
        "addresses of this host that direct delivery leaves from, each with an EHLO name or without: addr=name,addr",
    ),
    Setting(
        "DELIVERY",
        "capture",
        _delivery,
        "transport where no route is set: capture, direct, null (throws mail away), smtp://… or smtps://…",
        True,
    ),
    Setting("DKIM_ZONE", "", _zone, "DNS zone of yours that DKIM records point into (`commandpost domain dkim zone`)"),
    Setting(
        "SIMULATOR_DOMAIN", "simulator.test", _simulator, "mail to it never leaves and has chosen fates; off for none"
    ),
    Setting("SPAMD", "off", _optional_address, "host:port of SpamAssassin's spamd, which content scoring asks too"),
    Setting("TRACKING_TLS_PORT", "443", _port, "port at which tracking domains are tried for TLS"),
    Setting("MX_PORT", "25", _port, "port of direct delivery"),
    Setting(
        "DELIVERY_ALLOW", "", _networks, "private networks that direct delivery and tenants' sending servers may reach"
    ),
    Setting("WEBHOOK_ALLOW", "", _networks, "networks that webhooks may reach although they are private"),
    Setting(
        "WEBHOOK_DISABLE_DAYS", "5", _integer(0, 366), "days of failures without a success that disable one; 0: never"
    ),
    Setting("WEBHOOK_KEEP_DAYS", "30", _integer(1, 3660), "how many days webhook deliveries that were told are kept"),
    Setting("WEBHOOK_DEAD_DAYS", "90", _integer(1, 3660), "how many days the dead letters of webhooks are kept"),
    Setting(
        "SECRET", "", _text, "key of the encryption at rest; new,old while it rotates (default: made in DATA)", True
    ),
    Setting("WEB_WORKERS", "2", _integer(1, 64), "HTTP worker processes"),
    Setting("WEB_THREADS", "8", _integer(1, 64), "threads of each HTTP worker"),
    Setting("DELIVER_PROCESSES", "2", _integer(1, 64), "processes that deliver"),
    Setting(
        "DELIVER_CONNECTIONS", "4", _integer(1, 64), "SMTP connections of each delivering process to one smarthost"
    ),
    Setting("DELIVER_THREADS", "32", _integer(2, 256), "threads of each delivering process that send, at most"),
    Setting("SMTP_CONNECTIONS", "500", _integer(2, 10000), "connections to each SMTP listener at one time"),
    Setting(
        "SMTP_CONNECTIONS_PER_ADDRESS",
        "100",
        _integer(1, 10000),
        "of these, from one IPv4 address or IPv6 /64; never more than half",
    ),
    Setting(
        "SMTP_CLEAR_AUTH",
        "127.0.0.0/8,::1/128",
        _networks,
        "networks whose clients may log in to submission without TLS, for example a proxy that ends it",
    ),
    Setting("WEBHOOK_THREADS", "4", _integer(2, 64), "threads that look for webhooks to tell and to replay"),
    Setting("ASIDE_THREADS", "8", _integer(1, 64), "threads for housekeeping, search, hits and the like"),
    Setting("MESSAGE_SIZE", "26214400", _integer(1024, 104857600), "largest message in bytes, after decoding"),
    Setting(
        "IMPORT_SIZE",
        "52428800",
        _integer(1024, 1 << 30),
        "largest file of subscribers in bytes, after decoding to UTF-8",
    ),
    Setting("MAX_TO", "50", _integer(1, 1000), "To recipients of one message"),
    Setting("MAX_CC", "50", _integer(0, 1000), "CC recipients of one message"),
    Setting("MAX_BCC", "50", _integer(0, 1000), "BCC recipients of one message"),
    Setting("MAX_REPLY_TO", "5", _integer(0, 100), "Reply-To addresses of one message"),
    Setting("STRICT_NAMES", "0", _boolean, "1 refuses addresses without a name"),
    Setting("SESSION_HOURS", "24", _integer(1, 8760), "life of a session after its login"),
    Setting("LOGIN_ATTEMPTS", "10", _integer(1, 1000), "failed logins per user name and address in 15 minutes"),
    Setting("TRANSACTIONAL_HOURS", "72", _integer(1, 240), "how long a transactional message is retried"),
    Setting("BULK_HOURS", "72", _integer(1, 240), "how long a bulk message is retried"),
    Setting("RECHECK_HOURS", "24", _integer(1, 720), "hours, about, between two DNS checks of an enabled domain"),
    Setting("DRIFT_CHECKS", "3", _integer(1, 100), "checks in a row that miss a record before its status is Failed"),
    Setting("DRIFT_HOURS", "48", _integer(0, 720), "hours that a record is missing before its status is Failed"),
    Setting("DISABLE_HOURS", "72", _integer(0, 8760), "hours without ownership or DKIM record until a domain stops"),
    Setting(
        "STRIKES", "3", _integer(0, 100), "days with a full mailbox or used-up time that suppress an address; 0: never"
    ),
    Setting("STRIKE_DAYS", "30", _integer(1, 366), "the last days of which these strikes count"),
    Setting("STRIKE_HOLD_DAYS", "30", _integer(1, 3660), "how many days such an address stays suppressed"),
    Setting("INBOUND_KEEP", "1000", _integer(1, 100000), "inbound mails kept for inspection, of each account and kind"),
    Setting("INBOUND_KEEP_BYTES", "52428800", _integer(65536, 1 << 40), "bytes of these, of each account and kind"),
    Setting("INBOUND_KEEP_DAYS", "30", _integer(1, 3660), "how many days they are kept"),
    Setting("MAILBOXES", "1000", _integer(1, 100000), "mailboxes of one domain, at most"),
    Setting("MAILBOX_MESSAGES", "10000", _integer(1, 10000000), "mails that one mailbox holds, at most"),
    Setting("MAILBOX_BYTES", "209715200", _integer(65536, 1 << 40), "bytes that one mailbox holds, at most"),
    Setting("PROVIDER_EVENT_DAYS", "30", _integer(2, 3660), "how many days the raw events of providers are kept"),
    Setting("KEEP_BODY_DAYS", "30", _integer(0, 36500), "how many days bodies are kept, where an account says nothing"),
    Setting("KEEP_METADATA_DAYS", "365", _integer(1, 36500), "how many days the rest of a message and its events are"),
    Setting("KEEP_COUNTER_DAYS", "1100", _integer(1, 36500), "how many days the counters are; never less than that"),
    Setting("KEEP_AUDIT_DAYS", "365", _integer(1, 36500), "how many days the entries of the audit log are kept"),
    Setting("IN_DOUBT", "retry", _text, "retry or hold: a delivery whose reply was lost in a crash"),
    Setting("JOURNAL_SYNC", "0", _boolean, "1 syncs the delivery journal to disk before every DATA"),
    Setting("CORS_ORIGINS", "", _origins, "origins that browsers may call the API from"),
    Setting("TRUSTED_PROXIES", "0", _integer(0, 8), "reverse proxies in front, whose X-Forwarded-For is believed"),
    Setting("LOG_LEVEL", "info", _text, "debug, info, warning or error"),
    Setting("LOG_FORMAT", "text", _text, "text or json"),
)


@dataclass(frozen=True)
class Settings:
    """The parsed settings; attribute names are the variables' in lower case, without the prefix."""

    data: Path
    http: Address
    smtp: Address
    mx: Address
    smtps: Address | None
    tls_cert: Path | None
    tls_key: Path | None
    hostname: str
    smtp_host: str
    smtp_ports: tuple[str, ...]
    public_url: str
    database_url: str
    broker_url: str
    dns: tuple[Address, ...]
    dns_trusted: bool
    dane: str
    mta_sts: bool
    source_addresses: tuple[Source, ...]
    dnsbl_zones: tuple[str, ...]
    dnsbl_domain_zones: tuple[str, ...]
    delivery: str
    dkim_zone: str
    simulator_domain: str
    spamd: Address | None
    tracking_tls_port: int
    mx_port: int
    delivery_allow: Networks
    webhook_allow: Networks
    webhook_disable_days: int
    webhook_keep_days: int
    webhook_dead_days: int
    secret: str
    web_workers: int
    web_threads: int
    deliver_processes: int
    deliver_connections: int
    deliver_threads: int
    smtp_connections: int
    smtp_connections_per_address: int
    smtp_clear_auth: Networks
    webhook_threads: int
    aside_threads: int
    message_size: int
    import_size: int
    max_to: int
    max_cc: int
    max_bcc: int
    max_reply_to: int
    strict_names: bool
    session_hours: int
    login_attempts: int
    transactional_hours: int
    bulk_hours: int
    recheck_hours: int
    drift_checks: int
    drift_hours: int
    disable_hours: int
    strikes: int
    strike_days: int
    strike_hold_days: int
    inbound_keep: int
    inbound_keep_bytes: int
    inbound_keep_days: int
    mailboxes: int
    mailbox_messages: int
    mailbox_bytes: int
    provider_event_days: int
    keep_body_days: int
    keep_metadata_days: int
    keep_counter_days: int
    keep_audit_days: int
    in_doubt: str
    journal_sync: bool
    cors_origins: tuple[str, ...]
    trusted_proxies: int
    log_level: str
    log_format: str

    @property
    def base_url(self) -> str:
        return self.public_url or f"http://{self.http}"

    @property
    def validates_tlsa(self) -> bool:
        """Whether AD of the resolvers is believed: whoever sits between could set it too (RFC 7672 §2.2)."""
        near = bool(self.dns) and all(is_loopback(server.host) for server in self.dns)
        return self.dane != "off" and (self.dns_trusted or near)

    @property
    def shown_smtp_host(self) -> str:
        return self.smtp_host or self.hostname

    @property
    def shown_smtp_ports(self) -> list[str]:
        if self.smtp_ports:
            return list(self.smtp_ports)
        return [str(address.port) for address in (self.smtp, self.smtps) if address]

    @property
    def body_size(self) -> int:
        """Bytes of one request body: a message in base64 and its JSON around it."""
        return self.message_size * 4 // 3 + 1024 * 1024


_WORDS = {
    "DANE": ("auto", "off"),
    "IN_DOUBT": ("retry", "hold"),
    "LOG_LEVEL": ("debug", "info", "warning", "error"),
    "LOG_FORMAT": ("text", "json"),
}


def _raw(setting: Setting, environment: Mapping[str, str]) -> str:
    """The variable's text, or the content of the file that its `…_FILE` twin names."""
    if setting.variable in environment:
        return environment[setting.variable]
    twin = environment.get(f"{setting.variable}_FILE")
    if setting.secret and twin:
        try:
            return Path(twin).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"{setting.variable}_FILE: {error.strerror}: {twin}") from None
    return setting.default


def load(environment: Mapping[str, str]) -> Settings:
    """Parse all settings; raises `ConfigError` that names the first variable that cannot be used."""
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = _raw(setting, environment)
        try:
            value = setting.parse(text)
            if setting.name in _WORDS and value not in _WORDS[setting.name]:
                raise ValueError("should be " + " or ".join(_WORDS[setting.name]))
        except ValueError as error:
            shown = "…" if setting.secret else repr(text)
            raise ConfigError(f"{setting.variable}={shown}: {error}") from None
        values[setting.name.lower()] = value
    if (values["tls_cert"] is None) != (values["tls_key"] is None):
        raise ConfigError(f"{PREFIX}TLS_CERT and {PREFIX}TLS_KEY: should both be set, or neither")
    known = {setting.variable for setting in SETTINGS} | {f"{s.variable}_FILE" for s in SETTINGS if s.secret}
    for name in environment:
        if name.startswith(PREFIX) and name not in known and not name.startswith((f"{PREFIX}TEST_", f"{PREFIX}RUN_")):
            raise ConfigError(f"{name}: no such setting")
    return Settings(**values)


@functools.cache
def _from_environment() -> Settings:
    return load(os.environ)


_used: Settings | None = None


def use(settings: Settings | None) -> None:
    """Set the settings of this process (tests, the command line); None goes back to the environment."""
    global _used
    _used = settings
    if settings is None:
        _from_environment.cache_clear()


def settings() -> Settings:
    return _used if _used is not None else _from_environment()
