"""Delivered files: what they are called, how they land whole, how they are kept, replayed, refused and forgotten.

    landing/<export>/<id>/<start>_<end>_asked-…_server-…_received-…_rows-…_sha256-…_run-….ndjson
    landing/campaigns/asked-…_server-…_sha256-…_run-….ndjson             a listing, one campaign a line
    landing/soundlinks/…                                                 the same of soundlinks
    landing/campaign_details/…, landing/soundlink_details/…              details that a run asked for, one a line
    landing/accounts/<name>/…                           the same of each account beside the first, `default`
    quarantine/…                                        what was refused or is damaged, each with a .reason.txt

A file under its final name is whole: it is written under a temporary name, fsynced and renamed. Its name says all
that is known of it besides its bytes, and how their SHA-256 begins, so the warehouse can be rebuilt from the files
alone. Once loaded it is compressed, and its name gains `_loaded-<n>`, its place in the order of loading.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.durable import make_folder, move, sync
from soundlink_pipeline.landing.deliveries import (
    ACCOUNTS,
    Delivery,
    Listing,
    digest_of,
    folder_of,
    read_listing_name,
    read_name,
)
from soundlink_pipeline.landing.stored import COMPRESSED, DamagedFile, compress

_TEMPORARY = ".part"
_DETAILS = "_details"

# A temporary file untouched for so long belongs to no living download: a silence far shorter than this ends one.
_ABANDONED_AFTER = timedelta(days=1)


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
        target = self.root / delivery.folder / delivery.name
        landed = replace(delivery, path=target)
        if read_name(target, delivery.account) != landed:
            raise ValueError(f"{delivery.describe()} cannot land as {target}: the name does not say all of it")
        move(delivery.path, target)
        return landed

    def land_listing(
        self,
        subject: Subject,
        items: list[bytes],
        requested_at: datetime,
        server_date: datetime | None,
        run: str,
        *,
        account: str = DEFAULT_ACCOUNT,
    ) -> Listing:
        """Land a subject's listing, as an account sees it, one JSON object a line."""
        listing = Listing(requested_at, server_date, run, Path(), None, account)
        return self._land_lines(subject.table, items, listing)

    def land_details(
        self,
        subject: Subject,
        items: list[bytes],
        requested_at: datetime,
        server_date: datetime | None,
        run: str,
        *,
        account: str = DEFAULT_ACCOUNT,
    ) -> Listing:
        """Land details of a subject, one JSON object a line: its id, what was `listed` of it, and its `detail`."""
        listing = Listing(requested_at, server_date, run, Path(), None, account)
        return self._land_lines(_details_folder(subject), items, listing)

    def _land_lines(self, folder: str, items: list[bytes], listing: Listing) -> Listing:
        body = b"".join(item + b"\n" for item in items)
        listing = replace(listing, digest=digest_of(hashlib.sha256(body).hexdigest()))
        target = self.root / folder_of(listing.account) / folder / listing.name
        landed = replace(listing, path=target)
        if read_listing_name(target, listing.account) != landed:
            raise ValueError(f"a listing cannot land as {target}: the name does not say all of it")
        temporary = self.temporary_file()
        with temporary.open("wb") as file:
            file.write(body)
            sync(file)
        move(temporary, target)
        return landed

    def deliveries(self) -> list[Delivery]:
        """Every landed delivery: loaded ones in the order of loading, then the others in the order of their pulls."""
        found: dict[str, Delivery] = {}
        for account, folder in self.accounts():
            for path in sorted(folder.glob("*/*/*.ndjson*")):
                delivery = read_name(path, account)
                if delivery is None:
                    continue
                # After a crash within `archive` a delivery may be there twice; the compressed one, sorting last, wins.
                found[delivery.delivery_id] = delivery
        return sorted(
            found.values(),
            key=lambda d: (d.loaded is None, d.loaded or 0, d.delivery_id),
        )

    def not_archived(self) -> list[Delivery]:
        """The deliveries that no load has finished with: landed by a run that ended before it could."""
        found = (
            read_name(path, account)
            for account, folder in self.accounts()
            for path in sorted(folder.glob("*/*/*.ndjson"))
        )
        return [delivery for delivery in found if delivery is not None]

    def listings(self, subject: Subject, account: str | None = None) -> list[Listing]:
        """Every landed listing of a subject, of an account or of whichever, oldest first."""
        return self._listings(subject.table, account)

    def details(self, subject: Subject) -> list[Listing]:
        """Every landed file of details of a subject, oldest first."""
        return self._listings(_details_folder(subject))

    def _listings(self, table: str, only: str | None = None) -> list[Listing]:
        listings = [
            read_listing_name(path, account)
            for account, folder in self.accounts()
            if only in (None, account)
            for path in folder.glob(f"{table}/*.ndjson*")
        ]
        return sorted(
            (listing for listing in listings if listing is not None),
            key=lambda listing: (listing.listed_at, listing.requested_at),
        )

    def accounts(self) -> list[tuple[str, Path]]:
        """Every account that has files here, by name, and its folder; the first one's holds those of all others."""
        others = sorted(self.root.glob(f"{ACCOUNTS}/*/"))
        return [(DEFAULT_ACCOUNT, self.root), *((unquote(folder.name), folder) for folder in others)]

    def other_files(self, delivery: Delivery) -> Iterator[Delivery]:
        """Other files of the same delivery: compressed meanwhile, or left by a crash within `archive`."""
        for path in sorted(delivery.path.parent.glob("*.ndjson*")):
            other = read_name(path, delivery.account)
            if other is not None and path != delivery.path and other.delivery_id == delivery.delivery_id:
                yield other

    def unreadable_folders(self) -> dict[Path, str]:
        """The folders of the landing whose files cannot be seen, and why."""
        found = {}
        own = [folder for _, folder in self.accounts()]
        below = [path for folder in own for depth in ("*/", "*/*/") for path in folder.glob(depth)]
        for folder in dict.fromkeys((*own, *below)):
            try:
                os.scandir(folder).close()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                found[folder] = error.strerror or str(error)
        return found

    def archive(self, delivery: Delivery, loaded: int) -> Delivery:
        """Compress a loaded delivery and write its place in the order of loading into its name.

        Nothing is done where it is compressed already. Raises DamagedFile, OSError; the delivery is then as it was.
        """
        if delivery.path.suffix == COMPRESSED:
            return delivery
        kept = replace(delivery, loaded=loaded)
        target = delivery.path.with_name(kept.name + COMPRESSED)
        return replace(kept, path=_compress(delivery.path, target, delivery.digest))

    def archive_listing(self, listing: Listing) -> None:
        """Compress a listing that is in the warehouse. Raises DamagedFile, OSError."""
        if not listing.archived:
            _compress(listing.path, listing.path.with_name(listing.path.name + COMPRESSED), listing.digest)

    def refuse(self, delivery: Delivery, reason: str) -> Path:
        """Move a delivery into quarantine, with the reason beside it; returns where it lies."""
        name = delivery.name + (COMPRESSED if delivery.path.suffix == COMPRESSED else "")
        return self._set_aside(delivery.path, self.quarantine / delivery.folder / name, reason)

    def refuse_listing(self, listing: Listing, reason: str) -> Path:
        """Move a listing into quarantine, with the reason beside it; returns where it lies."""
        folder = self.quarantine / folder_of(listing.account) / listing.path.parent.name
        return self._set_aside(listing.path, folder / listing.path.name, reason)

    def _set_aside(self, path: Path, target: Path, reason: str) -> Path:
        make_folder(target.parent)
        # The reason first: a file in quarantine is never without one. It may quote what is not quite text.
        beside = target.with_name(target.name + ".reason.txt")
        with beside.open("wb") as file:
            file.write(f"{reason}\n".encode(errors="backslashreplace"))
            sync(file)
        try:
            return move(path, target)
        except OSError:
            beside.unlink()
            raise

    def sweep(self, now: datetime, retention_days: int) -> int:
        """Delete archived files whose pull is older than the retention, and abandoned downloads; returns how many.

        What is not loaded yet, or lies in quarantine, is never deleted. Nor are details: they are not asked for again.
        """
        oldest = now - timedelta(days=min(retention_days, now.toordinal() - 1))  # before year 1 there is no date
        expired = [d.path for d in self.deliveries() if d.loaded is not None and d.pulled_at < oldest]
        listings = [item for item in self._listings("*") if not item.path.parent.name.endswith(_DETAILS)]
        expired += [item.path for item in listings if item.archived and item.listed_at < oldest]
        for path in self.root.glob(f"**/.*{_TEMPORARY}"):
            with contextlib.suppress(FileNotFoundError):
                if datetime.fromtimestamp(path.stat().st_mtime, UTC) < now - _ABANDONED_AFTER:
                    expired.append(path)
        files = [path for path in expired if not path.is_dir()]
        for path in files:
            path.unlink(missing_ok=True)
        return len(files)


def _details_folder(subject: Subject) -> str:
    return f"{subject.name}{_DETAILS}"


def _compress(source: Path, target: Path, digest: str | None) -> Path:
    """Put `source` in place compressed, and delete it only then. `digest` is that of the bytes it should hold."""
    temporary = target.with_name(f".{os.urandom(8).hex()}{_TEMPORARY}")
    try:
        _, sha256 = compress(source, temporary)
        if digest not in (None, digest_of(sha256)):
            raise DamagedFile(source, "it does not hold the bytes that arrived, their SHA-256 is another")
        move(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    source.unlink()
    return target
