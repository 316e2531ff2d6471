"""``backups list``, ``verify`` and ``prune``: what is stored, whether it is whole, what keeps it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.damage import bit_flipped, replaced_by_other_content, truncated, with_wrong_manifest
from tests.servers.command_line import HOST, CommandLine
from tests.servers.fake_path import FakePath
from tests.servers.gpg_home import gpg_home


@pytest.fixture
def stored(backups: CommandLine, one_run: CommandLine) -> CommandLine:
    """A copy of today at both destinations and an old one, without a manifest, at the first; one backup each stays."""
    destinations = [{**each, "retention_copies": 1} for each in backups.content()["destinations"]]
    backups.write_job(destinations=destinations)
    backups.take_over(one_run)
    backups.old_copy(backups.one)
    return backups


def copy_at(destination: Path) -> Path:
    """The copy of today."""
    [path] = destination.rglob("*.zst.gpg")
    return path


def test_list_tells_what_is_there_and_why(stored: CommandLine) -> None:
    ended = stored("list", stored.job)
    assert ended.code == 0
    header, _, *rows = ended.out.splitlines()
    assert header.split() == ["source", "date", "destination", "size", "verified", "kept", "by", "until"]
    assert len(rows) == 3
    assert "2020-01-01" in rows[0]
    assert "NO" in rows[0].split()
    assert "newest verified backup" in rows[1]
    assert len(stored("list", stored.job, "--destination", "two").out.splitlines()) == 3
    shown = stored("list", stored.job, "--json").json()
    assert [(copy["destination"], copy["verified"], copy["keep"]) for copy in shown["copies"]] == [
        ("one", False, False),
        ("one", True, True),
        ("two", True, True),
    ]
    assert stored("list", stored.job, "--hostname", "other", "--json").json()["copies"] == []


@pytest.mark.parametrize("command", ["list", "prune"])
def test_destinations_that_do_not_answer_are_3_and_1(stored: CommandLine, command: str) -> None:
    shutil.rmtree(stored.one)
    ended = stored(command, stored.job, "--json")
    assert ended.code == 3
    assert list(ended.json()["errors"]) == ["one"]
    assert "error: one: " in ended.err
    shutil.rmtree(stored.two)
    assert stored(command, stored.job).code == 1


def test_verify_reads_everything_back(stored: CommandLine) -> None:
    ended = stored("verify", stored.job)
    assert ended.code == 0, ended.err
    assert [row.split()[:2] for row in ended.out.splitlines()[2:]] == [["data", "one"], ["data", "two"]]
    for check in stored("verify", stored.job, "--json").json()["checks"]:
        assert (check["status"], check["checked"]) == ("ok", "size, sha256 and gpg")
        assert check["size"] == copy_at(stored.one).stat().st_size


@pytest.mark.parametrize("harm", [truncated, bit_flipped, replaced_by_other_content, with_wrong_manifest])
def test_damage_is_found_and_is_1(stored: CommandLine, harm: Callable[[Path], None]) -> None:
    harm(copy_at(stored.one))
    ended = stored("verify", stored.job, "--json")
    assert ended.code == 1
    assert [check["status"] for check in ended.json()["checks"]] == ["damaged", "ok"]
    assert "error: data at one: damaged: " in ended.err
    assert "hint: " in ended.err


def test_copy_that_is_not_there_is_1(stored: CommandLine) -> None:
    ended = stored("verify", stored.job, "--date", "2019-01-01", "--json")
    assert ended.code == 1
    assert [check["status"] for check in ended.json()["checks"]] == ["missing", "missing"]


def test_destination_that_does_not_answer_is_1(stored: CommandLine) -> None:
    shutil.rmtree(stored.two)
    ended = stored("verify", stored.job, "--json")
    assert ended.code == 1
    assert [check["status"] for check in ended.json()["checks"]] == ["ok", "unreadable"]


def test_wrong_passphrase_is_no_damage(stored: CommandLine) -> None:
    stored.write_job(encryption={"passphrase": "another one"})
    ended = stored("verify", stored.job, "--json", "--destination", "one")
    assert ended.code == 1
    [check] = ended.json()["checks"]
    assert check["status"] == "unreadable"
    assert "passphrase" in check["error"]


def test_old_copy_without_a_manifest_is_checked_by_gpg_alone(stored: CommandLine) -> None:
    ended = stored("verify", stored.job, "--date", "2020-01-01", "--destination", "one", "--json")
    assert [check["status"] for check in ended.json()["checks"]] == ["damaged"], "it is no message at all"
    copy_at(stored.one).with_name("data.tar.zst.gpg.manifest.json").unlink()
    ended = stored("verify", stored.job, "--destination", "one", "--json")
    [check] = ended.json()["checks"]
    assert (check["status"], check["checked"]) == ("ok", "size and gpg: there is no manifest")


def test_copy_for_a_key_that_is_elsewhere_is_checked_by_its_sha256(backups: CommandLine) -> None:
    """The machine that backs up needs no secret key, and should have none."""
    with gpg_home() as home:
        gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
        subprocess.run([*gpg, "--passphrase", "", "--quick-gen-key", "b@example.org"], check=True, capture_output=True)
        key = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout.decode()
        backups.env["HOME"] = str(backups.directory)  # the key ring of this user must stay as it is
        backups.write_job(encryption={"recipients": [key]})
        assert backups("run", backups.job).code == 0
        ended = backups("verify", backups.job, "--json", "--destination", "one")
        assert ended.code == 0, ended.err
        [check] = ended.json()["checks"]
        assert check["checked"].startswith("size, sha256 and packets; not gpg")
        bit_flipped(copy_at(backups.one))
        assert backups("verify", backups.job, "--destination", "one").code == 1
        ended = backups("restore", backups.job, "data", "--to", "back", "--from", "two")
        assert ended.code == 1
        assert "gpg --import" in ended.err
        backups.env["GNUPGHOME"] = str(home)
        assert backups("restore", backups.job, "data", "--to", "back", "--from", "two").code == 0
    assert (backups.directory / "back" / "data" / "hello.txt").read_text() == "hello\n"


def test_prune_dry_run_shows_and_keeps(stored: CommandLine) -> None:
    before = stored.copies(stored.one)
    ended = stored("prune", stored.job, "--dry-run")
    assert ended.code == 0
    [removed] = [line for line in ended.out.splitlines() if " remove " in line]
    assert f"{HOST}/2020-01-01/data.tar.gpg" in removed
    assert "1 objects would be removed" in ended.err
    assert stored.copies(stored.one) == before


def test_prune_removes_what_no_rule_keeps(stored: CommandLine) -> None:
    other = stored.one / "other-host" / "2020-01-01"
    other.mkdir(parents=True)
    (other / "data.tar.gpg").write_text("not ours")
    ended = stored("prune", stored.job, "--json")
    assert ended.code == 0
    assert {record["destination"]: record["removed"] for record in ended.json()["pruned"]} == {
        "one": [f"{HOST}/2020-01-01/data.tar.gpg"],
        "two": [],
    }
    assert (other / "data.tar.gpg").exists()
    assert stored("verify", stored.job).code == 0


def test_plan_asks_nobody(stored: CommandLine, fake_path: FakePath) -> None:
    shutil.rmtree(stored.one)
    stored.write_job(encryption={"passphrase": "{{resolve:env:NOT_SET}}"})
    ended = stored("plan", stored.job, env={"RUN_AS_USER": "someone else"})
    assert ended.code == 0
    assert "data.tar.zst.gpg" in ended.out
    assert "zstd (of the job)" in ended.out
    [item] = stored("plan", stored.job, "--json").json()["items"]
    assert item["destinations"] == ["one", "two"]
