"""``scripts/demo [FOLDER]``: the nightly job on this machine, from ``cdk synth`` to a restore with stock tools only."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from backups.errors import BackupsError
from backups.records import RunReport, StoredAt
from local_cloud import stock
from local_cloud.client import ROOT, LocalCloud
from local_cloud.night import STACK, Night, NightError, deploy, synthesize, worker_programs
from local_cloud.sample import CHECKOUT_EXCLUDES, DATABASE, JOB, SCHEMA, Database, odd_names, sample_plan
from tests.servers.mariadb import MariaDB
from tests.servers.slack import SlackServer, slack_server
from tests.servers.smtp import SmtpServer, smtp_server

# What the embedded cloud keeps between showings, so that the second one is quicker.
_STATE = Path(os.environ.get("BACKUPS_DEMO_STATE", ROOT / ".demo"))


class Demo:
    """One showing. Everything that it starts ends with its ``stack``, also after Ctrl-C."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backups-demo-")))
        self.passphrase = secrets.token_urlsafe(24)
        self.passphrase_file = self.work / "passphrase"
        self.passphrase_file.write_text(self.passphrase)
        self.passphrase_file.chmod(0o600)

    def run(self) -> None:
        """All of it. Raises BackupsError when anything is not as it should be."""
        with _step("a MariaDB with data, a Slack and a mail server to be told, two folders"):
            database = self.database()
            slack, mail = self.stack.enter_context(slack_server()), self.stack.enter_context(smtp_server())
            odd = odd_names(self.work / "odd names")
        plan = sample_plan(
            self.work / "jobs",
            folders=(self.folder, odd),
            database=Database(database.host, database.port, database.user, database.password),
            channels=self.channels(slack, mail),
            passphrase=self.passphrase,
        )
        with _step("the real stack synthesized from the job file"):
            assembly = synthesize(plan, self.work / "cdk.out")
        with _step("the stack deployed to the embedded cloud"):
            cloud = LocalCloud(programs=worker_programs(), state_dir=_STATE / "cloud")
            self.stack.callback(cloud.close)
            night = deploy(cloud, plan, assembly)
        report = self.back_up(night)
        self.tell(slack, mail)
        self.restore(night, report, database, odd)

    def database(self) -> MariaDB:
        """A running server with a database in it."""
        server = self.stack.enter_context(MariaDB(self.work / "mariadb"))
        server.execute(f"CREATE DATABASE {DATABASE}; CREATE DATABASE restored")
        server.execute(SCHEMA, DATABASE)
        return server

    def channels(self, slack: SlackServer, mail: SmtpServer) -> dict[str, dict[str, dict[str, object]]]:
        """What the job file says of the two servers that stand in for the world."""
        authority = self.work / "mail-authority.pem"
        authority.write_text(mail.ca_pem)
        smtp = {"host": "localhost", "port": mail.port, "ca_file": str(authority), "success_to": "team@example.org"}
        return {
            "slack": {"job": {}, "secrets": {"slack_url": slack.url}},
            "smtp": {"job": smtp, "secrets": {"smtp_password": mail.password}},
        }

    def back_up(self, night: Night) -> RunReport:
        """Let the schedule's target start the run, and watch it as a user of the deployed stack does."""
        print(f"\nThe schedule of job '{JOB}' fires: its target, the orchestrator Lambda, starts a run.\n", flush=True)
        run = night.fire(JOB)
        execution = night.begun(JOB, run)
        subprocess.run(
            [str(Path(sys.executable).with_name("backups")), "watch", "--stack", STACK, execution["name"]],
            env={**os.environ, **night.cloud.environment()},
            check=False,
        )
        night.ended(JOB, run)
        report = night.report(JOB, run)
        if report.outcome != "stored":
            raise NightError(f"the run ended as {report.outcome}: {report.error or report.results}")
        print("\nStored:")
        for result in report.results:
            print(f"  {result.name}: sha256 {result.sha256}")
        return report

    def tell(self, slack: SlackServer, mail: SmtpServer) -> None:
        """Show the notification that was sent."""
        print("\nThe message to Slack:")
        for message in slack.messages:
            print("\n".join(f"  | {line}" for line in str(message["text"]).splitlines()))
        for received in mail.mails:
            print(f"The mail to {', '.join(received.recipients)}: {received.message['Subject']}")
        if not slack.messages or not mail.mails:
            raise NightError("a notification is missing")

    def restore(self, night: Night, report: RunReport, database: MariaDB, odd: Path) -> None:
        """Restore every copy from every destination with gpg, zstd, tar and mysql alone, and compare."""
        print("\nRestored with stock tools only (gpg, zstd, tar, mysql):")
        originals = {"config": (self.folder, CHECKOUT_EXCLUDES if self.folder == ROOT else ()), "data": (odd, ())}
        buckets = {"main": "example-backups-main", "second": "example-backups-second"}
        for result in report.results:
            for place in result.destinations:
                copy = self.work / "copies" / place.destination / Path(place.key).name
                night.download(buckets[place.destination], place.key, copy)
                if stock.sha256(copy) != result.sha256:
                    raise NightError(f"{copy.name} at {place.destination} is not what was stored")
                if result.source in originals:
                    wrong = self.folder_differences(copy, place, *originals[result.source])
                else:
                    wrong = self.database_differences(copy, database)
                if wrong:
                    raise NightError(f"{result.name} from {place.destination} is not the same: {'; '.join(wrong[:5])}")
                print(f"  {result.name} from {place.destination}: byte for byte the same", flush=True)
                copy.unlink()

    def folder_differences(self, copy: Path, place: StoredAt, original: Path, excludes: tuple[str, ...]) -> list[str]:
        """Unpack an archive beside, and compare it with the folder that was backed up."""
        target = self.work / "restored" / place.destination
        target.mkdir(parents=True)
        stock.pipeline(copy, self.passphrase_file, "tar", "-x", "-i", "-p", "-f", "-", "-C", str(target))
        wrong = stock.differences(original, target / original.name, excludes)
        shutil.rmtree(target)
        return wrong

    def database_differences(self, copy: Path, database: MariaDB) -> list[str]:
        """Load a dump into an empty database, and compare dumps of both."""
        database.execute("DROP DATABASE restored; CREATE DATABASE restored")
        client = ("mysql", f"--defaults-file={database.admin_options}", "restored")
        stock.pipeline(copy, self.passphrase_file, *client)
        options = ("--routines", "--events", "--triggers", "--skip-comments", "--hex-blob")
        same = database.dump(*options, DATABASE) == database.dump(*options, "restored")
        return [] if same else ["the database's dump differs"]


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    print(f"{what} … ", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - start:.1f} s", flush=True)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:  # more of them must not interrupt what ends the servers
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _not_lost(unraisable: sys.UnraisableHookArgs) -> None:
    """A signal that comes in the middle of a destructor can't end anything from there: let it come again."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def main() -> int:
    """Show it. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Backs up FOLDER, another folder and a database through the real stack in an embedded cloud, "
        "to two destinations at once, and restores every copy with stock tools.",
    )
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT, metavar="FOLDER", help="default: this checkout")
    folder: Path = parser.parse_args().folder.resolve()
    if not folder.is_dir():
        parser.error(f"{folder} is no folder")
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup, or a shell in the background, would have it
            signal.signal(number, _stop)
    sys.unraisablehook = _not_lost
    start = time.monotonic()
    try:
        with contextlib.ExitStack() as stack:
            Demo(folder, stack).run()
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (BackupsError, stock.StockError) as error:
        print(f"\nfailed: {error}", file=sys.stderr)
        return 1
    print(f"\nDone in {time.monotonic() - start:.0f} s; nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
