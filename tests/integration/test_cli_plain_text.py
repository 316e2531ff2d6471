"""What is backed up is never on a disk in plain: not at a destination, not in a temporary file, not in one without a
name that a process holds open."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import pytest

from local_cloud.night import until
from tests.contract.streams import children
from tests.servers.command_line import Blocking, CommandLine, finished
from tests.servers.fake_path import FakePath

PLAIN = "pl4in-text-of-the-source"
GIVE = f"for part in $(seq 512); do echo {PLAIN}; head -c 65536 /dev/urandom; done"
"""32 MiB, of which no compressor makes less, nor keeps all to itself until the end."""


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_no_file_holds_it_in_the_middle_of_a_run(backups: CommandLine, fake_path: FakePath, compression: str) -> None:
    blocking = Blocking(backups.directory)
    tar = blocking.script(GIVE)
    script = fake_path.put("tar", f'case "$*" in *--create*) ;; *) exec "$REAL" "$@";; esac\n{tar}')
    backups.write_job(compression=compression)
    backups.env["TMPDIR"] = str(backups.tmp)
    with backups.started("run", backups.job) as process:
        blocking.wait(process)
        until(lambda: _size(backups.one) >= 1 << 20 or None, "nothing came to the destination", 60)
        pids = {process.pid, *children(process.pid)}
        assert len(pids) > 2, "tar and gpg run"
        looked_at = [
            *(path for path in backups.directory.rglob("*") if path.is_file()),
            *(path for pid in pids for path in Path(f"/proc/{pid}/fd").iterdir() if _is_file(path)),
        ]
        assert [str(path) for path in looked_at if _holds_it(path, script)] == []
        assert finished(process, signal.SIGTERM).code == 143


def _size(destination: Path) -> int:
    return sum(path.stat().st_size for path in destination.rglob("*") if path.is_file())


def _is_file(descriptor: Path) -> bool:
    try:
        return stat.S_ISREG(descriptor.stat().st_mode)
    except FileNotFoundError:
        return False


def _holds_it(path: Path, script: Path) -> bool:
    """Apart from the script that writes it."""
    try:
        return not path.samefile(script) and PLAIN.encode() in path.read_bytes()
    except FileNotFoundError:
        return False
