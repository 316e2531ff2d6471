"""Which user does the work. Root reads every file and can be tricked into writing any, so it must be meant.

RUN_AS_USER is the old tool's own environment variable:

    started by     RUN_AS_USER      what happens
    root           not set          refused
    root           root             goes on as root
    root           another user     becomes that user, with its groups and home, before anything is read;
                                    refused when that user can't read this installation
    another user   not set          goes on
    another user   the same user    goes on
    another user   someone else     refused
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import sysconfig
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from backups.errors import UsageError

VARIABLE = "RUN_AS_USER"


def settle_user(environment: MutableMapping[str, str] | None = None) -> None:
    """Go on as the right user, or raise UsageError. Changes this process and its environment for good."""
    env = os.environ if environment is None else environment
    wanted = env.get(VARIABLE, "")
    if os.geteuid() == 0:
        _as_root(wanted, env)
    elif wanted and wanted not in _own_names():
        raise UsageError(
            f"started as {_own_names()[0]}, but {VARIABLE} is '{wanted}'",
            hint=f"start it as {wanted}, such as with: sudo -u {wanted} …",
        )


def _as_root(wanted: str, env: MutableMapping[str, str]) -> None:
    if not wanted:
        raise UsageError(
            "refused to run as root",
            hint=f"run it as an unprivileged user, or set {VARIABLE} to the user to become, or to root to go on",
        )
    try:
        user = pwd.getpwnam(wanted)
    except KeyError:
        raise UsageError(
            f"{VARIABLE} is '{wanted}', but there is no such user", hint=f"create it, or correct {VARIABLE}"
        ) from None
    if user.pw_uid == 0:
        return
    try:
        if closed := _closed_to(user):
            raise UsageError(
                f"this installation can't be read by user {wanted}: {closed} is closed to it",
                hint=f"install backups where {wanted} may read it, such as in /opt, or open the directories above",
            )
        os.initgroups(user.pw_name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except OSError as error:
        raise UsageError(f"could not become {wanted}: {error.strerror}", hint=f"start it as {wanted}") from None
    env.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


def _closed_to(user: pwd.struct_passwd) -> str:
    """The first directory of this installation that a user may not read; empty when it may read all.

    Much is imported only when it is needed: after the change of user it would be missing, and the error a riddle.
    """
    directories = [*_installation()]  # found as root: who may not read one does not find it
    groups, group = os.getgroups(), os.getegid()
    try:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setegid(user.pw_gid)
        os.seteuid(user.pw_uid)
        may = os.R_OK | os.X_OK
        return next((str(path) for path in directories if not os.access(path, may, effective_ids=True)), "")
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _installation() -> Iterator[Path]:
    """Where Python's own library, this package and what it depends on lie."""
    yield Path(sysconfig.get_path("stdlib"))
    yield Path(__file__).parent
    for name in ("rich", "pydantic"):
        found = importlib.util.find_spec(name)
        if found and found.origin:
            yield Path(found.origin).parent


def _own_names() -> tuple[str, str]:
    """This user's name and number; in a container the number may have no name."""
    number = str(os.geteuid())
    try:
        return pwd.getpwuid(os.geteuid()).pw_name, number
    except KeyError:
        return number, number
