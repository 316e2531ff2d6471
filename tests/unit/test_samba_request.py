"""Requests packed by hand, beside those that the pinned library makes: when its inner parts change, this fails."""

from __future__ import annotations

import hashlib
import struct
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smbprotocol import Dialects
from smbprotocol.connection import Ciphers, Connection, SMB2TransformHeader
from smbprotocol.exceptions import EndOfFile, SMBConnectionClosed, SMBException
from smbprotocol.header import SMB2HeaderResponse
from smbprotocol.open import Open
from smbprotocol.session import Session
from smbprotocol.transport import Tcp
from smbprotocol.tree import TreeConnect

from backups.destinations.samba.read_ahead import IN_FLIGHT, read_ahead
from backups.destinations.samba.request import Requests, packs

MOST = 1 << 18


class Sent:
    """What a socket would have sent."""

    def __init__(self) -> None:
        self.data = bytearray()

    def send(self, data: bytes) -> int:
        """A part of it, as a socket may."""
        self.data += data[:50_000]
        return min(len(data), 50_000)

    def sendall(self, data: memoryview) -> None:
        """All of it."""
        self.data += data


def opened(
    *, key: bytes, low: int = 7, credits: int = 100, session_id: int = 1 << 50, dfs: bool = False, multi: bool = True
) -> Open:
    """A file of the library that looks as if it was open on an encrypted connection."""
    connection = Connection(uuid.UUID(int=1), "server")
    connection.dialect = Dialects.SMB_3_1_1
    connection.cipher_id = Ciphers.AES_128_GCM if len(key) == 16 else Ciphers.AES_256_GCM
    connection.supports_multi_credit = multi
    connection.max_write_size = 8 << 20
    connection.sequence_window = {"low": low, "high": low + credits}
    connection.transport = Tcp("server", 445)
    connection.transport._sock = Sent()
    connection.transport.connected = True
    session = Session(connection, "user", "password")
    session.session_id = session_id
    session.encryption_key = session.decryption_key = key
    session.encrypt_data, session.signing_required = True, False
    connection.session_table[session_id] = session
    tree = TreeConnect(session, "\\\\server\\share")
    tree.tree_connect_id, tree.is_dfs_share, tree.encrypt_data = 5, dfs, False
    session.tree_connect_table[5] = tree
    file = Open(tree, "name")
    file.file_id = bytes(range(16))
    return file


def sent(file: Open) -> bytes:
    """What went to the server, decrypted by the library, after looking at its length."""
    data = bytes(file.connection.transport._sock.data)
    assert struct.unpack(">L", data[:4]) == (len(data) - 4,)
    message = SMB2TransformHeader()
    message.unpack(data[4:])
    plain = file.connection._decrypt(message)
    assert message["original_message_size"].get_value() == len(plain)
    return bytes(plain)


def entered(file: Open) -> list[Any]:
    """What the library's receiver and its next request go by."""
    return [
        file.connection.sequence_window,
        [(number, *_told(request)) for number, request in file.connection.outstanding_requests.items()],
    ]


def _told(request: Any) -> Iterator[Any]:
    yield from (request.session_id, request._message_type, request.response, request.related_ids)
    for name in request.message.fields:
        if name != "data":
            yield request.message[name].get_value()


def by_library(file: Open, data: bytes, offset: int) -> Any:
    tree = file.tree_connect
    message, _ = file.write(data, offset, send=False)
    return file.connection.send(message, sid=tree.session.session_id, tid=tree.tree_connect_id)


@settings(max_examples=60)
@given(
    size=st.integers(1, MOST) | st.sampled_from([1, 65535, 65536, 65537, MOST]),
    offset=st.integers(0, 1 << 62),
    connection=st.fixed_dictionaries(
        {
            "key": st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32),
            "low": st.integers(0, 1 << 60),
            "session_id": st.integers(1, (1 << 64) - 1),
            "dfs": st.booleans(),
            "multi": st.booleans(),
        }
    ),
)
def test_the_same_bytes_and_entries_as_the_library(size: int, offset: int, connection: dict[str, Any]) -> None:
    data = hashlib.shake_128(b"data").digest(size)
    theirs, ours = opened(**connection), opened(**connection)
    by_library(theirs, data, offset)
    request = Requests(MOST).send(ours, memoryview(data), offset)
    assert sent(ours) == sent(theirs)
    assert entered(ours) == entered(theirs)
    assert [*ours.connection.outstanding_requests.values()] == [request]


def test_one_room_serves_requests_of_all_sizes_and_no_nonce_comes_twice() -> None:
    requests, nonces = Requests(MOST), set()
    for size in (MOST, 1, 70_000, MOST):
        file = opened(key=b"k" * 16)
        requests.send(file, memoryview(b"x" * size), 3)
        assert sent(file).endswith(b"x" * size)
        nonces.add(bytes(file.connection.transport._sock.data[24:36]))
    assert len(nonces) == 4


