"""The commands ``backups`` and ``backup``."""

from backups.cli.main import backup, main

__all__ = ["backup", "main"]
