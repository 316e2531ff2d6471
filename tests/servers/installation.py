"""A copy of this installation that every user may read; the checkout and its Python may lie below a closed home."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, requires
from pathlib import Path

import backups

_NAME = re.compile(r"[\w.-]+")
_COMMAND = "import sys\nfrom backups.cli import main\nsys.exit(main())"


@dataclass(frozen=True)
class Installation:
    """The package with all that it needs to run, and a Python for it."""

    directory: Path
    """Belongs in PYTHONPATH."""
    python: Path

    @property
    def program(self) -> Path:
        """The command ``backups``."""
        return self.directory / "bin" / "backups"


@contextlib.contextmanager
def readable_installation(user: str) -> Iterator[Installation]:
    """Copy it. Raises RuntimeError when that user may read no Python of this version."""
    python = _readable_python(user)
    root = Path(tempfile.mkdtemp(prefix="backups-test-"))
    try:
        target = root / "installation"
        _copy(target)
        program = target / "bin" / "backups"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{python}\n{_COMMAND}\n")
        for path in (root, target, *target.rglob("*")):
            path.chmod(0o755)
        yield Installation(target, python)
    finally:
        shutil.rmtree(root)


def _copy(target: Path) -> None:
    for needed in _needed("backups", set()):
        for file in needed.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target / file)
    # By itself, since an editable installation has no files to copy.
    shutil.copytree(Path(backups.__file__).parent, target / "backups", ignore=shutil.ignore_patterns("__pycache__"))


def _needed(name: str, seen: set[str]) -> list[Distribution]:
    """What a distribution needs without its extras, and what those need."""
    found: list[Distribution] = []
    for line in requires(name) or ():
        match = _NAME.match(line)
        if match and "extra ==" not in line and match.group() not in seen:
            seen.add(match.group())
            found += [distribution(match.group()), *_needed(match.group(), seen)]
    return found


def _readable_python(user: str) -> Path:
    """This one, or else the system's, whose version must be the same: some of what is copied is compiled for it."""
    account = pwd.getpwnam(user)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    # Starts the Python as root, as the command is, and has it look at its library as the user.
    become = f"import os; os.setgroups([]); os.setgid({account.pw_gid}); os.setuid({account.pw_uid})"
    look = f"{become}; os.listdir(os.path.dirname(os.__file__))"
    candidates = (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}")
    for candidate in candidates:
        if Path(candidate).exists():
            resolved = Path(os.path.realpath(candidate))
            if subprocess.run([resolved, "-c", look], check=False, capture_output=True).returncode == 0:
                return resolved
    raise RuntimeError(f"user {user} may read none of {', '.join(candidates)}")
