"""Slow and risky settings are named with their place, and secrets in plain without their value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backups.job import Job, load_job
from tests.jobs import DATA, KINDS, example, job_data, job_with, parsed

REFERENCE = "{{resolve:env:SECRET}}"


def _good(**root: Any) -> dict[str, Any]:
    """A job about which there is nothing to say."""
    data = job_data(compression="zstd", encryption={"passphrase": REFERENCE})
    data["sources"] = [{"id": "etc", "type": "folder", "path": "/etc"}]
    data["destinations"].append({"id": "usb", "type": "local", "path": "/mnt/usb", "retention_copies": 3})
    return {**data, **root}


def test_about_a_good_job_there_is_nothing_to_say() -> None:
    assert parsed(_good()).hints() == []


@pytest.mark.parametrize(
    ("root", "hint"),
    [
        ({"compression": "gpg"}, "compression: GnuPG's own compression is slow: 'zstd' is about 8 times faster"),
        ({"compression": "gzip"}, "compression: gzip is slow: 'zstd' is about 8 times faster"),
        (
            {"sources": [{"id": "etc", "type": "folder", "path": "/etc", "compression": "gzip"}]},
            "sources[0].compression: gzip is slow: 'zstd' is about 8 times faster",
        ),
        (
            {"destinations": [{"id": "usb", "type": "local", "path": "/mnt/usb", "retention_copies": 3}]},
            "destinations: only one",
        ),
        ({"encryption": {"passphrase": "hunter2"}}, "encryption.passphrase: a secret in plain"),
        ({"notifications": [{"type": "matrix", "url": "http://m", "access_token": REFERENCE, "room_id": "r"}]},
         "notifications[0].url: http:// sends everything readable"),
        ({"notifications": [{"type": "discord", "url": "http://discord/x"}]},
         "notifications[0].url: http:// sends everything readable"),
    ],
)  # fmt: skip
def test_each_setting_has_its_hint(root: dict[str, Any], hint: str) -> None:
    assert any(line.startswith(hint) for line in parsed(_good(**root)).hints())


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"retention_days": None}, "destinations[0]: no retention, so every copy stays for ever"),
        ({"retention_minimum": 0}, "destinations[0]: 'retention_minimum' is 0"),
        ({"path": "/mnt/usb"}, "destinations[1]: the same place as destinations[0]"),
        ({"id": "USB"}, "destinations[1].id: differs from that of destinations[0] only in case"),
    ],
)
def test_each_setting_of_a_destination_has_its_hint(change: dict[str, Any], hint: str) -> None:
    data = _good()
    data["destinations"][0].update(change)
    found = parsed(data).hints()
    assert len(found) == 1
    assert found[0].startswith(hint)


@pytest.mark.parametrize(("type_", "rule"), [("s3", "NoncurrentVersionExpiration"), ("gs", "daysSinceNoncurrentTime")])
@pytest.mark.parametrize("retention", [{"retention_days": 30}, {}])
def test_old_versions_need_a_rule_of_the_bucket(type_: str, rule: str, retention: dict[str, int]) -> None:
    data = _good()
    data["destinations"].append({"id": "cloud", "type": type_, "bucket": "copies", **retention})
    *_, hint = parsed(data).hints()
    assert hint.startswith("destinations[2]: if the bucket keeps versions")
    assert rule in hint


@pytest.mark.parametrize("type_", ["s3", "gs"])
def test_a_prefix_is_not_a_folder_by_itself(type_: str) -> None:
    data = _good()
    for number, prefix in enumerate(("team-a", "team-a/", "")):
        data["destinations"].append({"id": f"b{number}", "type": type_, "bucket": "copies", "prefix": prefix})
    [hint] = [hint for hint in parsed({**data, "retention": {"keep_last": 3}}).hints() if "HOST" in hint]
    assert hint.startswith("destinations[2].prefix: keys will begin with 'team-aHOST/'")


def test_retention_of_the_root_is_retention() -> None:
    data = _good(retention={"keep_last": 3})
    del data["destinations"][0]["retention_days"]
    assert parsed(data).hints() == []


def test_the_key_that_does_nothing_is_named() -> None:
    assert "sources[2].path: does nothing here and can go" in load_job(DATA / "complete.json").hints()


def _stored(tmp_path: Path, mode: int, passphrase: str) -> Job:
    path = tmp_path / "nightly.json"
    path.write_text(json.dumps(_good(encryption={"passphrase": passphrase})))
    path.chmod(mode)
    return load_job(path)


def test_a_file_with_secrets_that_others_may_read_is_named(tmp_path: Path) -> None:
    hints = _stored(tmp_path, 0o640, "hunter2").hints()
    assert any("others may read this file and the secrets in it: chmod 600 it" in line for line in hints)
    assert not any("others may" in line for line in _stored(tmp_path, 0o600, "hunter2").hints())
    assert _stored(tmp_path, 0o644, REFERENCE).hints() == []


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_named(tmp_path: Path, mode: int) -> None:
    (hint,) = _stored(tmp_path, mode, REFERENCE).hints()
    assert "others may write to this file" in hint


def test_secrets_in_plain_are_listed_by_their_place() -> None:
    assert load_job(DATA / "complete.json").plain_secrets() == [
        "sources[0].passphrase",
        "sources[1].passphrase",
        "sources[2].passphrase",
        "sources[2].dbpass",
        "destinations[0].aws_secret_access_key",
    ]


@pytest.mark.parametrize(
    ("passphrase", "plain"),
    [(REFERENCE, False), (REFERENCE * 2, False), (f"x{REFERENCE}", True), (f"{REFERENCE}x", True), ("x", True)],
)
def test_only_what_is_wholly_a_reference_is_no_secret(passphrase: str, plain: bool) -> None:
    job = parsed(_good(encryption={"passphrase": passphrase}))
    assert job.plain_secrets() == (["encryption.passphrase"] if plain else [])


SECRETS = {
    "mysql": ["dbpass"],
    "pgsql": ["dbpass"],
    "rds": ["dbpass"],
    "gs": ["gs_service_key_file_password"],
    "samba": ["password"],
    "smtp": ["password"],
    "slack": ["url"],
    "hipchat": ["url"],
    "discord": ["url"],
    "matrix": ["access_token"],
    "telegram": ["api_token"],
    "prometheus": ["password"],
}


@pytest.mark.parametrize(("kind", "type_"), KINDS)
def test_the_secrets_of_every_type_are_known(kind: str, type_: str) -> None:
    fields = SECRETS.get(type_, [])
    data = job_with(kind, example(kind, type_, **dict.fromkeys(fields, "https://hunter2")))
    data["encryption"] = {"passphrase": REFERENCE}
    assert parsed(data).plain_secrets() == [f"{kind}[0].{field}" for field in fields]


@pytest.mark.parametrize(("kind", "type_"), KINDS)
def test_documented_examples_hold_references_instead_of_secrets(kind: str, type_: str) -> None:
    data = {**job_with(kind, example(kind, type_)), "encryption": {"passphrase": REFERENCE}}
    assert parsed(data).plain_secrets() == []