def test_a_changed_byte_does_not_pass_for_ours() -> None:
    file = opened(key=b"k" * 16)
    Requests(MOST).send(file, memoryview(b"x" * 1000), 0)
    file.connection.transport._sock.data[500] ^= 1
    with pytest.raises(Exception, match=r"^$") as caught:
        sent(file)
    assert type(caught.value).__name__ == "InvalidTag"


def test_credit_is_asked_for_as_by_the_library() -> None:
    said = []
    for send in (by_library, lambda file, data, offset: Requests(MOST).send(file, memoryview(data), offset)):
        file = opened(key=b"k" * 16, credits=2)
        with pytest.raises(SMBException) as caught:
            send(file, bytes(3 << 16), 0)
        said.append(str(caught.value))
        assert file.connection.sequence_window == {"low": 7, "high": 9}
        assert not file.connection.outstanding_requests
    assert said[0] == said[1]


def test_nothing_is_sent_on_a_connection_that_is_known_to_be_gone() -> None:
    file = opened(key=b"k" * 16)
    file.connection.transport.connected = False
    with pytest.raises(SMBConnectionClosed):
        Requests(MOST).send(file, memoryview(b"x"), 0)
    assert not file.connection.transport._sock.data


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("connection", {"dialect": Dialects.SMB_3_0_2}),
        ("connection", {"cipher_id": Ciphers.AES_128_CCM}),
        ("session", {"encrypt_data": False}),
        ("session", {"signing_required": True}),
    ],
    ids=["old", "ccm", "plain", "signed"],
)
def test_what_is_left_to_the_library(where: str, changes: dict[str, Any]) -> None:
    file = opened(key=b"k" * 16)
    assert packs(file)
    changed = file.connection if where == "connection" else file.tree_connect.session
    for name, value in changes.items():
        setattr(changed, name, value)
    assert not packs(file)


def test_a_share_that_is_encrypted_alone_counts() -> None:
    file = opened(key=b"k" * 16)
    file.tree_connect.session.encrypt_data, file.tree_connect.encrypt_data = False, True
    assert packs(file)


# ---------------------------------------------------------------------- reading ahead


class Answers:
    """An open file whose server gives at most ``most`` bytes at once."""

    def __init__(self, content: bytes, most: int, credits: int) -> None:
        self.content, self.most = content, most
        self.connection = self.tree_connect = self.session = self
        self.session_id = self.tree_connect_id = 0
        self.max_read_size = 100 << 10
        self.sequence_window = {"low": 0, "high": credits}
        self.asked: list[tuple[int, int]] = []

    def read(self, offset: int, size: int, *, send: bool) -> tuple[tuple[int, int], None]:
        assert not send
        return (offset, size), None

    def send(self, message: tuple[int, int], sid: int, tid: int) -> tuple[int, int]:
        self.asked.append(message)
        charge = (message[1] - 1) // 65536 + 1
        self.sequence_window["low"] += charge
        assert self.sequence_window["low"] <= self.sequence_window["high"]
        return message

    def _read_response(self, message: tuple[int, int]) -> bytes:
        offset, size = message
        self.sequence_window["high"] += (size - 1) // 65536 + 1
        if offset >= len(self.content):
            header = SMB2HeaderResponse()
            header["status"] = EndOfFile._STATUS_CODE
            raise EndOfFile(header)
        return self.content[offset : offset + min(size, self.most)]


@pytest.mark.parametrize("most", [1 << 20, 30_000])
@pytest.mark.parametrize("credits", [1, 2, 64])
def test_reading_ahead_gives_each_place_its_bytes_in_order(most: int, credits: int) -> None:
    content = hashlib.shake_128(b"content").digest(600_000)
    places = [(5, 250_000), (300_000, 1), (300_001, 299_999)]
    got = {offset: b"" for offset, _ in places}
    for place, block in read_ahead(Answers(content, most, credits), places):
        got[place] += block
    assert got == {offset: content[offset : offset + size] for offset, size in places}


def test_after_an_error_the_answers_to_the_rest_are_heard() -> None:
    file = Answers(b"x" * 10, 1 << 20, 64)
    with pytest.raises(EndOfFile):
        list(read_ahead(file, [(20 - place, 1 << 16) for place in range(2 * IN_FLIGHT)]))
    assert len(file.asked) == IN_FLIGHT
    assert file.sequence_window == {"low": IN_FLIGHT, "high": IN_FLIGHT + 64}


def test_the_lock_of_the_library_is_held_while_sending() -> None:
    """Its receiver sends on the same socket, to keep an idle connection alive."""
    file = opened(key=b"k" * 16)
    transport, held = file.connection.transport, []
    transport._sock.sendall = lambda data: held.append(transport._sock_lock.locked())
    assert isinstance(transport._sock_lock, type(threading.Lock()))
    Requests(MOST).send(file, memoryview(b"x"), 0)
    assert held == [True]
