"""Texts for messages: one line each, cut to a length, sizes and times that people read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

LONGEST_REASON = 1000  # characters
_LONGEST_NAME = 200
_CUT = "… [cut]"


def one_line(text: str) -> str:
    """Text without line breaks, control characters or anything else that could end a header or forge a line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters, with a note when some are missing."""
    return text if len(text) <= limit else text[: max(0, limit - len(_CUT))] + _CUT[:limit]


def name_of(text: str) -> str:
    """A name in one line that is not too long."""
    return shortened(one_line(text), _LONGEST_NAME)


def reason_of(error: str, hint: str = "") -> str:
    """Why something failed, and the way out, in one line that is not too long."""
    text = one_line(error)
    return shortened(f"{text} ({one_line(hint)})" if text and hint else text or one_line(hint), LONGEST_REASON)


def listed(names: Sequence[str]) -> str:
    """Names in quotes, with commas between."""
    return ", ".join(f"'{one_line(name)}'" for name in names)


def fitted(cut: Callable[[int], str], limit: int, measure: Callable[[str], int] = len) -> str:
    """What ``cut`` makes of as many characters as may be, so that it measures at most ``limit``.

    For texts that grow when they are escaped after they were cut.
    """
    text = cut(limit)
    if measure(text) <= limit:
        return text
    fits, too_long = 0, limit
    best = cut(0)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        text = cut(middle)
        if measure(text) <= limit:
            fits, best = middle, text
        else:
            too_long = middle
    return best


def utf16_units(text: str) -> int:
    """Length as services count that are written in languages with 16-bit characters; never less than ``len``."""
    return len(text.encode("utf-16-le")) // 2


def human_time(seconds: float) -> str:
    """Seconds as ``7 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def human_size(size: int) -> str:
    """Bytes as ``12.3 MB``, base 1024."""
    if size < 1024:
        return f"{size} bytes"
    value = float(size)
    for unit in ("KB", "MB", "GB", "TB"):
        value /= 1024
        if round(value, 1) < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} PB"
