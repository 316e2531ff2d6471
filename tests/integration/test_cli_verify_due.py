"""``backups verify --due``: the rotation on one machine, with real copies, real gpg and what it remembers."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.damage import bit_flipped, replaced_by_other_content, truncated, with_wrong_manifest
from tests.servers.command_line import HOST, Blocking, CommandLine, finished
from tests.servers.fake_path import FakePath
from tests.servers.slack import slack_server

DAYS = ("2026-11-01", "2026-11-02", "2026-11-03")
DAILY = {"every_days": 1}


@pytest.fixture
def stored(backups: CommandLine, one_run: CommandLine) -> CommandLine:
    """Copies of three days at one destination, none of today; each check reads all of them."""
    backups.env["XDG_STATE_HOME"] = str(backups.directory / "state")
    write(backups)
    backups.take_over(one_run)
    [today] = backups.one.rglob("*.zst.gpg")
    for day in DAYS:
        copied_to(today, day)
    shutil.rmtree(today.parent)
    return backups


def write(backups: CommandLine, **changes: Any) -> None:
    backups.write_job(**{"verification": DAILY, "destinations": backups.content()["destinations"][:1], **changes})


def copied_to(copy: Path, day: str) -> None:
    """The same copy as one of another day, with a manifest of its own."""
    target = copy.parent.parent / day / copy.name
    target.parent.mkdir()
    shutil.copy(copy, target)
    manifest = json.loads(copy.with_name(f"{copy.name}.manifest.json").read_text())
    manifest["key"] = f"{HOST}/{day}/{copy.name}"
    target.with_name(f"{copy.name}.manifest.json").write_text(json.dumps(manifest))


def at(backups: CommandLine, day: str) -> Path:
    return backups.one / HOST / day / "data.tar.zst.gpg"


def statuses(backups: CommandLine, code: int = 0) -> dict[str, str]:
    """What a check finds, by day; only of the copies that it reads or misses."""
    ended = backups("verify", "--due", backups.job, "--json")
    assert ended.code == code, ended.err
    return {check["key"].split("/")[1]: check["status"] for check in ended.json()["checks"]}


def status(backups: CommandLine) -> dict[str, Any]:
    [path] = (backups.directory / "state").rglob("status.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_every_copy_has_its_turn_the_newest_first(stored: CommandLine) -> None:
    ended = stored("verify", "--due", stored.job)
    assert ended.code == 0, ended.err
    rows = [row for row in ended.out.splitlines() if row.startswith("data ")]
    assert [row.split()[2].split("/")[1] for row in rows] == sorted(DAYS, reverse=True)
    assert all("size, sha256 and gpg" in row for row in rows)
    assert "3 of 3 copies read back now" in ended.out and "none known to be bad" in ended.out
    kept = status(stored)
    assert (kept["copies"], kept["checked"], kept["overdue"], kept["going"]) == (3, 3, 0, False)


def test_with_more_days_the_first_check_reads_nothing_yet(stored: CommandLine) -> None:
    write(stored, verification={"every_days": 30})
    assert statuses(stored) == {}
    assert status(stored)["copies"] == 3


def test_a_job_that_wants_no_checks_is_told_so(stored: CommandLine) -> None:
    stored.job.write_text(json.dumps({**json.loads(stored.job.read_text()), "verification": None}))
    ended = stored("verify", "--due", stored.job)
    assert ended.code == 2
    assert "'verification' is null" in ended.err


@pytest.mark.parametrize("harm", [truncated, bit_flipped, replaced_by_other_content, with_wrong_manifest])
def test_damage_is_told_once_in_each_way(stored: CommandLine, harm: Callable[[Path], None]) -> None:
    with slack_server() as slack:
        write(stored, notifications=[{"type": "slack", "url": slack.url}])
        harm(at(stored, DAYS[1]))
        assert statuses(stored, code=1) == {DAYS[0]: "ok", DAYS[1]: "damaged", DAYS[2]: "ok"}
        [message] = slack.messages
        assert f"copy {HOST}/{DAYS[1]}/data.tar.zst.gpg of 'data' at 'one' is damaged" in str(message)
        assert "*Way out*" in str(message)
        # It is not read again within the day, but nobody may take it for good in the meantime.
        ended = stored("verify", "--due", stored.job)
        assert ended.code == 1
        assert "error: data at one: damaged: " in ended.err
        assert len(slack.messages) == 1
    assert status(stored)["damaged"] == 1


def test_a_manifest_that_is_gone_is_damage(stored: CommandLine) -> None:
    statuses(stored)
    manifest = at(stored, DAYS[1]).with_name("data.tar.zst.gpg.manifest.json")
    content = manifest.read_bytes()
    manifest.unlink()
    assert statuses(stored, code=1)[DAYS[1]] == "damaged"
    assert "its manifest is gone" in status(stored)["bad"][0]["error"]
    manifest.write_bytes(content)
    forget_a_day(stored)
    assert statuses(stored)[DAYS[1]] == "ok"
    assert status(stored)["damaged"] == 0


def test_a_copy_that_never_had_a_manifest_is_checked_by_gpg(stored: CommandLine) -> None:
    at(stored, DAYS[1]).with_name("data.tar.zst.gpg.manifest.json").unlink()
    assert statuses(stored) == dict.fromkeys(DAYS, "ok")


def test_a_wrong_passphrase_is_no_damage(stored: CommandLine) -> None:
    write(stored, encryption={"passphrase": "another one"})
    assert statuses(stored, code=1) == dict.fromkeys(DAYS, "unreadable")
    kept = status(stored)
    assert (kept["damaged"], kept["unreadable"]) == (0, 3)
    assert "passphrase" in kept["bad"][0]["error"]
    write(stored)
    forget_a_day(stored)
    assert statuses(stored) == dict.fromkeys(DAYS, "ok")


def test_the_newest_copy_that_is_gone_is_missing_until_there_is_a_newer_one(stored: CommandLine) -> None:
    statuses(stored)
    shutil.rmtree(at(stored, DAYS[0]).parent)  # as retention does
    shutil.rmtree(at(stored, DAYS[2]).parent)
    assert statuses(stored, code=1) == {DAYS[2]: "missing"}
    assert statuses(stored, code=1) == {}
    kept = status(stored)
    assert (kept["copies"], kept["missing"], [bad["status"] for bad in kept["bad"]]) == (1, 1, ["missing"])
    copied_to(at(stored, DAYS[1]), "2026-11-04")
    statuses(stored)
    assert status(stored)["missing"] == 0


def test_a_destination_that_does_not_answer_is_an_error_and_no_damage(stored: CommandLine) -> None:
    write(stored, destinations=None or stored.content()["destinations"])
    assert stored("run", stored.job).code == 0
    shutil.rmtree(stored.two)
    ended = stored("verify", "--due", stored.job, "--json")
    assert ended.code == 1
    told = ended.json()["status"]
    assert list(told["left_out"]) == ["two"]
    assert (told["damaged"], told["missing"], told["unreadable"]) == (0, 0, 0)
    assert {check["destination"] for check in ended.json()["checks"]} == {"one"}
    assert "error: two: its copies could not be checked: " in ended.err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_read_before_a_kill_is_kept_and_the_next_check_goes_on(
    stored: CommandLine, fake_path: FakePath, number: signal.Signals
) -> None:
    blocking = Blocking(stored.directory)
    first = stored.directory / "first"
    decrypt = f"""case "$*" in *--decrypt*) ;; *) exec "$REAL" "$@";; esac
