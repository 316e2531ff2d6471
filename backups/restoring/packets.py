"""The packets of an OpenPGP message, as far as they show without its key: are they whole, and nothing else?

For copies whose secret key is not on this machine. gpg without the key reads the first packets and gives up; this walks
over all of them, by their lengths alone (RFC 4880, section 4.2). Content that was changed under right lengths can't be
seen without the key: that is what the sha256 in the manifest is for.
"""

from __future__ import annotations

from backups.errors import VerificationError

_SESSION_KEYS = frozenset({1, 3})  # encrypted for a public key, or by a passphrase
_ENCRYPTED_DATA = frozenset({9, 18, 20})  # the last is GnuPG's own, for OCB
_IGNORED = frozenset({10, 21})  # marker and padding


class Structure:
    """Is shown a message block by block; remembers the first thing that is wrong, and where."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0
        """Bytes of the current body that are still to come."""
        self._goes_on = False
        """After those comes another length of the same packet."""
        self._endless = False
        """The packet ends with the message."""
        self._has_key = self._has_data = False
        self._position = 0
        self._problem = ""

    def see(self, block: bytes) -> None:
        """The next bytes. Never raises."""
        at, end = 0, len(block)
        while at < end and not (self._problem or self._endless):
            if self._left:
                step = min(self._left, end - at)
                self._left -= step
                at += step
            else:
                self._header.append(block[at])
                at += 1
                self._parse(self._position + at)
        self._position += end

    def check(self) -> None:
        """The message is over. Raises VerificationError when it was not whole, or no message at all."""
        if not self._problem:
            if self._left or self._goes_on or self._header:
                self._problem = "it ends in the middle of a packet"
            elif not self._has_data:
                self._problem = "it has no encrypted data"
        if self._problem:
            raise VerificationError(f"this is no whole OpenPGP message: {self._problem}")

    def _parse(self, position: int) -> None:
        """A header, as soon as all of it is there."""
        head = self._header
        if not self._goes_on and len(head) == 1:
            self._begin(head[0], position)
            return
        body = bytes(head) if self._goes_on else bytes(head[1:])
        is_new = self._goes_on or head[0] & 0x40
        length = _new_length(body) if is_new else _old_length(head[0] & 3, body)
        if length is None:
            return
        self._left, self._goes_on = length
        self._header.clear()

    def _begin(self, first: int, position: int) -> None:
        """The first byte of a packet says what it is."""
        tag = first & 0x3F if first & 0x40 else first >> 2 & 0x0F
        if not first & 0x80:
            self._problem = f"no packet begins at byte {position - 1}"
        elif first & 0x43 == 3 and tag not in _ENCRYPTED_DATA:
            self._problem = f"a packet of kind {tag} has no length, at byte {position - 1}"
        elif self._has_data and tag not in _IGNORED:
            self._problem = f"something follows the encrypted data at byte {position - 1}"
        elif tag in _SESSION_KEYS:
            self._has_key = True
        elif tag in _ENCRYPTED_DATA and self._has_key:
            self._has_data = True
            if not first & 0x40 and first & 3 == 3:
                self._endless = True
                self._header.clear()
        elif tag not in _IGNORED:
            self._problem = f"a packet of kind {tag} is in the wrong place, at byte {position - 1}"


def _new_length(body: bytes) -> tuple[int, bool] | None:
    """Bytes that follow, and whether another length does; None while it is not there whole."""
    first = body[0]
    if first < 192:
        return first, False
    if 224 <= first < 255:
        return 1 << (first & 0x1F), True
    if first == 255:
        return (int.from_bytes(body[1:5], "big"), False) if len(body) == 5 else None
    return ((first - 192 << 8) + body[1] + 192, False) if len(body) == 2 else None


def _old_length(kind: int, body: bytes) -> tuple[int, bool] | None:
    return (int.from_bytes(body, "big"), False) if len(body) == 1 << kind else None
