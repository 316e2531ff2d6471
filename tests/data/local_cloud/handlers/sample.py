"""A function for the tests: does what its event's ``action`` says."""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec

import dependency

STARTED = time.time()


class UnavailableError(Exception):
    """A custom error name, for Retry and Catch."""


def handler(event, context):
    action = event.get("action", "echo")
    print(f"handling {action}")
    return globals()[action](event, context)


def echo(event, context):
    return {"event": event, "dependency": dependency.NAME, "request": context.aws_request_id}


def environment(event, context):
    modules = ("pip", "setuptools", "pydantic", "boto3", "ministack", "backups", "awslambdaric")
    return {
        "variables": dict(os.environ),
        "path": sys.path,
        "found": [name for name in modules if find_spec(name)],
        "remaining": context.get_remaining_time_in_millis(),
        "arn": context.invoked_function_arn,
        "process": os.getpid(),
    }


def fail(event, context):
    raise UnavailableError(event.get("message", "no"))


def fail_until(event, context):
    """Fails until it was called ``times`` times; a file counts."""
    with open(event["counter"], "a+") as counter:
        counter.write("x")
        counter.seek(0)
        if len(counter.read()) < event["times"]:
            raise UnavailableError("not yet")
    return "at last"


def meet(event, context):
    """Two invocations that can only end when both run at once."""
    mine, other = event["mine"], event["other"]
    open(mine, "w").close()
    while not os.path.exists(other):
        time.sleep(0.01)
    return os.getpid()


def hang(event, context):
    child = subprocess.Popen(["sleep", "600"])
    with open(event["pids"], "w") as pids:
        json.dump([os.getpid(), child.pid], pids)
    time.sleep(600)


def leave(event, context):
    os._exit(7)


def big(event, context):
    return "x" * event["size"]
