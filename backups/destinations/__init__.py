"""The types of destination: one line each."""

from backups.destinations.base import Destination, DestinationConfig, StoredObject, Upload
from backups.registry import Registry

DESTINATIONS: Registry[DestinationConfig] = Registry("destination")

__all__ = ["DESTINATIONS", "Destination", "DestinationConfig", "StoredObject", "Upload"]
