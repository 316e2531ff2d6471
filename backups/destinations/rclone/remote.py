"""rclone as a program: one child for each request, with a configuration that only those children see.

No setting stands in an argument list, where every user of the machine could read it: the file is named by the
child's environment.
"""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backups.commands import Command
from backups.context import Context
from backups.destinations.rclone.errors import LockedError, explain
from backups.errors import CommandError, DestinationError, MissingError
from backups.private_file import private_file

if TYPE_CHECKING:
    from backups.destinations.rclone.destination import Rclone

_SECRETS = re.compile(r"pass|secret|key|token|credential|cookie|auth|sas", re.IGNORECASE)
_INNER = re.compile(r'"([^"]{12,})"')

_ENVIRONMENT = {
    "RCLONE_ASK_PASSWORD": "false",
    "RCLONE_CONTIMEOUT": "15s",
    "RCLONE_RETRIES": "1",  # of whole commands: what may be tried again is known better here
    "RCLONE_STATS": "0",
    # How long a connection may be silent. A source may pause, and the fan-out drops a destination that stalls.
    "RCLONE_TIMEOUT": "30m",
}


_LOCKED_SECONDS, _LOCKED_PAUSE = 30.0, 0.5


@dataclass(frozen=True)
class Features:
    """What a remote can do."""

    move: bool
    """Rename a file on its own side."""
    copy: bool
    """Copy a file on its own side, in the place of an older one at once."""
    directories: bool
    """Folders exist by themselves, also empty ones."""
    buckets: bool
    """The first part of the path names a bucket, and folders are only parts of names."""
    hashes: frozenset[str]


_FEATURES: dict[tuple[str, bytes], Features] = {}
"""What remotes can do, by name and a hash of how they are reached: each source opens its destinations anew."""


