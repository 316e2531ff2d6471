"""Notify: sends one message. A refusal is an error, so that Step Functions tries again unless it would be in vain."""

from __future__ import annotations

from typing import Any

from backups.cloud.delivery import Channel, deliver
from functions.environment import Env
from functions.observability import logger, observed, private_context

CLOUD = Env.from_env().cloud()


@observed
def handler(event: dict[str, Any]) -> dict[str, Any]:
    """``{job, run, channel, job_file, about?}`` becomes ``{channel, status}``."""
    answer = deliver(CLOUD.state, Channel.model_validate(event), private_context())
    logger.info("channel %s: %s", answer.channel, answer.status)
    return {"channel": answer.channel, "status": answer.status}
