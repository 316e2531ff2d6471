"""What a host says of the archive that it made: at the end of the stream, or instead of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backups.errors import BackupsError, CommandError, SourceError
from backups.sources.tar import archive_warnings

if TYPE_CHECKING:
    from backups.sources.host_stream import Request
    from backups.ssm import Invocation

_REASONS = {
    3: ("does not exist", "correct 'path', or mount what should be there"),
    4: ("is neither a folder nor a file", "correct 'path'"),
}
_HINTS = {
    5: "install it on the host",
    6: "the host must reach S3: check its route, proxy and firewall, and the VPC endpoint's policy",
    7: "the worker, or its network, was gone for too long",
    8: "make room on the host: a few parts wait there until they are sent",
}


@dataclass(frozen=True)
class LastWord:
    """What the host says at the end of the stream."""

    status: int
    """Of tar."""
    sums: list[str]
    """``cksum`` of each part: the sum and the size."""
    said: str
    """The last lines of tar."""

    @classmethod
    def parse(cls, text: str, request: Request) -> LastWord:
        """Raises SourceError when it is not what the document's script writes."""
        try:
            (_, status), (_, parts), (_, size), *_ = (line.split() for line in text.split("\n", 3)[:3])
            *sums, said = text.split("\n", 3 + int(parts))[3:]
            word = cls(int(status), sums, said)
            sizes = [int(line.split()[1]) for line in sums]
        except (ValueError, IndexError):
            sizes, size = [], "?"
        if len(sizes) == 0 or sum(sizes) != int(size if size.isdigit() else -1):
            raise SourceError(f"{request.where}: the host's last word can't be read", hint="deploy the stack again")
        return word

    def judge(self, request: Request, size: int, sums: list[str]) -> list[str]:
        """Warnings for the report on so many bytes, in parts with these sums.

        Raises CommandError or SourceError when the archive is not whole.
        """
        if sums != self.sums:
            raise SourceError(
                f"{request.where}: {len(sums)} parts arrived, and they are not the {len(self.sums)} that the host sent",
                hint="run the job again; if it recurs, look at what is between the host and S3",
            )
        if self.status not in (0, 1):
            how = "was killed" if self.status > 128 else f"ended with exit status {self.status}"
            raise CommandError(f"{request.where}: tar {how}: {'; '.join(self.said.split(chr(10)))}", status=self.status)
        return archive_warnings(request.path, self.said, size, warned=self.status == 1)


def complaint(request: Request, ended: Invocation) -> BackupsError:
    """Why there is no last word, although the command has ended."""
    if ended.status == "ExecutionTimedOut":
        return too_long(request)
    if ended.code in _REASONS and ended.status == "Failed":
        reason, hint = _REASONS[ended.code]
        return SourceError(f"{request.where} {reason}", hint=hint)
    said = ended.complaint or "the command ended without its last word"
    return SourceError(f"{request.where}: {said}", hint=_HINTS.get(ended.code, ""))


def too_long(request: Request) -> SourceError:
    """The command's time is over, by its agent's clock or ours."""
    return SourceError(
        f"{request.where}: archiving took longer than {request.limit} s and was given up",
        hint="raise 'time_limit' of the source if it really takes longer",
    )