class Remote:
    """A folder of a remote, and the means to reach it. Its methods may be called from several threads at once."""

    def __init__(self, config: Rclone, context: Context) -> None:
        """Nothing is started yet. Raises DestinationError for a configuration that does not know the remote."""
        self.cancel = context.cancel
        self.cleaned: set[str] = set()
        """Folders in which what killed runs left was looked for."""
        self._name = config.remote
        self._path = config.path.strip("/")
        self._scrub = context.secrets.scrub
        self._env = dict(_ENVIRONMENT)
        self._living: set[Command] = set()
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._features: Features | None = None
        self._stack = contextlib.ExitStack()
        text = config.config.get_secret_value() + "\n" if config.config else ""
        self._known_by = (text, config.config_file)
        if config.config_password:
            self._env["RCLONE_CONFIG_PASS"] = config.config_password.get_secret_value()
        if config.config_file:
            self._env["RCLONE_CONFIG"] = str(Path(config.config_file).expanduser())
        if text:
            self._check(text)
            path = self._stack.enter_context(private_file(context.tmpdir, "rclone.conf", text, prefix="rclone-"))
            self._env["RCLONE_CONFIG"] = str(path)
            self._env["RCLONE_CACHE_DIR"] = str(path.parent)
        self._stack.callback(context.cancel.on_stop(self._kill))

    def _check(self, text: str) -> None:
        """Look for the remote, and have its secrets taken out of messages, also when rclone shows only one of them."""
        parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
        try:
            parser.read_string(text)
        except configparser.Error:
            return  # encrypted, perhaps; rclone says more
        for section in parser.sections():
            for name, value in parser.items(section):
                if _SECRETS.search(name):
                    for secret in (value, *_INNER.findall(value)):
                        self._scrub.add(secret)
        if self._name not in parser.sections():
            known = ", ".join(parser.sections()) or "none"
            raise DestinationError(
                f"rclone: the configuration has no remote '{self._name}'", hint=f"it has: {known}", permanent=True
            )

    # ------------------------------------------------------------------ names

    def target(self, key: str = "") -> str:
        """What rclone calls a file or folder."""
        return f"{self._name}:" + "/".join(part for part in (self._path, key) if part)

    def about(self, key: str, what: str) -> str:
        """How messages begin."""
        return f"rclone {self.target()}: {key} {what}" if key else f"rclone {self.target()} {what}"

    # ------------------------------------------------------------------ what it can do

    def ready(self) -> Features:
        """What the remote can do, once it is known that its folder is there. Raises DestinationError."""
        with self._looking:
            if self._features is None:
                known = (self._name, hashlib.sha256(repr(self._known_by).encode()).digest())
                features = _FEATURES.get(known) or self._look()
                self._require_folder(features)
                self._features = _FEATURES[known] = features
            return self._features

    def _look(self) -> Features:
        told = json.loads(self.ask("backend", "features", self.target(), doing=self.about("", "can't be reached")))
        able: dict[str, bool] = told["Features"]
        if not able.get("PutStream"):
            raise DestinationError(
                self.about("", "takes no stream of unknown length, and nothing is kept on disk to learn it"),
                hint="take another type or vendor of remote; rclone's overview of features names them (StreamUpload)",
                permanent=True,
            )
        if not (able.get("Move") or able.get("Copy")):
            raise DestinationError(
                self.about("", "can neither rename nor copy on its own side, so that no copy could appear whole"),
                hint="take another type of remote; rclone's overview of features names them (Move, Copy)",
                permanent=True,
            )
        return Features(
            move=bool(able.get("Move")),
            copy=bool(able.get("Copy")),
            directories=bool(able.get("CanHaveEmptyDirectories")),
            buckets=bool(able.get("BucketBased")),
            hashes=frozenset(told.get("Hashes") or ()),
        )

    def _require_folder(self, features: Features) -> None:
        """rclone would make what is missing, and nobody would notice a disk that is not mounted or a wrong name."""
        folder = self._path.partition("/")[0] if features.buckets else self._path
        if folder:
            self.ask("lsjson", "--stat", f"{self._name}:{folder}", doing=self.about("", "can't be used"))

    # ------------------------------------------------------------------ children

    def ask(
        self, *arguments: str, doing: str, stdin: bytes = b"", timeout: float | None = None, must_end: bool = False
    ) -> bytes:
        """Run rclone to its end and return what it printed.

        ``must_end``: a stop of the run does not end it, since it would leave things half done.
        Raises DestinationError, of the kind that its words tell; StoppedError.
        """
        with self.start(*arguments, doing=doing, must_end=must_end, stdin=subprocess.PIPE) as command:
            with contextlib.suppress(BrokenPipeError):  # it ended before: its status tells more
                command.stdin.write(stdin)
                command.stdin.close()
            printed = command.stdout.read()
            self.end(command, doing, timeout, must_end=must_end)
        return printed

    def ask_patiently(self, *arguments: str, doing: str, timeout: float | None = None) -> None:
        """The same for what must end, again as long as the server locks what it is about, for half a minute at most.

        Others may be making the same folder, or the server has not noticed yet that a transfer was broken off.
        """
        deadline = time.monotonic() + _LOCKED_SECONDS
        while True:
            try:
                self.ask(*arguments, doing=doing, timeout=timeout, must_end=True)
            except LockedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOCKED_PAUSE)
            else:
                return

    def stat(self, key: str, *options: str, doing: str) -> dict[str, Any]:
        """What the remote tells of a file. Raises MissingError, DestinationError."""
        told = json.loads(self.ask("lsjson", "--stat", "--no-mimetype", *options, self.target(key), doing=doing))
        if not told or told["IsDir"]:
            raise MissingError(self.about(key, "does not exist"), hint="check remote and path")
        return dict(told)

    def stats(self, keys: Iterable[str], *options: str, doing: str) -> dict[str, dict[str, Any]]:
        """What the remote tells of those of these files that are there, by key. Raises DestinationError."""
        named = "".join(f"{key}\n" for key in keys).encode()
        command = ("lsjson", "--recursive", "--files-only", "--no-mimetype", *options, "--files-from-raw", "-")
        printed = self.ask(*command, self.target(), stdin=named, doing=doing)
        return {entry["Path"]: entry for entry in json.loads(printed)}

    def has(self, key: str, *, doing: str) -> bool:
        """Whether there is such a file. Raises DestinationError."""
        with contextlib.suppress(MissingError):
            return bool(self.stat(key, doing=doing))
        return False

    def end(self, command: Command, doing: str, timeout: float | None = None, *, must_end: bool = False) -> None:
        """Wait for a child's end. Raises DestinationError unless it ended well, StoppedError when the run stops."""
        try:
            command.wait(timeout)
        except CommandError as error:
            if not must_end:
                self.cancel.check()
            if error.status is None or error.status < 0:
                raise DestinationError(f"{doing}: {error.message}") from None
            raise explain(error.status, self._scrub(command.stderr_tail), doing) from None

    @contextlib.contextmanager
    def start(
        self,
        *arguments: str,
        doing: str,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        must_end: bool = False,
    ) -> Iterator[Command]:
        """A running child, killed at the end of the block at the latest."""
        try:
            command = Command([_program(), *arguments], stdin=stdin, stdout=stdout, env=self._env)
        except CommandError as error:
            raise DestinationError(
                f"{doing}: {error.message}",
                hint="install rclone 1.70 or newer: pip install 'backups[rclone]', or from rclone.org",
                permanent=True,
            ) from None
        if not must_end:
            with self._lock:
                self._living.add(command)
            if self.cancel.stopped:
                command.kill()
        try:
            yield command
        finally:
            with self._lock:
                self._living.discard(command)
            command.close()

    def _kill(self) -> None:
        for command in [*self._living]:  # without the lock: it may be a signal handler that interrupts its holder
            command.kill()

    def close(self) -> None:
        """End the children, and remove the configuration."""
        self._kill()
        self._stack.close()


def _program() -> str:
    """The one that was installed beside this interpreter, else the one on PATH."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if shutil.which(beside) else "rclone"
