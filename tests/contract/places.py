"""Every kind of destination on a real server, as the contract suite needs it. A new kind is one class and one line."""

from __future__ import annotations

import datetime as dt
import os
import uuid
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest

from backups.destinations import DestinationConfig
from backups.destinations.gs.destination import GoogleStorage
from backups.destinations.local.destination import Local
from backups.destinations.rclone.destination import Rclone
from backups.destinations.s3.destination import S3
from backups.destinations.samba.destination import Samba
from tests.servers import gcs, rclone_serve, samba, seaweed
from tests.servers.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY


class Server(Protocol):
    """What can die, and come back with the same data."""

    def start(self) -> None:
        """Start, and wait until it answers."""

    def kill(self) -> None:
        """End it as a power cut would."""


class Place(ABC):
    """An empty place for one test."""

    fixture: ClassVar[str] = ""
    """The server that all tests share; empty for a kind without one."""

    def __init__(self, server: Any, tmp_path: Path) -> None:
        self.server = server
        self.tmp_path = tmp_path

    @classmethod
    def shared(cls, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
        """A place on the server that all tests share."""
        return cls(request.getfixturevalue(cls.fixture) if cls.fixture else None, tmp_path)

    @classmethod
    def serve(cls, directory: Path) -> AbstractContextManager[Server]:
        """A server that a test may kill; only for kinds in SERVED."""
        raise NotImplementedError

    @abstractmethod
    def config(self, **changes: Any) -> DestinationConfig:
        """The destination as a job file describes it."""

    @abstractmethod
    def neighbour(self) -> DestinationConfig:
        """A place beside it, whose name begins with the name of this one."""

    @abstractmethod
    def missing(self) -> DestinationConfig:
        """The same, but its bucket, share or directory does not exist."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """What is stored besides complete objects: temporary files, unfinished uploads."""

    def wrong_secret(self, secret: str) -> DestinationConfig:
        """The same with this wrong secret; only for kinds in WITH_SECRET."""
        raise NotImplementedError

    @abstractmethod
    def make_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let so much time pass that leftovers count as abandoned."""


class DirectoryPlace(Place):
    """Any kind whose objects are files that this machine can see."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """Where they are."""

    def leftovers(self) -> list[str]:
        """Hidden files, and directories without any file."""
        return [*map(str, self._hidden())] + [
            str(path) for path in self.path.rglob("*") if path.is_dir() and not [*path.iterdir()]
        ]

    def make_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody wrote to them since 1970."""
        for path in self._hidden():
            os.utime(path, (0, 0))

    def _hidden(self) -> list[Path]:
        return [*self.path.rglob(".*")]


class LocalPlace(DirectoryPlace):
    """A directory with a space in its name."""

    @property
    def path(self) -> Path:
        """Where it is."""
        path = self.tmp_path / "local place"
        path.mkdir(exist_ok=True)
        return path

    def config(self, **changes: Any) -> DestinationConfig:
        """The directory."""
        return Local(path=str(self.path), **changes)

    def neighbour(self) -> DestinationConfig:
        """Another directory."""
        path = self.tmp_path / "local place 2"
        path.mkdir(exist_ok=True)
        return Local(path=str(path))

    def missing(self) -> DestinationConfig:
        """A disk that is not mounted."""
        return Local(path=str(self.tmp_path / "not mounted"))


class S3Place(Place):
    """A prefix of its own in a bucket of SeaweedFS, which knows all checksums."""

    fixture = "s3_server"
    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, server: seaweed.Seaweed, tmp_path: Path) -> None:
        super().__init__(server, tmp_path)
        self.prefix = f"team a/{uuid.uuid4().hex}"

    @classmethod
    def serve(cls, directory: Path) -> AbstractContextManager[Server]:
        """A server of its own."""
        return seaweed.seaweed(directory)

    def config(self, **changes: Any) -> DestinationConfig:
        """The bucket, below a prefix."""
        given = {
            "bucket": BUCKET,
            "prefix": f"{self.prefix}/",
            "endpoint_url": self.server.url,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
        }
        return S3.model_validate({**given, **self.settings, **changes})

    def neighbour(self) -> DestinationConfig:
        """Another prefix of the bucket."""
        return self.config(prefix=f"{self.prefix}2/")

    def missing(self) -> DestinationConfig:
        """Nothing ever makes a bucket."""
        return self.config(bucket="no-such-bucket")

    def leftovers(self) -> list[str]:
        """Unfinished multipart uploads."""
        found: list[str] = self.server.unfinished(BUCKET, f"{self.prefix}/")
        return found

    def make_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No server lets itself be told when an upload was begun."""
        monkeypatch.setattr("backups.destinations.s3.abandoned.AGE", dt.timedelta(seconds=-5))

    def wrong_secret(self, secret: str) -> DestinationConfig:
        """A key that does not fit."""
        return self.config(aws_secret_access_key=secret)


class S3WithoutChecksumsPlace(S3Place):
    """The same when the job file says that the server knows no checksums."""

    settings: ClassVar[dict[str, Any]] = {"checksums": "0"}


class SambaPlace(DirectoryPlace):
    """A folder of its own on a share."""

    fixture = "samba_server"

    def __init__(self, server: samba.Samba, tmp_path: Path) -> None:
        super().__init__(server, tmp_path)
        self.folder = f"team a/{uuid.uuid4().hex}"
        self.path.mkdir(parents=True)

    @classmethod
    def serve(cls, directory: Path) -> AbstractContextManager[Server]:
        """A server of its own."""
        return samba.samba(directory)

    @property
    def path(self) -> Path:
        """Where the server keeps it."""
        return Path(self.server.root, self.folder)

    def config(self, **changes: Any) -> DestinationConfig:
        """The folder, over an encrypted connection."""
        given = {
            "hostname": "127.0.0.1",
            "port": self.server.port,
            "share": samba.SHARE,
            "folder": self.folder,
            "username": samba.USER,
            "password": samba.PASSWORD,
        }
        return Samba.model_validate({**given, **changes})

    def neighbour(self) -> DestinationConfig:
        """Another folder of the share."""
        Path(self.server.root, f"{self.folder}2").mkdir(exist_ok=True)
        return self.config(folder=f"{self.folder}2")

    def missing(self) -> DestinationConfig:
        """Nothing ever makes a share."""
        return self.config(share="NoSuchShare")

    def wrong_secret(self, secret: str) -> DestinationConfig:
        """A password that is not the user's."""
        return self.config(password=secret)


