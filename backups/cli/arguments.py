"""Every command with its options, and help that teaches."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from backups.cli import copies, deployed, jobs, restore, run, verify

EXIT_CODES = """exit codes:
  0    everything is stored everywhere; or the command did all it was asked for
  1    failed
  2    bad usage, job file or user: nothing was touched
  3    partly: some source or destination failed
  130  stopped by Ctrl-C
  143  stopped by SIGTERM
"""
USER = """user:
  Any unprivileged one. root is refused unless the environment variable RUN_AS_USER is set: to root to go on
  as root, or to another user to become that one before anything is read. Anyone else than RUN_AS_USER is refused.
"""


class _Version(argparse.Action):
    """Looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"backups {version('backups')}")
        parser.exit()


class _Commands:
    """Adds commands that all look alike."""

    def __init__(self, root: argparse.ArgumentParser) -> None:
        self._adder = root.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        self, name: str, command: Callable[..., int], summary: str, text: str, *, as_user: bool = False
    ) -> argparse.ArgumentParser:
        """``as_user``: it reaches data or destinations, so it must run as the right user."""
        added = self._adder.add_parser(
            name,
            help=summary,
            description=f"{summary[:1].upper()}{summary[1:]}.",
            epilog="\n".join(part for part in (text.strip("\n") + "\n", USER if as_user else "", EXIT_CODES) if part),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        added.add_argument("-v", "--verbose", action="store_true", help="show log lines, and where errors come from")
        added.set_defaults(command=command, as_user=as_user)
        return added


def parser() -> argparse.ArgumentParser:
    """Of the command ``backups``."""
    root = argparse.ArgumentParser(
        prog="backups",
        description="Back up folders and databases, encrypted, to several destinations at once.",
        epilog=_ROOT + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    root.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = _Commands(root)
    _run_commands(commands)
    _copy_commands(commands)
    _file_commands(commands)
    _deployed_commands(commands)
    return root


def backup_parser() -> argparse.ArgumentParser:
    """Of the old tool's command ``backup``."""
    root = argparse.ArgumentParser(
        prog="backup",
        description="Run a job, as `backups run` does; without -v nothing is printed unless something is wrong.",
        epilog=USER + "\n" + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    root.add_argument("-v", "--verbose", action="store_true", help="show what is done")
    root.add_argument("job", metavar="CONFIG", type=Path, help="job file")
    root.set_defaults(command=run.backup, as_user=True, quiet=False, source=None, dry_run=False, json=False)
    return root


def _run_commands(commands: _Commands) -> None:
    added = commands.add("run", run.run, "run a whole job: sources, retention, notifications", _RUN, as_user=True)
    _job(added)
    _sources(added)
    added.add_argument("--dry-run", action="store_true", help="show what would be stored and removed; touch nothing")
    added.add_argument("-q", "--quiet", action="store_true", help="print nothing unless something is wrong")
    _json(added, "the report")
    added = commands.add("plan", jobs.plan, "show what a run would do, and why", _PLAN)
    _job(added)
    _sources(added)
    _json(added, "the plan")


def _copy_commands(commands: _Commands) -> None:
    added = commands.add("list", copies.list_, "list copies, and what keeps each", _LIST, as_user=True)
    _job(added)
    _sources(added)
    _destinations(added)
    _hostname(added)
    _json(added, "the list")
    added = commands.add("verify", verify.verify, "read copies back and check every byte", _VERIFY, as_user=True)
    _job(added)
    _sources(added)
    _destinations(added)
    _hostname(added)
    _date(added)
    added.add_argument(
        "--due", action="store_true", help="the copies whose turn it is, so that all are verified in time"
    )
    _json(added, "the checks")
    added = commands.add("restore", restore.restore, "restore a copy", _RESTORE, as_user=True)
    _job(added)
    added.add_argument("source", metavar="SOURCE", help="id of the source")
    added.add_argument(
        "--to", required=True, metavar="TARGET", help="DIR, FILE, - (standard output), mysql://… or postgresql://…"
    )
    added.add_argument("--from", dest="origin", default="", metavar="DESTINATION", help="restore from this one only")
    added.add_argument("--unverified", action="store_true", help="take a copy without a manifest, if gpg can read it")
    added.add_argument("--overwrite", action="store_true", help="load into a database that has tables")
    _date(added)
    _hostname(added)
    added = commands.add("prune", copies.prune, "remove copies that no rule keeps", _PRUNE, as_user=True)
    _job(added)
    _sources(added)
    _destinations(added)
    added.add_argument("--dry-run", action="store_true", help="show what would be removed; remove nothing")
    _json(added, "the decisions")


def _file_commands(commands: _Commands) -> None:
    added = commands.add("validate", jobs.validate, "check job files, every error at once", _VALIDATE)
    added.add_argument("jobs", metavar="JOB.json", type=Path, nargs="+", help="job file")
    _json(added, "the problems")
    commands.add("schema", jobs.schema, "print the JSON Schema of job files, for editors", _SCHEMA)
    added = commands.add("convert", jobs.convert_, "turn an old job file into one that may be deployed", _CONVERT)
    added.add_argument("old", metavar="OLD.cfg", type=Path, help="job file of the old tool")
    added.add_argument(
        "--output", type=Path, metavar="FILE", help="write the new job file here, not to standard output"
    )
    added.add_argument("--secrets", type=Path, metavar="FILE", help="write the secrets that were moved out here (0600)")


def _deployed_commands(commands: _Commands) -> None:
    added = commands.add("start", deployed.start, "start a deployed job now", _START)
    added.add_argument("job", metavar="JOB", help="name of the deployed job")
    _sources(added)
    _stack(added)
    _json(added, "what was started")
    added = commands.add("watch", deployed.watch, "show the progress of a deployed run until it ends", _WATCH)
    added.add_argument("run", metavar="RUN", help="name of the run's execution, as `backups start` prints it")
    _stack(added)
    _json(added, "the report")
    added = commands.add("cancel", deployed.cancel, "stop a deployed run", _CANCEL)
    added.add_argument("run", metavar="RUN", help="name of the run's execution, as `backups start` prints it")
    _stack(added)
    added = commands.add("notify", deployed.notify, "send notifications again that could not be delivered", _NOTIFY)
    added.add_argument(
        "--redrive", action="store_true", required=True, help="send what lies in the stack's dead-letter queue"
    )
    added.add_argument("--dry-run", action="store_true", help="show what lies there; send and delete nothing")
    _stack(added)
    _json(added, "what lies there, and what became of it")


def _job(added: argparse.ArgumentParser) -> None:
    added.add_argument("job", metavar="JOB.json", type=Path, help="job file")


def _sources(added: argparse.ArgumentParser) -> None:
    added.add_argument("--source", action="append", metavar="ID", help="only this source; may be repeated")


def _destinations(added: argparse.ArgumentParser) -> None:
    added.add_argument("--destination", default="", metavar="ID", help="only this destination")


def _hostname(added: argparse.ArgumentParser) -> None:
    added.add_argument("--hostname", default="", metavar="NAME", help="copies of this host, not of the job's")


def _date(added: argparse.ArgumentParser) -> None:
    added.add_argument("--date", type=_day, metavar="YYYY-MM-DD", help="the copies of this day, not the newest")


def _json(added: argparse.ArgumentParser, what: str) -> None:
    added.add_argument("--json", action="store_true", help=f"print {what} as JSON on standard output")


def _stack(added: argparse.ArgumentParser) -> None:
    added.add_argument("--stack", default="Backups", metavar="NAME", help="name of the stack (default: Backups)")


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-01-31") from None


_ROOT = """examples:
  backups validate nightly.json                 is the job file right?
  backups run nightly.json                      back up now
  backups list nightly.json                     what is stored, and why it stays
  backups restore nightly.json data --to /tmp/restored

`backups COMMAND --help` shows more of each.

"""
_RUN = """
Every source is read once, compressed, encrypted and stored at all destinations at the same time. A copy appears
only after it was completely written and verified. Then retention removes old copies, but only where this run
stored a new one, and the notifications tell how it went; they never change the outcome.

One run of a job at a time: a second one on this machine says so and ends with 1.

examples:
  backups run nightly.json
  backups run nightly.json --source data --source shop
  backups run nightly.json --dry-run            what would be stored and removed
  backups run nightly.json --json > report.json
  0 2 * * * backups run --quiet nightly.json    in a crontab: mail comes only when something is wrong
"""
_PLAN = """
Reads the job file and nothing else: no secret is resolved and no destination asked. `backups run --dry-run` asks
the destinations too, and shows what retention would remove.

examples:
  backups plan nightly.json
  backups plan nightly.json --source data --json
"""
_LIST = """
A copy is verified when its manifest stands beside it; the manifest is written last, after the copy was checked.
`kept by` names the rules that keep a copy, `until` the first day on which none does if nothing else changes.

examples:
  backups list nightly.json
  backups list nightly.json --destination offsite --source data
  backups list nightly.json --hostname old-server
"""
_VERIFY = """
Reads each copy back whole from its destination, compares its size and sha256 with the manifest, and decrypts it to
nothing, so that gpg makes its own check. Without --date it takes the newest copy of each source at each destination.
Ends with 1 when any copy is damaged, missing or can't be read.

With --due it takes those copies of all whose turn it is by the job file's 'verification': run it from cron every day,
and each copy is read back within 'every_days'. It remembers what it read in $XDG_STATE_HOME/backups (~/.local/state),
also when it is stopped half-way, has the channels of the job told of what is wrong, and ends with 1 as long as any copy
is known to be bad.

examples:
  backups verify nightly.json
  backups verify nightly.json --source data --date 2026-01-31 --destination offsite
  0 12 * * * backups verify --due nightly.json > /dev/null    in a crontab: mail comes only when something is wrong
"""
_RESTORE = """
Takes the newest verified copy, from the first destination of the job file that holds a whole one. The copy's size,
sha256 and gpg's own check are looked at while it is read, and what is restored appears only when all were right.

--to says where:
  DIR       a folder's archive is unpacked into a directory that is new or empty. A dump is put into it as SOURCE.sql.
            A name is taken for a directory when it ends in a slash, exists as one, or the source is a folder.
  FILE      a dump as one new file; for a folder a name that ends in .tar
  -         standard output. What was written can't be taken back: look at the exit code before you use it.
  mysql://USER@HOST:PORT/DATABASE
            loads a dump into a database that exists and is empty (or with --overwrite). If that fails half-way an
            empty database is emptied again. The password is asked for on a terminal, or stands as a reference:
            mysql://USER:{{resolve:file:/path}}@HOST:PORT/DATABASE. Leave DATABASE out for a dump of several.
  postgresql://USER@HOST:PORT/DATABASE
            the same for PostgreSQL. Leave DATABASE out for a copy of roles ('globals') or of 'all_databases'.

Modes and times of files are kept. Owners are kept only when root restores: RUN_AS_USER=root backups restore …

examples:
  backups restore nightly.json data --to /srv/restored
  backups restore nightly.json shop --to shop.sql --date 2026-01-31 --from offsite
  backups restore nightly.json shop --to - | less
  backups restore nightly.json shop --to mysql://root@127.0.0.1/shop_restored
"""
_PRUNE = """
Only copies of this job's own host and sources are looked at, each destination by its own rules. The newest verified
copy of a source always stays, unless 'retention_minimum' says otherwise. A manifest goes with its copy.

examples:
  backups prune nightly.json --dry-run          each copy with keep or remove, and why
  backups prune nightly.json --destination offsite
"""
_VALIDATE = """
Shows every problem with its path in the file, then hints for slow or risky settings. Nothing is asked or resolved.

examples:
  backups validate nightly.json
  backups validate jobs/*.json --json
"""
_SCHEMA = """
Save it and name it in a job file as "$schema", or in the settings of the editor: it then completes and checks.

example:
  backups schema > job.schema.json
"""
_CONVERT = """
Mistakes that the old manual's own examples have are repaired, spellings are made those of today, and every secret
is moved out: the new file holds references to one secret of AWS Secrets Manager.

example:
  backups convert nightly.cfg --output jobs/nightly.json --secrets secrets.json
  aws secretsmanager create-secret --name backups/nightly --secret-string file://secrets.json
"""
_START = """
Uses the AWS credentials and region of the environment. Prints the name of the run.

examples:
  backups start nightly
  backups start nightly --source data --stack Backups
"""
_WATCH = """
Ends as the run does: with 0, 1 or 3. Ctrl-C ends the watching only; `backups cancel` stops the run.

example:
  backups watch nightly-20260131T020000Z
"""
_CANCEL = """
The workers are told to stop and leave nothing half. What was stored before stays. The channels are told that the run
was stopped, and of each source what is known of it.

example:
  backups cancel nightly-20260131T020000Z
"""
_NOTIFY = """
A message that a channel refused, or that could not be sent three times, lies in the stack's dead-letter queue for 14
days. Correct what was wrong, then send it again: only what was sent is deleted. Events of schedules that started no
run are shown and stay, since they are no messages: `backups start` makes up for them.

Ends with 3 when some were sent and others are left, with 1 when all are left.

examples:
  backups notify --redrive --dry-run            what lies there, and why
  backups notify --redrive --stack Backups
"""
