"""What channels hear of runs of the command: that they begin, that something changed, and nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers.command_line import CommandLine
from tests.servers.sink import Answer, sink
from tests.servers.slack import slack_server


def test_changes_are_told_across_runs(backups: CommandLine) -> None:
    state = backups.directory / "state"
    backups.env["XDG_STATE_HOME"] = str(state)
    away = backups.directory / "away"
    with slack_server() as slack:
        chat = {"type": "slack", "url": slack.url, "notify_on": "change", "remind_days": 0}
        backups.write_job(notifications=[chat])
        told = []
        for broken in (False, True, True, False, False):
            if broken != away.exists():
                (backups.data if broken else away).rename(away if broken else backups.data)
            assert backups("run", backups.job).code == (1 if broken else 0)
            told.append(len(slack.messages))
    assert told == [0, 1, 1, 2, 2]
    assert "failed" in slack.messages[0]["text"]
    assert "was successful" in slack.messages[1]["text"]
    assert files(state) == [next((state / "backups").iterdir())]


def test_a_monitor_hears_that_a_run_begins_before_it_ends(backups: CommandLine) -> None:
    with sink() as monitor:
        backups.write_job(notifications=[{"type": "healthchecks", "ping_url": f"{monitor.base}/ping/planted-check-id"}])
        ended = backups("run", backups.job, "--json")
        paths = [urlsplit(request.path).path for request in monitor.accepted]
    assert ended.code == 0
    assert paths == ["/ping/planted-check-id/start", "/ping/planted-check-id"]
    assert [told["status"] for told in ended.json()["notified"]] == ["sent"]


def test_a_monitor_that_refuses_stops_nothing_and_shows_no_address(backups: CommandLine) -> None:
    with sink() as monitor:
        monitor.answers = [Answer(404, "no check planted-check-id")] * 2
        backups.write_job(notifications=[{"type": "healthchecks", "ping_url": f"{monitor.base}/ping/planted-check-id"}])
        ended = backups("run", "-v", backups.job, "--json")
    assert ended.code == 0
    told = ended.json()["notified"]
    assert [each["status"] for each in told] == ["failed", "failed"]  # the begin, and the end
    assert "check 'ping_url'" in told[0]["error"]
    assert "planted-check-id" not in ended.err + json.dumps(told)


def files(directory: Path) -> list[Path]:
    """Every file below."""
    return [path for path in directory.rglob("*") if path.is_file()]
