"""The types of notification: one line each."""

from backups.notifications.apprise import Apprise
from backups.notifications.base import Notification
from backups.notifications.discord import Discord
from backups.notifications.flagfile import FlagFile
from backups.notifications.healthchecks import Healthchecks
from backups.notifications.hipchat import HipChat
from backups.notifications.matrix import Matrix
from backups.notifications.prometheus import Prometheus
from backups.notifications.slack import Slack
from backups.notifications.smtp import Smtp
from backups.notifications.sns import Sns
from backups.notifications.telegram import Telegram
from backups.notifications.webhook_json import WebHook
from backups.registry import Registry

NOTIFICATIONS: Registry[Notification] = Registry("notification")
NOTIFICATIONS.add(Smtp, aliases=("email",))
NOTIFICATIONS.add(Slack)
NOTIFICATIONS.add(FlagFile)
NOTIFICATIONS.add(HipChat)
NOTIFICATIONS.add(Discord)
NOTIFICATIONS.add(Matrix)
NOTIFICATIONS.add(Telegram)
NOTIFICATIONS.add(Prometheus)
NOTIFICATIONS.add(Sns)
NOTIFICATIONS.add(WebHook)
NOTIFICATIONS.add(Healthchecks)
NOTIFICATIONS.add(Apprise)

__all__ = ["NOTIFICATIONS", "Notification"]
