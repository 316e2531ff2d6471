"""What a deployment may choose: the context of cdk.json or of ``cdk -c KEY=VALUE``, checked, as one model."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from backups.errors import UsageError

_OF_CDK = ("@aws-cdk", "aws:", "aws-cdk:", "cdk-", "availability-zones:", "vpc-provider:", "tree-metadata")
_MEMORY_PER_CPU = {256: (512, 2_048), 512: (1_024, 4_096), 1024: (2_048, 8_192), 2048: (4_096, 16_384)} | {
    4096: (8_192, 30_720),
    8192: (16_384, 61_440),
    16384: (32_768, 122_880),
}
"""MiB that Fargate gives to each size of processor: least and most."""

LOG_RETENTION = {
    1: "ONE_DAY",
    3: "THREE_DAYS",
    5: "FIVE_DAYS",
    7: "ONE_WEEK",
    14: "TWO_WEEKS",
    30: "ONE_MONTH",
    60: "TWO_MONTHS",
    90: "THREE_MONTHS",
    120: "FOUR_MONTHS",
    150: "FIVE_MONTHS",
    180: "SIX_MONTHS",
    365: "ONE_YEAR",
    400: "THIRTEEN_MONTHS",
    545: "EIGHTEEN_MONTHS",
    731: "TWO_YEARS",
    1827: "FIVE_YEARS",
    3653: "TEN_YEARS",
}
"""The days that CloudWatch Logs offers, each by the name that CDK has for it."""


class Settings(BaseModel):
    """One deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    stack_name: str = Field("Backups", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,39}$")
    """Name of the stack; a second one beside the first needs another."""

    jobs: Path = Path("jobs")
    """Directory of the job files; each `NAME.json` in it becomes a job of that name."""

    architecture: Literal["arm64", "x86_64"] = "arm64"
    """Processor of the Lambdas and of the workers; the machine that deploys must be able to build an image for it."""

    alarm_mail: str = Field("", pattern=r"^([^@\s]+@[^@\s]+)?$")
    """Mail address that alarms go to; it must confirm once. Without one, alarms only change their state."""

    manual_url: str = Field("docs/operations.md", pattern=r"^[^\s#]+$")
    """Where people find docs/operations.md, such as its address in your repository; alarms link its sections."""

    account: str = Field("", pattern=r"^(\d{12})?$")
    """AWS account; whichever the command line is logged in to when missing."""

    region: str = Field("", pattern=r"^([a-z]{2}(-[a-z]+)+-\d)?$")
    """AWS region; the command line's own when missing."""

    vpc_id: str = Field("", pattern=r"^(vpc-([0-9a-f]{8}|[0-9a-f]{17}))?$")
    """An existing VPC for the workers; a new one with two public subnets when missing."""

    vpc_subnet_ids: tuple[str, ...] = ()
    """Subnets of the existing VPC, with a way to the internet or to endpoints of all services that are used."""

    availability_zones: tuple[str, ...] = ()
    """Zones of those subnets in the same order, or of the new VPC. Never looked up."""

    assign_public_ip: bool = False
    """Whether the existing VPC's subnets are public: then workers need addresses of their own to get out."""

    nat_gateways: int = Field(0, ge=0, le=3)
    """Of the new VPC. With 0 workers have public addresses that nothing can connect to; NAT costs, but hides them."""

    worker_cpu: int = 2048
    """Fargate's units: 1024 is one processor."""

    worker_memory: int = 4096
    """MiB. Workers stream, so more than this rarely helps."""

    worker_disk: int = Field(21, ge=21, le=200)
    """GiB. Only encrypted parts wait on it until they are sent, a few at a time."""

    flexible_minutes: int = Field(0, ge=0, le=1_440)
    """A scheduled run may start this much later, so that many jobs of one time spread out."""

    log_days: int = 90
    """How long logs stay."""

    run_days: int = Field(90, ge=1)
    """How long plans, results and reports of runs stay."""

    retention_objects: int = Field(0, ge=0)
    """Objects that one call of Retention lists and removes before the next goes on; 0: as many as it has time for."""

    progress_seconds: float = Field(10, gt=0)
    """Between two progress records of a worker."""

    key_arns: tuple[str, ...] = ()
    """KMS keys that secrets or buckets named in job files are encrypted with, unless the job file names them."""

    bundle_python: str = Field("3.13", pattern=r"^3\.\d+$")
    """Python version that the functions' packages are for; only a local cloud needs another than Lambda's."""

    bundle_platform: str = ""
    """What uv calls the platform of the functions' packages; that of `architecture` when missing."""

    @field_validator("vpc_subnet_ids", "availability_zones", "key_arns", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """``-c`` hands over strings: a JSON list, or names with commas between."""
        if not isinstance(value, str):
            return value
        if value.startswith("["):
            return json.loads(value)
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("log_days")
    @classmethod
    def _days_of_cloudwatch(cls, value: int) -> int:
        if value not in LOG_RETENTION:
            raise ValueError(f"CloudWatch knows only these: {', '.join(map(str, LOG_RETENTION))}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if bool(self.vpc_id) != bool(self.vpc_subnet_ids):
            raise ValueError("vpc_id and vpc_subnet_ids belong together")
        if self.vpc_id and len(self.availability_zones) != len(self.vpc_subnet_ids):
            raise ValueError("availability_zones must name the zone of each of vpc_subnet_ids, in the same order")
        if bool(self.account) != bool(self.region):
            raise ValueError("account and region belong together")
        if self.worker_cpu not in _MEMORY_PER_CPU:
            raise ValueError(f"worker_cpu must be one of {', '.join(map(str, _MEMORY_PER_CPU))}")
        least, most = _MEMORY_PER_CPU[self.worker_cpu]
        if not least <= self.worker_memory <= most or self.worker_memory % 512:
            raise ValueError(
                f"worker_memory must be {least} to {most} with worker_cpu {self.worker_cpu}, in steps of 512"
            )
        return self

    @property
    def platform(self) -> str:
        """What uv calls the platform of the functions' packages."""
        machine = {"arm64": "aarch64", "x86_64": "x86_64"}[self.architecture]
        return self.bundle_platform or f"{machine}-manylinux_2_28"

    @property
    def partition(self) -> str:
        """Part of AWS that the region belongs to."""
        return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(self.region.rpartition("-")[0].rpartition("-")[0], "aws")

    @property
    def zones(self) -> tuple[str, ...]:
        """Availability zones; of a named region the first two unless they are given."""
        if self.availability_zones or not self.region:
            return self.availability_zones
        return (f"{self.region}a", f"{self.region}b")


def read_settings(context: Mapping[str, Any]) -> Settings:
    """The settings in a context. Raises UsageError with every problem; an empty text counts as missing."""
    own = {key: value for key, value in context.items() if not key.startswith(_OF_CDK) and value != ""}
    try:
        return Settings.model_validate(own)
    except ValidationError as error:
        problems = [_problem(detail) for detail in error.errors(include_url=False, include_input=False)]
        raise UsageError("\n".join(problems), hint="see cdk.json and docs/operations.md") from None


def _problem(detail: Any) -> str:
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        similar = difflib.get_close_matches(key, Settings.model_fields, n=1)
        return f"context {key}: unknown" + (f"; did you mean '{similar[0]}'?" if similar else "")
    text = detail["msg"].removeprefix("Value error, ")
    return f"context {key}: {text}" if key else f"context: {text}"
