"""The types of notification: one line each."""

from backups.notifications.base import Notification
from backups.registry import Registry

NOTIFICATIONS: Registry[Notification] = Registry("notification")

__all__ = ["NOTIFICATIONS", "Notification"]
