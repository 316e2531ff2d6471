"""Folder on another host: the SSM agent there archives it; what is asked of it, and where the data comes through."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from backups import ssm, staging
from backups.context import Context
from backups.errors import SourceError
from backups.sources.base import SourceStream
from backups.sources.host_stream import HostStream, Pace, Request, Staged, clear, end
from backups.sources.tar import excludes, renaming

if TYPE_CHECKING:
    from backups.sources.folder import Folder

LIMIT_SECONDS = 6 * 3_600
"""How long a host may take when the source has no ``time_limit`` of its own."""

_LONGEST_LIMIT = 172_800  # AWS ends any command after two days


def open_on_host(folder: Folder, context: Context, *, pace: Pace | None = None) -> SourceStream:
    """Have the host archive the folder. Raises SourceError, HostError."""
    limit = min(folder.time_limit or LIMIT_SECONDS, _LONGEST_LIMIT)
    place = context.staging or _of_stack(folder)
    client = ssm.client()
    request = Request(PurePosixPath(folder.path), ssm.find_host(client, folder.host), limit, pace or Pace())
    area = staging.Area(place, staging.s3_client())
    lease = staging.Lease(area, window=request.pace.window, seconds=request.pace.beat)
    try:
        address = area.lease_address()
        context.secrets.scrub.add(address)
        parameters, warnings = _parameters(folder, request, address)
        command = ssm.send(client, place.document, request.host, parameters, about=folder.id)
        try:
            area.remember(command)
            return HostStream(request, Staged(area, lease, command, client), warnings)
        except BaseException:
            end(command)
            raise
    except BaseException:
        lease.close()
        clear(area)
        raise


def _parameters(folder: Folder, request: Request, address: str) -> tuple[dict[str, str], list[str]]:
    """What the document is told, and warnings."""
    path, pace = request.path, request.pace
    anywhere, below, warnings = excludes(path, path.name, folder.excludes)
    return {
        "leaseUrl": address,
        "folder": ssm.encoded(str(path)),
        "rename": ssm.encoded(renaming(path.name)),
        "anywhere": " ".join(map(ssm.encoded, anywhere)),
        "below": " ".join(map(ssm.encoded, below)),
        "oneFileSystem": str(folder.one_file_system).lower(),
        "partBytes": str(pace.part_bytes),
        "beat": str(pace.beat),
        "silence": str(pace.silence),
        "uploads": str(pace.uploads),
        "tries": str(pace.tries),
        "executionTimeout": str(request.limit),
    }, warnings


def _of_stack(folder: Folder) -> staging.Place:
    """The place that a job names which runs on one machine."""
    from backups.cloud.stack import Stack

    if not folder.stack:
        raise SourceError(
            f"folder {folder.path} on {folder.host}: a host is reached through a deployed stack",
            hint="name it with 'stack', or run the job on the host itself without 'host'",
        )
    stack = Stack(folder.stack)
    return staging.Place(stack.state.bucket, f"{staging.PREFIX}by-hand/{folder.id}/", stack.host_document)
