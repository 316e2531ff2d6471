"""``backups restore``."""

from __future__ import annotations

import argparse
import getpass
import re
import sys
import urllib.parse

from pydantic import SecretStr

from backups.cli.session import Session
from backups.display import clock, rate
from backups.errors import ExitCode
from backups.notifications.words import human_size
from backups.restoring.finding import Wanted
from backups.restoring.restore import Restored
from backups.restoring.restore import restore as restore_copy
from backups.restoring.targets import target_of
from backups.secrets import REFERENCE


def restore(arguments: argparse.Namespace, session: Session) -> int:
    """Restore one copy."""
    job = session.load(arguments.job, hostname=arguments.hostname)
    source = job.source(arguments.source)
    wanted = Wanted(
        hostname=job.hostname,
        sources=[source.id],
        date=arguments.date,
        origin=arguments.origin,
        unverified=arguments.unverified,
    )
    with session.context(job) as context:
        password = _password(arguments.to, session)
        target = target_of(arguments.to, source, context, password=password, overwrite=arguments.overwrite)
        with session.stopping(), session.display.live():
            restored = restore_copy(job, source.id, target, wanted, context, session.display)
    _tell(restored, session)
    return ExitCode.OK


def _tell(restored: Restored, session: Session) -> None:
    for warning in restored.warnings:
        session.display.warn(warning)
    if not restored.run:
        session.display.warn("the copy has no manifest: gpg found it whole, but its sha256 is not known")
    size, seconds = human_size(restored.size), clock(restored.seconds)
    speed = rate(restored.size, restored.seconds)
    session.display.note(
        f"restored {restored.key} from {restored.destination} to {restored.target}: {size} in {seconds}, {speed}"
    )


def _password(url: str, session: Session) -> SecretStr | None:
    """Ask for the password of a database where somebody can answer, and the address does not refer to one."""
    parts = urllib.parse.urlsplit(REFERENCE.sub("reference", url))
    if (
        not re.fullmatch("mysql|mariadb|postgresql|postgres", parts.scheme)
        or parts.password is not None
        or not sys.stdin.isatty()
    ):
        return None
    given = getpass.getpass(f"Password of {parts.username} at {parts.hostname} (none: press Enter): ")
    if not given:
        return None
    session.secrets.scrub.add(given)
    return SecretStr(given)
