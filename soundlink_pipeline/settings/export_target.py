"""Where Parquet is exported to: a folder, or a prefix in a bucket of S3 or Google Cloud Storage."""

from __future__ import annotations

import re
from typing import Literal

BUCKETS = ("s3", "gs")
# As Parquet keeps a moment: adjusted to UTC (BigQuery's TIMESTAMP), or without a zone (Snowflake's TIMESTAMP_NTZ).
Timestamps = Literal["utc", "naive"]

# Of S3 and Google: small letters, digits, and some signs within.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII)
# A mistyped address, perhaps with credentials in it, of which no folder is to be made.
_ADDRESS = re.compile(r"[^/]*:")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()=/-]*", re.ASCII)


def export_target_of(text: str) -> str:
    """A target without a slash at its end. Raises ValueError, with a reason that shows no credentials."""
    scheme, has_scheme, rest = text.partition("://")
    if not has_scheme:
        if not text.strip() or "\0" in text:
            raise ValueError("must be a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
        if _ADDRESS.match(text):
            raise ValueError(
                "must be a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX; a folder with a colon in its name is given"
                " as ./NAME"
            )
        return text.rstrip("/") or "/"
    if scheme not in BUCKETS:
        raise ValueError("must be a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
    bucket, _, prefix = rest.partition("/")
    if "@" in rest:
        raise ValueError("no credentials may stand in it: they are read from the environment")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("the name of a bucket has 3 to 222 small letters, digits, dots and dashes")
    parts = prefix.strip("/").split("/") if prefix.strip("/") else []
    if not _PREFIX.fullmatch(prefix) or any(part in ("", ".", "..") for part in parts):
        raise ValueError(
            "a prefix has letters, digits and the signs ! _ . * ' ( ) = - in it, with single slashes between"
        )
    return "/".join([f"{scheme}://{bucket}", *parts])


def timestamps_of(text: str) -> Timestamps:
    """Raises ValueError."""
    if text == "utc":
        return "utc"
    if text == "naive":
        return "naive"
    raise ValueError("must be utc or naive")
