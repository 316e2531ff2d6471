"""What ``docs/operations.md`` tells people to run, for tests that run it."""

from __future__ import annotations

import re

from infra.bundle import ROOT

PAGE = ROOT / "docs" / "operations.md"


def blocks(section: str, language: str) -> list[str]:
    """The blocks of a language below a heading, as they stand there."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n### {section}\n")[2]
    text = re.split(r"^##", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def statements(section: str, number: int, password: str) -> str:
    """One block of SQL, with a password in the place of the dots."""
    assert "'" not in password
    found = blocks(section, "sql")[number]
    assert found.count("'…'") == 1
    return found.replace("'…'", f"'{password}'")
