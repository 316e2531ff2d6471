"""Every channel that speaks HTTP, with the service it speaks to: what one suite asks of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backups.context import Context
from backups.job import Job, JobSettings
from backups.jobfile.reader import LISTS
from backups.notifications import Notification
from backups.notifying import Patience, notify, notify_start
from backups.records import Notified, RunReport
from tests.servers import discord, hipchat, slack, telegram
from tests.servers.sink import Answer, Judge, Request, is_json, takes_all
from tests.unit.reports import START

AT_ONCE = Patience(retry_after=0)
MATRIX_TOKEN = "syt_secretMatrixToken_xYz"
PUSH_PASSWORD = "planted-push-word"
PING_PATH = "/ping/3b7e-secret-uuid-4711"
HOOK_PATH = "/hooks/secretHookPath99"
HOOK_KEY = "planted-hook-signing-key"
APPRISE_PATH = "secretApprisePath55"


@dataclass(frozen=True)
class Service:
    """A type of channel and the other side."""

    type_: str
    name: str
    """How errors call it."""
    fields: Callable[[str], Mapping[str, object]]
    """The channel's part of the job file, for an address."""
    secrets: tuple[str, ...]
    judge: Judge = takes_all
    obeys_pauses: bool = True
    """Whether it knows how long a busy service wants to be left alone."""

    refusal: Callable[[str], str] = str
    """The body of an answer that refuses, with these words in it."""

    def channel(self, base: str, **changes: object) -> Notification:
        """The channel as the job file makes it."""
        model = LISTS["notifications"].get(self.type_)
        assert model
        made = model.model_validate({"id": "channel", "type": self.type_, **self.fields(base), **changes})
        assert isinstance(made, Notification)
        return made


def _matrix(request: Request) -> Answer:
    """The answer of a homeserver that knows one token; tests of what it shows use a real one."""
    if request.headers.get("Authorization") != f"Bearer {MATRIX_TOKEN}":
        return Answer(401, '{"errcode": "M_UNKNOWN_TOKEN", "error": "Unknown token"}')
    good = request.method == "PUT" and is_json(request) and len(request.body) < 65_536
    return Answer(200, '{"event_id": "$1"}') if good else Answer(400, '{"errcode": "M_BAD_JSON"}')


SERVICES = [
    Service(
        "slack",
        "Slack",
        lambda base: {"url": base + slack.PATH},
        (slack.PATH, slack.PATH.rpartition("/")[2]),
        slack.judge,
    ),
    Service(
        "discord", "Discord", lambda base: {"url": base + discord.PATH}, (discord.PATH.split("/")[-1],), discord.judge
    ),
    Service(
        "hipchat", "HipChat", lambda base: {"url": base + hipchat.PATH}, (hipchat.PATH.split("=")[-1],), hipchat.judge
    ),
    Service(
        "matrix",
        "Matrix",
        lambda base: {"url": base, "access_token": MATRIX_TOKEN, "room_id": "!abc/d?e:example.org"},
        (MATRIX_TOKEN,),
        _matrix,
    ),
    Service(
        "telegram",
        "Telegram",
        lambda base: {"api_url": base, "api_token": telegram.TOKEN, "chat_id": int(telegram.CHAT)},
        (telegram.TOKEN, telegram.TOKEN.split(":")[1]),
        telegram.judge,
    ),
    Service(
        "prometheus",
        "Push gateway",
        lambda base: {"url": base, "credentials": {"username": "prometheus", "password": PUSH_PASSWORD}},
        (PUSH_PASSWORD,),
    ),
    Service(
        "webhook",
        "Web hook",
        lambda base: {"url": base + HOOK_PATH, "secret": HOOK_KEY},
        (HOOK_PATH.rpartition("/")[2], HOOK_KEY),
    ),
    Service(
        "healthchecks", "Healthchecks", lambda base: {"ping_url": base + PING_PATH}, (PING_PATH.rpartition("/")[2],)
    ),
    Service(
        "apprise",
        "Apprise",
        lambda base: {"url": base.replace("http", "json", 1) + f"/{APPRISE_PATH}/"},
        (APPRISE_PATH,),
        obeys_pauses=False,
    ),
    Service(
        "sns",
        "SNS",
        lambda base: {
            "topic_arn": "arn:aws:sns:eu-west-1:123456789012:backups",
            "credentials": {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "planted-aws-secret"},
        },
        ("planted-aws-secret",),
        lambda _request: Answer(200, _PUBLISHED),
        obeys_pauses=False,
        refusal=lambda words: _REFUSED.format(words=words),
    ),
]

_REFUSED = """<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>
<Code>Refused</Code><Message>{words}</Message></Error><RequestId>2</RequestId></ErrorResponse>"""

_PUBLISHED = """<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult>
<MessageId>1</MessageId></PublishResult><ResponseMetadata><RequestId>2</RequestId></ResponseMetadata>
</PublishResponse>"""


def told(channel: Notification, about: RunReport, context: Context) -> Notified:
    """Send through ``notify``, as a run does."""
    return notify(_job(channel), channel.id, about, context, patience=AT_ONCE)


def started(channel: Notification, context: Context) -> tuple[Notified, ...]:
    """Tell that a run begins, as a run does; what is returned failed."""
    return notify_start(_job(channel), START, context, patience=AT_ONCE)()


def _job(channel: Notification) -> Job:
    return Job("nightly", JobSettings(hostname="web1"), (), (), (channel,))
