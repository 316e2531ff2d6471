"""Files that killed runs left unfinished on a share."""

from __future__ import annotations

import datetime as dt
import logging

from backups.destinations.samba import tree
from backups.destinations.samba.errors import LostError
from backups.destinations.samba.link import ANSWER_SECONDS, Link
from backups.destinations.samba.names import PARTIAL
from backups.errors import DestinationError

log = logging.getLogger("backups.destinations.samba")

ABANDONED_SECONDS = 3600.0
"""A partial file that nobody has open or wrote to for so long is left over. Who only lost the connection needs less."""


def remove_abandoned(link: Link, directory: tree.Names, living: set[str], now: dt.datetime) -> None:
    """Remove partial files whose writers are gone. ``now`` is the time on the server's clock, as are all others."""
    for entry in tree.entries(link, directory, ".backups-*"):
        old = (now - entry.modified).total_seconds() > ABANDONED_SECONDS
        if old and PARTIAL.fullmatch(entry.name) and entry.name not in living:
            try:
                tree.unlink(link, (*directory, entry.name), ANSWER_SECONDS)
            except LostError:
                raise
            except DestinationError as error:
                log.info("%s", error)  # its writer lives, or it is another user's
