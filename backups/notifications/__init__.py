"""The types of notification: one line each."""

from backups.notifications.base import Notification
from backups.notifications.flagfile import FlagFile
from backups.notifications.slack import Slack
from backups.notifications.smtp import Smtp
from backups.registry import Registry

NOTIFICATIONS: Registry[Notification] = Registry("notification")
NOTIFICATIONS.add(Smtp, aliases=("email",))
NOTIFICATIONS.add(Slack)
NOTIFICATIONS.add(FlagFile)

__all__ = ["NOTIFICATIONS", "Notification"]
