"""Runs every command that ``docs/restoring.md`` shows about PostgreSQL, with real copies and a real server."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.contract.postgres_databases import SCHEMA, described
from tests.integration.test_restoring_docs import DAY, PAGE, PASSPHRASE
from tests.servers.command_line import HOST, CommandLine
from tests.servers.postgres import Postgres, program


def test_every_command_of_the_section(backups: CommandLine, postgres: Postgres) -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## PostgreSQL\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^```bash\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(commands) == 4
    postgres.execute("CREATE DATABASE ledger_docs; CREATE ROLE ledger_owner")
    postgres.execute(f"{SCHEMA}; ALTER TABLE people OWNER TO ledger_owner", "ledger_docs")
    before = described(postgres, "ledger_docs")
    _store(backups, postgres)
    postgres.execute("DROP DATABASE ledger_docs; DROP ROLE ledger_owner")
    home = backups.directory / "home"
    home.mkdir(mode=0o700)
    password = postgres.password.replace("\\", "\\\\").replace(":", "\\:")
    (home / ".pgpass").write_text(f"*:*:*:*:{password}\n")
    (home / ".pgpass").chmod(0o600)
    (backups.directory / "password").write_text(postgres.password)
    (backups.directory / "passphrase").write_text(PASSPHRASE)
    done = subprocess.run(
        ["bash", "-c", "set -eo pipefail\n" + "\n".join(commands)],
        cwd=backups.directory,
        env={
            **backups.environment(),
            "HOME": str(home),
            "PATH": os.pathsep.join(
                [str(backups.program.parent), str(Path(program("psql")).parent), os.environ["PATH"]]
            ),
            "PGHOST": postgres.host,
            "PGPORT": str(postgres.port),
            "PGUSER": postgres.user,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown
    assert "-- PostgreSQL database dump complete" in done.stdout
    assert "TABLE DATA public people" in done.stdout
    assert 'role "ledger_owner" already exists' in done.stderr
    assert postgres.password not in shown
    for name in ("ledger_restored", "ledger_by_hand", "archive_by_hand"):
        assert described(postgres, name) == before
        postgres.execute(f"DROP DATABASE {name}")
    postgres.execute("DROP ROLE ledger_owner")


def _store(backups: CommandLine, server: Postgres) -> None:
    """Copies of the database in both formats and of the roles, as of a day long ago."""
    connection = {"dbhost": server.host, "dbport": server.port, "dbuser": server.user, "dbpass": server.password}
    ledger = {"type": "pgsql", "dbname": "ledger_docs", **connection}
    backups.write_job(
        encryption={"passphrase": PASSPHRASE},
        sources=[{**ledger, "id": "ledger", "globals": True}, {**ledger, "id": "archive", "format": "custom"}],
    )
    ended = backups("run", backups.job)
    assert ended.code == 0, ended.err
    [today] = (backups.one / HOST).iterdir()
    (backups.directory / "alpha.example.org").mkdir()
    (backups.directory / "alpha.example.org" / DAY).symlink_to(today)
