"""A bucket of S3 or Google Cloud Storage as the target of an export, by the library obstore.

Credentials are read by the library itself from the environment, when a store is opened, and are kept nowhere. What a
store answers may name keys and signatures, so that no message shows it: only the code of the error.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from soundlink_pipeline.exporting.store import ExportFailed, Store

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSStore, RetryConfig, S3Store

# A request that hangs, and a store that is down, each for how long.
# Without TLS it speaks only where the endpoint in the environment begins with http.
_CLIENT: ClientConfig = {"timeout": "120s", "connect_timeout": "10s", "allow_http": True}
RETRIES: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=90)}
_WORKERS = 8
# A store deletes so many with one request.
_DELETED_AT_ONCE = 1000
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_ENDPOINT = re.compile(r"https?://[^/\s]+\S*$")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"\bstatus(?: code)?:? ?(\d{3})\b", re.IGNORECASE)
_REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
# What a store answers to requests that are for another region or endpoint.
_MISDIRECTED = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "HTTP 301")
_VARIABLES = {
    "s3": "AWS_REGION, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS",
}


def open_bucket(target: str, retries: RetryConfig = RETRIES) -> Store:
    """Raises ExportFailed where the library is missing, or the environment says what it cannot use."""
    try:
        from obstore.store import GCSStore, S3Store  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ExportFailed(f"{target} needs the library obstore: pip install 'soundlink-pipeline[export]'") from None
    for name in _ENDPOINTS:  # the library panics at what is no address
        if os.environ.get(name) and not _ENDPOINT.match(os.environ[name]):
            raise ExportFailed(f"{name} is no address such as https://minio.example:9000: set it right, or unset it")
    scheme, _, place = target.partition("://")
    bucket, _, prefix = place.partition("/")
    made: S3Store | GCSStore
    with _said(target, "open"):
        if scheme == "s3":
            made = S3Store(bucket, prefix=prefix or None, client_options=_CLIENT, retry_config=retries)
        else:
            made = GCSStore(bucket, prefix=prefix or None, client_options=_CLIENT, retry_config=retries)
    return Bucket(target, made)


class Bucket:
    """Objects below a prefix; see `Store`. A put or copy replaces an object at once, as these stores do it."""

    workers = _WORKERS

    def __init__(self, where: str, store: S3Store | GCSStore) -> None:
        self.where = where
        self._store = store

    def read(self, name: str) -> bytes | None:
        with _said(self.where, f"read {name}"):
            try:
                return bytes(self._store.get(name).bytes())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def sizes(self) -> Iterator[tuple[str, int]]:
        with _said(self.where, "list the objects"):
            for found in self._store.list(chunk_size=1000):
                for item in found:
                    yield item["path"], item["size"]

    def put(self, file: Path, name: str) -> None:
        with _said(self.where, f"put {name}"):
            self._store.put(name, file)

    def put_bytes(self, content: bytes, name: str) -> None:
        with _said(self.where, f"put {name}"):
            self._store.put(name, content)

    def copy(self, name: str, to: str) -> None:
        with _said(self.where, f"copy {name}"):
            self._store.copy(name, to)

    def delete(self, names: Iterable[str]) -> None:
        every = list(names)
        for first in range(0, len(every), _DELETED_AT_ONCE):
            some = every[first : first + _DELETED_AT_ONCE]
            with _said(self.where, f"delete {some[0]}"), contextlib.suppress(FileNotFoundError):
                self._store.delete(some)


@contextlib.contextmanager
def _said(where: str, what: str) -> Iterator[None]:
    """Any error of the library as one sentence."""
    from obstore import exceptions  # noqa: PLC0415

    try:
        yield
    except (exceptions.BaseError, OSError, ValueError) as error:
        raise ExportFailed(f"{where} did not let the export {what}: {_reason(error, where)}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, at an address with a port of 99999, say
            raise
        raise ExportFailed(f"{where} did not let the export {what}: {_misdirected(where, '')}") from None


def _reason(error: Exception, where: str) -> str:
    """What is wrong and what to do, without a word of the store's own."""
    from obstore import exceptions  # noqa: PLC0415

    text = str(error)
    codes, statuses = _CODE.findall(text), _STATUS.findall(text)
    code = codes[0] if codes else f"HTTP {statuses[0]}" if statuses else ""
    shown = f" ({code})" if code else ""
    if "NoSuchBucket" in text or (isinstance(error, FileNotFoundError) and "bucket" in text.lower()):
        return "there is no such bucket; make it, or name another one"
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError) or code in _REFUSED:
        return f"it refuses the credentials in the environment{shown}; docs/parquet.md lists what they must permit"
    if _lacks_credentials(text):
        return "the environment has no credentials for it; docs/parquet.md lists the variables"
    if "HTTP error" in text:  # no answer, or none to its end
        return "it cannot be reached; the next export goes on"
    if not code or code in _MISDIRECTED:
        return _misdirected(where, shown or f" ({type(error).__name__})")
    return f"it failed{shown}; the next export goes on"


def _misdirected(where: str, shown: str) -> str:
    variables = _VARIABLES[where.partition("://")[0]]
    return f"it failed{shown}; see whether {variables} are right in the environment, and export again"


def _lacks_credentials(text: str) -> bool:
    """Whether the library has asked the machine for some, as it does where the environment has none."""
    return any(path in text for path in ("/latest/api/token", "/latest/meta-data", "/computeMetadata/"))
