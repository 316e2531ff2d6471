"""A bucket at Google Cloud Storage."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig, StoredObject, Upload

if TYPE_CHECKING:
    from backups.destinations.gs.bucket import Bucket


PAGE = 1000
"""What one request lists at most."""


class GoogleStorage(DestinationConfig):
    """A bucket at Google Cloud Storage."""

    label: ClassVar[str] = "Google Cloud Storage"
    identity: ClassVar[tuple[str, ...]] = ("bucket", "prefix")
    nested: ClassVar[tuple[str, ...]] = ("credentials",)

    type: Literal["gs"] = "gs"

    bucket: str = Field(min_length=1)
    """Bucket to store in; it must exist."""

    prefix: str = ""
    """Stands before every key, such as `team-a/`."""

    gs_service_client_id: str = ""
    """Mail address of the service account; needed with a P12 key."""

    gs_service_key_file: str = ""
    """Path of the service account's key, JSON or P12, or of the configuration of a workload identity federation.
    Without any key Google's usual chain is searched: environment, `gcloud`, the account of the machine."""

    gs_service_key_file_password: SecretStr | None = None
    """Password of a P12 key; `notasecret`, as Google sets it, when missing."""

    gs_service_key: SecretStr | None = Field(None, min_length=1)
    """Content of a JSON key, or of a P12 key in base64, as a reference to a secret; or the configuration of a workload
    identity federation, which holds no secret: with one for AWS the role of the task gets Google's tokens, without any
    key."""

    endpoint_url: str = ""
    """Address of another server that speaks Google's JSON API, or of a private endpoint; Google's own when missing."""

    storage_class: str = ""
    """Such as `NEARLINE` or `COLDLINE`; the bucket's default when missing."""

    kms_key_name: str = Field("", pattern=r"^(projects/\S+/cryptoKeys/[^/\s]+|\{\{resolve:.*)?$")
    """KMS key for encryption at rest, `projects/…/locations/…/keyRings/…/cryptoKeys/…`; the bucket's default when
    missing. The storage service of the project must be allowed to use it."""

    verify: Literal["checksum", "full"] = "checksum"
    """`checksum`: the server compares the CRC32C of everything before the object appears. `full`: it is also read
    back."""

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.gs_service_key and self.gs_service_key_file:
            raise ValueError("give 'gs_service_key' or 'gs_service_key_file', not both")
        return self

    def connect(self, context: Context) -> GoogleStorageDestination:
        """Make a client; nothing is sent before the first use. Raises DeniedError or DestinationError for bad keys."""
        from backups.destinations.gs.bucket import connect

        return GoogleStorageDestination(connect(self, context))


class GoogleStorageDestination(Destination):
    """A client of one bucket; keys stand behind the prefix."""

    parallel: ClassVar[int] = 4

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def create(self, key: str, *, size_bound: int | None = None) -> Upload:  # noqa: ARG002 - any size fits in a session
        """Begin an object."""
        from backups.destinations.gs.upload import GsUpload

        return GsUpload(self._bucket, key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """A page at a time, in the order in which Google lists: that of the keys."""
        return self.list_after(prefix, "")

    def list_after(self, prefix: str, after: str) -> Iterator[StoredObject]:
        """The server leaves out what comes before."""
        from google.cloud.storage.retry import DEFAULT_RETRY

        fields = "items(name,size,timeCreated,retentionExpirationTime),nextPageToken"
        with self._bucket.errors(prefix, "can't be listed"):
            for blob in self._bucket.client.list_blobs(
                self._bucket.name,
                prefix=self._bucket.prefix + prefix,
                start_offset=self._bucket.prefix + after if after else None,  # the first to be listed
                page_size=PAGE,
                fields=fields,
                retry=DEFAULT_RETRY,
            ):
                key = blob.name.removeprefix(self._bucket.prefix)
                if key > after:  # a folder made in the console has the prefix itself as its key
                    locked = blob.retention_expiration_time
                    yield StoredObject(key, blob.size, blob.time_created.astimezone(dt.UTC), locked)

    def read(self, key: str) -> Iterator[bytes]:
        """Stream it, going on where a broken connection left off."""
        from backups.destinations.gs.read import read_object

        return read_object(self._bucket, key)

    def remove(self, keys: Iterable[str]) -> dict[str, str]:
        """Remove all versions, in batches of 100."""
        from backups.destinations.gs.remove import remove_objects

        return remove_objects(self._bucket, keys)

    def close(self) -> None:
        """Close the connections."""
        self._bucket.session.close()
