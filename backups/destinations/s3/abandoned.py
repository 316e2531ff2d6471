"""Ends multipart uploads that killed runs have left: their parts cost money, and no listing of objects shows them."""

from __future__ import annotations

import datetime as dt
import logging

from backups.destinations.s3.bucket import Bucket

log = logging.getLogger("backups.destinations.s3")

AGE = dt.timedelta(days=7)
"""Nobody writes any more to what was begun so long ago."""


def abort_abandoned(bucket: Bucket, key: str) -> None:
    """End old uploads to the topmost folder of the key, which is that of its host; once for each connection.

    Never raises, since no copy may be lost by it: who may not list uploads leaves them to a rule of the bucket.
    """
    top, slash, _ = key.partition("/")
    if not slash or top in bucket.cleaned:
        return
    bucket.cleaned.add(top)
    prefix, before = f"{bucket.prefix}{top}/", dt.datetime.now(dt.UTC) - AGE
    try:
        pages = bucket.client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket.name, Prefix=prefix)
        for upload in (upload for page in pages for upload in page.get("Uploads", [])):
            # Some servers list uploads of other prefixes too.
            if upload["Key"].startswith(prefix) and upload["Initiated"] < before:
                bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
                begun = upload["Initiated"].date()
                log.warning("s3://%s: ended an upload to %s that was begun on %s", bucket.name, upload["Key"], begun)
    except Exception as error:  # also what the client raises for answers that it can't read
        log.info("%s: %s", bucket.about(f"{top}/", "can't be searched for unfinished uploads"), error)
