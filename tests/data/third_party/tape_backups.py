"""A source of someone else, as a job file's `modules` may name it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from backups.config import MissingFieldsError
from backups.context import Context
from backups.sources import SOURCES, Source, SourceStream


class Tape(Source):
    """A tape that is copied."""

    label: ClassVar[str] = "Tape"

    type: Literal["tape"] = "tape"
    drive: str = ""
    library: str = ""

    @model_validator(mode="after")
    def _needs_both(self) -> Tape:
        missing = [name for name in ("drive", "library") if not getattr(self, name)]
        if missing:
            raise MissingFieldsError(*missing)
        return self

    @property
    def extension(self) -> str:
        return "tar"

    def open(self, context: Context) -> SourceStream:
        raise NotImplementedError


SOURCES.add(Tape)
