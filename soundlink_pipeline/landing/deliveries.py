"""A landed file, and what its name records."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.landing.stored import COMPRESSED, DamagedFile, opened, size_and_sha256

_STAMP = "%Y%m%dT%H%M%S.%f"
_LONGEST_FOLDER_NAME = 120
# The folder of the accounts beside the first.
ACCOUNTS = "accounts"
_DELIVERY_NAME = re.compile(
    r"(?P<start>\d{4}-\d\d-\d\d)_(?P<end>\d{4}-\d\d-\d\d)"
    r"_asked-(?P<asked>[\dT.]+)_server-(?P<server>[\dT.]+|none)_received-(?P<received>[\dT.]+)"
    r"_rows-(?P<rows>\d+|unknown)(?:_sha256-(?P<digest>[0-9a-f]{16}))?"  # files of earlier versions have no digest
    r"_run-(?P<run>[0-9A-Za-z-]+)(?:_loaded-(?P<loaded>\d+))?\.ndjson(?:\.zst)?"
)
_LISTING_NAME = re.compile(
    r"asked-(?P<asked>[\dT.]+)_server-(?P<server>[\dT.]+|none)(?:_sha256-(?P<digest>[0-9a-f]{16}))?"
    r"_run-(?P<run>[0-9A-Za-z-]+)\.ndjson(?:\.zst)?"
)


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_STAMP)


def digest_of(sha256: str) -> str:
    """As much of a SHA-256 as a file's name holds."""
    return sha256[:16]


def _moment(text: str) -> datetime:
    return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One export of one campaign or soundlink over one range, as it arrived: a landed file and what its name says.

    `account` is the name of the one that asked, `subject_id` the id in the request. Moments are aware and in UTC;
    `server_date` is the answer's `Date` header. `declared_rows` is `X-Row-Count`. `loaded` is the place in the order of
    loading, None if not yet loaded. `digest` is `digest_of` the bytes that arrived, None where the name says none.
    """

    export: str
    subject_id: str
    dates: DateRange
    requested_at: datetime
    received_at: datetime
    server_date: datetime | None
    declared_rows: int | None
    run_id: str
    path: Path
    loaded: int | None = None
    digest: str | None = None
    account: str = DEFAULT_ACCOUNT

    @property
    def pulled_at(self) -> datetime:
        """The moment of the pull, which decides what is settled.

        The server's clock, or the local clock if the response had no Date header.
        """
        return self.server_date or self.requested_at

    @cached_property
    def delivery_id(self) -> str:
        """Unique, and ordered by the moment of the pull: text order is the order of versions."""
        # Without the first account's name: its ids are from before there were others.
        whose = () if self.account == DEFAULT_ACCOUNT else (self.account,)
        what = "\n".join((self.export, self.subject_id, str(self.dates), *whose))
        digest = hashlib.sha256(what.encode()).hexdigest()[:8]
        return f"{stamp(self.pulled_at)}_{stamp(self.requested_at)}_{digest}"

    @property
    def name(self) -> str:
        server = stamp(self.server_date) if self.server_date else "none"
        rows = "unknown" if self.declared_rows is None else str(self.declared_rows)
        digest = "" if self.digest is None else f"_sha256-{self.digest}"
        loaded = "" if self.loaded is None else f"_loaded-{self.loaded:08d}"
        return (
            f"{self.dates.start}_{self.dates.end}_asked-{stamp(self.requested_at)}_server-{server}"
            f"_received-{stamp(self.received_at)}_rows-{rows}{digest}_run-{self.run_id}{loaded}.ndjson"
        )

    @property
    def folder(self) -> PurePosixPath:
        """Where it is kept, below the landing. Raises ValueError for an id that cannot be a folder's name."""
        return folder_of(self.account) / self.export / folder_name(self.subject_id)

    def describe(self) -> str:
        return f"{self.export} of {self.subject_id}, {self.dates}"

    def open(self) -> AbstractContextManager[BinaryIO]:
        """The bytes as delivered, whether compressed by now or not. Raises DamagedFile."""
        return opened(self.path)


@dataclass(frozen=True)
class Listing:
    """One answer of a subject's listing: a landed file of one campaign (or soundlink) a line.

    `digest` and `account` are as a delivery's.
    """

    requested_at: datetime
    server_date: datetime | None
    run_id: str
    path: Path
    digest: str | None = None
    account: str = DEFAULT_ACCOUNT

    @property
    def listed_at(self) -> datetime:
        return self.server_date or self.requested_at

    @property
    def archived(self) -> bool:
        """Whether it is in the warehouse: compressed only then."""
        return self.path.suffix == COMPRESSED

    @property
    def name(self) -> str:
        server = stamp(self.server_date) if self.server_date else "none"
        digest = "" if self.digest is None else f"_sha256-{self.digest}"
        return f"asked-{stamp(self.requested_at)}_server-{server}{digest}_run-{self.run_id}.ndjson"

    def lines(self, subject: Subject) -> list[str]:
        """What the API listed, one JSON object a line. Raises DamagedFile."""
        with opened(self.path) as file:
            body = file.read()
        _check_digest(self.path, self.digest, hashlib.sha256(body).hexdigest())
        lines = body.split(b"\n")
        if lines.pop():
            raise DamagedFile(self.path, "it is cut short, its last line has no end")
        for number, line in enumerate(lines, start=1):
            if not _is_item(line, subject):
                raise DamagedFile(self.path, f"line {number} is not a {subject.name}")
        return [line.decode() for line in lines]

    def items(self, subject: Subject) -> list[dict[str, Any]]:
        """What the API listed, each its own object. Raises DamagedFile."""
        return [json.loads(line) for line in self.lines(subject)]


