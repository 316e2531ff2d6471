"""Ranges of objects by signed addresses, from a real S3 server and from one that breaks off."""

from __future__ import annotations

import dataclasses
import logging
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from backups.signed_reading import SignedReader
from tests.servers.faulty_proxy import FOREVER, Fault, FaultyProxy, faulty_proxy
from tests.servers.seaweed import BUCKET, Seaweed

KEY = "signed/odd key ü+%"
DATA = os.urandom(300_000)


@pytest.fixture
def proxy(s3_server: Seaweed) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server.port) as running:
        yield running


@pytest.fixture
def address(s3_server: Seaweed, proxy: FaultyProxy) -> str:
    """Of the object, by way of the proxy."""
    client = dataclasses.replace(s3_server, ports=[proxy.port]).client()
    client.put_object(Bucket=BUCKET, Key=KEY, Body=DATA)
    return client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": KEY})


@pytest.fixture
def reader(proxy: FaultyProxy) -> SignedReader:
    return SignedReader(proxy.url)


def test_ranges_are_read_by_several_threads_at_once(reader: SignedReader, address: str) -> None:
    starts = range(0, len(DATA), 7_001)
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda start: reader.read(address, start, min(7_001, len(DATA) - start)), starts))
    assert b"".join(piece or b"" for piece in read) == DATA


@pytest.mark.parametrize(
    "wrong",
    [
        lambda address: address + "0",  # another signature
        lambda address: address.replace("odd", "other"),
        lambda address: address.replace("127.0.0.1", "no-such-host.invalid"),
    ],
)
def test_what_is_refused_is_nothing_and_the_log_names_no_signature(
    reader: SignedReader, address: str, wrong: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "backups")
    assert reader.read(wrong(address), 0, 1000) is None
    assert "reading by a signed address failed" in caplog.text
    assert "Signature" not in caplog.text


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET ", cut_answer=2_000),
        Fault("GET ", cut_answer=0),
        Fault("GET ", status=503),
        Fault("GET ", status=200),
    ],
    ids=["cut", "lost", "503", "no range"],
)
def test_what_breaks_off_is_nothing_and_the_next_time_is_a_new_one(
    reader: SignedReader, proxy: FaultyProxy, address: str, fault: Fault
) -> None:
    hurt = proxy.add(dataclasses.replace(fault, times=FOREVER))
    assert reader.read(address, 100, 250_000) is None
    assert hurt.hits
    proxy.heal()
    assert reader.read(address, 100, 250_000) == DATA[100:250_100]


def test_less_than_was_asked_for_is_nothing(reader: SignedReader, address: str) -> None:
    assert reader.read(address, len(DATA) - 10, 20) is None


class _Ten(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(206)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(bytes(10))

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(authority: trustme.CA) -> Iterator[str]:
    """The address of a server that only this authority vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Ten) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_only_a_server_that_is_vouched_for_is_believed(
    authority: trustme.CA, secured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    assert SignedReader(secured).read(secured, 0, 10) is None
    authority.cert_pem.write_to_path(str(tmp_path / "bundle.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "bundle.pem"))
    assert SignedReader(secured).read(secured, 0, 10) == bytes(10)


def test_a_proxy_of_the_environment_is_used(
    proxy: FaultyProxy, reader: SignedReader, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = "http://no-such-host.invalid/"
    assert reader.read(address.replace(proxy.url, elsewhere.rstrip("/")), 0, 10) is None
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    SignedReader(elsewhere).read(elsewhere, 0, 10)
    assert proxy.seen[-1].startswith(f"GET {elsewhere}")
