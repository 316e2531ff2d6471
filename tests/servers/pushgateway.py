"""A real Prometheus push gateway with basic authentication on loopback, and a real Prometheus that scrapes it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests.auth import HTTPBasicAuth

USER = "prometheus"
PASSWORD = "s3cr3t:püsh word"
# bcrypt of the password with the smallest cost: hashing must take no time here
_HASH = "$2b$04$tlBwGGBTOXl3fBPcqdpM7eqOjJvR5TwssHGmktcJLeAJb/Fu412DK"
_START_SECONDS = 60.0
_TIMEOUT = 30


@dataclass(frozen=True)
class PushGateway:
    """A running gateway."""

    port: int

    @property
    def url(self) -> str:
        """Its address, without ``/metrics``."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes = b"") -> requests.Response:
        """Its answer to one who knows the password."""
        login = HTTPBasicAuth(USER.encode(), PASSWORD.encode())
        answer = requests.request(method, self.url + path, data=body, auth=login, timeout=_TIMEOUT)
        answer.raise_for_status()
        return answer

    def wipe(self) -> None:
        """Forget all that was pushed."""
        self.ask("PUT", "/api/v1/admin/wipe")

    def series(self) -> dict[str, float]:
        """What it serves to scrapers, without its own metrics: each series as it stands there, and its value."""
        lines = self.ask("GET", "/metrics").text.splitlines()
        pushed = [line for line in lines if line.startswith("backup_")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in pushed)}


@dataclass(frozen=True)
class PrometheusServer:
    """A running Prometheus that scrapes the gateway."""

    port: int

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What an expression gives now: labels and value of each series."""
        query = urllib.parse.urlencode({"query": expression})
        answer = requests.get(f"http://127.0.0.1:{self.port}/api/v1/query?{query}", timeout=_TIMEOUT)
        answer.raise_for_status()
        return [(found["metric"], float(found["value"][1])) for found in answer.json()["data"]["result"]]

    def wait_for(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What an expression gives as soon as it gives anything: after the next scrape."""
        deadline = time.monotonic() + _START_SECONDS
        while not (found := self.query(expression)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"Prometheus knows nothing of {expression}")
            time.sleep(0.1)
        return found


@contextmanager
def push_gateway(directory: Path) -> Iterator[PushGateway]:
    """Run a gateway until the block ends."""
    config = directory / "web.json"  # JSON is YAML, too
    config.write_text(json.dumps({"basic_auth_users": {USER: _HASH}}))
    gateway = PushGateway(_free_port())
    argv = ["prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{gateway.port}", f"--web.config.file={config}"]
    argv += ["--web.enable-admin-api", "--persistence.file="]
    with _running(argv, directory, lambda: gateway.ask("GET", "/-/ready")):
        yield gateway


@contextmanager
def prometheus(directory: Path, gateway: PushGateway) -> Iterator[PrometheusServer]:
    """Run a Prometheus that scrapes the gateway every moment, until the block ends."""
    scrape: dict[str, Any] = {
        "job_name": "pushgateway",
        "honor_labels": True,  # as the gateway's manual asks for
        "basic_auth": {"username": USER, "password": PASSWORD},
        "static_configs": [{"targets": [f"127.0.0.1:{gateway.port}"]}],
    }
    timing = {"scrape_interval": "200ms", "scrape_timeout": "200ms"}
    config = directory / "prometheus.json"
    config.write_text(json.dumps({"global": timing, "scrape_configs": [scrape]}))
    server = PrometheusServer(_free_port())
    argv = ["prometheus", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{server.port}"]
    with _running([*argv, f"--storage.tsdb.path={directory / 'data'}"], directory, lambda: server.query("up")):
        yield server


@contextmanager
def _running(argv: list[str], directory: Path, ask: Callable[[], object]) -> Iterator[None]:
    output = directory / f"{argv[0]}.output"
    with output.open("wb") as file:
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
        process = subprocess.Popen(argv, cwd=directory, env=environment, stdout=file, stderr=file)
    try:
        _wait(process, output, ask)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait(process: subprocess.Popen[bytes], output: Path, ask: Callable[[], object]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            ask()
        except requests.RequestException:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{output.stem} did not start:\n{output.read_text()[-4000:]}") from None
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
