"""A database with one of everything, and what tests do with it: dump, restore, compare."""

from __future__ import annotations

import re

from pydantic import SecretStr

from backups.context import Context
from backups.databases.mysql_restore import open_restore
from backups.sources.mysql import MySQL
from tests.contract.streams import read_whole
from tests.servers.mariadb import MariaDB

PASSWORD = "s3cret-of-the-user"


SCHEMA = """
CREATE TABLE people (
  id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100), photo LONGBLOB, bits BIT(9), spot POINT,
  price DECIMAL(30,10), born DATETIME(6), data JSON, length INT AS (LENGTH(name)) STORED
) CHARACTER SET utf8mb4;
INSERT INTO people (name, photo, bits, spot, price, born, data) VALUES
  ('Zoë 🦔 \\\\ '' " \\n\\t end', x'00ff0a0d1a5c2722', b'101010101', POINT(1.5, -2), 12345678901234567890.0123456789,
   '2026-02-28 23:59:59.123456', '{"a": [1, "ü"]}'),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL), ('', '', b'0', NULL, 0, '1000-01-01', '{}');
CREATE TABLE log (at INT, what TEXT);
CREATE TABLE `odd ``name``` (`key` INT, KEY (`key`));
CREATE VIEW named AS SELECT id, name FROM people WHERE name IS NOT NULL;
DELIMITER //
CREATE TRIGGER noted AFTER INSERT ON people FOR EACH ROW BEGIN INSERT INTO log VALUES (NEW.id, 'trigger; 🦔'); END//
CREATE PROCEDURE grow(IN n INT) BEGIN INSERT INTO people (name) VALUES (CONCAT('new ', n)); END//
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2//
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DISABLE DO BEGIN DELETE FROM log WHERE at < 0; END//
DELIMITER ;
"""


def grant(server: MariaDB, user: str, *grants: str) -> None:
    for given in grants:
        server.execute(f"GRANT {given} TO {user}@'%'")


def source(server: MariaDB, dbname: object = (), **settings: object) -> MySQL:
    connection = {"dbhost": server.host, "dbport": server.port, "dbuser": server.user, "dbpass": server.password}
    return MySQL.model_validate({"type": "mysql", "dbname": dbname, **connection, **settings})


def dump(source: MySQL, context: Context) -> tuple[bytes, list[str]]:
    with source.open(context) as stream:
        found = read_whole(stream)
    assert list(context.tmpdir.iterdir()) == []
    return found


def described(server: MariaDB, database: str) -> list[str]:
    """Everything in a database: checksums of the tables, and the text of all else."""
    tables = server.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'", database)
    lines = []
    for table in sorted(line.split("\t")[0] for line in tables.splitlines()):
        quoted = "`" + table.replace("`", "``") + "`"
        lines.append(server.execute(f"CHECKSUM TABLE {quoted}; SHOW CREATE TABLE {quoted}", database))
    for statement in (
        "SHOW CREATE VIEW named",
        "SHOW CREATE TRIGGER noted",
        "SHOW CREATE PROCEDURE grow",
        "SHOW CREATE FUNCTION twice",
        "SHOW CREATE EVENT nightly",
        "SELECT twice(21)",
        "SELECT HEX(name), HEX(photo) FROM people ORDER BY id",
    ):
        lines.append(server.execute(statement, database))
    # A trigger knows when it was made.
    return [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d\b", "", line.replace(database, "DB")) for line in lines]


def url(server: MariaDB, database: str, more: str = "") -> str:
    return f"mysql://{server.user}@{server.host}:{server.port}/{database}{more}"


def restore(server: MariaDB, database: str, data: bytes, context: Context, **settings: bool) -> None:
    password = SecretStr(server.password)
    with open_restore(url(server, database), context, password=password, **settings) as target:
        try:
            for start in range(0, len(data), 1 << 16):
                target.write(data[start : start + (1 << 16)])
        except BrokenPipeError:
            pass  # finish says why
        target.finish()
