"""Retention at one destination: lists what it holds, decides, removes, and tells of everything it could not do.

    scan ─> index ─> decide, a source at a time ─> confirm ─> look, remove: a thousand at a time ─> a record per source

Nothing is decided before the listing has ended, and nothing is removed that it did not show. What a removal rests on
(the copies that stay in place of what goes) is looked at again before it, and what goes once more with its batch. Work
may be left after any page and any batch, and goes on from a record: so neither the time nor the memory of a Lambda
limits it.
"""

from backups.pruning.prune import prune
from backups.pruning.task import Task
from backups.pruning.work import Work, WorkRecord

__all__ = ["Task", "Work", "WorkRecord", "prune"]