class GoogleStoragePlace(Place):
    """A prefix of its own in a bucket of fake-gcs-server."""

    fixture = "gcs_server"

    def __init__(self, server: gcs.Gcs, tmp_path: Path) -> None:
        super().__init__(server, tmp_path)
        self.prefix = f"team a/{uuid.uuid4().hex}"

    @classmethod
    def serve(cls, directory: Path) -> AbstractContextManager[Server]:
        """A server of its own."""
        return gcs.gcs(directory)

    def config(self, **changes: Any) -> DestinationConfig:
        """The bucket, below a prefix, with a JSON key."""
        given = {"bucket": gcs.BUCKET, "prefix": f"{self.prefix}/", "endpoint_url": self.server.url}
        return GoogleStorage.model_validate({**given, "gs_service_key": self.server.key(), **changes})

    def neighbour(self) -> DestinationConfig:
        """Another prefix of the bucket."""
        return self.config(prefix=f"{self.prefix}2/")

    def missing(self) -> DestinationConfig:
        """Nothing ever makes a bucket."""
        return self.config(bucket="no-such-bucket")

    def leftovers(self) -> list[str]:
        """Unfinished uploads."""
        found: list[str] = self.server.front.unfinished(f"{self.prefix}/")
        return found

    def make_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Google forgets an upload after a week."""
        self.server.front.forget(f"{self.prefix}/")

    def wrong_secret(self, secret: str) -> DestinationConfig:
        """Another account's key, with the secret where its id stands."""
        return self.config(
            gs_service_key=self.server.key(private_key_id=secret, private_key=gcs.pem(gcs.another_key()))
        )


class RclonePlace(DirectoryPlace):
    """A folder of its own on a server of SFTP, which tells hashes and can only rename."""

    fixture = "sftp_server"
    protocol: ClassVar[str] = "sftp"

    def __init__(self, server: rclone_serve.RcloneServe, tmp_path: Path) -> None:
        super().__init__(server, tmp_path)
        self.folder = f"team a/{uuid.uuid4().hex}"
        self.path.mkdir(parents=True)

    @classmethod
    def serve(cls, directory: Path) -> AbstractContextManager[Server]:
        """A server of its own."""
        return rclone_serve.rclone_serve(cls.protocol, directory)

    @property
    def path(self) -> Path:
        """Where the server keeps it."""
        return Path(self.server.root, self.folder)

    def config(self, **changes: Any) -> DestinationConfig:
        """The folder, with the configuration as a secret."""
        given = {"remote": rclone_serve.REMOTE, "path": self.folder, "config": self.server.config()}
        return Rclone.model_validate({**given, **changes})

    def neighbour(self) -> DestinationConfig:
        """Another folder of the server."""
        Path(self.server.root, f"{self.folder}2").mkdir(exist_ok=True)
        return self.config(path=f"{self.folder}2")

    def missing(self) -> DestinationConfig:
        """Nothing ever makes the folder."""
        return self.config(path="no such folder")

    def wrong_secret(self, secret: str) -> DestinationConfig:
        """A password that is not the user's."""
        return self.config(config=self.server.config(password=secret))


class RcloneWebdavPlace(RclonePlace):
    """The same by WebDAV, which tells no hashes: everything is read back."""

    fixture = "webdav_server"
    protocol: ClassVar[str] = "webdav"


PLACES: dict[str, type[Place]] = {
    "local": LocalPlace,
    "s3": S3Place,
    "s3-md5": S3WithoutChecksumsPlace,
    "samba": SambaPlace,
    "gs": GoogleStoragePlace,
    "rclone-sftp": RclonePlace,
    "rclone-webdav": RcloneWebdavPlace,
}
WITH_SECRET = [name for name, place in PLACES.items() if place.wrong_secret is not Place.wrong_secret]
SERVED = [name for name, place in PLACES.items() if place.fixture and place is not S3WithoutChecksumsPlace]
