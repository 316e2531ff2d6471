"""What rclone prints when something fails, as errors that a person can act on."""

from __future__ import annotations

import re

from backups.errors import DeniedError, DestinationError, MissingError

_LINE = re.compile(r"^(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?(?:(?:ERROR|CRITICAL|NOTICE|INFO) *: )?")
_LAST = re.compile(r"^Failed to \S+(?: with \d+ errors)?: (?:last error was: )?")

_DIRECTORY_NOT_FOUND, _FILE_NOT_FOUND = 3, 4
"""rclone's exit statuses. Older ones end with 1 for a file that is missing, but say the same."""

_MISSING = re.compile(r"(directory|object|file) not found|doesn't exist|NoSuchBucket|404 Not Found", re.IGNORECASE)
_DENIED = re.compile(
    r"unable to authenticate|permission denied|access ?denied|unauthori[sz]ed|forbidden|invalid_grant|"
    r"InvalidAccessKeyId|SignatureDoesNotMatch|login incorrect|not logged in|status 40[13]",
    re.IGNORECASE,
)
_FULL = re.compile(r"no space left|quota ?exceeded|insufficient[ _](storage|space)|disk full", re.IGNORECASE)
_CONFIG = re.compile(r"didn't find section in config file|couldn't (?:decrypt|find type|load config)|wrong password")
_LOCKED = re.compile(r"\b423\b")


class LockedError(DestinationError):
    """The server has not let go of a file yet, such as one whose transfer was broken off."""


def explain(status: int | None, stderr: str, doing: str) -> DestinationError:
    """``doing`` says where and what, such as ``box:backups: a/b can't be listed``."""
    said = _words(stderr)
    text = f"{doing}: {said}" if said else f"{doing}: rclone ended with exit status {status}"
    if _CONFIG.search(stderr):
        return DestinationError(
            text, hint="check remote, config and config_password; 'rclone listremotes' shows the names", permanent=True
        )
    if _DENIED.search(stderr):
        return DeniedError(text, hint="check the remote's user, password, key or token, and its rights there")
    if _FULL.search(stderr):
        return DestinationError(
            text, hint="make room, or keep fewer copies with retention_copies or retention_days", permanent=True
        )
    if status in (_DIRECTORY_NOT_FOUND, _FILE_NOT_FOUND) or _MISSING.search(stderr):
        return MissingError(text, hint="check remote and path; the folder or bucket is never made here")
    if _LOCKED.search(stderr):
        return LockedError(text, hint="something else writes to it; rclone's own manual of the type may say more")
    return DestinationError(text, hint="rclone's own manual of the remote's type may say more")


def _words(stderr: str) -> str:
    """The last thing that rclone said, without the time and the level."""
    lines = [_LINE.sub("", line) for line in stderr.splitlines()]
    verdicts = [line for line in lines if _LAST.match(line)]
    return _LAST.sub("", (verdicts or lines or [""])[-1])
