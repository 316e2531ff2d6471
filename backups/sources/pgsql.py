"""PostgreSQL: the model of the source; its dump is not there yet."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from backups.context import Context
from backups.errors import SourceError
from backups.sources.base import Source, SourceStream


class PostgreSQL(Source):
    """A PostgreSQL database, as plain SQL."""

    label: ClassVar[str] = "PostgreSQL"
    identity: ClassVar[tuple[str, ...]] = ("dbhost", "dbname")
    unavailable: ClassVar[str] = "pg_dump is not connected"

    type: Literal["pgsql"] = "pgsql"

    dbhost: str = Field(min_length=1)
    """Name of the PostgreSQL host."""

    dbname: str = Field(min_length=1)
    """Name of the database."""

    dbuser: str = Field(min_length=1)
    """User to connect as."""

    dbpass: SecretStr
    """Password of the user."""

    @property
    def extension(self) -> str:
        return "sql"

    def open(self, context: Context) -> SourceStream:  # noqa: ARG002
        raise SourceError(self.not_yet())
