"""Reads ranges of objects by signed addresses: that takes half of the processor time of the client's own requests."""

from __future__ import annotations

import logging
import os

log = logging.getLogger("backups.signed_reading")

_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_CONNECTIONS = 16
_PARTIAL_CONTENT = 206


class SignedReader:
    """Keeps its connections. Safe from several threads."""

    def __init__(self, endpoint: str) -> None:
        """``endpoint`` tells whether a proxy stands before the server."""
        from botocore.httpsession import URLLib3Session
        from botocore.utils import get_environ_proxies

        self._session = URLLib3Session(
            verify=os.environ.get("AWS_CA_BUNDLE") or True,  # type: ignore[arg-type]  # a file does, too
            proxies=get_environ_proxies(endpoint),
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),  # type: ignore[arg-type]  # as its own client gives it
            max_pool_connections=_CONNECTIONS,
        )

    def read(self, address: str, start: int, size: int) -> bytes | None:
        """So many bytes of the object; None when the server or the network refused, for whatever reason."""
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError
        from botocore.response import StreamingBody

        wanted = {"Range": f"bytes={start}-{start + size - 1}"}
        request = AWSRequest("GET", address, headers=wanted, stream_output=True).prepare()
        try:
            answer = self._session.send(request)
            if answer.status_code == _PARTIAL_CONTENT:
                return bytes(StreamingBody(answer.raw, size).read())
            answer.raw.close()
            problem = f"status {answer.status_code}"
        except BotoCoreError as error:
            problem = type(error).__name__  # its text may hold the address, and so the signature
        log.info("reading by a signed address failed: %s", problem)
        return None
