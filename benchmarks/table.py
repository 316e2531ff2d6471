"""Tables of benchmarks/README.md, each between two comments that bear its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

README = Path(__file__).with_name("README.md")


def write_table(name: str, lines: Iterable[str], readme: Path = README) -> None:
    """Put lines in the place of what is between ``<!-- NAME -->`` and ``<!-- end of NAME -->``.

    Raises ValueError when the file has no such comments.
    """
    text = readme.read_text()
    between = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end of {re.escape(name)} -->)", re.DOTALL)
    if not between.search(text):
        raise ValueError(f"{readme} has no place for {name}")
    content = "\n".join(lines)
    readme.write_text(between.sub(lambda found: f"{found[1]}\n{content}\n\n{found[2]}", text))
