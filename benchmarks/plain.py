"""Google's and AWS's own clients as one would call them: ``python -m benchmarks.plain s3|gs URL BUCKET < FILE``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from backups.destinations.gs.upload import CHUNK


def to_s3(url: str, bucket: str) -> Callable[[], None]:
    """boto3's transfer manager, which ``aws s3 cp`` uses too."""
    import boto3

    client = boto3.client("s3", endpoint_url=url)
    return lambda: client.upload_fileobj(sys.stdin.buffer, bucket, "plain")


def to_google(url: str, bucket: str) -> Callable[[], None]:
    """A resumable upload with our size of chunks: fake-gcs-server writes everything again with each of them."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(project="x", credentials=AnonymousCredentials(), client_options={"api_endpoint": url})
    blob = client.bucket(bucket).blob("plain", chunk_size=CHUNK)
    return lambda: blob.upload_from_file(sys.stdin.buffer, checksum="crc32c")


def main() -> None:
    """Prints the seconds that the upload took."""
    upload = {"s3": to_s3, "gs": to_google}[sys.argv[1]](sys.argv[2], sys.argv[3])
    began = time.monotonic()
    upload()
    print(time.monotonic() - began)


if __name__ == "__main__":
    main()
