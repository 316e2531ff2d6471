"""Files that are not complete objects: those on their way, older ones being replaced, and what killed runs left."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import re
import secrets
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from backups.destinations.rclone.remote import Remote
from backups.errors import DestinationError, MissingError

log = logging.getLogger("backups.destinations.rclone")

ABANDONED = dt.timedelta(days=1)
"""A hidden file that nobody wrote to for so long is left over."""

_HIDDEN = re.compile(r"\.backups-[0-9a-f]{16}\.(partial|replaced(\.(?P<since>\d+)\.(?P<rest>.+))?)")


def is_hidden(key: str) -> bool:
    """Whether no listing may show it."""
    return bool(_HIDDEN.fullmatch(PurePosixPath(key).name))


def waiting_name(top: str) -> str:
    """Where a file is until it is whole: in the topmost folder of its key."""
    return _inside(top, f".backups-{secrets.token_hex(8)}.partial")


def replaced_name(top: str, key: str) -> str:
    """Where the older file of a key is from now on, while the new one takes its place.

    It tells since when, and for which key, so that a later run can put it back should this one die in that moment.
    """
    rest = urllib.parse.quote(key[len(top) + 1 :] if top else key, safe="")
    return _inside(top, f".backups-{secrets.token_hex(8)}.replaced.{time.time():.0f}.{rest}")


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


class ClearUp:
    """Removes hidden files of killed runs, and puts back what such a run had only put aside.

    Nobody knows whether a writer lives: so only those that are old.
    """

    def __init__(self, remote: Remote, folder: str, stack: contextlib.ExitStack) -> None:
        """Begin to look for them, beside what else is done, until the stack is closed at the latest."""
        self._remote = remote
        self._folder = folder
        self._doing = remote.about(folder, "can't be listed")
        command = ("lsjson", "--files-only", "--no-mimetype", remote.target(folder))
        self._looking = stack.enter_context(remote.start(*command, doing=self._doing))

    def finish(self) -> None:
        """Wait until they are found, and do it. Raises StoppedError; what goes wrong is only logged."""
        try:
            printed = self._looking.stdout.read()
            self._remote.end(self._looking, self._doing)
            for name, rest in _abandoned(json.loads(printed)):
                _clear(self._remote, self._folder, name, rest)
        except MissingError:
            pass  # nothing was stored there yet
        except DestinationError as error:
            log.warning("%s; so what killed runs may have left stays for now", error)


def _abandoned(entries: Iterable[dict[str, str]]) -> Iterator[tuple[str, str | None]]:
    before = dt.datetime.now(dt.UTC) - ABANDONED
    for entry in entries:
        if not (found := _HIDDEN.fullmatch(entry["Name"])):
            continue
        since = dt.datetime.fromisoformat(entry["ModTime"])
        if found["since"]:  # it was written long before it was put aside
            since = dt.datetime.fromtimestamp(int(found["since"]), dt.UTC)
        if since < before:
            yield entry["Name"], found["rest"]


def _clear(remote: Remote, folder: str, name: str, rest: str | None) -> None:
    hidden, key = _inside(folder, name), _inside(folder, urllib.parse.unquote(rest or ""))
    doing = remote.about(hidden, "can't be cleared up")
    try:
        if rest and not remote.has(key, doing=doing):
            remote.ask("moveto", remote.target(hidden), remote.target(key), doing=doing, must_end=True)
            log.warning("%s", remote.about(key, "was put back: a run died while it replaced it"))
        else:
            remote.ask("deletefile", remote.target(hidden), doing=doing, must_end=True)
    except MissingError:
        pass  # another run was faster
