"""Fixtures that several kinds of test share; real servers are started once per test process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from backups.context import Context
from tests.servers.command_line import CommandLine
from tests.servers.fake_path import FakePath
from tests.servers.gcs import Gcs, gcs
from tests.servers.local_cloud import Sample, sample_cloud
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres
from tests.servers.rclone_serve import RcloneServe, rclone_serve
from tests.servers.rds import Rds, rds_cloud
from tests.servers.samba import Samba, samba
from tests.servers.seaweed import Seaweed, seaweed

# A shell starts what it puts into the background with SIGINT ignored, nohup with SIGHUP ignored, and children inherit
# that: then no test of these signals could see them arrive. From here on it is as on a terminal.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

# How long an example takes depends on what else the machine does, and is no property of what is tested.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A context of its own for each test, so that no secret is remembered from another."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    return Context(tmpdir=private)


@pytest.fixture
def fake_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePath:
    """Puts scripts in front of real programs."""
    return FakePath(tmp_path / "bin", monkeypatch)


@pytest.fixture
def backups(tmp_path: Path) -> CommandLine:
    """The installed command, with a job of one folder and two directories as destinations."""
    directory = tmp_path / "command line"
    directory.mkdir()
    return CommandLine(directory)


@pytest.fixture(scope="session")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The same after one run, for tests of what is done with copies: they take it over, and leave this one alone."""
    ran = CommandLine(tmp_path_factory.mktemp("one run"))
    (ran.data / "large").write_bytes(os.urandom(3_000_000))
    ended = ran("run", ran.job)
    assert ended.code == 0, ended.err
    return ran


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A real MariaDB; each test uses databases and accounts of its own. Without TLS, which newer ones have unasked."""
    with MariaDB(tmp_path_factory.mktemp("mariadb"), options=("--skip-ssl",)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL; each test uses databases and roles of its own."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 server; each test makes buckets of its own."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def samba_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    """A real file server; each test has a folder of its own on its share."""
    with samba(tmp_path_factory.mktemp("samba")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    """A server that speaks Google's API; each test uses a prefix of its own."""
    with gcs(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneServe]:
    """A server of SFTP that rclone reaches; each test has a folder of its own."""
    with rclone_serve("sftp", tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture(scope="session")
def webdav_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneServe]:
    """A server of WebDAV that rclone reaches; each test has a folder of its own."""
    with rclone_serve("webdav", tmp_path_factory.mktemp("webdav")) as server:
        yield server


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """An embedded cloud with the sample stack; each test uses names of its own."""
    with sample_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="session")
def rds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rds]:
    """An embedded cloud's RDS with live databases; tests that use it belong to the group ``rds``."""
    with rds_cloud(tmp_path_factory.mktemp("rds")) as service:
        yield service
