"""The types of source: one line each."""

from backups.registry import Registry
from backups.sources.base import Source, SourceStream

SOURCES: Registry[Source] = Registry("source")

__all__ = ["SOURCES", "Source", "SourceStream"]
