"""The source ``mysql`` and the restore, against a real MariaDB."""

from __future__ import annotations

import os
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from backups.context import Context
from backups.errors import CommandError, RestoreError, SourceError, StoppedError, UsageError
from backups.mysql_restore import open_restore
from backups.sources.mysql import MySQL
from tests.contract.streams import children, read_rest, read_whole, stopped_by_a_hanging_program
from tests.servers.fake_path import FakePath
from tests.servers.mariadb import MariaDB, database

PASSWORD = "s3cret-of-the-user"
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

SCHEMA = """
CREATE TABLE people (
  id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100), photo LONGBLOB, bits BIT(9), spot POINT,
  price DECIMAL(30,10), born DATETIME(6), data JSON, length INT AS (LENGTH(name)) PERSISTENT
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


@pytest.fixture
def name(mariadb: MariaDB) -> Iterator[str]:
    """A database with one of everything."""
    with database(mariadb, f"live_{uuid.uuid4().hex[:8]}") as made:
        mariadb.execute(SCHEMA, made)
        yield made


@pytest.fixture
def user(mariadb: MariaDB) -> Iterator[str]:
    """An account without privileges, with the password PASSWORD."""
    made = f"u_{uuid.uuid4().hex[:8]}"
    mariadb.execute(f"CREATE USER {made}@'%' IDENTIFIED BY '{PASSWORD}'")
    yield made
    mariadb.execute(f"DROP USER {made}@'%'")


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
                os.write(target.fileno(), data[start : start + (1 << 16)])
        except BrokenPipeError:
            pass  # finish says why
        target.finish()


def test_a_database_comes_back_the_same(mariadb: MariaDB, name: str, context: Context) -> None:
    data, warnings = dump(source(mariadb, name), context)
    assert warnings == []
    with database(mariadb, f"{name}_restored") as other:
        restore(mariadb, other, data, context)
        assert described(mariadb, other) == described(mariadb, name)
        mariadb.execute("CALL grow(1)", other)
        assert "trigger; 🦔" in mariadb.execute("SELECT what FROM log", other)
    assert list(context.tmpdir.iterdir()) == []


def test_several_databases_come_back_under_their_names(mariadb: MariaDB, name: str, context: Context) -> None:
    with database(mariadb, f"-{name}") as odd:
        mariadb.execute("CREATE TABLE t (a INT); INSERT INTO t VALUES (7)", odd)
        before = described(mariadb, name)
        data, _ = dump(source(mariadb, [name, odd]), context)
        mariadb.execute(f"DROP DATABASE {name}; DROP DATABASE `{odd}`")
        restore(mariadb, "", data, context)
        assert described(mariadb, name) == before
        assert mariadb.execute("SELECT a FROM t", odd) == "7\n"


@pytest.mark.parametrize("odd", ["-x", "--help", "with space", "q`uote'd\"", "ü☃", "a.b"])
def test_any_name_can_be_a_database(odd: str, mariadb: MariaDB, context: Context) -> None:
    with database(mariadb, odd):
        mariadb.execute("CREATE TABLE t (a INT); INSERT INTO t VALUES (7)", odd)
        data, _ = dump(source(mariadb, odd), context)
    assert b"INSERT INTO `t` VALUES" in data
    assert b"CREATE DATABASE" not in data


def test_a_whole_server_comes_back(mariadb: MariaDB, name: str, context: Context, tmp_path: Path) -> None:
    data, _ = dump(source(mariadb, all_databases="1"), context)
    with MariaDB(tmp_path / "other") as other:
        restore(other, "", data, context)
        assert described(other, name) == described(mariadb, name)


@pytest.mark.parametrize("password", NASTY)
def test_any_password_survives(password: str, mariadb: MariaDB, name: str, user: str, context: Context) -> None:
    escaped = password.replace("\\", "\\\\").replace("'", "''")
    mariadb.execute(f"SET PASSWORD FOR {user}@'%' = PASSWORD('{escaped}')")
    grant(mariadb, user, f"ALL ON {name}.*", "SELECT ON mysql.proc")
    data, _ = dump(source(mariadb, name, dbuser=user, dbpass=password), context)
    assert b"-- Dump completed" in data
    with pytest.raises(SourceError, match="user or the password is wrong"):
        source(mariadb, name, dbuser=user, dbpass=password + "x").open(context)


def test_a_password_that_no_client_can_send_is_refused(mariadb: MariaDB, context: Context) -> None:
    for password in ("zero\0byte", "x" * 5000):
        with pytest.raises(SourceError) as caught:
            source(mariadb, "any", dbpass=password).open(context)
        assert password not in str(caught.value)
        assert list(context.tmpdir.iterdir()) == []


def test_a_users_own_options_file_is_used_and_left_alone(
    mariadb: MariaDB, name: str, context: Context, tmp_path: Path
) -> None:
    own = tmp_path / "my own.cnf"
    password = mariadb.password.replace('"', '\\"')
    own.write_text(
        f'[client]\nhost={mariadb.host}\nport={mariadb.port}\nuser={mariadb.user}\npassword="{password}"\n'
        "[mysqldump]\nskip-comments\ncompact\n[mysql]\nforce\nvertical\ntable\nxml\n"
    )
    own.chmod(0o400)
    before = (own.read_bytes(), own.stat())
    data, _ = dump(MySQL(dbname=name, defaults=str(own)), context)
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


@pytest.mark.parametrize(
    ("grants", "message", "remedy"),
    [
        (["SELECT, EVENT, TRIGGER, SHOW VIEW ON {}.*"], "procedures and functions", "GRANT SELECT ON mysql.proc"),
        (["ALL ON {}.*"], "procedures and functions", "GRANT SELECT ON mysql.proc"),
        (["SELECT, EVENT, SHOW VIEW ON {}.*", "SELECT ON mysql.proc"], "triggers", "GRANT TRIGGER ON `{}`.*"),
        (["SELECT, TRIGGER, SHOW VIEW ON {}.*", "SELECT ON mysql.proc"], "events", "GRANT EVENT ON `{}`.*"),
        (["SELECT, TRIGGER, EVENT ON {}.*", "SELECT ON mysql.proc"], "views", "GRANT SHOW VIEW ON `{}`.*"),
    ],
)
def test_privileges_that_would_leave_something_out_are_named(  # noqa: PLR0917
    grants: list[str], message: str, remedy: str, mariadb: MariaDB, name: str, user: str, context: Context
) -> None:
    grant(mariadb, user, *(given.format(name) for given in grants))
    limited = source(mariadb, name, dbuser=user, dbpass=PASSWORD)
    with pytest.raises(SourceError, match=message) as caught:
        limited.open(context)
    assert remedy.format(name) in caught.value.hint
    for statement in caught.value.hint.split("; "):
        mariadb.execute(statement)  # the remedy is one that can be pasted
    data, _ = dump(limited, context)
    assert all(word in data for word in (b"PROCEDURE `grow`", b"TRIGGER noted", b"EVENT `nightly`", b"VIEW `named`"))


def test_a_role_gives_privileges_too(mariadb: MariaDB, name: str, user: str, context: Context) -> None:
    role = f"r_{user}"
    mariadb.execute(
        f"CREATE ROLE {role}; GRANT SELECT, EVENT, TRIGGER, SHOW VIEW ON {name}.* TO {role};"
        f"GRANT SELECT ON mysql.proc TO {role}; GRANT {role} TO {user}@'%';"
        f"SET DEFAULT ROLE {role} FOR {user}@'%'"
    )
    try:
        data, warnings = dump(source(mariadb, name, dbuser=user, dbpass=PASSWORD), context)
    finally:
        mariadb.execute(f"DROP ROLE {role}")
    assert b"PROCEDURE `grow`" in data
    assert warnings == []


def test_what_is_switched_off_needs_no_privilege(mariadb: MariaDB, name: str, user: str, context: Context) -> None:
    grant(mariadb, user, f"SELECT, SHOW VIEW ON {name}.*")
    limited = source(
        mariadb, name, dbuser=user, dbpass=PASSWORD, directives="--skip-triggers --routines=0", noevents="1"
    )
    data, _ = dump(limited, context)
    assert b"CREATE TABLE `people`" in data
    assert not [word for word in (b"PROCEDURE", b"TRIGGER noted", b"EVENT `nightly`") if word in data]


def test_noevents_leaves_only_events_out(mariadb: MariaDB, name: str, context: Context) -> None:
    data, _ = dump(source(mariadb, name, noevents="1"), context)
    assert b"EVENT `nightly`" not in data
    assert b"PROCEDURE `grow`" in data
    assert b"TRIGGER noted" in data


def test_a_user_of_single_tables_is_warned_of(mariadb: MariaDB, name: str, user: str, context: Context) -> None:
    grant(mariadb, user, f"SELECT ON {name}.people", f"EVENT ON {name}.*", "SELECT ON mysql.proc")
    limited = source(mariadb, name, dbuser=user, dbpass=PASSWORD, directives="--skip-triggers")
    data, warnings = dump(limited, context)
    assert b"CREATE TABLE `log`" not in data
    assert any("single tables only" in warning for warning in warnings)


def test_all_databases_need_the_right_to_all(mariadb: MariaDB, name: str, user: str, context: Context) -> None:
    grant(mariadb, user, f"ALL ON {name}.*", "SELECT ON mysql.proc")
    with pytest.raises(SourceError, match="databases would be left out") as caught:
        source(mariadb, all_databases=1, dbuser=user, dbpass=PASSWORD).open(context)
    assert "GRANT SELECT ON *.*" in caught.value.hint


def test_tables_without_transactions_are_warned_of(mariadb: MariaDB, name: str, context: Context) -> None:
    mariadb.execute("CREATE TABLE old_style (a INT) ENGINE=MyISAM", name)
    _, warnings = dump(source(mariadb, name), context)
    assert len(warnings) == 1
    assert "old_style (MyISAM)" in warnings[0]
    _, warnings = dump(source(mariadb, name, directives="--lock-all-tables"), context)
    assert warnings == []


def test_the_dump_is_of_one_moment(mariadb: MariaDB, context: Context) -> None:
    with database(mariadb, f"moment_{uuid.uuid4().hex[:8]}") as name:
        mariadb.execute(
            "CREATE TABLE a (id INT PRIMARY KEY, content LONGBLOB);"
            "INSERT INTO a SELECT seq, RANDOM_BYTES(1024) FROM seq_1_to_8192;"
            "CREATE TABLE z (id INT PRIMARY KEY); INSERT INTO z VALUES (1)",
            name,
        )
        with source(mariadb, name).open(context) as stream:
            first = os.read(stream.fileno(), 1 << 16)  # the dump stands still in the middle of a
            mariadb.execute("INSERT INTO z VALUES (2)", name)
            data = first + read_rest(stream)
            stream.finish(len(data), data[-stream.tail_bytes :])
    assert b"INSERT INTO `z` VALUES\n(1);" in data


def test_directives_reach_the_dump_and_old_ones_may_connect(mariadb: MariaDB, name: str, context: Context) -> None:
    old = source(
        mariadb, name, dbport=None, options=f"--port {mariadb.port} --ignore-table='{name}.log' --skip-extended-insert"
    )
    data, _ = dump(old, context)
    assert b"CREATE TABLE `log`" not in data
    assert data.count(b"INSERT INTO `people`") == 3


def test_no_data_at_all_is_still_whole(mariadb: MariaDB, context: Context) -> None:
    with database(mariadb, f"empty_{uuid.uuid4().hex[:8]}") as name:
        data, warnings = dump(source(mariadb, name), context)
    assert b"-- Dump completed" in data
    assert warnings == []


@pytest.mark.parametrize("directives", ["--skip-dump-date", ["--skip-dump-date"]])
def test_a_last_line_without_a_date_is_good(directives: object, mariadb: MariaDB, name: str, context: Context) -> None:
    data, _ = dump(source(mariadb, name, directives=directives), context)
    assert data.endswith(b"-- Dump completed\n")


def test_a_server_that_goes_away_in_the_middle_is_an_error(context: Context, tmp_path: Path) -> None:
    with MariaDB(tmp_path / "server") as server:
        server.execute(
            "CREATE DATABASE d; USE d; CREATE TABLE d.a (content LONGBLOB);"
            "INSERT INTO d.a SELECT RANDOM_BYTES(1024) FROM seq_1_to_16384"
        )
        with source(server, "d").open(context) as stream:
            os.read(stream.fileno(), 1 << 16)
            os.kill(server.process_id, signal.SIGKILL)
            rest = read_rest(stream)
            with pytest.raises(CommandError, match=r"Lost connection|gone away"):
                stream.finish(len(rest) + (1 << 16), rest[-stream.tail_bytes :])


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
    for settings in ({"ssl": "required"}, {"ssl_ca": str(ca)}, {"ssl": "verify", "ssl_ca": str(ca)}):
        data, _ = dump(source(encrypting, "safe", dbhost="localhost", **settings), context)
        assert b"CREATE TABLE `t`" in data


def test_a_certificate_of_somebody_else_is_refused(encrypting: MariaDB, context: Context, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    with pytest.raises(SourceError, match="encrypted connection failed"):
        source(encrypting, "safe", dbhost="localhost", ssl_ca=str(ca)).open(context)


def test_stopping_ends_the_questions_before_the_dump(
    mariadb: MariaDB, name: str, context: Context, fake_path: FakePath
) -> None:
    before = children()
    with stopped_by_a_hanging_program(context) as script:
        fake_path.put("mysql", script)
        with pytest.raises(StoppedError):
            source(mariadb, name).open(context)
    assert set(children()) == set(before)
    assert list(context.tmpdir.iterdir()) == []


class TestRestore:
    def test_a_database_with_tables_is_refused(self, mariadb: MariaDB, name: str, context: Context) -> None:
        before = described(mariadb, name)
        with pytest.raises(RestoreError, match="is not empty"):
            restore(mariadb, name, b"DROP TABLE people;", context)
        assert described(mariadb, name) == before

    def test_a_database_with_nothing_but_a_routine_is_not_empty(self, mariadb: MariaDB, context: Context) -> None:
        with database(mariadb, f"routine_{uuid.uuid4().hex[:8]}") as other:
            mariadb.execute("CREATE PROCEDURE p() SELECT 1", other)
            with pytest.raises(RestoreError, match="is not empty"):
                restore(mariadb, other, b"no SQL", context)
            assert "PROCEDURE" in mariadb.execute("SHOW CREATE PROCEDURE p", other)

    def test_overwriting_replaces(self, mariadb: MariaDB, name: str, context: Context) -> None:
        before = described(mariadb, name)
        data, _ = dump(source(mariadb, name), context)
        mariadb.execute("DELETE FROM people", name)
        restore(mariadb, name, data, context, overwrite=True)
        assert described(mariadb, name) == before

    @pytest.mark.parametrize("how", ["wrong SQL", "stopped", "left"])
    def test_half_a_restore_is_taken_back(self, how: str, mariadb: MariaDB, name: str, context: Context) -> None:
        data, _ = dump(source(mariadb, name), context)
        half = data[: len(data) // 2]
        with database(mariadb, f"{name}_half") as other:
            mariadb.execute(f"ALTER DATABASE {other} CHARACTER SET latin1")
            if how == "wrong SQL":
                with pytest.raises(RestoreError, match="syntax") as caught:
                    restore(mariadb, other, half + b";\nthis is no SQL;\n", context)
                assert "empty again" in caught.value.hint
            else:
                with open_restore(url(mariadb, other), context, password=SecretStr(mariadb.password)) as target:
                    os.write(target.fileno(), half)
                    if how == "stopped":
                        context.cancel.set(signal.SIGTERM)
            assert mariadb.execute("SHOW TABLES", other) == ""
            assert "latin1" in mariadb.execute(f"SHOW CREATE DATABASE {other}")
        assert list(context.tmpdir.iterdir()) == []

    def test_the_password_may_be_in_the_url_or_behind_a_reference(
        self, mariadb: MariaDB, name: str, user: str, context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        password = "p@ss/w:ord?#é{}"
        mariadb.execute(f"SET PASSWORD FOR {user}@'%' = PASSWORD('{password}')")
        grant(mariadb, user, "ALL ON *.*")
        monkeypatch.setenv("DB_PASSWORD", password)
        (tmp_path / "password").write_text(password + "\n")
        for written in (
            "p%40ss%2Fw%3Aord%3F%23%C3%A9%7B%7D",
            "{{resolve:env:DB_PASSWORD}}",
            f"{{{{resolve:file:{tmp_path}/password}}}}",
        ):
            with database(mariadb, f"{name}_url") as other:
                address = f"mysql://{user}:{written}@{mariadb.host}:{mariadb.port}/{other}"
                with open_restore(address, context) as target:
                    for child in children():
                        assert password.encode() not in Path(f"/proc/{child}/cmdline").read_bytes()
                    os.write(target.fileno(), b"CREATE TABLE t (a INT);")
                    target.finish()
                assert mariadb.execute("SHOW TABLES", other) == "t\n"
            assert context.secrets.scrub(f"x {password} y") == "x **** y"

    @pytest.mark.parametrize(
        "address",
        [
            "postgresql://u@h/d",
            "mysql://h/d",
            "mysql://u@/d",
            "mysql://u@h:port/d",
            "mysql://u@h/d?x=1",
            "nothing",
            "mysql://u:s3cret@h/d?ssl=maybe",
        ],
    )
    def test_a_wrong_address_is_refused_without_showing_it(self, address: str, context: Context) -> None:
        with pytest.raises(UsageError) as caught:
            open_restore(address, context)
        assert "s3cret" not in str(caught.value)

    def test_commands_of_the_client_in_a_backup_are_not_run(
        self, mariadb: MariaDB, name: str, context: Context, tmp_path: Path
    ) -> None:
        mark = tmp_path / "mark"
        with database(mariadb, f"{name}_evil") as other, pytest.raises(RestoreError):
            restore(mariadb, other, f"\\! touch {mark}\nsystem touch {mark}\n".encode(), context)
        assert not mark.exists()
