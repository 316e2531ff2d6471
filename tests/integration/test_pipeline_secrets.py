"""Secrets are planted everywhere, and looked for in everything that a run says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.destinations.local.destination import Local
from backups.errors import DestinationError, SourceError
from backups.records import Manifest, Outcome
from tests.contract.streams import children
from tests.integration.scripted import (
    ENDLESS,
    KEY,
    MANIFEST,
    PASSPHRASE,
    Faults,
    Setup,
    child_named,
    fail,
    nothing_left,
    python,
    shell,
)

PLANTED = "pl4nted secret/with \"quotes'"


@pytest.fixture
def setup(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Setup]:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PLANTED", PLANTED)
    context.secrets.text("{{resolve:env:PLANTED}}")
    with nothing_left(context):
        yield Setup(tmp_path, context)
    assert PLANTED not in caplog.text
    assert PASSPHRASE not in caplog.text


def assert_masked(text: str) -> None:
    assert "****" in text
    assert "pl4nted" not in text
    assert PASSPHRASE not in text


def test_in_the_stderr_of_a_source_that_failed(setup: Setup) -> None:
    script = f"import sys; sys.stderr.write({f'user {PLANTED} {PASSPHRASE} denied'!r}); sys.exit(1)"
    result = setup.run(python(script), setup.local("a"))
    assert result.outcome is Outcome.FAILED
    assert result.error.endswith("user **** **** denied")


def test_in_the_stderr_of_a_source_that_is_only_a_warning(setup: Setup) -> None:
    script = f"import sys; print('data'); sys.stderr.write({f'changed: {PLANTED}'!r}); sys.exit(1)"
    result = setup.run(python(script, warnings={1: "some files changed"}), setup.local("a"))
    assert result.outcome is Outcome.STORED
    assert result.warnings == ("some files changed: changed: ****",)
    manifest = Manifest.model_validate_json((setup.path("a") / MANIFEST).read_bytes())
    assert manifest.warnings == result.warnings


def test_in_a_path_that_an_error_shows(setup: Setup) -> None:
    place = Local(id="a", path=f"/no such directory/{PLANTED}")
    result = setup.run(shell("echo data"), place, setup.local("b"))
    assert result.outcome is Outcome.PARTIAL
    assert_masked(result.error)
    assert_masked(result.destinations[0].error)


@pytest.mark.parametrize("error", [SourceError, ValueError])
def test_in_the_error_of_a_source(setup: Setup, error: type[Exception]) -> None:
    source = shell("echo data", faults=Faults(open_source=fail(f"mysql://root:{PLANTED}@host", error)))
    assert_masked(setup.run(source, setup.local("a")).model_dump_json())


@pytest.mark.parametrize("step", ["connect", "create", "write", "commit", "commit manifest", "close", "abort"])
@pytest.mark.parametrize("error", [DestinationError, ValueError])
def test_in_the_error_of_a_destination(setup: Setup, step: str, error: type[Exception]) -> None:
    leak = fail(f"https://host/?token={PLANTED}", error)
    steps = {step: leak} if step != "abort" else {step: leak, "write": leak}
    result = setup.run(shell("echo data"), setup.faulty("a", Faults(**steps)), setup.local("b"))
    text = result.model_dump_json()
    assert "pl4nted" not in text
    assert (step == "close") is ("****" not in text)


def test_in_a_record_there_is_no_passphrase(setup: Setup) -> None:
    result = setup.run(shell("echo data"), setup.local("a"))
    assert PASSPHRASE not in result.model_dump_json()
    manifest = (setup.path("a") / MANIFEST).read_text()
    assert PASSPHRASE not in manifest
    assert Manifest.model_validate_json(manifest).encryption == "passphrase"
    assert PASSPHRASE.encode() not in (setup.path("a") / KEY).read_bytes()


def test_in_no_argument_and_no_environment_of_any_child(setup: Setup) -> None:
    run = setup.start(shell(ENDLESS), setup.local("a"), compression="zstd")
    child_named("gpg")
    for pid in children():
        for part in ("cmdline", "environ"):
            try:
                content = Path(f"/proc/{pid}/{part}").read_bytes()
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
            assert PASSPHRASE.encode() not in content
            assert PLANTED.encode() not in content
    for path in setup.context.tmpdir.rglob("*"):
        assert path.is_dir() or PASSPHRASE.encode() not in path.read_bytes()
    setup.context.cancel.set(15)
    assert run.result().error == "stopped"
