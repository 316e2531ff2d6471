"""The worker of a deployed job: ``python -m worker_image.main``. One source of one run, then it ends.

Environment, job file from S3, the source to its destinations, result record in ``finally``, exit code. It writes
how far it is every few seconds. The exit code is that of ``backups run``: 0 stored, 3 partly, 1 failed, 143 stopped.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from backups.cloud.orchestration import load_deployed
from backups.cloud.settling import lost
from backups.cloud.state import State
from backups.context import Context
from backups.errors import BackupsError, ExitCode, StoppedError
from backups.progress import Progress
from backups.records import Outcome, PlanItem, Result
from backups.running import run_source
from backups.secrets import ScrubbingFilter
from worker_image.check import CheckEnv, check
from worker_image.environment import Env

log = logging.getLogger("backups.worker")

CHECK = "check"
"""The argument that makes it check copies instead of making one."""

EXIT_CODES = {Outcome.STORED: ExitCode.OK, Outcome.PARTIAL: ExitCode.PARTIAL, Outcome.FAILED: ExitCode.FAILED}


def main() -> int:
    """Run the source that the environment names, or check the job's copies. Returns the exit code."""
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="backups-") as private:
        context = Context(tmpdir=Path(private))
        _log_scrubbed(context)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: context.cancel.set(received))
        try:
            if sys.argv[1:] == [CHECK]:
                return check(CheckEnv.from_env(), context)
            env = Env.from_env()
            return run(env, replace(context, staging=env.staging))
        except StoppedError as error:
            return error.code
        except BackupsError as error:
            log.error("%s", error)  # noqa: TRY400 - a sentence for people; its stack tells them nothing
            return error.exit_code


def run(env: Env, context: Context) -> int:
    """Back the source up and leave its records. Raises BackupsError when the state bucket does not answer."""
    state = State(env.state_bucket)
    plan = state.plan(env.job, env.run)
    item = next((item for item in plan.items if item.source == env.source), None) if plan else None
    if plan is None or item is None:
        raise BackupsError(f"run {env.run} of job '{env.job}' plans no source '{env.source}'")
    progress = Progress(item.source, item.name)
    result = lost(plan, item, None, dt.datetime.now(dt.UTC))  # stands when nothing better is known
    try:
        with _recorded(progress, state, env):
            result = _backed_up(env, item, context, progress, result)
    finally:
        state.put_result(result)
        log.info("%s: %s %s", result.source, result.outcome, result.error)
    if context.cancel.stopped and result.outcome is not Outcome.STORED:
        return ExitCode.TERMINATED
    return EXIT_CODES[result.outcome]


def _backed_up(env: Env, item: PlanItem, context: Context, progress: Progress, unfinished: Result) -> Result:
    """The result of the source; of a job file that can't be used, a failed one that says so."""
    try:
        return run_source(load_deployed(env.job_file, env.job), item, context, progress)
    except BackupsError as error:
        scrub = context.secrets.scrub
        return unfinished.model_copy(update={"error": scrub(error.message), "hint": scrub(error.hint)})


@contextmanager
def _recorded(progress: Progress, state: State, env: Env) -> Iterator[None]:
    """Write progress records while the block runs, one at its end too. A lost one costs nothing."""
    over = threading.Event()

    def write() -> None:
        try:
            state.put_progress(env.job, env.run, progress.snapshot())
        except BackupsError as error:
            log.warning("%s", error)

    def keep_writing() -> None:
        while not over.wait(env.progress_seconds):
            write()

    thread = threading.Thread(target=keep_writing, name="progress", daemon=True)
    write()
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        write()


def _log_scrubbed(context: Context) -> None:
    """Log to stdout, where the task's log driver reads, with every known secret masked."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(ScrubbingFilter(context.secrets.scrub))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("backups").setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
