"""Who ends TLS in front of an installation: a certificate on demand from an authority of the test's own.

It asks the gateway for permission before it makes a certificate, as Caddy does with `on_demand_tls`.
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates; `path` is what clients are told to trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        self._certificate = self._signed(self._name, self._key.public_key(), ca=True)
        self.path = folder / "authority.pem"
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, host: str) -> Path:
        """A file with certificate and key for the host."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._signed(name, key.public_key(), host=host)
        path = self._folder / f"{host}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool = False, host: str = ""
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


class TlsFront:
    """Listens on loopback, gets a certificate for each allowed name, and passes what comes on to `upstream`."""

    def __init__(self, authority: Authority, *, ask: str, upstream: tuple[str, int]) -> None:
        self._authority, self._ask, self._upstream = authority, ask, upstream
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.refused: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._base = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._base.load_cert_chain(authority.issue("fallback.invalid"))
        self._base.sni_callback = self._choose
        threading.Thread(target=self._accept, daemon=True).start()

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if name not in self._contexts:
            if not name or requests.get(self._ask, params={"domain": name}, timeout=5).status_code != 200:
                self.refused.append(name or "")
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._authority.issue(name))
            self._contexts[name] = context
        connection.context = self._contexts[name]
        return None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), client:
            client.settimeout(10)
            with (
                self._base.wrap_socket(client, server_side=True) as inside,
                socket.create_connection(self._upstream, timeout=10) as outside,
            ):
                request = b""
                while b"\r\n\r\n" not in request and (piece := inside.recv(65536)):
                    request += piece
                if not request:
                    return
                outside.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                while piece := outside.recv(65536):
                    inside.sendall(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone leaves the thread in accept(), which takes one more.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
