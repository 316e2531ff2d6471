"""Connecting to a real PostgreSQL: any password, sockets, encryption, and errors in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from backups.context import Context
from backups.errors import SourceError, StoppedError
from tests.contract.postgres_databases import dump, source
from tests.contract.streams import children, stopped_by_a_hanging_program
from tests.servers.fake_path import FakePath
from tests.servers.postgres import Postgres

NASTY = [
    "co:lon",
    ":first",
    "back\\slash",
    "ends in backslash\\",
    "\\: both",
    "has#hash",
    "single'quote",
    'double"quote',
    " space before and after ",
    "tab\tinside",
    "pässwörd ☃ 🔑",
    "$(id) `id` %41 {{x}}",
    "*",
    "long" * 200,
]


@pytest.mark.parametrize("password", NASTY)
def test_any_password_survives(password: str, postgres: Postgres, ledger: str, role: str, context: Context) -> None:
    quoted = password.replace("'", "''")
    postgres.execute(f"ALTER ROLE {role} PASSWORD '{quoted}'; GRANT pg_read_all_data TO {role}")
    data, _ = dump(source(postgres, ledger, dbuser=role, dbpass=password), context)
    assert b"CREATE TABLE public.people" in data
    with pytest.raises(SourceError, match="user or the password is wrong"):
        source(postgres, ledger, dbuser=role, dbpass=password + "x").open(context)


@pytest.mark.parametrize("password", ["new\nline", "return\r", "zero\0byte"])
def test_a_password_that_no_file_can_hold_is_refused(password: str, postgres: Postgres, context: Context) -> None:
    with pytest.raises(SourceError, match="line break or a zero byte") as caught:
        source(postgres, "postgres", dbpass=password).open(context)
    assert password not in str(caught.value)
    assert list(context.tmpdir.iterdir()) == []


def test_the_users_own_password_file_counts_without_one(
    postgres: Postgres, ledger: str, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / ".pgpass"
    own.write_text(
        f"{postgres.host}:*:*:{postgres.user}:" + postgres.password.replace("\\", "\\\\").replace(":", "\\:")
    )
    own.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    without = source(postgres, ledger, dbpass=None)
    monkeypatch.setenv("PGPASSFILE", "/no/such/file")  # nothing of this process but HOME counts
    assert b"CREATE TABLE public.people" in dump(without, context)[0]
    own.unlink()
    with pytest.raises(SourceError, match="wants a password"):
        without.open(context)


def test_the_socket(postgres: Postgres, ledger: str, context: Context) -> None:
    data, _ = dump(source(postgres, ledger, dbhost="", dbsocket=str(postgres.socket)), context)
    assert b"CREATE TABLE public.people" in data


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dbpass": "wrong"}, "user or the password is wrong"),
        ({"dbuser": "nobody-here"}, "user or the password is wrong"),
        ({"dbname": "no_such"}, "no such database"),
        ({"dbhost": "no-such-host.invalid"}, "name is unknown"),
        ({"dbport": 1}, "can't be reached"),
        ({"dbhost": "", "dbsocket": "/no/such/directory"}, "can't be reached"),
        ({"sslmode": "require"}, "encrypted connection failed"),
        ({"sslrootcert": "/no/such/file"}, "encrypted connection failed"),
    ],
)
def test_what_is_wrong_with_the_server_is_said_plainly(
    settings: dict[str, object], message: str, postgres: Postgres, context: Context
) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        source(postgres, **{"dbname": "postgres", **settings}).open(context)
    assert caught.value.hint
    assert postgres.password not in str(caught.value)
    assert "pgpass" not in caught.value.message
    assert list(context.tmpdir.iterdir()) == []


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def encrypting(authority: trustme.CA) -> Iterator[Postgres]:
    """A server whose certificate is for ``localhost``; it lets a role in only with encryption, and another never."""
    certificate = authority.issue_cert("localhost")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    hba = "hostnossl all careful all reject\nhost all shut all reject\n"
    with Postgres(hba=hba, certificate=(certificate.private_key_pem.bytes(), chain)) as server:
        server.execute("CREATE ROLE careful LOGIN PASSWORD 'p'; CREATE ROLE shut LOGIN PASSWORD 'p'")
        yield server


def test_an_encrypted_connection(encrypting: Postgres, authority: trustme.CA, context: Context, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    for settings in (
        {"sslmode": "require"},
        {"sslrootcert": str(ca)},
        {"sslmode": "verify-ca", "sslrootcert": str(ca), "dbhost": "127.0.0.1"},
    ):
        data, _ = dump(source(encrypting, "postgres", **{"dbhost": "localhost", **settings}), context)
        assert b"PostgreSQL database dump complete" in data


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_of_somebody_else_is_refused(
    host: str, encrypting: Postgres, authority: trustme.CA, context: Context, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    (trustme.CA() if host == "localhost" else authority).cert_pem.write_to_path(str(ca))
    with pytest.raises(SourceError, match="encrypted connection failed"):
        source(encrypting, "postgres", dbhost=host, sslrootcert=str(ca)).open(context)


@pytest.mark.parametrize("user", ["careful", "shut"])
def test_a_server_that_does_not_let_a_user_in(user: str, encrypting: Postgres, context: Context) -> None:
    with pytest.raises(SourceError, match=r"pg_hba\.conf does not let") as caught:
        source(encrypting, "postgres", dbuser=user, dbpass="p", sslmode="disable").open(context)
    assert "sslmode" in caught.value.hint


def test_stopping_ends_the_questions_before_the_dump(
    postgres: Postgres, ledger: str, context: Context, fake_path: FakePath
) -> None:
    before = children()
    with stopped_by_a_hanging_program(context) as script:
        fake_path.put("psql", f'[ "$1" = --version ] && exit\n{script}')
        with pytest.raises(StoppedError):
            source(postgres, ledger).open(context)
    assert set(children()) == set(before)
    assert list(context.tmpdir.iterdir()) == []
