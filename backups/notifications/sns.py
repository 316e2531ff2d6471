"""Amazon SNS: a message to a topic, with the credentials of the process unless the job file gives others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr, StringConstraints, model_validator

from backups.aws_sessions import new_session
from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import REQUEST_SECONDS, MessageChannel
from backups.notifications.message import Message
from backups.notifications.words import shortened

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

_LONGEST_SUBJECT = 100
_LONGEST = 60_000  # characters of at most four bytes: 256 KiB with room for the subject
_TEMPORARY = frozenset({"Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException"})
_HINTS = {
    "NotFound": "the topic does not exist: check 'topic_arn'",
    "AuthorizationError": "may these credentials publish to the topic (sns:Publish), and use its key?",
    "InvalidClientTokenId": "check the credentials",
    "SignatureDoesNotMatch": "check the credentials",
    "KMSAccessDenied": "these credentials must be allowed to use the topic's key",
}

TopicArn = Annotated[
    str, StringConstraints(pattern=r"^(arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}|\{\{resolve:.*\}\})$")
]


class Sns(MessageChannel):
    """A message to a topic of Amazon SNS, which passes it on by mail, SMS or to programs."""

    label: ClassVar[str] = "SNS"
    identity: ClassVar[tuple[str, ...]] = ("topic_arn",)
    nested: ClassVar[tuple[str, ...]] = ("credentials",)

    type: Literal["sns"] = "sns"

    topic_arn: TopicArn
    """ARN of the topic."""

    aws_access_key_id: str = ""
    """Access key; without it, the credentials of the process: its role, environment or profile."""

    aws_secret_access_key: SecretStr | None = Field(None, min_length=1)
    """Secret of the access key."""

    @model_validator(mode="after")
    def _whole_credentials(self) -> Sns:
        if bool(self.aws_access_key_id) != bool(self.aws_secret_access_key):
            raise ValueError("give both 'aws_access_key_id' and 'aws_secret_access_key', or neither")
        return self

    def post(self, message: Message, context: Context) -> None:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            self._client().publish(
                TopicArn=self.topic_arn, Subject=subject(message.subject), Message=message.cut(_LONGEST)
            )
        except ClientError as error:
            raise _refused(error.response, context) from None
        except (BotoCoreError, ResponseParserError) as error:  # the second one's text holds the answer
            raise _broken(error) from None

    def _client(self) -> SNSClient:
        from botocore.config import Config

        own: dict[str, Any] = {}
        if self.aws_secret_access_key:
            own["aws_access_key_id"] = self.aws_access_key_id
            own["aws_secret_access_key"] = self.aws_secret_access_key.get_secret_value()
        once: Any = {"total_max_attempts": 1}  # repetitions are for whoever tells all channels
        config = Config(connect_timeout=REQUEST_SECONDS, read_timeout=REQUEST_SECONDS, retries=once)
        region = self.topic_arn.split(":")[3]
        return new_session(region_name=region, **own).client("sns", config=config)


def subject(text: str) -> str:
    """A subject as SNS takes it: ASCII, short, and not beginning with a blank."""
    return shortened(text, _LONGEST_SUBJECT).encode("ascii", "replace").decode().strip()[:_LONGEST_SUBJECT]


def _refused(response: Any, context: Context) -> NotificationError:
    error = response.get("Error", {})
    code, words = str(error.get("Code", "")), str(error.get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return NotificationError(
        f"SNS refused the message: {code} {context.secrets.scrub(words)}".rstrip(),
        hint=_HINTS.get(code, ""),
        permanent=status < 500 and status != 429 and code not in _TEMPORARY,
    )


def _broken(error: Exception) -> NotificationError:
    from botocore.exceptions import (
        ConnectTimeoutError,
        NoCredentialsError,
        PartialCredentialsError,
        ReadTimeoutError,
        SSLError,
    )

    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return NotificationError(f"SNS: no answer within {REQUEST_SECONDS} s")
    if isinstance(error, SSLError):
        return NotificationError("SNS: its certificate can't be trusted", hint="is a proxy in between?", permanent=True)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return NotificationError("SNS: there are no AWS credentials", hint="give 'credentials'", permanent=True)
    return NotificationError(f"SNS: the request failed ({type(error).__name__})")
