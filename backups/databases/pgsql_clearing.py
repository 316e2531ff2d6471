"""What a PostgreSQL database holds beside what every new one does, and how to take that away again."""

from __future__ import annotations

import time
from dataclasses import dataclass

from backups.databases.pgsql_client import Client
from backups.errors import CommandError

_GONE_SECONDS = 30.0
_PAUSE = 0.1
# Of an extension one line is enough: what belongs to it comes and goes with it.
_HELD = """
SELECT pg_catalog.count(*), pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat(what, id), ',' ORDER BY what, id))
FROM (
    SELECT 'schema' AS what, oid AS id FROM pg_catalog.pg_namespace
        WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
    UNION ALL SELECT 'relation', c.oid FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL SELECT 'routine', p.oid FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL SELECT 'type', t.oid FROM pg_catalog.pg_type t
        JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL SELECT 'extension', oid FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'
    UNION ALL SELECT 'large object', oid FROM pg_catalog.pg_largeobject_metadata
) AS held
"""
# The schema "public" is made again with the owner, rights and comment it had: a dump says nothing of the usual ones.
CLEAR = """
DO $clear$
DECLARE
    name text;
    owner text := (SELECT nspowner::pg_catalog.regrole FROM pg_catalog.pg_namespace WHERE nspname = 'public');
    comment text := (
        SELECT pg_catalog.obj_description(oid, 'pg_namespace') FROM pg_catalog.pg_namespace WHERE nspname = 'public'
    );
    rights text[] := ARRAY(
        SELECT pg_catalog.format('GRANT %s ON SCHEMA public TO %s', r.privilege_type,
            CASE r.grantee WHEN 0 THEN 'PUBLIC' ELSE r.grantee::pg_catalog.regrole::text END)
        FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) r WHERE n.nspname = 'public'
    );
BEGIN
    FOR name IN SELECT pg_catalog.quote_ident(evtname) FROM pg_catalog.pg_event_trigger LOOP
        EXECUTE 'DROP EVENT TRIGGER ' || name;
    END LOOP;
    FOR name IN SELECT pg_catalog.quote_ident(pubname) FROM pg_catalog.pg_publication LOOP
        EXECUTE 'DROP PUBLICATION ' || name;
    END LOOP;
    FOR name IN SELECT pg_catalog.quote_ident(extname) FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' LOOP
        EXECUTE 'DROP EXTENSION IF EXISTS ' || name || ' CASCADE';
    END LOOP;
    FOR name IN SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    LOOP
        EXECUTE 'DROP SCHEMA IF EXISTS ' || name || ' CASCADE';
    END LOOP;
    PERFORM pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata;
    IF owner IS NOT NULL THEN
        EXECUTE 'CREATE SCHEMA public AUTHORIZATION ' || owner;
        EXECUTE pg_catalog.format('COMMENT ON SCHEMA public IS %L', comment);
        FOREACH name IN ARRAY rights LOOP
            EXECUTE name;
        END LOOP;
    END IF;
END
$clear$;
"""
_SESSIONS = """
SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
WHERE application_name = '{name}' AND usename = current_user
"""


@dataclass(frozen=True)
class Held:
    """What a database holds of its own."""

    count: int
    mark: str
    """Differs when anything was made anew."""


def held(client: Client, database: str) -> Held:
    """Look. Raises QueryError, CommandError, StoppedError."""
    ((count, mark),) = client.rows(_HELD, database)
    return Held(int(count), mark)


def clear(client: Client, database: str) -> None:
    """Take all of it away, or nothing. Raises QueryError, CommandError, StoppedError."""
    client.rows(CLEAR, database)


def end_sessions(client: Client, database: str, name: str) -> None:
    """End the sessions of a client that was killed: they go on with what they do. Raises QueryError, CommandError."""
    end = time.monotonic() + _GONE_SECONDS
    while client.value(_SESSIONS.format(name=name), database) != "0":
        if time.monotonic() > end:
            raise CommandError("the server still works on it")
        time.sleep(_PAUSE)
