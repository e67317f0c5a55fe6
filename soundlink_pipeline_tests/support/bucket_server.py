"""A store that speaks as much of S3's and Google's XML API as an export asks for, and fails when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree.ElementTree import fromstring
from xml.sax.saxutils import escape

from soundlink_pipeline_tests.support.loopback import answering

ACCESS_KEY, SECRET_KEY, BUCKET = "AKIATESTONLY", "wJalrTestSecretOnly", "exports"
# Of a list: so few that a small export has several pages.
_PAGE = 7


class BucketServer(ThreadingHTTPServer):
    """One bucket, `exports`. The `fail_at`-th request gets `failure` (status, code), and so do all later ones.

    With `done` a failing request is carried out all the same. `requests` are those so far: method and path.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.released = threading.Event()
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.requests: list[str] = []
        self.fail_at: int | None = None
        self.failure = (500, "InternalError")
        self.done = False
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fails_now(self) -> bool:
        return self.fail_at is not None and len(self.requests) >= self.fail_at


@contextmanager
def running_bucket() -> Iterator[BucketServer]:
    with answering(BucketServer()) as server:
        yield server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BucketServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815  (http.server's names)

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        with self.server.lock:
            self.server.requests.append(f"{self.command} {self.path}")
            fails = self.server.fails_now()
            if fails and not self.server.done:
                self._fail(*self.server.failure)
                return
            authorization = self.headers.get("Authorization", "")
            if authorization.startswith("AWS4") and f"Credential={ACCESS_KEY}/" not in authorization:
                self._fail(403, "InvalidAccessKeyId")
                return
            if bucket != BUCKET:
                self._fail(404, "NoSuchBucket")
                return
            status, content, headers = self._done(key, query, body)
            if fails:
                self._fail(*self.server.failure)
                return
        self._send(status, content, headers)

    def _done(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        objects, parts = self.server.objects, self.server.parts
        source = self.headers.get("x-amz-copy-source") or self.headers.get("x-goog-copy-source")
        if self.command == "GET" and not key:
            return 200, _listed(objects, query), {}
        if self.command in ("GET", "HEAD"):
            if key not in objects:
                return 404, b"<Error><Code>NoSuchKey</Code></Error>", {}
            return 200, objects[key], {"ETag": _etag(objects[key])}
        if self.command == "PUT" and source:
            objects[key] = objects[unquote(source).lstrip("/").partition("/")[2]]
            return 200, b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>", {}
        if self.command == "PUT" and "uploadId" in query:
            parts[query["uploadId"]][int(query["partNumber"])] = body
            return 200, b"", {"ETag": _etag(body)}
        if self.command == "PUT":
            objects[key] = body
            return 200, b"", {"ETag": _etag(body)}
        if self.command == "POST" and "uploads" in query:
            upload = f"upload-{len(parts)}"
            parts[upload] = {}
            return (
                200,
                f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode(),
                {},
            )
        if self.command == "POST" and "uploadId" in query:
            objects[key] = b"".join(content for _, content in sorted(parts.pop(query["uploadId"]).items()))
            return 200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>", {}
        if self.command == "POST" and "delete" in query:
            names = [found.text or "" for found in fromstring(body).iter() if found.tag.endswith("Key")]
            for name in names:
                objects.pop(name, None)
            deleted = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
            return 200, f"<DeleteResult>{deleted}</DeleteResult>".encode(), {}
        assert self.command == "DELETE", self.path
        return (204 if objects.pop(key, None) is not None else 404), b"", {}

    def _fail(self, status: int, code: str) -> None:
        # As S3 does: the answer says back who asked, and what was signed.
        said = f"<AWSAccessKeyId>{self.headers.get('Authorization', '')}</AWSAccessKeyId>"
        self._send(status, f"<Error><Code>{code}</Code><Message>no</Message>{said}</Error>".encode(), {})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Last-Modified", "Thu, 23 Apr 2026 08:00:00 GMT")
        self.send_header("Content-Length", "0" if status == 204 else str(len(content)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return f'"{md5(content, usedforsecurity=False).hexdigest()}"'


def _listed(objects: dict[str, bytes], query: dict[str, str]) -> bytes:
    begin = query.get("continuation-token", "")
    names = [name for name in sorted(objects) if name.startswith(query.get("prefix", "")) and name > begin]
    page, more = names[:_PAGE], len(names) > _PAGE
    contents = "".join(
        f"<Contents><Key>{escape(name)}</Key><LastModified>2026-04-23T08:00:00.000Z</LastModified>"
        f"<ETag>{_etag(objects[name])}</ETag><Size>{len(objects[name])}</Size></Contents>"
        for name in page
    )
    token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
    return (
        f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>".encode()
    )
