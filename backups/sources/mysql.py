"""MySQL and MariaDB: databases as SQL text."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from backups.config import Flag
from backups.context import Context
from backups.errors import SourceError
from backups.sources.base import Source, SourceStream

Name = Annotated[str, Field(min_length=1)]


class MySQL(Source):
    """MySQL or MariaDB databases, as SQL text."""

    label: ClassVar[str] = "MySQL"
    identity: ClassVar[tuple[str, ...]] = ("dbhost", "dbport", "dbsocket", "dbname")
    aliases: ClassVar[dict[str, str]] = {"options": "directives"}

    type: Literal["mysql"] = "mysql"

    dbhost: str = ""
    """Name of the MySQL host to connect to."""

    dbport: int | None = Field(None, gt=0, lt=65536)
    """Port of the server; 3306 when missing."""

    dbsocket: str = ""
    """Path of the server's socket, instead of `dbhost`."""

    dbname: Name | tuple[Name, ...] = ()
    """Name of the database, or a list of several."""

    all_databases: Flag = False
    """Back up every database of the server, instead of `dbname`."""

    dbuser: str = ""
    """User to connect as."""

    dbpass: SecretStr | None = None
    """Password of the user."""

    ssl: Literal["disabled", "required", "verify"] | None = None
    """Encryption of the connection: `verify` checks the server's certificate too; the client's default when missing."""

    ssl_ca: str = ""
    """Path of the certificates that the server's is checked against; means `ssl: verify`."""

    defaults: str = ""
    """Path of a MySQL options file to connect with, instead of the fields above; it is only read."""

    directives: str | tuple[str, ...] = ()
    """More options for mysqldump: a string as a shell would split it, or a list."""

    noevents: Flag = False
    """Leave events out of the dump."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.dbname) == self.all_databases:
            raise ValueError("give either 'dbname' or 'all_databases'")
        return self

    @property
    def extension(self) -> str:
        return "sql"

    def open(self, context: Context) -> SourceStream:
        raise SourceError("")
