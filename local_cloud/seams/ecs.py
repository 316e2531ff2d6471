"""ECS: containers are sandboxed processes of this machine, and stopping one takes its stop timeout.

MiniStack drives containers through docker-py's client; ``Containers`` has the part of that surface which it uses.
Its own StopTask calls a task stopped, with exit code 0, before it stops anything; here the task ends when its
containers did, with their exit codes.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from local_cloud.processes import Sandboxed
from local_cloud.seams import roles
from local_cloud.seams.patching import Pinned, service
from local_cloud.seams.roles import TaskRoles
from local_cloud.settings import LOOPBACK, Program, Settings

STOP_TIMEOUT_SECONDS = 30.0
_FOLLOW_SECONDS = 0.05
_SELF = "local-cloud"
_NETWORK = {"NetworkSettings": {"Networks": {"loopback": {"IPAddress": LOOPBACK}}}}

Reply = tuple[int, dict[str, str], bytes]


class NoContainerError(LookupError):
    """No container has this id."""


class Container:
    """One container of a task, as docker-py's Container."""

    def __init__(
        self,
        program: Program,
        command: list[str],
        environment: dict[str, str],
        labels: dict[str, str],
        settings: Settings,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.task = labels["com.amazonaws.ecs.task-arn"]
        self.attrs = _NETWORK
        self.forwarders = 0
        self._temporary = settings.scratch("tmp", self.id)
        records = settings.scratch("tasks", self.task.rpartition("/")[2])
        name = labels["com.amazonaws.ecs.container-name"]
        home = {"HOME": str(self._temporary), "TMPDIR": str(self._temporary)}
        self._sandbox = Sandboxed(
            [*program.argv, *command],
            environment={**settings.base_environment(), **home, **program.environment, **environment},
            directory=program.directory or self._temporary,
            output=records / f"{name}.log",
        )
        # Tests find the worker's process by this file, to kill it in the middle.
        self._record = records / f"{name}.pid"
        written = records / f"{name}.new"
        written.write_text(f"{self._sandbox.pid}\n")
        written.replace(self._record)
        threading.Thread(target=self._clean_up, daemon=True).start()

    def _clean_up(self) -> None:
        self._sandbox.wait()
        self._record.unlink(missing_ok=True)  # the number will be another process's
        shutil.rmtree(self._temporary, ignore_errors=True)

    @property
    def status(self) -> str:
        """``exited`` only when its whole output was read too, so that no last line is missing from the logs."""
        return "exited" if self._sandbox.status is not None and not self.forwarders else "running"

    def reload(self) -> None:
        """The status is never cached."""

    def wait(self) -> dict[str, int]:
        return {"StatusCode": self._sandbox.wait()}

    def logs(self, **_: object) -> Iterator[bytes]:
        """Follow the output line by line, until the container ended."""
        pending = b""
        with self._sandbox.output.open("rb") as output:
            while True:
                ended = self._sandbox.status is not None
                *lines, pending = (pending + output.read()).split(b"\n")
                yield from (line for line in lines if line)
                if ended:
                    break
                time.sleep(_FOLLOW_SECONDS)
        if pending:
            yield pending

    def stop(self, timeout: float) -> None:
        self._sandbox.stop(timeout)

    def remove(self, **_: object) -> None:
        self._sandbox.kill()


class _Self:
    """The server as a container: tells MiniStack that tasks reach it on loopback."""

    attrs = _NETWORK


class Containers:
    """docker-py's ``client.containers``."""

    def __init__(self, ecs: Pinned, roles: TaskRoles, settings: Settings) -> None:
        self._ecs = ecs
        self._roles = roles
        self._settings = settings
        self._all: dict[str, Container] = {}

    def run(
        self,
        image: str,
        *,
        environment: dict[str, Any],
        labels: dict[str, str],
        command: list[str] | None = None,
        **_: object,
    ) -> Container:
        """Start the program that stands for the image. Raises when there is none: the task then fails to start."""
        name = labels["com.amazonaws.ecs.container-name"]
        program = next(
            (one for one in self._settings.programs if one.pattern.search(image) or one.pattern.search(name)), None
        )
        if program is None:
            raise RuntimeError(f"CannotPullContainerError: no local program for image {image} or container {name}")
        if shutil.which(program.argv[0]) is None:
            raise RuntimeError(f"CannotStartContainerError: no such program {program.argv[0]}")
        task = labels["com.amazonaws.ecs.task-arn"]
        variables = {key: str(value) for key, value in environment.items()}
        variables = self._roles.give(variables, self._role(task), task.rpartition("/")[2])
        container = Container(program, list(command or []), variables, labels, self._settings)
        self._all[container.id] = container
        return container

    def _role(self, task: str) -> str:
        record = self._ecs._tasks[task]
        definition = self._ecs._task_defs[self._ecs._resolve_td_key(record["taskDefinitionArn"])]
        return str(record["overrides"].get("taskRoleArn") or definition.get("taskRoleArn") or "")

    def get(self, identifier: str) -> Container | _Self:
        if identifier == _SELF:
            return _Self()
        try:
            return self._all[identifier]
        except KeyError:
            raise NoContainerError(identifier) from None

    def of_task(self, task: str) -> list[Container]:
        return [one for one in list(self._all.values()) if one.task == task]

    def list(self, **_: object) -> list[Container]:
        """What a reset of the whole server would remove; a sandbox is removed with its task."""
        return []


class Docker:
    """docker-py's client."""

    def __init__(self, containers: Containers) -> None:
        self.containers = containers


class Logs:
    """Forwarding to CloudWatch: a container counts as running until its last line is there."""

    def __init__(self, ecs: Pinned) -> None:
        self._ecs = ecs
        self._start, self._forward = ecs._start_awslogs_forwarder, ecs._forward_awslogs

    def start(self, container: Container, cdef: dict[str, Any], task_id: str) -> None:
        if self._ecs._awslogs_config(cdef, task_id, container.id):
            container.forwarders += 1
        self._start(container, cdef, task_id)

    def forward(self, container: Container, config: dict[str, Any], account_id: str, region: str) -> None:
        try:
            self._forward(container, config, account_id, region)
        finally:
            container.forwarders -= 1


class Stopping:
    """StopTask: SIGTERM, after the container's stop timeout SIGKILL; the task is stopped when its containers are."""

    def __init__(self, ecs: Pinned, containers: Containers) -> None:
        self._ecs = ecs
        self._containers = containers
        self._reasons: dict[str, str] = {}
        self._stop_before_start = ecs._stop_task
        self._mark = ecs._mark_task_stopped

    def stop_task(self, data: dict[str, Any]) -> Reply:
        """Ask a running task's containers to end, and answer at once."""
        cluster = self._ecs._resolve_cluster_name(data.get("cluster", "default"))
        task = self._ecs._resolve_task(data.get("task", ""), cluster) if cluster else None
        if task is None or task["lastStatus"] != "RUNNING":
            reply: Reply = self._stop_before_start(data)
            return reply
        self._reasons.setdefault(task["taskArn"], data.get("reason") or "Task stopped by user")
        self._stop_containers(task)
        answer: Reply = self._ecs.json_response({"task": self._ecs._sanitize(task)})
        return answer

    def mark_task_stopped(
        self, task_arn: str, task: dict[str, Any], reason: str, stop_code: str, exit_code: int | None = None
    ) -> bool:
        """A task whose containers ended because of StopTask says so, not that a container exited by itself."""
        if task_arn in self._reasons:
            reason, stop_code = self._reasons.pop(task_arn), "UserInitiated"
        stopped = bool(self._mark(task_arn, task, reason, stop_code, exit_code))
        if stopped:
            # An essential container takes the others of its task with it; MiniStack leaves them running.
            self._stop_containers(task)
        return stopped

    def _stop_containers(self, task: dict[str, Any]) -> None:
        definition = self._ecs._task_defs.get(self._ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
        timeouts = [one.get("stopTimeout") for one in definition.get("containerDefinitions", [])]
        timeout = max((float(one) for one in timeouts if one), default=STOP_TIMEOUT_SECONDS)
        for container in self._containers.of_task(task["taskArn"]):
            threading.Thread(target=container.stop, args=(timeout,), daemon=True).start()


def install(settings: Settings) -> None:
    """Give MiniStack processes as containers, and StopTask that waits for them."""
    ecs = service("ecs")
    ecs.require("_docker", "_get_docker", "_resolve_task", "_resolve_cluster_name", "_resolve_td_key")
    ecs.require("_task_defs", "_tasks", "_sanitize", "_awslogs_config", "_record_task_ip", "json_response")
    containers = Containers(ecs, roles.install(settings), settings)
    stopping = Stopping(ecs, containers)
    # MiniStack looks itself up by its host name, to learn under which address its tasks reach it.
    os.environ["HOSTNAME"] = _SELF
    ecs.replace_value("_docker", Docker(containers))
    logs = Logs(ecs)
    ecs.replace("_start_awslogs_forwarder", "container cdef task_id", logs.start)
    ecs.replace("_forward_awslogs", "container config account_id region", logs.forward)
    ecs.replace("_stop_task", "data", stopping.stop_task)
    ecs.replace("_mark_task_stopped", "task_arn task reason stop_code exit_code", stopping.mark_task_stopped)
    ecs.replace_entry("_ACTION_MAP", "StopTask", stopping.stop_task)
