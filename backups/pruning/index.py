"""What a listing holds, in 35 bytes a copy: a million of them fit into little memory, and into one small record."""

from __future__ import annotations

import base64
import datetime as dt
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from backups.copies import Copy, Orphan
from backups.naming import CopyKey, LegacyKey
from backups.records import Record

_ROW = struct.Struct("<IIBQqq")
"""Day, form, flags, bytes, and two moments in microseconds: modified, locked until (0: not locked)."""
_LOCK = struct.Struct("<q")
"""The last field of a row."""
_VERIFIED, _MANIFEST, _ORPHAN, _GONE = 1, 2, 4, 8
_FLAGS = 8
"""Where in a row they are."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class _Form(NamedTuple):
    """What keys of many copies have in common."""

    extension: str
    compression_suffix: str
    stamp: str
    """Of the old tool's; empty for others."""


class IndexRecord(Record):
    """An index as it is stored."""

    hostname: str
    forms: tuple[tuple[str, str, str], ...]
    rows: dict[str, str]
    """By source, compressed and in base64."""


class CopyIndex:
    """The copies and orphans of one host, by source. Rows of a source have the order in which they were added."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._forms: dict[_Form, int] = {}
        self._known: list[_Form] = []
        self._rows: dict[str, bytearray] = defaultdict(bytearray)

    def add(self, found: Copy | Orphan) -> None:
        """Remember one more."""
        if isinstance(found, Copy):
            flags, size = found.verified * _VERIFIED | found.has_manifest * _MANIFEST, found.size
        else:
            flags, size = _ORPHAN, 0
        key = found.key
        form = _form(key)
        number = self._forms.setdefault(form, len(self._known))
        if number == len(self._known):
            self._known.append(form)
        locked = _moment(found.locked_until) if found.locked_until else 0
        row = _ROW.pack(key.date.toordinal(), number, flags, size, _moment(found.modified), locked)
        self._rows[key.source_id] += row

    def rows(self, source: str) -> Iterator[Copy | Orphan]:
        """Everything that is known of a source."""
        for row in self._raw(source):
            yield self._found(source, row)

    def row(self, source: str, number: int) -> Copy | Orphan:
        """One of them, by its place."""
        return self._found(source, _ROW.unpack_from(self._rows[source], number * _ROW.size))

    def lock(self, source: str, number: int, until: dt.datetime) -> None:
        """Remember until when one of them is locked."""
        _LOCK.pack_into(self._rows[source], (number + 1) * _ROW.size - _LOCK.size, _moment(until))

    def remove(self, source: str, number: int) -> None:
        """Remember that one of them is gone; it keeps its place."""
        self._rows[source][number * _ROW.size + _FLAGS] |= _GONE

    def days(self, source: str) -> int:
        """How many days have a copy that is not gone."""
        found = {day for day, _, flags, *_ in self._raw(source) if not flags & (_ORPHAN | _GONE)}
        return len(found)

    def shows(self, source: str, key: CopyKey) -> bool:
        """Whether a copy was there, and verified."""
        wanted = (key.date.toordinal(), self._forms.get(_form(key)))
        return any((day, form) == wanted and flags & _VERIFIED for day, form, flags, *_ in self._raw(source))

    def _raw(self, source: str) -> Iterator[tuple[int, ...]]:
        return _ROW.iter_unpack(self._rows.get(source, b""))

    @staticmethod
    def same_moment(one: dt.datetime, other: dt.datetime) -> bool:
        """Whether two times are one, as far as an index tells them apart."""
        return _moment(one) == _moment(other)

    def record(self) -> IndexRecord:
        """The index to store."""
        rows = {source: base64.b64encode(zlib.compress(rows, 1)).decode() for source, rows in self._rows.items()}
        return IndexRecord(hostname=self._hostname, forms=tuple(self._known), rows=rows)

    @classmethod
    def of(cls, record: IndexRecord) -> CopyIndex:
        """The index that was stored."""
        index = cls(record.hostname)
        index._known = [_Form(*form) for form in record.forms]
        index._forms = {form: number for number, form in enumerate(index._known)}
        for source, rows in record.rows.items():
            index._rows[source] += zlib.decompress(base64.b64decode(rows))
        return index

    def _found(self, source: str, row: tuple[int, ...]) -> Copy | Orphan:
        day, form, flags, size, modified, locked = row
        key = self._key(source, dt.date.fromordinal(day), self._known[form])
        written = _EPOCH + modified * _MICROSECOND
        until = _EPOCH + locked * _MICROSECOND if locked else None
        if flags & _ORPHAN:
            return Orphan(key, written, until)
        return Copy(key, size, written, bool(flags & _VERIFIED), bool(flags & _MANIFEST), until)

    def _key(self, source: str, date: dt.date, form: _Form) -> CopyKey:
        if form.stamp:
            return LegacyKey(self._hostname, date, source, form.extension, form.compression_suffix, form.stamp)
        return CopyKey(self._hostname, date, source, form.extension, form.compression_suffix)


def _form(key: CopyKey) -> _Form:
    return _Form(key.extension, key.compression_suffix, key.stamp if isinstance(key, LegacyKey) else "")


def _moment(time: dt.datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND
