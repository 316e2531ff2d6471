"""``backups validate``, ``schema`` and ``convert``, as any user."""

from __future__ import annotations

import json
import stat

from tests.servers.command_line import PASSPHRASE, CommandLine

ANYONE = {"RUN_AS_USER": "nobody-in-particular"}
OLD = """{
  "hostname": "old.example.org",
  "modules": ["backups.sources.folder"],
  "sources": [{"id": "data", "type": "folder", "path": "/srv", "passphrase": "planted-secret-1"},],
  "destinations": [{"type": "local", "path": "/mnt"}],
  "notifications": []
}
"""


def test_validate_tells_every_problem_and_hint(backups: CommandLine) -> None:
    ended = backups("validate", backups.job, env=ANYONE)
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == f"{backups.job}: valid"
    assert "hint: " in ended.out
    wrong = backups.directory / "wrong.json"
    wrong.write_text('{"sources": [{"type": "folder"}], "destinations": []}')
    broken = backups.directory / "broken.json"
    broken.write_text("{\n  oops\n}")
    ended = backups("validate", backups.job, wrong, broken, backups.directory / "absent.json", "--json", env=ANYONE)
    assert ended.code == 2
    good, bad, no_json, absent = ended.json()
    assert (good["valid"], good["problems"]) == (True, [])
    assert len(bad["problems"]) >= 2
    assert f"{broken}:2:" in no_json["problems"][0]
    assert "No such file" in absent["problems"][0]
    assert PASSPHRASE not in ended.out


def test_validate_says_what_can_not_run_yet(backups: CommandLine) -> None:
    backups.write_job(modules=["later_type"], sources=[backups.later_source()])
    ended = backups("validate", backups.job)
    assert ended.code == 0
    assert ended.out.splitlines()[-1].endswith("valid, but it can not run yet")


def test_schema_is_json(backups: CommandLine) -> None:
    assert backups("schema", env=ANYONE).json()["title"] == "Backup job"


def test_convert_takes_secrets_out_and_keeps_them_private(backups: CommandLine) -> None:
    old, new, secrets = (backups.directory / name for name in ("old.cfg", "new.json", "secrets.json"))
    old.write_text(OLD)
    ended = backups("convert", old, "--output", new, "--secrets", secrets, env=ANYONE)
    assert ended.code == 0, ended.err
    assert "planted-secret-1" not in ended.out + ended.err + new.read_text()
    assert "planted-secret-1" in json.loads(secrets.read_text()).values()
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert backups("validate", new).code == 0
    again = backups("convert", old, "--output", new, "--secrets", secrets)
    assert again.code == 2
    assert "File exists" in again.err


def test_convert_to_standard_output_says_that_secrets_are_lost(backups: CommandLine) -> None:
    old = backups.directory / "old.cfg"
    old.write_text(OLD)
    ended = backups("convert", old)
    assert ended.code == 0
    assert ended.json()["hostname"] == "old.example.org"
    assert "1 secrets were taken out and not kept" in ended.err
    assert backups("convert", backups.directory / "absent").code == 2


def test_convert_says_what_the_old_tool_let_pass_and_a_person_must_correct(backups: CommandLine) -> None:
    """As the database of the old manual's complete example, which has no name and no server."""
    old, new = backups.directory / "old.cfg", backups.directory / "new.json"
    old.write_text(OLD.replace('"folder", "path": "/srv"', '"mysql"'))
    ended = backups("convert", old, "--output", new)
    assert ended.code == 0, ended.err
    assert f"warning: still to be corrected: {new}: sources[0].dbhost: required for type 'mysql'" in ended.err
