"""Context of a deployment: from cdk.json or the command line, every mistake at once and by its name."""

from __future__ import annotations

from typing import Any

import pytest

from backups.errors import UsageError
from infra.settings import read_settings


def problems(context: dict[str, Any]) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read_settings(context)
    return caught.value.message.splitlines()


def test_defaults_and_empty_texts() -> None:
    settings = read_settings({"alarm_mail": "", "region": "", "vpc_id": ""})
    assert (settings.architecture, settings.platform) == ("arm64", "aarch64-manylinux_2_28")
    assert settings.zones == () and settings.partition == "aws"


def test_what_cdk_itself_puts_into_the_context_is_left_alone() -> None:
    read_settings({"@aws-cdk/core:newStyleStackSynthesis": True, "aws:cdk:enable-path-metadata": True})


def test_the_command_line_hands_over_texts() -> None:
    settings = read_settings(
        {
            "vpc_id": "vpc-0123456789abcdef0",
            "vpc_subnet_ids": "subnet-1, subnet-2",
            "availability_zones": '["eu-central-1a", "eu-central-1b"]',
            "nat_gateways": "0",
            "log_days": "30",
            "assign_public_ip": "true",
        }
    )
    assert settings.vpc_subnet_ids == ("subnet-1", "subnet-2")
    assert settings.availability_zones == ("eu-central-1a", "eu-central-1b")
    assert settings.log_days == 30 and settings.assign_public_ip


def test_zones_of_a_named_region_and_its_partition() -> None:
    account = "123456789012"
    assert read_settings({"region": "eu-west-3", "account": account}).zones == ("eu-west-3a", "eu-west-3b")
    assert read_settings({"region": "cn-north-1", "account": account}).partition == "aws-cn"
    assert read_settings({"region": "us-gov-west-1", "account": account}).partition == "aws-us-gov"


def test_every_mistake_is_named() -> None:
    found = problems(
        {"architecture": "arm", "log_days": 31, "alarm_mial": "x", "worker_disk": 201, "alarm_mail": "nobody"}
    )
    assert [line.split(":")[0] for line in found] == [
        "context architecture",
        "context alarm_mail",
        "context worker_disk",
        "context log_days",
        "context alarm_mial",
    ]
    assert "did you mean 'alarm_mail'?" in found[-1]


@pytest.mark.parametrize(
    ("context", "says"),
    [
        ({"vpc_id": "vpc-01234567"}, "vpc_id and vpc_subnet_ids belong together"),
        (
            {"vpc_id": "vpc-01234567", "vpc_subnet_ids": ["s-1", "s-2"], "availability_zones": ["a"]},
            "availability_zones must name the zone of each of vpc_subnet_ids, in the same order",
        ),
        ({"region": "eu-central-1"}, "account and region belong together"),
        ({"worker_cpu": 1000}, "worker_cpu must be one of 256, 512, 1024, 2048, 4096, 8192, 16384"),
        (
            {"worker_cpu": 256, "worker_memory": 4096},
            "worker_memory must be 512 to 2048 with worker_cpu 256, in steps of 512",
        ),
    ],
)
def test_what_does_not_fit_together(context: dict[str, Any], says: str) -> None:
    assert problems(context) == [f"context: {says}"]
