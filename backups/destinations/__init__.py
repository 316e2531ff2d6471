"""The types of destination: one line each."""

from backups.destinations.base import Destination, DestinationConfig, StoredObject, Upload
from backups.destinations.gs import GoogleStorage
from backups.destinations.local import Local
from backups.destinations.rclone import Rclone
from backups.destinations.s3 import S3
from backups.destinations.samba import Samba
from backups.registry import Registry

DESTINATIONS: Registry[DestinationConfig] = Registry("destination")

DESTINATIONS.add(Local)
DESTINATIONS.add(S3)
DESTINATIONS.add(GoogleStorage, aliases=("gcs",))
DESTINATIONS.add(Samba, aliases=("smb",))
DESTINATIONS.add(Rclone)

__all__ = ["DESTINATIONS", "Destination", "DestinationConfig", "StoredObject", "Upload"]