def _is_item(line: bytes, subject: Subject) -> bool:
    try:
        item = json.loads(line.decode())
    except (ValueError, RecursionError):
        return False
    return isinstance(item, dict) and isinstance(item.get(subject.id_field), str)


def _check_digest(path: Path, digest: str | None, sha256: str) -> None:
    if digest not in (None, digest_of(sha256)):
        raise DamagedFile(path, "it does not hold the bytes that arrived, their SHA-256 is another")


def folder_of(account: str) -> PurePosixPath:
    """Where an account's files are kept, below the landing: those of the first are where they were when alone."""
    return PurePosixPath() if account == DEFAULT_ACCOUNT else PurePosixPath(ACCOUNTS, folder_name(account))


def folder_name(name: str) -> str:
    """An id or an account's name as a folder name: whatever it holds, it stays one name.

    ValueError for an id that is empty, too long for a name, or no valid Unicode.
    """
    if not name:
        raise ValueError("a listed id is empty")
    quoted = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(quoted) > _LONGEST_FOLDER_NAME:
        raise ValueError(f"a listed id of {len(name)} characters is too long to be one: {name[:40]!r}…")
    return quoted


def read_name(path: Path, account: str = DEFAULT_ACCOUNT) -> Delivery | None:
    """The delivery that a file is by its name; None for a file that is not ours. `account` is whose folder it is in."""
    match = _DELIVERY_NAME.fullmatch(path.name)
    if match is None:
        return None
    with contextlib.suppress(ValueError):  # no such day
        return Delivery(
            export=path.parent.parent.name,
            subject_id=unquote(path.parent.name),
            dates=DateRange(date.fromisoformat(match["start"]), date.fromisoformat(match["end"])),
            requested_at=_moment(match["asked"]),
            received_at=_moment(match["received"]),
            server_date=None if match["server"] == "none" else _moment(match["server"]),
            declared_rows=None if match["rows"] == "unknown" else int(match["rows"]),
            run_id=match["run"],
            path=path,
            loaded=None if match["loaded"] is None else int(match["loaded"]),
            digest=match["digest"],
            account=account,
        )
    return None


def read_listing_name(path: Path, account: str = DEFAULT_ACCOUNT) -> Listing | None:
    """The listing that a file is by its name; None for a file that is not ours. `account` as of `read_name`."""
    match = _LISTING_NAME.fullmatch(path.name)
    if match is None:
        return None
    with contextlib.suppress(ValueError):
        server = None if match["server"] == "none" else _moment(match["server"])
        return Listing(_moment(match["asked"]), server, match["run"], path, match["digest"], account)
    return None


def content(delivery: Delivery) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a delivery's bytes, uncompressed. Raises DamagedFile."""
    with delivery.open() as file:
        return size_and_sha256(file)


# DuckDB reads a little more than JSON (a trailing comma; other blanks than JSON's; NaN, and other figures, in fields it
# drops), and drops what the contract does not know. Every line of a delivery up to this size is looked at again for
# that. Reading all lines twice would make a large load half as slow again, and what is odd or new is in every row or
# in none.
SAMPLED_WHOLE_BYTES = 1 << 20
SAMPLED_END_BYTES = 1 << 14


@dataclass(frozen=True)
class HashedDelivery:
    """A delivery ready to be loaded: the size and SHA-256 of its bytes."""

    delivery: Delivery
    size: int
    sha256: str

    @classmethod
    def of(cls, delivery: Delivery, known: tuple[int, str] | None = None) -> HashedDelivery:
        """From a landed file. `known` is its size and SHA-256, if the download already computed them.

        Otherwise the file is read to its end. Raises DamagedFile.
        """
        size, sha256 = known or content(delivery)
        _check_digest(delivery.path, delivery.digest, sha256)
        return cls(delivery, size, sha256)

    def sample(self) -> bytes:
        """The whole delivery up to 1 MiB, and else its first and last 16 KiB, in whole lines."""
        with self.delivery.open() as file:
            if self.size <= SAMPLED_WHOLE_BYTES:
                return file.read()
            head = file.read(SAMPLED_END_BYTES).rpartition(b"\n")[0]
            file.seek(self.size - SAMPLED_END_BYTES)
            return head + b"\n" + file.read().partition(b"\n")[2]
