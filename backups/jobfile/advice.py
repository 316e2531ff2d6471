"""What a checked job file still lacks: types that can't run yet, secrets in plain, slow or risky settings.

Every line begins with the path of what it is about.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr

from backups.config import Plugin
from backups.destinations import DestinationConfig
from backups.jobfile.references import is_whole_reference
from backups.naming import Compression
from backups.secrets import is_reference

if TYPE_CHECKING:
    from backups.job import Job

_RULES_OF_VERSIONS = {"s3": "NoncurrentVersionExpiration", "gs": "the condition daysSinceNoncurrentTime"}
"""What a bucket's own rule for old versions is called, by the type of the destination."""


def unavailable(job: Job) -> list[str]:
    """A line for each plugin whose type parses but can't run yet."""
    return [f"{path}: {plugin.not_yet()}" for path, plugin in _plugins(job) if plugin.not_yet()]


def plain_secrets(job: Job) -> list[str]:
    """Paths of the secrets that are not wholly references."""
    places: list[tuple[str, BaseModel]] = [("", job.settings), *_plugins(job)]
    return [path for place, model in places for path in _plain(model, place)]


def hints(job: Job) -> list[str]:
    """A line for each slow or risky setting."""
    idle = [f"{path}: does nothing here and can go" for path in job.ignored]
    own = [f"sources[{index}].{hint}" for index, source in enumerate(job.declared) for hint in source.hints()]
    return [*idle, *own, *_file_hints(job), *_compression_hints(job), *_destination_hints(job), *_url_hints(job)]


def _plugins(job: Job) -> Iterator[tuple[str, Plugin]]:
    lists = {"sources": job.declared, "destinations": job.destinations, "notifications": job.notifications}
    for kind, plugins in lists.items():
        for index, plugin in enumerate(plugins):
            yield f"{kind}[{index}]", plugin


def _plain(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, SecretStr):
        if value.get_secret_value() and not is_whole_reference(value.get_secret_value()):
            yield path
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _plain(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _plain(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _plain(item, f"{path}.{name}")


def _file_hints(job: Job) -> Iterator[str]:
    plain = plain_secrets(job)
    for path in plain:
        yield f"{path}: a secret in plain; a deployed job is refused for it: put a reference there (`backups convert`)"
    if job.path is None:
        return
    mode = stat.S_IMODE(job.path.stat().st_mode)
    if mode & 0o022:
        yield f"{job.path}: others may write to this file, and so decide what is run: chmod go-w it"
    if plain and mode & 0o044:
        yield f"{job.path}: others may read this file and the secrets in it: chmod 600 it"


def _compression_hints(job: Job) -> Iterator[str]:
    slow = {Compression.GPG: "GnuPG's own compression", Compression.GZIP: "gzip"}
    if job.settings.compression in slow and any(source.compression is None for source in job.declared):
        yield f"compression: {slow[job.settings.compression]} is slow: 'zstd' is about 8 times faster, and smaller"
    for index, source in enumerate(job.declared):
        if source.compression in slow:
            yield (
                f"sources[{index}].compression: {slow[source.compression]} is slow: "
                "'zstd' is about 8 times faster, and smaller"
            )


def _destination_hints(job: Job) -> Iterator[str]:
    if len(job.destinations) == 1:
        yield "destinations: only one: what destroys it destroys every backup; add a second at another place"
    places: dict[str, int] = {}
    for index, destination in enumerate(job.destinations):
        path = f"destinations[{index}]"
        policy = job.policy_for(destination)
        if policy.copies is None and policy.days is None and policy.rules is None:
            yield f"{path}: no retention, so every copy stays for ever; set 'retention_days' or 'retention'"
        elif not policy.minimum:
            yield f"{path}: 'retention_minimum' is 0, so the last copy goes as well when backups stop"
        if destination.type in _RULES_OF_VERSIONS:
            yield (
                f"{path}: if the bucket keeps versions, a copy that is replaced on its day stays as an old one, which "
                f"retention does not see: give the bucket a lifecycle rule with {_RULES_OF_VERSIONS[destination.type]} "
                "(docs/operations.md, 'Buckets that keep versions')"
            )
        yield from _prefix_hints(path, destination)
        place = repr((destination.type, destination.model_dump(exclude=set(DestinationConfig.model_fields))))
        if places.setdefault(place, index) != index:
            yield f"{path}: the same place as destinations[{places[place]}]: they overwrite and prune each other"
    named: dict[str, Iterable[Plugin]] = {"sources": job.declared, "destinations": job.destinations}
    for kind, plugins in named.items():
        lowered: dict[str, int] = {}
        for index, plugin in enumerate(plugins):
            other = lowered.setdefault(plugin.id.lower(), index)
            if other != index:
                yield f"{kind}[{index}].id: differs from that of {kind}[{other}] only in case; a share mixes them up"


def _prefix_hints(path: str, destination: DestinationConfig) -> Iterator[str]:
    prefix = getattr(destination, "prefix", "")
    if prefix and not prefix.endswith("/") and not is_reference(prefix):
        yield f"{path}.prefix: keys will begin with '{prefix}HOST/': end it with a slash if it is to be a folder"


def _url_hints(job: Job) -> Iterator[str]:
    for path, plugin in _plugins(job):
        for name in type(plugin).model_fields:
            value = getattr(plugin, name)
            text = value.get_secret_value() if isinstance(value, SecretStr) else value
            if isinstance(text, str) and text.lower().startswith("http://"):
                yield f"{path}.{name}: http:// sends everything readable, tokens too: use https:// if it is not local"
