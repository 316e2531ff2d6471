"""Sessions with AWS. Each user makes its own, since one is not for several threads; what they know is shared."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import boto3.session
    import botocore.session
    from botocore.loaders import Loader


def new_session(**settings: Any) -> boto3.session.Session:
    """A session with boto3's own settings: keys, region. Not imported before it is needed."""
    import boto3.session

    return boto3.session.Session(botocore_session=new_core(), **settings)


def new_core() -> botocore.session.Session:
    """The session below it."""
    import botocore.session

    core = botocore.session.get_session()
    core.register_component("data_loader", _descriptions())
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=moment)
    return core


def moment(said: Any) -> dt.datetime:
    """A time that AWS tells, as its client understands it. Raises ValueError.

    The client tries every form that a time can have, which takes two thirds of reading a listing. Nearly all of them
    have the form that comes first here.
    """
    import botocore.utils

    if isinstance(said, str):
        with contextlib.suppress(ValueError):
            found = dt.datetime.fromisoformat(said)
            if found.tzinfo:
                return found
    told: dt.datetime = botocore.utils.parse_timestamp(said)
    return told


@functools.cache
def _descriptions() -> Loader:
    """AWS's descriptions of its services. Read anew by each session they would take 13 MiB and 0.1 s each time."""
    import botocore.session

    loader: Loader = botocore.session.get_session().get_component("data_loader")
    return loader
