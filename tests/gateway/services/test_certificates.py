"""The self-signed certificate: made once, for this host alone, made anew when it is no good any more."""

from __future__ import annotations

from pathlib import Path

import pytest
import time_machine
from cryptography import x509

from gateway import config
from gateway.services import certificates
from tests.conftest import use_settings


@pytest.fixture(autouse=True)
def _ended() -> object:
    yield
    config.use(None)


def test_it_is_made_once_and_read_by_nobody_else(tmp_path: Path) -> None:
    settings = use_settings(tmp_path / "var")
    assert not certificates.made(settings)
    path = certificates.make(settings)
    assert certificates.made(settings)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert certificates.make(settings).read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [certificates.FILE]


@pytest.mark.parametrize("hostname", ["mx.gateway.test", "mx." + "a" * 60 + ".test", "mx.bücher.test"])
def test_it_names_the_host_and_loopback(tmp_path: Path, hostname: str) -> None:
    settings = use_settings(tmp_path, HOSTNAME=hostname)
    found = x509.load_pem_x509_certificate(certificates.make(settings).read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    ascii_name = hostname.encode("idna").decode()
    assert names.get_values_for_type(x509.DNSName) == [ascii_name, "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    before = found.serial_number
    again = x509.load_pem_x509_certificate(certificates.make(settings).read_bytes())
    assert again.serial_number == before


def test_it_is_made_anew_for_another_host_or_near_its_end_or_when_broken(tmp_path: Path) -> None:
    path = certificates.make(use_settings(tmp_path))
    seen = [path.read_bytes()]
    certificates.make(use_settings(tmp_path, HOSTNAME="other.gateway.test"))
    seen.append(path.read_bytes())
    with time_machine.travel(x509.load_pem_x509_certificate(seen[-1]).not_valid_after_utc, tick=False):
        certificates.make(config.settings())
    seen.append(path.read_bytes())
    path.write_bytes(b"nonsense")
    certificates.make(config.settings())
    seen.append(path.read_bytes())
    assert len(set(seen)) == 4


def test_which_certificate_is_shown(tmp_path: Path) -> None:
    settings = use_settings(tmp_path)
    assert certificates.server_context(settings, needed=False) is None
    assert certificates.server_context(settings, needed=True) is not None
    assert certificates.server_context(settings, needed=False) is not None  # it is there now
