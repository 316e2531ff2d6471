"""The types of source: one line each."""

from backups.registry import Registry
from backups.sources.base import Source, SourceStream
from backups.sources.folder import Folder
from backups.sources.mysql import MySQL
from backups.sources.pgsql import PostgreSQL
from backups.sources.rds import RDS
from backups.sources.snapshot import Snapshot

SOURCES: Registry[Source] = Registry("source")
SOURCES.add(Folder)
SOURCES.add(MySQL)
SOURCES.add(PostgreSQL, aliases=("postgresql",))
SOURCES.add(RDS)
SOURCES.add(Snapshot)

__all__ = ["SOURCES", "Source", "SourceStream"]
