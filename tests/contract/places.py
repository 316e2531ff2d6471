"""Every kind of destination on a real server, as the contract suite needs it. A new kind is one class and one line."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest

from backups.destinations import DestinationConfig
from backups.destinations.gs import GoogleStorage
from backups.destinations.local import Local
from backups.destinations.rclone import Rclone
from backups.destinations.s3 import S3
from backups.destinations.samba import Samba
from tests.servers import gcs, rclone_serve, samba
from tests.servers.rclone_serve import RcloneServe
from tests.servers.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed


class Place(ABC):
    """An empty place for one test."""

    def __init__(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        self.request = request
        self.tmp_path = tmp_path

    @abstractmethod
    def config(self, **changes: Any) -> DestinationConfig:
        """The destination as a job file describes it."""

    @abstractmethod
    def missing(self) -> DestinationConfig:
        """The same, but its bucket, share or directory does not exist."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """What is stored besides complete objects: temporary files, unfinished uploads."""

    def wrong_secret(self, secret: str) -> DestinationConfig:
        """The same with this wrong secret; only for kinds in WITH_SECRET."""
        raise NotImplementedError


class LocalPlace(Place):
    """A directory."""

    @property
    def path(self) -> Path:
        """Where it is."""
        path = self.tmp_path / "local place"
        path.mkdir(exist_ok=True)
        return path

    def config(self, **changes: Any) -> DestinationConfig:
        """A directory with a space in its name."""
        return Local(path=str(self.path), **changes)

    def missing(self) -> DestinationConfig:
        """A disk that is not mounted."""
        return Local(path=str(self.tmp_path / "not mounted"))

    def leftovers(self) -> list[str]:
        """Hidden files, and directories without any file."""
        hidden = [str(path) for path in self.path.rglob(".*")]
        return hidden + [str(path) for path in self.path.rglob("*") if path.is_dir() and not [*path.iterdir()]]


class S3Place(Place):
    """A prefix of its own in a bucket of SeaweedFS, which knows all checksums."""

    settings: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def __init__(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        super().__init__(request, tmp_path)
        self.server: Seaweed = request.getfixturevalue("s3_server")
        self.prefix = f"team a/{uuid.uuid4().hex}/"

    def config(self, **changes: Any) -> DestinationConfig:
        """The bucket, below a prefix."""
        given = {
            "bucket": BUCKET,
            "prefix": self.prefix,
            "endpoint_url": self.server.url,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
        }
        return S3.model_validate({**given, **self.settings, **changes})

    def missing(self) -> DestinationConfig:
        """Nothing ever makes a bucket."""
        return self.config(bucket="no-such-bucket")

    def leftovers(self) -> list[str]:
        """Unfinished multipart uploads."""
        return self.server.unfinished(BUCKET, self.prefix)

    def wrong_secret(self, secret: str) -> DestinationConfig:
        """A key that does not fit."""
        return self.config(aws_secret_access_key=secret)


class S3WithoutChecksumsPlace(S3Place):
    """The same when the job file says that the server knows no checksums."""

    settings = {"checksums": "0"}  # noqa: RUF012 - never changed


class SambaPlace(Place):
    """A folder of its own on a share."""

    def __init__(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        super().__init__(request, tmp_path)
        self.server: samba.Samba = request.getfixturevalue("samba_server")
        self.folder = f"team a/{uuid.uuid4().hex}"
        self.path.mkdir(parents=True)

    @property
    def path(self) -> Path:
        """Where the server keeps it."""
        return self.server.root / self.folder

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

    def missing(self) -> DestinationConfig:
        """Nothing ever makes a share."""
        return self.config(share="NoSuchShare")

    def leftovers(self) -> list[str]:
        """Hidden files, and directories without any file."""
        hidden = [str(path) for path in self.path.rglob(".*")]
        return hidden + [str(path) for path in self.path.rglob("*") if path.is_dir() and not [*path.iterdir()]]

    def wrong_secret(self, secret: str) -> DestinationConfig:
        """A password that is not the user's."""
        return self.config(password=secret)


class GoogleStoragePlace(Place):
    """A prefix of its own in a bucket of fake-gcs-server."""

    def __init__(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        super().__init__(request, tmp_path)
        self.server: gcs.Gcs = request.getfixturevalue("gcs_server")
        self.prefix = f"team a/{uuid.uuid4().hex}/"

    def config(self, **changes: Any) -> DestinationConfig:
        """The bucket, below a prefix, with a JSON key."""
        given = {"bucket": gcs.BUCKET, "prefix": self.prefix, "endpoint_url": self.server.url}
        return GoogleStorage.model_validate({**given, "gs_service_key": self.server.key(), **changes})

    def missing(self) -> DestinationConfig:
        """Nothing ever makes a bucket."""
        return self.config(bucket="no-such-bucket")

    def leftovers(self) -> list[str]:
        """Unfinished uploads."""
        return self.server.front.unfinished(self.prefix)

    def wrong_secret(self, secret: str) -> DestinationConfig:
        """Another account's key, with the secret where its id stands."""
        return self.config(
            gs_service_key=self.server.key(private_key_id=secret, private_key=gcs.pem(gcs.another_key()))
        )


class RclonePlace(Place):
    """A folder of its own on a server of SFTP, which tells hashes and can only rename."""

    fixture = "sftp_server"

    def __init__(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        super().__init__(request, tmp_path)
        self.server: RcloneServe = request.getfixturevalue(self.fixture)
        self.folder = f"team a/{uuid.uuid4().hex}"
        self.path.mkdir(parents=True)

    @property
    def path(self) -> Path:
        """Where the server keeps it."""
        return self.server.root / self.folder

    def config(self, **changes: Any) -> DestinationConfig:
        """The folder, with the configuration as a secret."""
        given = {"remote": rclone_serve.REMOTE, "path": self.folder, "config": self.server.config()}
        return Rclone.model_validate({**given, **changes})

    def missing(self) -> DestinationConfig:
        """Nothing ever makes the folder."""
        return self.config(path="no such folder")

    def leftovers(self) -> list[str]:
        """Hidden files, and directories without any file."""
        hidden = [str(path) for path in self.path.rglob(".*")]
        return hidden + [str(path) for path in self.path.rglob("*") if path.is_dir() and not [*path.iterdir()]]

    def wrong_secret(self, secret: str) -> DestinationConfig:
        """A password that is not the user's."""
        return self.config(config=self.server.config(password=secret))


class RcloneWebdavPlace(RclonePlace):
    """The same by WebDAV, which tells no hashes: everything is read back."""

    fixture = "webdav_server"


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
