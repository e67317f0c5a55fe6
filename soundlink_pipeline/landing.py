"""Delivered files: what they are called, how they land whole, how they are kept, replayed, refused and forgotten.

    landing/<export>/<campaign>/<start>_<end>_asked-…_server-…_received-…_rows-…_run-….ndjson
    landing/campaigns/asked-…_server-…_run-….ndjson                      a listing, one campaign a line
    quarantine/<export>/<campaign>/…                                     refused deliveries, each with a .reason.txt

A file under its final name is whole: it is written under a temporary name, fsynced and renamed. Its name says all
that is known of it besides its bytes, so the warehouse can be rebuilt from the files alone. Once loaded it is
compressed, and its name gains `_loaded-<n>`, its place in the order of loading.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote, unquote

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from soundlink_pipeline.partitions import DateRange

_TEMPORARY = ".part"
_COMPRESSED = ".zst"
_CHUNK = 1 << 20
# A temporary file untouched for so long belongs to no living download: a silence far shorter than this ends one.
_ABANDONED_AFTER = timedelta(days=1)
_LONGEST_FOLDER_NAME = 120

_STAMP = "%Y%m%dT%H%M%S.%f"
_DELIVERY_NAME = re.compile(
    r"(?P<start>\d{4}-\d\d-\d\d)_(?P<end>\d{4}-\d\d-\d\d)"
    r"_asked-(?P<asked>[\dT.]+)_server-(?P<server>[\dT.]+|none)_received-(?P<received>[\dT.]+)"
    r"_rows-(?P<rows>\d+|unknown)_run-(?P<run>[0-9A-Za-z-]+)(?:_loaded-(?P<loaded>\d+))?\.ndjson(?:\.zst)?"
)
_LISTING_NAME = re.compile(
    r"asked-(?P<asked>[\dT.]+)_server-(?P<server>[\dT.]+|none)_run-(?P<run>[0-9A-Za-z-]+)\.ndjson(?:\.zst)?"
)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_STAMP)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One export of one campaign over one range, as it arrived: a landed file and what its name says.

    `campaign_id` is the id that was asked for. Moments are aware and in UTC; `server_date` is the answer's `Date`
    header. `declared_rows` is `X-Row-Count`. `loaded` is the place in the order of loading, None if not yet loaded.
    """

    export: str
    campaign_id: str
    dates: DateRange
    requested_at: datetime
    received_at: datetime
    server_date: datetime | None
    declared_rows: int | None
    run_id: str
    path: Path
    loaded: int | None = None

    @property
    def pulled_at(self) -> datetime:
        """The moment of the pull: the server's clock, ours only where it told none. Decides what is settled."""
        return self.server_date or self.requested_at

    @cached_property
    def delivery_id(self) -> str:
        """Unique, and ordered by the moment of the pull: text order is the order of versions."""
        what = "\n".join((self.export, self.campaign_id, str(self.dates)))
        digest = hashlib.sha256(what.encode()).hexdigest()[:8]
        return f"{_stamp(self.pulled_at)}_{_stamp(self.requested_at)}_{digest}"

    @property
    def name(self) -> str:
        server = _stamp(self.server_date) if self.server_date else "none"
        rows = "unknown" if self.declared_rows is None else str(self.declared_rows)
        loaded = "" if self.loaded is None else f"_loaded-{self.loaded:08d}"
        return (
            f"{self.dates.start}_{self.dates.end}_asked-{_stamp(self.requested_at)}_server-{server}"
            f"_received-{_stamp(self.received_at)}_rows-{rows}_run-{self.run_id}{loaded}.ndjson"
        )

    def describe(self) -> str:
        return f"{self.export} of campaign {self.campaign_id}, {self.dates}"

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The bytes as delivered, whether compressed by now or not."""
        with _open(self.path) as file:
            yield file


@dataclass(frozen=True)
class Listing:
    """One answer of the campaign listing: a landed file of one campaign a line."""

    requested_at: datetime
    server_date: datetime | None
    run_id: str
    path: Path

    @property
    def listed_at(self) -> datetime:
        return self.server_date or self.requested_at

    @property
    def archived(self) -> bool:
        """Whether it is in the warehouse: compressed only then."""
        return self.path.suffix == _COMPRESSED

    def items(self) -> list[dict[str, Any]]:
        """The campaigns, as the API listed them."""
        with _open(self.path) as file:
            return [json.loads(line) for line in file]


class Landing:
    """The folder of landed deliveries below `data_dir`, and the quarantine beside it."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "landing"
        self.quarantine = data_dir / "quarantine"

    def temporary_file(self) -> Path:
        """A path for a download in progress; what stays there after a crash is swept by `sweep`."""
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root / f".{os.getpid()}-{os.urandom(8).hex()}{_TEMPORARY}"

    def land(self, delivery: Delivery) -> Delivery:
        """Give a complete, fsynced temporary file its final name."""
        target = self.root / delivery.export / folder_name(delivery.campaign_id) / delivery.name
        landed = replace(delivery, path=target)
        if _read_name(target) != landed:
            raise ValueError(f"{delivery.describe()} cannot land as {target}: the name does not say all of it")
        _move(delivery.path, target)
        return landed

    def land_listing(
        self, items: list[bytes], requested_at: datetime, server_date: datetime | None, run: str
    ) -> Listing:
        """Land a campaign listing, one JSON object a line."""
        server = _stamp(server_date) if server_date else "none"
        target = self.root / "campaigns" / f"asked-{_stamp(requested_at)}_server-{server}_run-{run}.ndjson"
        landed = Listing(requested_at, server_date, run, target)
        if _read_listing_name(target) != landed:
            raise ValueError(f"a listing cannot land as {target}: the name does not say all of it")
        temporary = self.temporary_file()
        with temporary.open("wb") as file:
            file.writelines(item + b"\n" for item in items)
            sync(file)
        _move(temporary, target)
        return landed

    def deliveries(self) -> list[Delivery]:
        """Every landed delivery: loaded ones in the order of loading, then the others in the order of their pulls."""
        found: dict[str, Delivery] = {}
        for path in sorted(self.root.glob("*/*/*.ndjson*")):
            delivery = _read_name(path)
            if delivery is not None:
                # After a crash within `archive` a delivery may be there twice; the compressed one, sorting last, wins.
                found[delivery.delivery_id] = delivery
        return sorted(
            found.values(),
            key=lambda d: (d.loaded is None, d.loaded or 0, d.delivery_id),
        )

    def not_archived(self) -> list[Delivery]:
        """The deliveries that no load has finished with: landed by a run that ended before it could."""
        return [d for d in (_read_name(path) for path in sorted(self.root.glob("*/*/*.ndjson"))) if d is not None]

    def listings(self) -> list[Listing]:
        """Every landed listing, oldest first."""
        listings = [_read_listing_name(path) for path in self.root.glob("campaigns/*.ndjson*")]
        return sorted(
            (listing for listing in listings if listing is not None),
            key=lambda listing: (listing.listed_at, listing.requested_at),
        )

    def archive(self, delivery: Delivery, loaded: int) -> Delivery:
        """Compress a loaded delivery and write its place in the order of loading into its name."""
        kept = replace(delivery, loaded=loaded)
        return replace(kept, path=_compress(delivery.path, delivery.path.with_name(kept.name + _COMPRESSED)))

    def archive_listing(self, listing: Listing) -> None:
        if not listing.archived:
            _compress(listing.path, listing.path.with_name(listing.path.name + _COMPRESSED))

    def refuse(self, delivery: Delivery, reason: str) -> Path:
        """Move a delivery into quarantine, with the reason beside it; returns where it lies."""
        target = self.quarantine / delivery.export / folder_name(delivery.campaign_id) / delivery.name
        if delivery.path.suffix == _COMPRESSED:
            target = target.with_name(target.name + _COMPRESSED)
        _make_folder(target.parent)
        # The reason first: a file in quarantine is never without one. It may quote what is not quite text.
        with target.with_name(target.name + ".reason.txt").open("wb") as file:
            file.write(f"{reason}\n".encode(errors="backslashreplace"))
            sync(file)
        return _move(delivery.path, target)

    def sweep(self, now: datetime, retention_days: int) -> int:
        """Delete archived files whose pull is older than the retention, and abandoned downloads; returns how many.

        What is not loaded yet, or lies in quarantine, is never deleted.
        """
        oldest = now - timedelta(days=retention_days)
        expired = [d.path for d in self.deliveries() if d.loaded is not None and d.pulled_at < oldest]
        expired += [item.path for item in self.listings() if item.archived and item.listed_at < oldest]
        for path in self.root.glob(f"**/.*{_TEMPORARY}"):
            with contextlib.suppress(FileNotFoundError):
                if datetime.fromtimestamp(path.stat().st_mtime, UTC) < now - _ABANDONED_AFTER:
                    expired.append(path)
        for path in expired:
            path.unlink(missing_ok=True)
        return len(expired)


