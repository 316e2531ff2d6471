"""Which copies stay and which go, and why. Pure: the clock is an argument, the answer carries a reason."""

from __future__ import annotations

from dataclasses import dataclass

from backups.config import ConfigModel, NotNegative


class KeepRules(ConfigModel):
    """Rules that combine as in restic: a copy stays while any of them keeps it."""

    keep_last: NotNegative = 0
    """The newest N backups."""

    keep_within: str = ""
    """Backups younger than a duration such as `30d`, `6m`, `1y` or `1y6m`."""

    keep_daily: NotNegative = 0
    """The newest backup of each of the last N days that have one."""

    keep_weekly: NotNegative = 0
    """The newest backup of each of the last N weeks that have one."""

    keep_monthly: NotNegative = 0
    """The newest backup of each of the last N months that have one."""

    keep_yearly: NotNegative = 0
    """The newest backup of each of the last N years that have one."""


@dataclass(frozen=True)
class Policy:
    """What applies to one destination. With no rule at all every copy stays."""

    copies: int | None = None
    days: int | None = None
    rules: KeepRules | None = None
    minimum: int = 1
