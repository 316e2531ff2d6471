"""Connecting to a real MariaDB: any password, options files, encryption, and errors in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from backups.context import Context
from backups.errors import SourceError, StoppedError
from backups.sources.mysql import MySQL
from tests.contract.databases import dump, grant, source
from tests.contract.streams import children, stopped_by_a_hanging_program
from tests.servers.fake_path import FakePath
from tests.servers.mariadb import MariaDB

NASTY = [
    "has#hash",
    "#first",
    "semi;colon",
    'double"quote',
    "single'quote",
    '"quoted"',
    "'quoted'",
    "back\\slash",
    "ends in backslash\\",
    "\\n no newline \\s",
    " space before and after ",
    "tab\tand\nnewline\r.",
    "pässwörd ☃ 🔑",
    "$(id) `id` %41 {{x}}",
    "[client]",
    "a=b",
    "long" * 200,
]


@pytest.mark.parametrize("password", NASTY)
def test_any_password_survives(password: str, mariadb: MariaDB, live: str, account: str, context: Context) -> None:
    escaped = password.replace("\\", "\\\\").replace("'", "''")
    mariadb.execute(f"SET PASSWORD FOR {account}@'%' = PASSWORD('{escaped}')")
    grant(mariadb, account, f"ALL ON {live}.*", "SELECT ON mysql.proc")
    data, _ = dump(source(mariadb, live, dbuser=account, dbpass=password), context)
    assert b"-- Dump completed" in data
    with pytest.raises(SourceError, match="user or the password is wrong"):
        source(mariadb, live, dbuser=account, dbpass=password + "x").open(context)


def test_a_password_that_no_client_can_send_is_refused(mariadb: MariaDB, context: Context) -> None:
    for password in ("zero\0byte", "x" * 5000):
        with pytest.raises(SourceError) as caught:
            source(mariadb, "any", dbpass=password).open(context)
        assert password not in str(caught.value)
        assert list(context.tmpdir.iterdir()) == []


def test_a_users_own_options_file_is_used_and_left_alone(
    mariadb: MariaDB, live: str, context: Context, tmp_path: Path
) -> None:
    own = tmp_path / "my own.cnf"
    password = mariadb.password.replace('"', '\\"')
    own.write_text(
        f'[client]\nhost={mariadb.host}\nport={mariadb.port}\nuser={mariadb.user}\npassword="{password}"\n'
        "skip-ssl\n[mysqldump]\nskip-comments\ncompact\n[mysql]\nforce\nvertical\ntable\nxml\n"
    )
    own.chmod(0o400)
    before = (own.read_bytes(), own.stat())
    data, _ = dump(MySQL(dbname=live, defaults=str(own)), context)
    assert b"CREATE TABLE `people`" in data
    after = (own.read_bytes(), own.stat())
    assert (after[0], after[1].st_mode, after[1].st_mtime_ns) == (before[0], before[1].st_mode, before[1].st_mtime_ns)


def test_an_options_file_that_the_client_would_ignore_is_refused(context: Context, tmp_path: Path) -> None:
    own = tmp_path / "own.cnf"
    with pytest.raises(SourceError, match="No such file"):
        MySQL(dbname="x", defaults=str(own)).open(context)
    own.touch()
    own.chmod(0o666)
    with pytest.raises(SourceError, match="written by everybody"):
        MySQL(dbname="x", defaults=str(own)).open(context)
    with pytest.raises(SourceError, match=r"no file|directory"):
        MySQL(dbname="x", defaults=str(tmp_path)).open(context)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dbpass": "wrong"}, "user or the password is wrong"),
        ({"dbuser": "nobody-here"}, "user or the password is wrong"),
        ({"dbname": "no_such"}, "no such database"),
        ({"dbhost": "no-such-host.invalid"}, "name is unknown"),
        ({"dbport": 1}, "can't be reached"),
        ({"dbhost": "", "dbport": None, "dbsocket": "/no/such/socket"}, "can't be reached"),
        ({"ssl": "required"}, "does not encrypt connections"),
        ({"ssl": "verify"}, "encrypted connection failed"),
    ],
)
def test_what_is_wrong_with_the_server_is_said_plainly(
    settings: dict[str, object], message: str, mariadb: MariaDB, context: Context
) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        source(mariadb, **{"dbname": "any", **settings}).open(context)
    assert caught.value.hint
    assert mariadb.password not in str(caught.value)
    assert list(context.tmpdir.iterdir()) == []


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def encrypting(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A server whose certificate is for the name ``localhost``."""
    directory = tmp_path_factory.mktemp("encrypting")
    certificate = authority.issue_cert("localhost")
    key, chain = directory / "key.pem", directory / "chain.pem"
    certificate.private_key_pem.write_to_path(str(key))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(chain), append=True)
    with MariaDB(directory / "server", options=(f"--ssl-key={key}", f"--ssl-cert={chain}")) as server:
        server.execute("CREATE DATABASE safe; CREATE TABLE safe.t (a INT)")
        yield server


def test_an_encrypted_connection(encrypting: MariaDB, authority: trustme.CA, context: Context, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    for settings in ({}, {"ssl": "required"}, {"ssl_ca": str(ca)}, {"ssl": "verify", "ssl_ca": str(ca)}):
        data, _ = dump(source(encrypting, "safe", dbhost="localhost", **settings), context)
        assert b"CREATE TABLE `t`" in data


def test_a_certificate_of_somebody_else_is_refused(encrypting: MariaDB, context: Context, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    with pytest.raises(SourceError, match="encrypted connection failed"):
        source(encrypting, "safe", dbhost="localhost", ssl_ca=str(ca)).open(context)


def test_stopping_ends_the_questions_before_the_dump(
    mariadb: MariaDB, live: str, context: Context, fake_path: FakePath
) -> None:
    before = children()
    with stopped_by_a_hanging_program(context) as script:
        fake_path.put("mysql", f'[ "$1" = --version ] && exec "$REAL" --version\n{script}')
        with pytest.raises(StoppedError):
            source(mariadb, live).open(context)
    assert set(children()) == set(before)
    assert list(context.tmpdir.iterdir()) == []
