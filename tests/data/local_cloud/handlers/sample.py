"""A function for the tests: does what its event's ``action`` says."""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dependency  # type: ignore[import-not-found]


class UnavailableError(Exception):
    """A custom error name, for Retry and Catch."""


def handler(event: dict[str, Any], context: Any) -> Any:
    """The function's entry point."""
    action = event.get("action", "echo")
    print(f"handling {action}")
    return globals()[action](event, context)


def echo(event: dict[str, Any], context: Any) -> Any:
    """What it was given, and what the bundle holds."""
    return {"event": event, "dependency": dependency.NAME, "request": context.aws_request_id}


def environment(_: dict[str, Any], context: Any) -> Any:
    """Everything that the interpreter sees."""
    modules = ("pip", "setuptools", "pydantic", "boto3", "ministack", "backups", "awslambdaric")
    return {
        "variables": dict(os.environ),
        "path": sys.path,
        "found": [name for name in modules if find_spec(name)],
        "remaining": context.get_remaining_time_in_millis(),
        "arn": context.invoked_function_arn,
        "process": os.getpid(),
    }


def fail(event: dict[str, Any], _: Any) -> Any:
    """An error of its own name."""
    raise UnavailableError(event.get("message", "no"))


def fail_until(event: dict[str, Any], _: Any) -> Any:
    """Fails until it was called ``times`` times; a file counts."""
    with Path(event["counter"]).open("a+") as counter:
        counter.write("x")
        counter.flush()
        counter.seek(0)
        if len(counter.read()) < event["times"]:
            raise UnavailableError("not yet")
    return "at last"


def meet(event: dict[str, Any], _: Any) -> Any:
    """One of two invocations that can only end when both run at once."""
    Path(event["mine"]).touch()
    while not Path(event["other"]).exists():
        time.sleep(0.01)
    return os.getpid()


def hang(event: dict[str, Any], _: Any) -> Any:
    """Never ends, and has a child."""
    child = subprocess.Popen(["sleep", "600"])
    partial = Path(event["pids"] + ".partial")
    partial.write_text(json.dumps([os.getpid(), child.pid]))
    partial.rename(event["pids"])
    time.sleep(600)


def measure(event: dict[str, Any], _: Any) -> Any:
    """Prints a metric in the embedded metric format, as the Powertools do."""
    metrics = [{"Name": "RunsNotStored", "Unit": "Count"}]
    directive = {"Namespace": "Sample", "Dimensions": [["job", "service"]], "Metrics": metrics}
    values = {"job": event["job"], "service": "backups", "RunsNotStored": [event["value"]]}
    print(json.dumps({"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}, **values}))


def leave(_: dict[str, Any], __: Any) -> Any:
    """Ends the interpreter in the middle."""
    os._exit(7)


def big(event: dict[str, Any], _: Any) -> Any:
    """A result of a given size."""
    return "x" * event["size"]
