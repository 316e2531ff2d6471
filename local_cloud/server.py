"""Serves the embedded cloud on loopback until it is told to stop or its parent is gone."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from local_cloud import processes
from local_cloud.settings import ACCOUNT, LOOPBACK, Settings, SettingsError

READY = "local cloud is ready at "
# In this order: those of Step Functions wrap each other, what an execution may do inside how it ends.
_SEAMS = (
    *("scheduler", "cloudformation", "listings", "lambda_service", "ecs", "ssm"),
    *("runtask", "machine_role", "asl", "executions", "alarms", "events", "rds"),
    *("ebs", "snapshot_rights"),
)

Message = dict[str, Any]


def bind(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 picks a free one, with nobody in between who could take it."""
    listener = socket.create_server((LOOPBACK, port), backlog=256)
    listener.set_inheritable(False)
    return listener


def configure(settings: Settings) -> None:
    """Tell MiniStack, which reads its settings from the environment while it is imported."""
    temporary = settings.scratch("tmp")
    for name in [name for name in os.environ if name.startswith(("AWS_", "MINISTACK_", "LAMBDA_"))]:
        del os.environ[name]
    os.environ.update(
        GATEWAY_PORT=str(settings.port),
        MINISTACK_HOST=LOOPBACK,
        MINISTACK_ACCOUNT_ID=ACCOUNT,
        MINISTACK_REGION=settings.region,
        LOG_LEVEL="WARNING",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        DOCKER_HOST="unix:///nonexistent",
        TMPDIR=str(temporary),
        AWS_ENDPOINT_URL=settings.endpoint,
        SFN_WAIT_SCALE=str(settings.wait_scale),
        AUTH=str(settings.enforce_iam).lower(),
    )
    tempfile.tempdir = str(temporary)


def install_seams(settings: Settings) -> None:
    """Apply every seam. Raises SeamError when the pinned version changed."""
    for name in _SEAMS:
        importlib.import_module(f"local_cloud.seams.{name}").install(settings)


def _announcing(app: Any, settings: Settings) -> Any:
    """The application, which says that it is ready once its start-up is complete."""

    async def announce(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        async def sending(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                sys.stdout.write(f"{READY}{settings.endpoint}\n")
                sys.stdout.flush()

        if scope["type"] == "lifespan":
            await app(scope, receive, sending)
            return
        # Policies that demand TLS hold here too; on loopback there is nobody to listen.
        await app({**scope, "headers": [*scope["headers"], (b"x-forwarded-proto", b"https")]}, receive, send)

    return announce


def _when_parent_is_gone(stop: Callable[[], object]) -> None:
    """Call ``stop`` at the end of file of standard input, which the parent holds open as long as it lives."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=watch, daemon=True).start()


async def _serve(settings: Settings, listener: socket.socket, *, watch_parent: bool) -> None:
    hypercorn: Any = importlib.import_module("hypercorn.asyncio")
    config: Any = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.loglevel = "WARNING"
    config.accesslog = None
    config.graceful_timeout = 0.5
    config.keep_alive_timeout = 75
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if watch_parent:
        _when_parent_is_gone(lambda: loop.call_soon_threadsafe(stopping.set))
    app = _announcing(importlib.import_module("ministack.app").app, settings)

    async def stop() -> None:
        await stopping.wait()
        # First, so that requests which wait for a function or a task have an end.
        processes.end_all()

    await hypercorn.serve(app, config, shutdown_trigger=stop)


def run(settings: Settings, listener: socket.socket, *, watch_parent: bool) -> None:
    """Serve until SIGTERM, SIGINT or the parent's end; every process of the cloud is gone when this ends."""
    configure(settings)
    install_seams(settings)
    try:
        # Not asyncio.run, which would wait for MiniStack's threads.
        asyncio.new_event_loop().run_until_complete(_serve(settings, listener, watch_parent=watch_parent))
    except Exception:
        logging.getLogger("local_cloud").exception("the server failed")
        raise
    finally:
        processes.end_all()
        shutil.rmtree(settings.state / "tmp", ignore_errors=True)


def exit_now(status: int) -> None:
    """End the process without waiting for MiniStack's threads: what they wait for is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def state_directory(path: Path) -> Path:
    """The absolute state directory, for this process alone until it ends, without what an earlier one logged there.

    Only its owner can read it. Raises SettingsError when another embedded cloud uses it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingsError(f"{path} is in use by another embedded cloud") from None
    for name in ("tmp", "tasks", "functions", "hosts"):
        shutil.rmtree(path / name, ignore_errors=True)
    return path.resolve()
