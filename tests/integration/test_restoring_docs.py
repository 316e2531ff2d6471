"""Runs every command that ``docs/restoring.md`` shows, in its order, with real copies and a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.servers.command_line import HOST, CommandLine
from tests.servers.mariadb import MariaDB

PAGE = Path(__file__).resolve().parents[2] / "docs" / "restoring.md"
DAY = "2026-01-31"
PASSPHRASE = 'it\'s a "long" one'


def blocks() -> list[str]:
    """The commands of the page, but those about PostgreSQL."""
    before, heading, _ = PAGE.read_text(encoding="utf-8").partition("\n## PostgreSQL\n")
    assert heading
    return re.findall(r"^```bash\n(.*?)^```$", before, re.DOTALL | re.MULTILINE)


@pytest.fixture
def place(backups: CommandLine, mariadb: MariaDB) -> CommandLine:
    """What the page takes for granted: a job with a folder and a database, and copies of a day long ago."""
    for name in ("shop_docs", "shop_restored", "shop_by_hand"):
        mariadb.execute(f"DROP DATABASE IF EXISTS {name}")
    mariadb.execute("CREATE DATABASE shop_docs")
    mariadb.execute("CREATE TABLE goods (name TEXT); INSERT INTO goods VALUES ('müsli'), ('tea')", "shop_docs")
    database = {"id": "shop", "type": "mysql", "dbhost": mariadb.host, "dbport": mariadb.port, "dbname": "shop_docs"}
    backups.write_job(
        encryption={"passphrase": PASSPHRASE},
        sources=[
            *backups.content()["sources"],
            {**database, "dbuser": mariadb.user, "dbpass": mariadb.password},
        ],
        destinations=[
            {"id": "here", "type": "local", "path": str(backups.one)},
            {"id": "offsite", "type": "local", "path": str(backups.two)},
        ],
    )
    ended = backups("run", backups.job)
    assert ended.code == 0, ended.err
    for destination in (backups.one, backups.two):
        [today] = (destination / HOST).iterdir()
        older = today.with_name(DAY)
        subprocess.run(["cp", "-a", today, older], check=True)
        for manifest in older.glob("*.manifest.json"):
            content = json.loads(manifest.read_text())
            manifest.write_text(json.dumps({**content, "key": content["key"].replace(today.name, DAY)}, indent=2))
    # By hand, the copies were fetched from a destination into the current directory.
    (backups.directory / "alpha.example.org").symlink_to(backups.one / HOST)
    (backups.directory / "password").write_text(mariadb.password)
    home = backups.directory / "home"
    home.mkdir(mode=0o700)
    (home / ".my.cnf").write_text(mariadb.admin_options.read_text())
    (home / ".my.cnf").chmod(0o600)
    return backups


def test_every_command_of_the_page(place: CommandLine, mariadb: MariaDB) -> None:
    commands = blocks()
    assert len(commands) == 7
    # Comments tell which block it was; the shell stops at the first command that fails.
    script = "set -e\n" + "\n".join(f"echo 'block {number}'\n{block}" for number, block in enumerate(commands))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place.directory,
        env={
            **place.environment(),
            "HOME": str(place.directory / "home"),
            "PATH": f"{place.program.parent}:{os.environ['PATH']}",
            "PASSPHRASE": PASSPHRASE,
            "PORT": str(mariadb.port),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown
    assert "data.tar.zst.gpg: OK" in done.stdout
    assert "all three ended well: 0 0 0" in done.stdout
    assert "-- Dump completed" in done.stdout
    assert PASSPHRASE not in shown
    for folder in ("restored", "older", "by-hand"):
        assert (place.directory / folder / "data" / "hello.txt").read_text() == "hello\n"
    assert (place.directory / "data.tar").is_file()
    goods = mariadb.execute("SELECT * FROM goods ORDER BY name", "shop_docs")
    assert "müsli" in goods
    for name in ("shop_restored", "shop_by_hand"):
        assert mariadb.execute("SELECT * FROM goods ORDER BY name", name) == goods
        mariadb.execute(f"DROP DATABASE {name}")
    mariadb.execute("DROP DATABASE shop_docs")


def test_truncated_copy_is_noticed_with_pipefail(place: CommandLine) -> None:
    """The page's warning is true, and its advice helps."""
    (place.data / "large").write_bytes(os.urandom(8 << 20))
    assert place("run", place.job, "--source", "data").code == 0
    [today] = [day for day in (place.one / HOST).iterdir() if day.name != DAY]
    with (today / "data.tar.zst.gpg").open("r+b") as file:
        file.truncate(6 << 20)
    by_hand = next(block for block in blocks() if "mkdir by-hand" in block).replace(DAY, today.name)
    script = f"set -eo pipefail\nprintf '%s' \"$PASSPHRASE\" > passphrase\n{by_hand}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place.directory,
        env={**place.environment(), "HOME": str(place.directory / "home"), "PASSPHRASE": PASSPHRASE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "ended well" not in done.stdout
