"""Google Cloud Storage: the model of the destination; storing there is not connected yet."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig
from backups.errors import DestinationError


class GoogleStorage(DestinationConfig):
    """A bucket at Google Cloud Storage."""

    label: ClassVar[str] = "Google Cloud Storage"
    identity: ClassVar[tuple[str, ...]] = ("bucket",)
    nested: ClassVar[tuple[str, ...]] = ("credentials",)
    unavailable: ClassVar[str] = "Google Cloud Storage is not connected"

    type: Literal["gs"] = "gs"

    bucket: str = Field(min_length=1)
    """Bucket to store in; it must exist."""

    gs_service_client_id: str = ""
    """Mail address of the service account; Google's usual chain is searched when missing."""

    gs_service_key_file: str = ""
    """Path of the service account's key file, P12 or JSON."""

    gs_service_key_file_password: SecretStr | None = None
    """Password of a P12 key file."""

    def connect(self, context: Context) -> Destination:  # noqa: ARG002
        raise DestinationError(self.not_yet(), permanent=True)