if ! [ -e '{first}' ]; then : > '{first}'; exec "$REAL" "$@"; fi
"""
    script = fake_path.put("gpg", decrypt + blocking.script())
    with stored.started("verify", "--due", stored.job) as process:
        blocking.wait(process)
        ended = finished(process, number)
    blocking.end()
    assert ended.code == (143 if number is signal.SIGTERM else -signal.SIGKILL)
    script.unlink()
    if number is signal.SIGTERM:
        assert (status(stored)["checked"], status(stored)["error"][:21]) == (1, "the check was stopped")
    ledgers = [path for path in (stored.directory / "state").rglob("*.json") if path.name != "status.json"]
    [known] = [json.loads(path.read_text())["copies"] for path in ledgers]
    assert {key.split("/")[1]: bool(one["checked"]) for key, one in known.items()} == {
        DAYS[0]: False,
        DAYS[1]: False,
        DAYS[2]: True,
    }
    forget_a_day(stored, of="status.json")
    assert [day for day in statuses(stored) if day != DAYS[2]] == [DAYS[1], DAYS[0]]
    assert status(stored)["error"] == ""


def test_two_checks_at_once_are_one_too_many(stored: CommandLine, fake_path: FakePath) -> None:
    blocking = Blocking(stored.directory)
    fake_path.put("gpg", 'case "$*" in *--decrypt*) ;; *) exec "$REAL" "$@";; esac\n' + blocking.script())
    with stored.started("verify", "--due", stored.job) as process:
        blocking.wait(process)
        ended = stored("verify", "--due", stored.job)
        assert ended.code == 1
        assert "another check of these copies is still going" in ended.err
        finished(process, signal.SIGTERM)


def test_no_plain_text_reaches_the_disk(stored: CommandLine) -> None:
    (stored.data / "hello.txt").write_text("PLAIN-TEXT-MARKER\n" * 9)
    assert stored("run", stored.job).code == 0
    statuses(stored)
    assert stored.private_leftovers() == []
    for path in (stored.directory / "state").rglob("*"):
        assert path.is_dir() or b"PLAIN-TEXT-MARKER" not in path.read_bytes()
        assert not path.stat().st_mode & 0o077 or path.name in ("state",)


def test_what_it_remembers_and_what_is_named_do_not_mix(stored: CommandLine) -> None:
    ended = stored("verify", "--due", "--source", "data", stored.job)
    assert ended.code == 2
    assert "--due goes with none of" in ended.err


def test_a_record_that_is_damaged_says_so(stored: CommandLine) -> None:
    statuses(stored)
    [path] = (stored.directory / "state").rglob("status.json")
    path.write_text("{")
    ended = stored("verify", "--due", stored.job)
    assert ended.code == 1
    assert f"{path} is damaged" in ended.err


def forget_a_day(backups: CommandLine, of: str = "*.json") -> None:
    """Everything that is remembered happened a day earlier."""
    for path in (backups.directory / "state").rglob(of):
        path.write_text(json.dumps(_earlier(json.loads(path.read_text()))))
        os.utime(path)


def _earlier(value: Any) -> Any:
    import datetime as dt

    if isinstance(value, dict):
        times = ("seen", "checked", "tried", "started", "finished", "oldest")
        return {
            key: (dt.datetime.fromisoformat(inner) - dt.timedelta(days=1)).isoformat()
            if key in times and isinstance(inner, str) and inner
            else _earlier(inner)
            for key, inner in value.items()
        }
    return [_earlier(inner) for inner in value] if isinstance(value, list) else value
