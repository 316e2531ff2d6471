"""What every command shares: the display, the secrets it must not show, and how signals end it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from pydantic import BaseModel, SecretStr

from backups.context import Cancel, Context
from backups.display import Display
from backups.errors import StoppedError
from backups.job import Job, load_job
from backups.local_run import ensure_tmpdir
from backups.secrets import Secrets
from backups.workspace import private_directory

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Session:
    """One per process."""

    display: Display
    secrets: Secrets
    cancel: Cancel = field(default_factory=Cancel)

    def load(self, path: Path, *, hostname: str = "") -> Job:
        """Read a job file; from then on no secret that it holds is shown. Raises JobError, UsageError.

        ``hostname`` takes the place of the job's, to reach the copies of another host.
        """
        job = load_job(path)
        for part in (job.settings, *job.sources, *job.destinations, *job.notifications):
            self._learn(part)
        if hostname:
            job = dataclasses.replace(job, settings=job.settings.model_copy(update={"hostname": hostname}))
        return job

    @contextlib.contextmanager
    def context(self, job: Job) -> Iterator[Context]:
        """A context with a private directory, which is removed at the end. Raises BackupsError."""
        with private_directory(ensure_tmpdir(job.settings.tmpdir)) as private:
            yield Context(tmpdir=private, secrets=self.secrets, cancel=self.cancel)

    @contextlib.contextmanager
    def stopping(self) -> Iterator[None]:
        """Signals ask the work to stop, and it then puts everything in order; more of them change nothing."""
        with _handling(self._stop):
            yield

    @contextlib.contextmanager
    def interrupted(self) -> Iterator[None]:
        """The first signal ends the work at once, whatever it waits for; for work that has nothing to put in order.

        More of them change nothing, up to the end of the process: they would interrupt how it ends.
        """
        with _handling(self._interrupt, for_good=lambda: self.cancel.stopped):
            yield

    def _stop(self, number: int) -> None:
        first = not self.cancel.stopped
        self.cancel.set(number)
        if first:
            # Not through the display: the interrupted code may be in the middle of it.
            with contextlib.suppress(OSError):
                os.write(2, b"\nstopping: ending children and leaving nothing half\n")

    def _interrupt(self, number: int) -> None:
        if not self.cancel.stopped:
            self.cancel.set(number)
            raise StoppedError(signal=number)

    def _learn(self, value: object) -> None:
        if isinstance(value, SecretStr):
            self.secrets.scrub.add(value.get_secret_value())
        elif isinstance(value, BaseModel):
            for name in type(value).model_fields:
                self._learn(getattr(value, name))
        elif isinstance(value, dict):
            self._learn(list(value.values()))
        elif isinstance(value, list | tuple):
            for item in value:
                self._learn(item)


@contextlib.contextmanager
def _handling(react: Callable[[int], None], for_good: Callable[[], bool] = lambda: False) -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        react(number)

    # What the caller told us to ignore, as nohup does with SIGHUP, stays ignored.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    chosen = [number for number in _SIGNALS if before[number] is not signal.SIG_IGN]
    for number in chosen:
        signal.signal(number, handler)
    try:
        yield
    finally:
        if not for_good():
            for number in chosen:
                signal.signal(number, before[number])
