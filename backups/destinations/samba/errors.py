"""What file servers and the client report, as errors that a person can act on."""

from __future__ import annotations

from smbprotocol.exceptions import SMBAuthenticationError, SMBConnectionClosed, SMBOSError, SMBResponseException

from backups.errors import DeniedError, DestinationError, MissingError


class LostError(DestinationError):
    """The connection is gone; a new one may do better."""


class InUseError(DestinationError):
    """The file is open elsewhere; it may be free soon."""


_CREDENTIALS = "check username, password and workgroup"
_ACCOUNT = "ask whoever looks after the file server's accounts"
_RIGHTS = "give the user the right to write and delete on the share and in its file system"
_ROOM = "make room, or keep fewer copies with retention_copies or retention_days"
_NAME = "check share and folder; neither is ever made here"
_OPEN = "something on the server has it open, such as another run, a virus scanner, or a connection that broke"

_DENIED = {
    0xC000006D: ("LOGON_FAILURE", "the user name or password is wrong", _CREDENTIALS),
    0xC000006A: ("WRONG_PASSWORD", "the password is wrong", _CREDENTIALS),
    0xC0000064: ("NO_SUCH_USER", "the server does not know the user", _CREDENTIALS),
    0xC000006E: ("ACCOUNT_RESTRICTION", "the account may not log in from here or without a password", _ACCOUNT),
    0xC000006F: ("INVALID_LOGON_HOURS", "the account may not log in at this time", _ACCOUNT),
    0xC0000070: ("INVALID_WORKSTATION", "the account may not log in from this machine", _ACCOUNT),
    0xC0000071: ("PASSWORD_EXPIRED", "the password has expired", "set a new one"),
    0xC0000224: ("PASSWORD_MUST_CHANGE", "the password must be changed first", "set a new one"),
    0xC0000072: ("ACCOUNT_DISABLED", "the account is disabled", _ACCOUNT),
    0xC0000193: ("ACCOUNT_EXPIRED", "the account has expired", _ACCOUNT),
    0xC0000234: ("ACCOUNT_LOCKED_OUT", "the account is locked after too many wrong passwords", _ACCOUNT),
    0xC000015B: ("LOGON_TYPE_NOT_GRANTED", "the account may not log in over the network", _ACCOUNT),
    0xC0000418: (
        "NTLM_BLOCKED",
        "the server takes no passwords, only Kerberos",
        "get a Kerberos ticket, or allow NTLM",
    ),
    0xC0000022: ("ACCESS_DENIED", "access is denied", _RIGHTS),
    0xC0000061: ("PRIVILEGE_NOT_HELD", "the user lacks a privilege", _RIGHTS),
    0xC0000121: ("CANNOT_DELETE", "the file is write-protected or locked", _RIGHTS),
    0xC00000CA: ("NETWORK_ACCESS_DENIED", "access over the network is denied", _RIGHTS),
    0xC00000A2: ("MEDIA_WRITE_PROTECTED", "the share is read-only", _RIGHTS),
}
_MISSING = {
    0xC00000CC: ("BAD_NETWORK_NAME", "there is no such share", _NAME),
    0xC0000034: ("OBJECT_NAME_NOT_FOUND", "it does not exist", _NAME),
    0xC000003A: ("OBJECT_PATH_NOT_FOUND", "its directory does not exist", _NAME),
    0xC000000F: ("NO_SUCH_FILE", "it does not exist", _NAME),
    0xC0000225: ("NOT_FOUND", "it does not exist", _NAME),
    0xC0000103: ("NOT_A_DIRECTORY", "it is no directory", _NAME),
}
_REFUSED = {
    0xC000007F: ("DISK_FULL", "the server's disk is full", _ROOM),
    0xC0000044: ("QUOTA_EXCEEDED", "the user's quota is used up", _ROOM),
    0xC0000904: (
        "FILE_TOO_LARGE",
        "the server's file system takes no file that large",
        "use another file system there",
    ),
    0xC0000033: ("OBJECT_NAME_INVALID", "the server takes no such name", "give the source another id"),
    0xC0000039: ("OBJECT_PATH_INVALID", "the server takes no such path", "check folder"),
    0xC000003B: ("OBJECT_PATH_SYNTAX_BAD", "the server takes no such path", "check folder"),
    0xC0000106: ("NAME_TOO_LONG", "the name is too long for the server", "give the source a shorter id"),
    0xC00000BA: ("FILE_IS_A_DIRECTORY", "a directory has that name", "move it away"),
    0xC00000BB: (
        "NOT_SUPPORTED",
        "the server is too old for this",
        "it must speak SMB 3, or SMB 2 with encrypt: false",
    ),
}
_PASSING = {
    0xC0000043: ("SHARING_VIOLATION", "it is in use", _OPEN),
    0xC0000054: ("FILE_LOCK_CONFLICT", "it is locked", _OPEN),
    0xC0000056: ("DELETE_PENDING", "it is about to be removed", _OPEN),
    0xC000005E: ("NO_LOGON_SERVERS", "the server reaches no domain controller", _ACCOUNT),
    0xC00000D0: (
        "REQUEST_NOT_ACCEPTED",
        "the server has too many connections",
        "raise its limit, or run fewer at once",
    ),
    0xC000009A: ("INSUFFICIENT_RESOURCES", "the server is short of memory", "look at the server"),
    0xC0000205: ("INSUFF_SERVER_RESOURCES", "the server is short of memory", "look at the server"),
    0xC0000185: ("IO_DEVICE_ERROR", "the server's disk reports an error", "look at the server's disk at once"),
    0xC0000032: ("DISK_CORRUPT_ERROR", "the server's file system is damaged", "look at the server's disk at once"),
    0xC0000102: ("FILE_CORRUPT_ERROR", "the server's file system is damaged", "look at the server's disk at once"),
}
_LOST = {
    0xC00000C9: ("NETWORK_NAME_DELETED", "the share was taken away"),
    0xC0000203: ("USER_SESSION_DELETED", "the server ended the session"),
    0xC000035C: ("NETWORK_SESSION_EXPIRED", "the session has expired"),
    0xC000020C: ("CONNECTION_DISCONNECTED", "the server ended the connection"),
    0xC000020D: ("CONNECTION_RESET", "the server ended the connection"),
    0xC0000128: ("FILE_CLOSED", "the server closed the file"),
    0xC0000008: ("INVALID_HANDLE", "the server closed the file"),
    0xC0000466: ("SERVER_UNAVAILABLE", "the server is not available"),
    0xC00000B5: ("IO_TIMEOUT", "the server took too long"),
}

