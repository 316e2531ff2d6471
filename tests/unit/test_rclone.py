"""What rclone prints as errors, and what its settings may be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from backups.context import Context
from backups.destinations.rclone.destination import Rclone
from backups.destinations.rclone.errors import explain
from backups.errors import DeniedError, DestinationError, MissingError

TIME = "2026/11/23 09:25:30 "


@pytest.mark.parametrize(
    ("status", "stderr", "kind", "permanent", "says"),
    [
        (3, f"{TIME}NOTICE: Failed to lsjson: directory not found", MissingError, True, "directory not found"),
        (1, f"{TIME}Failed to deletefile: x is a directory or doesn't exist", MissingError, True, "doesn't exist"),
        (
            1,
            f"{TIME}ERROR : a: Post request rcat error: x\n{TIME}NOTICE: Failed to rcat with 2 errors: last error was: "
            "operation error S3: PutObject, StatusCode: 403, api error AccessDenied: Access Denied.",
            DeniedError,
            True,
            "operation error S3",
        ),
        (1, "Failed to create file system: ssh: unable to authenticate, attempted [none]", DeniedError, True, "ssh:"),
        (1, f"{TIME}ERROR : x: 507 Insufficient Storage", DestinationError, True, "507"),
        (1, "Failed to rcat: write: no space left on device", DestinationError, True, "no space left"),
        (
            1,
            "CRITICAL: Failed to create file system: didn't find section in config file",
            DestinationError,
            True,
            "sect",
        ),
        (1, f"{TIME}ERROR : x: dial tcp 127.0.0.1:1: connect: connection refused", DestinationError, False, "refused"),
        (7, "", DestinationError, False, "rclone ended with exit status 7"),
    ],
)
def test_what_rclone_says_is_told_with_a_way_out(
    status: int, stderr: str, kind: type[DestinationError], permanent: bool, says: str
) -> None:
    error = explain(status, stderr, "rclone box:b: a can't be stored")
    assert type(error) is kind
    assert error.permanent is permanent
    assert error.message.startswith("rclone box:b: a can't be stored: ")
    assert says in error.message
    assert "2026/11/23" not in error.message
    assert error.hint


@pytest.mark.parametrize("remote", ["", ":sftp,host=x,pass=y", "box:path", "-flag", "box,pass=y", "a/b"])
def test_a_remote_is_a_plain_name(remote: str) -> None:
    """Settings after it would stand in a list of processes."""
    with pytest.raises(ValidationError):
        Rclone(remote=remote)


def test_a_configuration_is_given_once() -> None:
    with pytest.raises(ValidationError, match="not both"):
        Rclone.model_validate({"remote": "box", "config": "[box]", "config_file": "/etc/rclone.conf"})


def test_a_configuration_without_the_remote_is_told_of_by_names_alone(context: Context) -> None:
    config = Rclone.model_validate({"remote": "box", "config": "[other]\ntype = sftp\npass = S3cr3tS3cr3t\n"})
    with pytest.raises(DestinationError, match="no remote 'box'") as caught:
        config.connect(context)
    assert caught.value.permanent
    assert caught.value.hint == "it has: other"


def test_secrets_in_a_configuration_are_taken_out_of_messages(context: Context) -> None:
    text = '[box]\ntype = drive\nclient_id = me\ntoken = {"access_token":"ya29.AbCdEf0123","expiry":"2026-11-23"}\n'
    Rclone.model_validate({"remote": "box", "config": text}).connect(context).close()
    assert "ya29" not in context.secrets.scrub("oauth2: ya29.AbCdEf0123 has expired")
    assert context.secrets.scrub("type = drive, me") == "type = drive, me"
