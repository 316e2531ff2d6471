"""The dump of a temporary instance: the stream of the dump's own source, and the instance's removal."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from backups.rds.removal import RefusedError
from backups.rds.temporary import Temporary, removed_on_error, still_there
from backups.sources.base import SourceStream

log = logging.getLogger("backups.rds")


class RDSStream(SourceStream):
    """Whole when the dump is. The instance is removed as soon as the dump is, so that it costs no minute more."""

    def __init__(self, dump: SourceStream, temporary: Temporary, warnings: Sequence[str]) -> None:
        """``warnings`` were found before the dump."""
        self.tail_bytes = dump.tail_bytes
        self.size_bound = dump.size_bound
        self._dump = dump
        self._temporary = temporary
        self._warnings = list(warnings)

    def fileno(self) -> int:
        return self._dump.fileno()

    def finish(self, size: int, tail: bytes) -> list[str]:
        """The dump is good whatever becomes of the instance: that RDS keeps it is a warning."""
        with removed_on_error(self._temporary):
            warnings = self._dump.finish(size, tail)
        try:
            self._temporary.remove()
        except RefusedError as refused:
            return [*self._warnings, *warnings, still_there(self._temporary.name, refused)]
        return [*self._warnings, *warnings]

    def kill(self) -> None:
        self._dump.kill()

    def close(self) -> None:
        self._dump.close()
        try:
            self._temporary.remove()
        except RefusedError as refused:
            log.warning("%s", still_there(self._temporary.name, refused))
