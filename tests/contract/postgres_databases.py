"""A PostgreSQL database with one of everything, and what tests do with it: dump, restore, compare."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from backups.context import Context
from backups.databases.pgsql_restore import open_restore
from backups.sources.pgsql import PostgreSQL
from tests.contract.streams import read_whole
from tests.servers.postgres import Postgres

PASSWORD = "s3cret-of-the-user"

SCHEMA = r"""
CREATE TYPE mood AS ENUM ('sad', 'ok ☃');
CREATE TABLE people (
    id serial PRIMARY KEY, name text, photo bytea, price numeric(30, 10), born timestamptz, data jsonb, feels mood,
    tags text[], length int GENERATED ALWAYS AS (length(name)) STORED
);
INSERT INTO people (name, photo, price, born, data, feels, tags) VALUES
    (E'Zoë 🦔 \\ '' " \n\t end\n\\.\n', '\x00ff0a0d1a5c2722', 12345678901234567890.0123456789,
     '2026-02-28 23:59:59.123+01', '{"a": [1, "ü"]}', 'ok ☃', '{a,"b c",NULL}'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL), ('', '', 0, '0001-01-01', '{}', 'sad', '{}');
CREATE SCHEMA "odd ""schema"" x";
CREATE TABLE "odd ""schema"" x"."odd \ 'table'" ("key" int, CHECK ("key" > 0));
CREATE VIEW named AS SELECT id, name FROM people WHERE name IS NOT NULL;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM people;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
RETURN n * 2;
END;
$$;
CREATE TABLE log (at timestamptz DEFAULT now(), what text);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO log (what) VALUES (''trigger; 🦔''); RETURN NEW; END';
CREATE TRIGGER noted AFTER INSERT ON people FOR EACH ROW EXECUTE FUNCTION noted();
CREATE SEQUENCE tickets START 1000;
SELECT nextval('tickets'), nextval('tickets');
"""
LARGE_OBJECT = "SELECT lo_from_bytea(0, convert_to(repeat('large ☃ ', 1000), 'UTF8'));"

_DESCRIPTION = """
SELECT id, name, encode(photo, 'hex'), price, extract(epoch FROM born), data, feels, tags, length
    FROM people ORDER BY id;
SELECT last_value, is_called FROM tickets;
SELECT twice(21);
SELECT * FROM counted;
SELECT md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1;
"""


def source(server: Postgres, dbname: Any = None, **settings: Any) -> PostgreSQL:
    connection = {"dbhost": server.host, "dbport": server.port, "dbuser": server.user, "dbpass": server.password}
    named = {"dbname": dbname} if dbname is not None else {}
    return PostgreSQL.model_validate({"type": "pgsql", **named, **connection, **settings})


def dump(source: Any, context: Context) -> tuple[bytes, list[str]]:
    with source.open(context) as stream:
        found = read_whole(stream)
    assert list(context.tmpdir.iterdir()) == []
    return found


def described(server: Postgres, database: str) -> list[str]:
    """Everything in a database: its data, and its schema as the server's own program writes it."""
    schema = server.dump(database, "--schema-only").splitlines()
    return [server.execute(_DESCRIPTION, database), *(line for line in schema if not line.startswith("\\"))]


def url(server: Postgres, database: str, more: str = "") -> str:
    return f"postgresql://{server.user}@{server.host}:{server.port}/{database}{more}"


def restore(server: Postgres, database: str, data: bytes, context: Context, **settings: bool) -> None:
    with open_restore(url(server, database), context, password=SecretStr(server.password), **settings) as target:
        try:
            for start in range(0, len(data), 1 << 16):
                target.write(data[start : start + (1 << 16)])
        except BrokenPipeError:
            pass  # finish says why
        target.finish()
    assert list(context.tmpdir.iterdir()) == []
