"""The types of destination: one line each."""

from backups.destinations.base import Destination, DestinationConfig, StoredObject, Upload
from backups.destinations.gs.destination import GoogleStorage
from backups.destinations.local.destination import Local
from backups.destinations.rclone.destination import Rclone
from backups.destinations.s3.destination import S3
from backups.destinations.samba.destination import Samba
from backups.registry import Registry

DESTINATIONS: Registry[DestinationConfig] = Registry("destination")

DESTINATIONS.add(Local)
DESTINATIONS.add(S3)
DESTINATIONS.add(GoogleStorage, aliases=("gcs",))
DESTINATIONS.add(Samba, aliases=("smb",))
DESTINATIONS.add(Rclone)

__all__ = ["DESTINATIONS", "Destination", "DestinationConfig", "StoredObject", "Upload"]