DENIED = 0xC0000022
GONE = frozenset({0xC0000034, 0xC000003A, 0xC000000F, 0xC0000225})
IN_USE = frozenset({0xC0000043, 0xC0000054, 0xC0000056})
NO_SHARE = frozenset({*GONE, 0xC00000CC, 0xC000019C, 0xC0000257})
"""What comes instead of BAD_NETWORK_NAME from servers that then look for the share in DFS."""


EXISTS = 0xC0000035
NO_VOLUME_INFO = frozenset({0xC0000003, 0xC000000D, 0xC0000010, 0xC00000BB})


def status_of(error: BaseException | None) -> int:
    """The server's NT_STATUS; 0 when it did not answer."""
    if isinstance(error, SMBOSError):
        return int(error.ntstatus)
    return int(error.status) if isinstance(error, SMBResponseException) else 0


def explain(error: Exception, doing: str) -> DestinationError:
    """``doing`` says where and what, such as ``\\\\server\\share: a/b can't be written``."""
    status = status_of(error)
    for table, kind, lasting in (
        (_DENIED, DeniedError, True),
        (_MISSING, MissingError, True),
        (_REFUSED, DestinationError, True),
        (_PASSING, DestinationError, False),
    ):
        if status in table:
            name, words, hint = table[status]
            return kind(f"{doing}: {words} (NT_STATUS_{name})", hint=hint, permanent=lasting)
    if status in _LOST:
        name, words = _LOST[status]
        return LostError(f"{doing}: {words} (NT_STATUS_{name})")
    if status:
        return DestinationError(f"{doing}: the server answered with NT_STATUS 0x{status:08X}")
    return _unanswered(error, doing)


def _unanswered(error: Exception, doing: str) -> DestinationError:
    """What the client itself says. It has no classes for most of it, only sentences."""
    said = str(error)
    if "as a guest" in said:
        return DeniedError(f"{doing}: the server let the user in as a guest only", hint=_CREDENTIALS)
    if "encryption is required" in said:
        return DestinationError(
            f"{doing}: the server can't encrypt, since it speaks SMB 2 or older",
            hint="allow SMB 3 on the server; encrypt: false only where nobody can listen",
            permanent=True,
        )
    if isinstance(error, SMBAuthenticationError):
        return DeniedError(f"{doing}: logging in failed: {said}", hint=_CREDENTIALS)
    if isinstance(error, SMBConnectionClosed | OSError):
        return LostError(f"{doing}: the connection broke: {said}")
    return LostError(f"{doing}: {said}")
