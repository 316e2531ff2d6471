"""Amazon RDS: a database as SQL text, dumped from a temporary instance that is made from one of its snapshots."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, model_validator

from backups.aws_calls import Login, client
from backups.config import Flag, MissingFieldsError, Positive
from backups.context import Context
from backups.errors import SourceError
from backups.rds import naming
from backups.rds.placement import Wishes, place
from backups.rds.removal import remove_expired
from backups.rds.snapshots import AUTOMATED, Database, Snapshot, age_warnings, choose
from backups.rds.temporary import Endpoint, Temporary, removed_on_error
from backups.sources.base import Source, SourceStream
from backups.sources.mysql import MySQL
from backups.sources.pgsql import PostgreSQL
from backups.sources.rds_stream import RDSStream

log = logging.getLogger("backups.rds")

INSTANCE_CLASS = "db.t4g.medium"
RESTORE_SECONDS = 6 * 3600
MARGIN_SECONDS = 2 * 3600
"""How much longer than restoring and reading may take until nobody can need the temporary instance any more."""

_RETIRED = ("db.m1.", "db.m2.", "db.m3.", "db.t1.", "db.cr1.", "db.r3.")
_SSL: dict[str, Literal["disable", "require", "verify-full"]] = {
    "disabled": "disable",
    "required": "require",
    "verify": "verify-full",
}


class RDS(Source):
    """A database of MySQL, MariaDB, PostgreSQL or Aurora on Amazon RDS, dumped from a snapshot of it.

    So the live database stays quiet. The snapshot is restored as a temporary instance, which is dumped as the types
    `mysql` and `pgsql` do, and removed whatever happens. The copy is as old as the snapshot.
    """

    label: ClassVar[str] = "RDS"
    identity: ClassVar[tuple[str, ...]] = ("instancename", "clustername", "dbname")
    nested: ClassVar[tuple[str, ...]] = ("credentials",)

    type: Literal["rds"] = "rds"

    instancename: str = ""
    """Name of the RDS instance whose snapshot is restored."""

    clustername: str = ""
    """Name of the Aurora cluster whose snapshot is restored, instead of `instancename`."""

    region: str = ""
    """AWS region of the database; from the environment when missing."""

    snapshot: str = Field(AUTOMATED, min_length=1)
    """`automated` or `manual`: the newest of that kind that is available. Or the name of one snapshot."""

    instance_class: str = Field(INSTANCE_CLASS, pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$")
    """Class of the temporary instance."""

    subnet_group: str = ""
    """DB subnet group of the temporary instance; that of the database when missing."""

    security_group: str | tuple[str, ...] = ()
    """Name or id of the VPC security group of the temporary instance, or a list; the database's own when missing.

    It must let the machine in that runs the dump."""

    parameter_group: str = ""
    """Parameter group of the temporary instance (of a cluster: its cluster parameter group); the database's own when
    missing."""

    restore_limit: Positive = RESTORE_SECONDS
    """Seconds after which restoring is given up; `time_limit` begins after that."""

    dbhost: str = ""
    """Accepted as the old tool's files have it; the dump connects to the temporary instance."""

    dbname: str = Field(min_length=1)
    """Name of the database."""

    dbuser: str = ""
    """User to connect as; a snapshot has the users and passwords that the database had."""

    dbpass: SecretStr | None = None
    """Password of the user."""

    ssl: Literal["disabled", "required", "verify"] | None = None
    """Encryption of the connection: `verify` checks the server's certificate too; the client's default when missing."""

    ssl_ca: str = ""
    """Path of the certificates that the server's is checked against; means `ssl: verify`."""

    defaults: str = ""
    """Path of a MySQL options file to use instead of `dbuser` and `dbpass`; it is only read."""

    noevents: Flag = False
    """Leave events out of the dump of a MySQL database."""

    aws_access_key_id: str = ""
    """Access key; when missing, AWS's usual chain is searched: environment, `~/.aws`, the role of the task."""

    aws_secret_access_key: SecretStr | None = None
    """Secret of the access key."""

    _dump: MySQL | PostgreSQL | None = PrivateAttr(None)
    _snapshot: Snapshot | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.instancename) == bool(self.clustername):
            raise ValueError("give either 'instancename' or 'clustername'")
        if bool(self.aws_access_key_id) != bool(self.aws_secret_access_key):
            raise ValueError("give both 'aws_access_key_id' and 'aws_secret_access_key', or neither")
        missing = [name for name in ("dbuser", "dbpass") if not self.defaults and not getattr(self, name)]
        if missing:
            raise MissingFieldsError(*missing)
        if self.ssl_ca and self.ssl not in (None, "verify"):
            raise ValueError(f"'ssl_ca' checks the server's certificate, which 'ssl': '{self.ssl}' leaves out")
        return self

    @property
    def extension(self) -> str:
        return "sql"

    @property
    def database(self) -> Database:
        """What is backed up."""
        return Database(self.clustername or self.instancename, cluster=bool(self.clustername))

    @property
    def security_groups(self) -> tuple[str, ...]:
        """Names or ids; empty for the database's own."""
        groups = self.security_group
        return groups if isinstance(groups, tuple) else (groups,) if groups else ()

    @property
    def opening_limit(self) -> int:
        return self.restore_limit

    @property
    def leaves_something(self) -> bool:
        return True

    def hints(self) -> Iterator[str]:
        if self._class != self.instance_class:
            yield (
                f"instance_class: '{self.instance_class}' exists no more, so '{INSTANCE_CLASS}' is used: "
                "leave it out, or name a class that exists"
            )

    @property
    def _class(self) -> str:
        """Old job files name classes that AWS has retired."""
        return INSTANCE_CLASS if self.instance_class.startswith(_RETIRED) else self.instance_class

    def open(self, context: Context) -> SourceStream:
        rds = self._client("rds")
        now = dt.datetime.now(dt.UTC)
        warnings = remove_expired(rds, context.task, now)
        context.task.tell("looking for a snapshot")
        snapshot = self._snapshot = choose(rds, self.database, self.snapshot)
        log.info("%s: restoring snapshot %s", self.id, snapshot)
        wishes = Wishes(self._class, self.subnet_group, self.security_groups, self.parameter_group)
        whole = dt.timedelta(seconds=self.restore_limit + context.task.time_limit + MARGIN_SECONDS)
        temporary = Temporary(
            rds,
            naming.temporary_name(self.id),
            snapshot,
            place(rds, lambda: self._client("ec2"), self.database, wishes),
            naming.tags(context.task, now + whole),
            context,
            self.restore_limit,
        )
        self._check_dumpable(snapshot)
        with removed_on_error(temporary):
            self._dump = self._dump_of(snapshot, temporary.restore())
            context.task.tell("opening")
            dump = self._dump.open(context)
        return RDSStream(dump, temporary, warnings + age_warnings(snapshot, self.snapshot, now))

    def _client(self, service: Literal["ec2", "rds"]) -> Any:
        key = self.aws_secret_access_key.get_secret_value() if self.aws_secret_access_key else ""
        return client(service, self.region, Login(self.aws_access_key_id, key))

    def _check_dumpable(self, snapshot: Snapshot) -> None:
        """Before anything costs money."""
        if self.defaults and snapshot.family == "pgsql":
            raise SourceError(
                f"snapshot {snapshot.id} is of the engine '{snapshot.engine}', and 'defaults' is for MySQL",
                hint="give 'dbuser' and 'dbpass' instead",
            )

    def _dump_of(self, snapshot: Snapshot, server: Endpoint) -> MySQL | PostgreSQL:
        """The source that dumps the temporary instance."""
        login: dict[str, Any] = {"id": self.id, "dbname": self.dbname, "dbuser": self.dbuser, "dbpass": self.dbpass}
        if snapshot.family == "pgsql":
            sslmode = _SSL[self.ssl] if self.ssl else None
            return PostgreSQL(**login, dbhost=server.host, dbport=server.port, sslmode=sslmode, sslrootcert=self.ssl_ca)
        if self.defaults:
            # The options file may name the live server; what comes after it has the last word.
            elsewhere = (f"--host={server.host}", f"--port={server.port}", "--protocol=tcp")
            return MySQL(id=self.id, dbname=self.dbname, defaults=self.defaults, directives=elsewhere,
                         noevents=self.noevents)  # fmt: skip
        return MySQL(
            **login,
            dbhost=server.host,
            dbport=server.port,
            ssl=self.ssl,
            ssl_ca=self.ssl_ca,
            noevents=self.noevents,
        )

    def tools(self) -> dict[str, str]:
        """The dump's program; and the snapshot, whose moment is that of the data."""
        programs = self._dump.tools() if self._dump else {}
        return {**programs, **({"snapshot": str(self._snapshot)} if self._snapshot else {})}
