"""A real Matrix homeserver on loopback: Synapse from a venv of its own, with one user and one room."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

PYTHON = Path(__file__).parents[2] / ".venv-matrix" / "bin" / "python"
_SHARED_SECRET = "registration of tests"
_START_SECONDS = 60.0
_TIMEOUT = 30


@dataclass
class MatrixServer:
    """A running homeserver."""

    url: str
    token: str = ""
    room: str = ""

    def ask(self, method: str, path: str, content: object = None, *, token: str | None = None) -> Any:
        """The answer of the client-server API. Raises requests.HTTPError."""
        given = self.token if token is None else token
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        answer = requests.request(method, self.url + path, json=content, headers=headers, timeout=_TIMEOUT)
        answer.raise_for_status()
        return answer.json()

    def new_room(self) -> str:
        """A room that the user has joined."""
        return str(self.ask("POST", "/_matrix/client/v3/createRoom", {"preset": "private_chat"})["room_id"])

    def messages(self, room: str) -> list[dict[str, Any]]:
        """Contents of what was written in a room, oldest first."""
        path = f"/_matrix/client/v3/rooms/{room}/messages?dir=f&limit=100"
        return [e["content"] for e in self.ask("GET", path)["chunk"] if e["type"] == "m.room.message"]

    def register(self, user: str) -> str:
        """Make a user, and return its access token."""
        path = "/_synapse/admin/v1/register"
        nonce = self.ask("GET", path, token="")["nonce"]
        parts = (nonce, user, "password of tests", "notadmin")
        mac = hmac.new(_SHARED_SECRET.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
        content = {"nonce": nonce, "username": user, "password": parts[2], "admin": False, "mac": mac}
        return str(self.ask("POST", path, content, token="")["access_token"])


@contextmanager
def matrix_server(directory: Path) -> Iterator[MatrixServer]:
    """Run a homeserver until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = directory / "homeserver.yaml"
    config.write_text(json.dumps(_config(directory, port)))  # JSON is YAML, too
    argv = [str(PYTHON), "-m", "synapse.app.homeserver", "--config-path", str(config)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    subprocess.run([*argv, "--generate-keys"], cwd=directory, env=environment, check=True, capture_output=True)
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(argv, cwd=directory, env=environment, stdout=output, stderr=output)
    try:
        server = MatrixServer(f"http://127.0.0.1:{port}")
        _wait(server, process, directory / "output")
        server.token = server.register("backups")
        server.room = server.new_room()
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _wait(server: MatrixServer, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.ask("GET", "/_matrix/client/versions", token="")
        except requests.RequestException:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"synapse did not start:\n{output.read_text()[-4000:]}") from None
            time.sleep(0.1)
        else:
            return


def _config(directory: Path, port: int) -> dict[str, Any]:
    plenty = {"per_second": 1000, "burst_count": 1000}
    resources = [{"names": ["client"], "compress": False}]
    listener = {"port": port, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": resources}
    return {
        "server_name": "localhost",
        "listeners": [listener],
        "database": {"name": "sqlite3", "args": {"database": str(directory / "homeserver.db")}},
        "media_store_path": str(directory / "media"),
        "signing_key_path": str(directory / "signing.key"),
        "registration_shared_secret": _SHARED_SECRET,
        "macaroon_secret_key": "macaroons of tests",
        "form_secret": "forms of tests",
        "trusted_key_servers": [],
        "report_stats": False,
        "rc_message": plenty,
        "rc_registration": plenty,
    }
