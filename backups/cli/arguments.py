"""Every command with its options."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from backups.cli import copies, deployed, jobs, restore, run, texts, verify


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
            epilog="\n".join(
                part for part in (text.strip("\n") + "\n", texts.USER if as_user else "", texts.EXIT_CODES) if part
            ),
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
        epilog=texts.ROOT + texts.EXIT_CODES,
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
        epilog=texts.USER + "\n" + texts.EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    root.add_argument("-v", "--verbose", action="store_true", help="show what is done")
    root.add_argument("job", metavar="CONFIG", type=Path, help="job file")
    root.set_defaults(command=run.backup, as_user=True, quiet=False, source=None, dry_run=False, json=False)
    return root


def _run_commands(commands: _Commands) -> None:
    added = commands.add("run", run.run, "run a whole job: sources, retention, notifications", texts.RUN, as_user=True)
    _job(added)
    _sources(added)
    added.add_argument("--dry-run", action="store_true", help="show what would be stored and removed; touch nothing")
    added.add_argument("-q", "--quiet", action="store_true", help="print nothing unless something is wrong")
    _json(added, "the report")
    added = commands.add("plan", jobs.plan, "show what a run would do, and why", texts.PLAN)
    _job(added)
    _sources(added)
    _json(added, "the plan")


def _copy_commands(commands: _Commands) -> None:
    added = commands.add("list", copies.list_, "list copies, and what keeps each", texts.LIST, as_user=True)
    _job(added)
    _sources(added)
    _destinations(added)
    _hostname(added)
    _json(added, "the list")
    added = commands.add("verify", verify.verify, "read copies back and check every byte", texts.VERIFY, as_user=True)
    _job(added)
    _sources(added)
    _destinations(added)
    _hostname(added)
    _date(added)
    added.add_argument(
        "--due", action="store_true", help="the copies whose turn it is, so that all are verified in time"
    )
    _json(added, "the checks")
    added = commands.add("restore", restore.restore, "restore a copy", texts.RESTORE, as_user=True)
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
    added = commands.add("prune", copies.prune, "remove copies that no rule keeps", texts.PRUNE, as_user=True)
    _job(added)
    _sources(added)
    _destinations(added)
    added.add_argument("--dry-run", action="store_true", help="show what would be removed; remove nothing")
    _json(added, "the decisions")


def _file_commands(commands: _Commands) -> None:
    added = commands.add("validate", jobs.validate, "check job files, every error at once", texts.VALIDATE)
    added.add_argument("jobs", metavar="JOB.json", type=Path, nargs="+", help="job file")
    _json(added, "the problems")
    commands.add("schema", jobs.schema, "print the JSON Schema of job files, for editors", texts.SCHEMA)
    added = commands.add("convert", jobs.convert_, "turn an old job file into one that may be deployed", texts.CONVERT)
    added.add_argument("old", metavar="OLD.cfg", type=Path, help="job file of the old tool")
    added.add_argument(
        "--output", type=Path, metavar="FILE", help="write the new job file here, not to standard output"
    )
    added.add_argument("--secrets", type=Path, metavar="FILE", help="write the secrets that were moved out here (0600)")


def _deployed_commands(commands: _Commands) -> None:
    added = commands.add("start", deployed.start, "start a deployed job now", texts.START)
    added.add_argument("job", metavar="JOB", help="name of the deployed job")
    _sources(added)
    _stack(added)
    _json(added, "what was started")
    added = commands.add("watch", deployed.watch, "show the progress of a deployed run until it ends", texts.WATCH)
    added.add_argument("run", metavar="RUN", help="name of the run's execution, as `backups start` prints it")
    _stack(added)
    _json(added, "the report")
    added = commands.add("cancel", deployed.cancel, "stop a deployed run", texts.CANCEL)
    added.add_argument("run", metavar="RUN", help="name of the run's execution, as `backups start` prints it")
    _stack(added)
    added = commands.add(
        "notify", deployed.notify, "send notifications again that could not be delivered", texts.NOTIFY
    )
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
