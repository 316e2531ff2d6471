"""What the demo backs up and where to: a job like jobs/example.json with this machine's own addresses in it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_cloud.client import ROOT
from local_cloud.night import Plan

JOB = "example"
DATABASE = "livecompany"
SECRET = "backups/example"
# What lies about in a checkout of this project and is no work of anyone.
CHECKOUT_EXCLUDES = (
    *(".venv", ".venv-cloud", ".venv-lambda", ".venv-matrix", "node_modules", ".demo", ".cache", "cdk.out"),
    *("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache"),
)

SCHEMA = """
CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(100) CHARACTER SET utf8mb4, photo BLOB);
CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, customer INT NOT NULL, placed DATETIME NOT NULL, note TEXT);
INSERT INTO customers SELECT seq, CONCAT('Customer No. ', seq, ' 😀 "quoted" \\\\ ', MD5(seq)), UNHEX(SHA2(seq, 512))
  FROM seq_1_to_20000;
INSERT INTO orders (customer, placed, note)
  SELECT 1 + seq % 20000, '2026-01-01' + INTERVAL seq MINUTE, REPEAT(SHA2(seq, 256), 4) FROM seq_1_to_60000;
CREATE VIEW busy AS SELECT customer, COUNT(*) AS n FROM orders GROUP BY customer HAVING n > 2;
CREATE PROCEDURE touch(IN which INT) UPDATE orders SET note = CONCAT(note, '.') WHERE id = which;
CREATE TRIGGER noted BEFORE INSERT ON orders FOR EACH ROW SET NEW.note = COALESCE(NEW.note, '-');
"""


@dataclass(frozen=True)
class Database:
    """Where the demo's database listens, and the user that reads it."""

    host: str
    port: int
    user: str
    password: str


def odd_names(folder: Path) -> Path:
    """A small folder with everything that a file's name may hold, links and modes included."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [
        "plain",
        "with space",
        'it\'s "quoted"',
        "two\nlines",
        "-leading-hyphen",
        "ünïcödé 😀",
        "*glob?[x]",
        "back\\slash",
    ]
    for number, name in enumerate(names):
        (folder / name).write_bytes(os.urandom(1000 * number))
    (folder / "empty folder").mkdir(exist_ok=True)
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    link = folder / "link"
    if not link.is_symlink():
        link.symlink_to("with space")
    return folder


def sample_plan(
    directory: Path,
    *,
    folders: Sequence[Path],
    database: Database,
    channels: dict[str, dict[str, Any]],
    passphrase: str,
) -> Plan:
    """Write jobs/example.json with these folders, this database and these channels, and say what it needs."""
    job = json.loads((ROOT / "jobs" / "example.json").read_text())
    config, data, mysql = job["sources"]
    for source, path in zip((config, data), folders, strict=True):
        source.pop("excludes", None)
        source.update(name=f"Folder {path.name}", path=str(path))
    if folders[0].resolve() == ROOT:
        config["excludes"] = list(CHECKOUT_EXCLUDES)
    mysql.update(dbhost=database.host, dbport=database.port, dbname=DATABASE, dbuser=database.user)
    secrets = {"passphrase": passphrase, "dbpass": database.password}
    for channel in job["notifications"]:
        channel.update(channels[channel["type"]]["job"])
        secrets.update(channels[channel["type"]]["secrets"])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{JOB}.json").write_text(json.dumps(job, indent=2, ensure_ascii=False))
    return Plan(
        jobs=directory,
        buckets=[destination["bucket"] for destination in job["destinations"]],
        secrets={SECRET: secrets},
    )