def folder_name(campaign_id: str) -> str:
    """A campaign id as a folder name: whatever the id holds, it stays one name below the export's folder.

    ValueError for an id that is empty, too long for a name, or no valid Unicode.
    """
    if not campaign_id:
        raise ValueError("a campaign id is empty")
    name = quote(campaign_id, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(name) > _LONGEST_FOLDER_NAME:
        raise ValueError(f"campaign id of {len(campaign_id)} characters is too long to be one: {campaign_id[:40]!r}…")
    return name


def sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _move(source: Path, target: Path) -> Path:
    _make_folder(target.parent)
    source.replace(target)
    _sync_folder(target.parent)
    return target


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """A rename, or a new folder, is durable only once the folder it happened in is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    if path.suffix == _COMPRESSED:
        with zstd.open(path, "rb") as compressed:
            yield cast(BinaryIO, compressed)
    else:
        with path.open("rb") as plain:
            yield plain


def _compress(source: Path, target: Path) -> Path:
    temporary = target.with_name(f".{os.urandom(8).hex()}{_TEMPORARY}")
    try:
        with source.open("rb") as plain, temporary.open("wb") as file:
            with zstd.open(file, "wb", level=1) as compressed:
                compressed.write(b"")  # of an empty file too there is a frame: without one it could not be read
                shutil.copyfileobj(plain, cast(BinaryIO, compressed), _CHUNK)
            sync(file)
        _move(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    source.unlink()
    return target


def _read_name(path: Path) -> Delivery | None:
    """The delivery that a file is by its name; None for a file that is not ours."""
    match = _DELIVERY_NAME.fullmatch(path.name)
    if match is None:
        return None
    with contextlib.suppress(ValueError):  # no such day
        return Delivery(
            export=path.parent.parent.name,
            campaign_id=unquote(path.parent.name),
            dates=DateRange(date.fromisoformat(match["start"]), date.fromisoformat(match["end"])),
            requested_at=_moment(match["asked"]),
            received_at=_moment(match["received"]),
            server_date=None if match["server"] == "none" else _moment(match["server"]),
            declared_rows=None if match["rows"] == "unknown" else int(match["rows"]),
            run_id=match["run"],
            path=path,
            loaded=None if match["loaded"] is None else int(match["loaded"]),
        )
    return None


def _read_listing_name(path: Path) -> Listing | None:
    match = _LISTING_NAME.fullmatch(path.name)
    if match is None:
        return None
    with contextlib.suppress(ValueError):
        server = None if match["server"] == "none" else _moment(match["server"])
        return Listing(_moment(match["asked"]), server, match["run"], path)
    return None


def content(delivery: Delivery) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a delivery's bytes, uncompressed."""
    digest, size = hashlib.sha256(), 0
    with delivery.open() as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
