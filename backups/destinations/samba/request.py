"""Large SMB2 WRITE requests, packed and encrypted with one copy. smbprotocol makes ten, which cost most of an upload.

Everything else stays with the library: it logs in, opens, renames, reads, and its thread receives the answers to these
requests, too. For that a request is entered in its tables as its own ``Connection._send`` would do it; a unit test
holds both to the same bytes and entries. docs/decisions/0014-smb-requests.md tells why. Sections are those of MS-SMB2.
"""

from __future__ import annotations

import os
import struct
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from smbprotocol import MAX_PAYLOAD_SIZE, Dialects
from smbprotocol.connection import Ciphers, Request
from smbprotocol.exceptions import SMBException
from smbprotocol.header import Commands, Smb2Flags, SMB2HeaderRequest
from smbprotocol.open import SMB2WriteRequest

_LENGTH = struct.Struct(">L")
"""2.1: what precedes each message on TCP."""

_TRANSFORM = struct.Struct("<4s16s16sLHHQ")
"""2.2.41: protocol, signature, nonce, size of what is encrypted, reserved, flags, session."""

_WRITE = struct.Struct("<HHLQ16sLLHHL")
"""2.2.21: structure's size, where the data begins, its length, its place in the file, the file's id; channel, remaining
bytes, channel info and flags are not used."""

_HEADER_BYTES = 64  # 2.2.1.2
_SIGNATURE = slice(_LENGTH.size + 4, _LENGTH.size + 20)
_SIGNED_TOO = slice(_LENGTH.size + 20, _LENGTH.size + _TRANSFORM.size)  # 3.1.4.3: from the nonce on
_NONCE_BYTES = 12
_BEFORE = _LENGTH.size + _TRANSFORM.size
_SLACK = AES.block_size // 8 - 1  # that the cipher asks for behind what it writes, although it does not use it


def packs(file: Any) -> bool:
    """Whether requests for this open file can be packed here: SMB 3.1.1 that encrypts with GCM, as servers of today
    do. What is signed, or encrypted with CCM, is left to the library."""
    connection, tree = file.connection, file.tree_connect
    return bool(
        connection.dialect >= Dialects.SMB_3_1_1
        and connection.cipher_id in (Ciphers.AES_128_GCM, Ciphers.AES_256_GCM)
        and (tree.session.encrypt_data or tree.encrypt_data)
        and not tree.session.signing_required
    )


class Requests:
    """Sends writes of at most ``most`` bytes. One thread uses it, since it has room for one request."""

    def __init__(self, most: int) -> None:
        self._room = memoryview(bytearray(_BEFORE + _HEADER_BYTES + _WRITE.size + most + _SLACK))

    def send(self, file: Any, data: memoryview, offset: int) -> Any:
        """Returns the library's own kind of request, to be received by it. Raises what the library does."""
        request = _enter(file, len(data))
        write = _WRITE.pack(49, _HEADER_BYTES + _WRITE.size, len(data), offset, file.file_id, 0, 0, 0, 0, 0)
        message = self._seal(file.tree_connect.session, request.message.pack() + write, data)
        file.connection._check_worker_running()
        transport = file.connection.transport
        with transport._sock_lock:
            transport._sock.sendall(message)
        return request

    def _seal(self, session: Any, head: bytes, data: memoryview) -> memoryview:
        """3.1.4.3: encrypt, and put the authentication tag in front."""
        nonce, size = os.urandom(_NONCE_BYTES), len(head) + len(data)
        message = self._room[: _BEFORE + size]
        _LENGTH.pack_into(message, 0, _TRANSFORM.size + size)
        _TRANSFORM.pack_into(message, _LENGTH.size, b"\xfdSMB", b"", nonce, size, 0, 1, session.session_id)
        cipher = Cipher(AES(session.encryption_key), GCM(nonce)).encryptor()
        cipher.authenticate_additional_data(message[_SIGNED_TOO])
        end = _BEFORE + cipher.update_into(head, self._room[_BEFORE:])
        cipher.update_into(data, self._room[end:])
        cipher.finalize()
        message[_SIGNATURE] = cipher.tag
        return message


def _enter(file: Any, size: int) -> Any:
    """Take the credits and the message's id, and tell the library's receiver of the request (3.2.4.1)."""
    connection, tree = file.connection, file.tree_connect
    charge = (size - 1) // MAX_PAYLOAD_SIZE + 1 if connection.supports_multi_credit else 0
    with connection.sequence_lock:
        window = connection.sequence_window
        message_id, credit = window["low"], window["high"] - window["low"]
        if charge > credit:
            raise SMBException(f"Request requires {charge} credits but only {credit} credits are available")
        window["low"] += max(charge, 1)
    header = SMB2HeaderRequest()
    header["credit_charge"] = header["credit_request"] = charge
    header["command"] = Commands.SMB2_WRITE
    header["message_id"] = message_id
    header["tree_id"] = tree.tree_connect_id
    header["session_id"] = tree.session.session_id
    if tree.is_dfs_share:
        header["flags"].set_flag(Smb2Flags.SMB2_FLAGS_DFS_OPERATIONS)
    request = Request(header, SMB2WriteRequest, connection, session_id=tree.session.session_id)
    connection.outstanding_requests[message_id] = request
    return request
