"""Runs the job and the commands that README.md shows, with places of this test in them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from tests.servers.command_line import CommandLine

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_smallest_job_and_its_commands(backups: CommandLine) -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    here = backups.directory
    passphrase = here / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    places = {"/etc/backups/passphrase": passphrase, "/mnt/backups": backups.one, "/tmp/etc": here / "restored"}
    places['"/etc"'] = backups.data  # by its quotes: the others begin alike

    def with_places(text: str) -> str:
        for place, ours in places.items():
            text = text.replace(place, f'"{ours}"' if place.startswith('"') else str(ours))
        return text

    (here / "nightly.json").write_text(with_places(shown))
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^    (backups .*)$", README, re.MULTILINE)]
    assert [argv[1] for argv in commands] == ["validate", "run", "list", "restore"]
    for argv in commands:
        ended = backups(*[str(places.get(part, part)) for part in argv[1:]])
        assert ended.code == 0, (argv, ended.err)
    assert (here / "restored" / backups.data.name / "hello.txt").read_text() == "hello\n"


def test_what_it_points_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_the_deployed_settings_are_those_of_cdk_json() -> None:
    assert json.loads((ROOT / "cdk.json").read_text())["context"]["jobs"] == "jobs"
    assert (ROOT / "scripts" / "cdk").exists()
