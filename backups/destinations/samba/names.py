"""Keys as paths on a share: characters that SMB forbids are written as macOS and Linux's cifs write them."""

from __future__ import annotations

import re

from backups.errors import DestinationError

PARTIAL = re.compile(r"\.backups-[0-9a-f]{16}\.partial")
"""Names of objects on their way. They are never listed, and no key may use one."""

_LONGEST = 255  # UTF-16 units that a name may have

# Services for Macintosh chose these from Unicode's private area; a mount with `mapposix` shows the key's own name.
_FORBIDDEN = {chr(number): chr(0xF000 + number) for number in range(1, 32)}
_FORBIDDEN |= dict(zip('"*:<>?\\|', map(chr, range(0xF020, 0xF028)), strict=True))
_LAST = {" ": "\uf028", ".": "\uf029"}
_MAP = str.maketrans(_FORBIDDEN)
_BACK = str.maketrans({mapped: plain for plain, mapped in (_FORBIDDEN | _LAST).items()})
_MAPPED = re.compile("[\uf001-\uf029]")


def to_names(key: str) -> tuple[str, ...]:
    """The names on the share that a key is made of. Raises DestinationError for a key that no path can stand for."""
    return tuple(_to_name(key, part) for part in key.split("/"))


def _to_name(key: str, part: str) -> str:
    unusable = part in ("", ".", "..") or "\0" in part or PARTIAL.fullmatch(part) or _MAPPED.search(part)
    name = part.translate(_MAP)
    name = name[:-1] + _LAST.get(name[-1:], name[-1:])
    if unusable or len(name.encode("utf-16-le", "surrogatepass")) > 2 * _LONGEST:
        raise DestinationError(f"'{key}' can't be the name of a file on a share", permanent=True)
    return name


def to_part(name: str) -> str:
    """The part of a key that a name on the share stands for."""
    return name.translate(_BACK)
