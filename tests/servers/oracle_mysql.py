"""A real MySQL server of Oracle's family, from Debian sid, since no stable release of Debian has one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.servers.mariadb import MariaDB

PACKAGES = ("mysql-server-core", "mysql-client-core")


class OracleMySQL(MariaDB):
    """Like MariaDB's server, and asked by MariaDB's client, as the worker's image has it."""

    def __init__(self, directory: Path, release: Path) -> None:
        """``release`` is the root of Debian's packages ``PACKAGES``."""
        super().__init__(directory)
        self._release = release

    @property
    def clients(self) -> Path:
        """Directory of MySQL's own client programs."""
        return self._release / "usr" / "bin"

    def _server(self) -> list[str]:
        share = self._release / "usr" / "share" / "mysql"
        return [
            *(str(self._release / "usr" / "sbin" / "mysqld"), "--no-defaults"),
            *(f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}"),
            *("--mysqlx=OFF", "--secure-file-priv=NULL"),
        ]

    def _install(self, data: Path, as_user: str) -> None:
        argv = [*self._server(), as_user, f"--datadir={data}", "--initialize-insecure", "--innodb-flush-method=nosync"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"MySQL can't be set up: {done.stderr}")
