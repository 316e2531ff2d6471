"""One file on its way to a share: written under a hidden name, flushed, checked, and renamed when it is whole."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import smbclient

from backups.destinations.base import Upload
from backups.destinations.samba import tree
from backups.destinations.samba.abandoned import remove_abandoned
from backups.destinations.samba.errors import DENIED, IN_USE, InUseError, LostError, status_of
from backups.destinations.samba.link import ANSWER_SECONDS, CONNECT_SECONDS, Link, Links
from backups.destinations.samba.names import to_names
from backups.destinations.samba.read_ahead import Place, read_ahead
from backups.destinations.samba.samples import Samples
from backups.destinations.samba.writes import IN_FLIGHT, WRITE_BYTES, Writes, post
from backups.errors import BackupsError, DestinationError, MissingError, VerificationError

log = logging.getLogger("backups.destinations.samba")

MIB = 1 << 20
RESERVE_BYTES = 4 * MIB
"""What stays free, so that the server can still write what it needs itself."""

LOOK_BYTES = 256 * MIB
"""After so much the free space is looked at again, since others write there as well."""

BUSY_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between attempts to replace a file that is open elsewhere: a virus scanner is quick, a restore may not be."""

T = TypeVar("T")


class SambaUpload(Upload):
    """A hidden file in the topmost directory of its key, open so that nobody else can remove it."""

    def __init__(self, links: Links, key: str, *, full: bool) -> None:
        """``full``: read the file back before it is renamed. Raises DestinationError, StoppedError."""
        self._links = links
        self._key = key
        self._names = to_names(key)
        top = self._names[:1] if len(self._names) > 1 else ()
        self._partial = (*top, f".backups-{secrets.token_hex(8)}.partial")
        self._full = full
        self._samples = Samples()
        self._writes = Writes()
        self._blocks: list[bytes] = []
        self._waiting = self._written = self._room = 0
        self._looked_at = -1
        self._link: Link | None = None
        self._file: Any = None
        self._tried = self._created = self._renaming = False
        links.living.add(self._partial[-1])
        try:
            self._persist(self._begin)
        except BaseException:
            self.abort()
            raise

    def write(self, block: bytes) -> None:
        """Gather blocks and write them in large requests; again where the connection broke."""
        self._blocks.append(block)
        self._waiting += len(block)
        while self._waiting >= WRITE_BYTES:
            gathered = b"".join(self._blocks)
            self._keep(gathered[WRITE_BYTES:])
            self._put(gathered[:WRITE_BYTES])

    def _keep(self, rest: bytes) -> None:
        self._blocks = [rest] if rest else []
        self._waiting = len(rest)

    def commit(self, size: int, sha256: str) -> str:
        """Write the rest, flush, check, rename."""
        rest = b"".join(self._blocks)
        self._keep(b"")
        if rest:
            self._put(rest)
        whole = self._persist(lambda: self._check(size, sha256))
        self._replace()
        self._end()
        return "size and sha256, read back" if whole else "size, blocks chosen at random read back"

    def abort(self) -> None:
        """Remove the partial file."""
        if self._partial[-1] not in self._links.living:
            return
        self._blocks, self._waiting = [], 0
        try:
            if self._tried:
                self._remove()
        except BackupsError as error:
            log.warning("%s; a run after an hour will remove %s", error, self._links.share.path(self._partial))
        self._end()

    def _remove(self) -> None:
        """On another connection if ours is gone, even when the run is stopping."""
        if self._link is None or self._link.is_cut:
            self._drop()
            self._writes.clear()
            self._link = Link(self._links.share, None)
        try:
            with self._link.answering(f"{self._key} can't be written", CONNECT_SECONDS):
                self._writes.settle()
            self._close(CONNECT_SECONDS)
            tree.unlink(self._link, self._partial, CONNECT_SECONDS)
            tree.prune(self._link, self._partial[:-1])
        except LostError:
            self._drop()
            raise

    def _end(self) -> None:
        self._links.living.discard(self._partial[-1])
        if self._link:
            self._links.give_back(self._link)
            self._link = None

    # ------------------------------------------------------------------ the connection

    def _persist(self, action: Callable[[], T]) -> T:
        def attempt() -> T:
            try:
                return action()
            except LostError:
                self._drop()
                raise

        return self._links.persist(attempt)

    def _drop(self) -> None:
        """Forget a connection that is gone, and the file that was open on it."""
        if self._file is not None:
            self._file.fd._connected = False  # else it complains that nobody closed it
            self._file = None
        if self._link:
            self._links.lost(self._link)
            self._link = None

    def _connected(self) -> Link:
        if self._link is None:
            self._link = self._links.take()
        return self._link

    def _opened(self) -> tuple[Link, Any]:
        """The link and the open file; after a lost connection both are new, and everything will be read back."""
        link = self._connected()
        if self._file is None:
            if self._created:
                self._full = True  # what the server took, but had not flushed, may be lost
                self._file = self._open(link, "r+b")
            else:
                self._tried = True
                self._file = tree.making(link, self._partial[:-1], lambda: self._open(link, "w+b"))
                self._created = True
        return link, self._file

    def _open(self, link: Link, mode: str) -> Any:
        """Shared for reading and writing but not for removal: that tells others that its writer lives."""
        with link.answering(f"{self._key} can't be created"):
            path = link.share.path(self._partial)
            return smbclient.open_file(path, mode=mode, buffering=0, share_access="rw", **link.options)

    def _close(self, seconds: float = ANSWER_SECONDS) -> None:
        if self._file is not None and self._link is not None:
            with self._link.answering(f"{self._key} can't be closed", seconds):
                self._file.close()
            self._file = None

    # ------------------------------------------------------------------ steps, each of which may be done again

    def _begin(self) -> None:
        link, file = self._opened()
        self._refuse_other_case(link)
        remove_abandoned(link, self._partial[:-1], self._links.living, file.fd.creation_time)
        self._look_at_space(link, 0)

    def _refuse_other_case(self, link: Link) -> None:
        """Most servers take ``DB`` and ``db`` for one name: then the copies of two sources would replace each other."""
        with suppress(MissingError):
            for entry in tree.entries(link, self._names[:-1], self._names[-1]):
                if entry.name != self._names[-1]:
                    raise DestinationError(
                        link.share.about(
                            f"{self._key} can't be stored beside {entry.name}: to this share both are one"
                        ),
                        hint="give the source an id that differs in more than upper and lower case",
                        permanent=True,
                    )

    def _look_at_space(self, link: Link, needed: int) -> None:
        if self._looked_at >= 0 and self._written - self._looked_at < LOOK_BYTES and needed <= self._room:
            return
        free = tree.free(link)
        self._looked_at = self._written
        self._room = 1 << 62 if free is None else free - RESERVE_BYTES
        if needed > self._room:
            raise DestinationError(
                link.share.about(f"{self._key} can't be written: the disk is full, {(free or 0) / MIB:.1f} MB free"),
                hint="make room, or keep fewer copies with retention_copies or retention_days",
                permanent=True,
            )

    def _put(self, data: bytes) -> None:
        def put() -> None:
            link, file = self._opened()
            with link.answering(f"{self._key} can't be written"):
                self._writes.leave_credit(file)
            self._look_at_space(link, len(data))
            with link.answering(f"{self._key} can't be written"):
                self._writes.advance(file, IN_FLIGHT)

        self._writes.add(self._written, data)
        self._persist(put)
        self._samples.add(self._written, data)
        self._written += len(data)
        self._room -= len(data)

    def _check(self, size: int, sha256: str) -> bool:
        """Returns whether everything was read back."""
        link, file = self._opened()
        with link.answering(f"{self._key} can't be written"):
            self._writes.advance(file, 0)
        flushing = post(file.fd, file.fd.flush(send=False)[0])
        found = tree.size_of(link, self._partial)
        if not size == found == self._written:
            raise VerificationError(link.share.about(f"{self._key} has {found} bytes instead of {size}"))
        right = self._is_whole(link, file, size, sha256) if self._full else self._are_right(link, file)
        if not right:
            raise VerificationError(
                link.share.about(f"{self._key} reads back with other bytes than were written"),
                hint="look for errors of the disk in the server's log",
            )
        with link.answering(f"{self._key} can't be flushed"):
            file.fd._flush_response(flushing)
        return self._full

    def _is_whole(self, link: Link, file: Any, size: int, sha256: str) -> bool:
        digest = hashlib.sha256()
        places = ((offset, min(size - offset, WRITE_BYTES)) for offset in range(0, size, WRITE_BYTES))
        for _, block in self._read(link, file, places):
            digest.update(block)
        return digest.hexdigest() == sha256

    def _are_right(self, link: Link, file: Any) -> bool:
        samples = {sample.offset: sample for sample in self._samples}
        sums = {offset: self._samples.sum() for offset in samples}
        for place, block in self._read(link, file, ((sample.offset, sample.size) for sample in samples.values())):
            sums[place].update(block)
        return all(sums[offset].tag() == sample.tag for offset, sample in samples.items())

    def _read(self, link: Link, file: Any, places: Iterable[Place]) -> Iterator[tuple[int, bytes]]:
        blocks = read_ahead(file.fd, places)
        while True:
            with link.answering(f"{self._key} can't be read back"):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def _replace(self) -> None:
        for pause in BUSY_PAUSES:
            try:
                return self._persist(self._rename)
            except InUseError as error:
                log.warning("%s; trying again in %.0f s", error.message, pause)
            self._links.cancel.wait(pause)
        return self._persist(self._rename)

    def _rename(self) -> None:
        link = self._connected()
        self._close()
        again, self._renaming = self._renaming, True
        try:
            tree.rename(link, self._partial, self._names)
        except MissingError:
            # The answer to the first attempt was lost with the connection.
            if not (again and self._is_there(link)):
                raise
        except DestinationError as error:
            if again and status_of(error.__cause__) in IN_USE:
                # The server has not noticed yet that our first connection is gone.
                raise LostError(error.message, hint=error.hint) from error
            # Windows, and Samba in part, deny it when the file to be replaced is open, however it is shared.
            if status_of(error.__cause__) == DENIED and tree.is_in_use(link, self._names):
                self._renaming = False
                raise InUseError(
                    link.share.about(f"{self._key} can't be replaced while it is open elsewhere"),
                    hint="the copy that was there stays; run again when the restore, check or virus scanner that "
                    "reads it has ended",
                ) from error
            raise

    def _is_there(self, link: Link) -> bool:
        with suppress(MissingError):
            return tree.size_of(link, self._names) == self._written
        return False
