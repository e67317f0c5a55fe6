"""The export: what has changed since the target's last one is written, put in place, and then named by the manifest.

1. Every part (a table's day, or a table without days) is fingerprinted in the published file, and compared with the
   target's manifest. Whatever a revision, a rebuild, a new name of a campaign or a missed run has changed is found so.
2. What has changed is written as Parquet into a scratch folder, and put under a name of its own, which its bytes give.
3. The manifest is put. From here on its readers have the new state, whole; before, they had the old one.
4. The fixed names, for readers by pattern, are replaced one by one; then files that two manifests no longer name go.

An export that ends at any moment is made up for by the next one. Files that it has put are found by their names.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import duckdb

from soundlink_pipeline.contracts.schema import DATE_COLUMN
from soundlink_pipeline.exporting.manifest import (
    COPY,
    MANIFEST,
    PIPELINE,
    VERSIONS,
    ExportedFile,
    ExportedTable,
    Manifest,
    read_manifest,
)
from soundlink_pipeline.exporting.putting import Putting
from soundlink_pipeline.exporting.store import ExportFailed, Store, open_store
from soundlink_pipeline.exporting.tables import (
    FIXED,
    Part,
    SourceTable,
    batches_of,
    first_line,
    made_by,
    organizations_in,
    parts_of,
    published_head,
    source_tables,
    write_parts,
)
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.settings.export_target import Timestamps
from soundlink_pipeline.typed import typed
from soundlink_pipeline.warehouse.sql import quote
from soundlink_pipeline.wording import counted, size

# Of DuckDB's own; with Python and what is being put, an export stays below 600 MB.
_MEMORY = "256MB"


@dataclass(frozen=True)
class Exported:
    """What an export has done. `files`, `rows` and `bytes` are what it has written, `all_…` what the target now has.

    `days` are those of which something has changed.
    """

    where: str
    files: int
    rows: int
    bytes: int
    days: list[str]
    gone: int
    all_files: int
    all_rows: int
    all_bytes: int
    seconds: float


def export(
    published: Path,
    target: str,
    *,
    timestamps: Timestamps,
    now: datetime,
    longest: float | None = None,
    opened: Callable[[str], Store] = open_store,
) -> Exported:
    """Bring the target to what the file `published` holds. `now` is aware; `longest` is in seconds.

    Raises ExportFailed: by the manifest the target then has its old state, whole, or the new one where only fixed names
    had still to follow.
    """
    if not published.is_file():
        raise ExportFailed(f"nothing is published yet: {typed('pull --from=DAY --to=DAY')} does it")
    # Not in `tmp`, which DuckDB makes for a publication that spills, and removes whole.
    scratch = published.parent / "exporting"
    if "://" not in target and Path(target).resolve().is_relative_to(scratch.resolve()):
        raise ExportFailed(f"{target} is where the pipeline keeps what is temporary: name another folder")
    try:
        with _alone(published.parent / "export.lock"), _emptied(scratch), read_published(published) as connection:
            # One thread: most files are small, and a second one would only wait for the first.
            connection.execute(f"set threads = 1; set memory_limit = '{_MEMORY}'")
            connection.execute(f"set temp_directory = {quote(str(scratch / 'spilled'))}")
            connection.execute("set TimeZone = 'UTC'")
            return _Export(connection, opened(target), scratch, timestamps=timestamps, now=now, longest=longest).run()
    except OSError as error:
        place = error.filename or scratch
        raise ExportFailed(f"{place} cannot be read or written ({error.strerror or error})") from None
    except duckdb.Error as error:
        raise ExportFailed(f"{published} cannot be exported: {first_line(error)}. The target is as it was") from None
    except ExportFailed:
        raise
    except Exception as error:
        # Without its text, in which there may be a secret of a store.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise ExportFailed(
            f"the export has met what it does not know ({type(error).__name__} at {Path(frame.filename).name}:"
            f"{frame.lineno}); by its manifest the target is whole. Please report it"
        ) from error


class _Export:
    """One export over an open connection to the published file."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: Store,
        scratch: Path,
        *,
        timestamps: Timestamps,
        now: datetime,
        longest: float | None,
    ) -> None:
        self._connection = connection
        self._store = store
        self._scratch = scratch
        self._timestamps = timestamps
        self._now = f"{now.astimezone(UTC).isoformat(timespec='seconds').removesuffix('+00:00')}Z"
        self._started = time.monotonic()
        self._longest = longest
        self._before: Manifest | None = None
        self._there: dict[str, int] = {}

    def run(self) -> Exported:
        found = self._store.read(MANIFEST)
        self._before = None if found is None else read_manifest(found, self._store.where)
        self._there = self._names_there()
        tables = list(source_tables(self._connection, self._timestamps))
        organizations = self._checked_organizations(organizations_in(self._connection, tables))
        written_with = made_by(self._connection)
        with ThreadPoolExecutor(self._store.workers) as pool:
            putting = Putting(pool, self._store)
            try:
                exported = [self._exported(table, written_with, putting) for table in tables]
                putting.finish()
            except BaseException:
                putting.give_up()
                raise
        published_at, run_id = published_head(self._connection)
        manifest = self._with_pending(
            Manifest(
                export=os.urandom(8).hex(),
                exported_at=self._now,
                published_at=published_at,
                run_id=run_id,
                pipeline_version=version(PIPELINE),
                timestamps=self._timestamps,
                organizations=organizations,
                tables=exported,
            )
        )
        is_new = self._before is None or self._before.tables != manifest.tables
        if is_new or manifest.to_copy or manifest.to_delete:
            self._check_unchanged(found)
            self._store.put_bytes(manifest.as_json(), MANIFEST)
            self._replace_copies(manifest)
        return self._told(manifest)

    def _names_there(self) -> dict[str, int]:
        """Every object with its bytes. Raises ExportFailed where another program has put something here before."""
        there: dict[str, int] = {}
        for name, length in self._store.sizes():
            # An export that ended before its first manifest has left files below VERSIONS alone.
            if self._before is None and not name.startswith(f"{VERSIONS}/") and not name.endswith(".part"):
                if name.startswith(FIXED) and name.endswith(f"/{COPY}"):
                    raise ExportFailed(
                        f"{self._store.where} holds {name} and no {MANIFEST}, by which an export knows its own files:"
                        " put the manifest back, empty the place, or name another one"
                    )
                raise ExportFailed(
                    f"{self._store.where} holds {name}, which no export has put there: name an empty place or a new one"
                )
            there[name] = length
        return there

    def _checked_organizations(self, ours: list[str]) -> list[str]:
        """Raises ExportFailed where the target has the rows of others alone, or may have."""
        theirs = self._before.organizations if self._before else []
        if theirs and not ours:
            raise ExportFailed(
                f"{self._store.where} holds the export of {', '.join(theirs)}, and the published file names no"
                f" organization, so that it may be another's: {typed('pull --from=DAY --to=DAY')} makes it name its"
                " own; or export to another place"
            )
        if theirs and not set(ours) & set(theirs):
            raise ExportFailed(
                f"{self._store.where} holds the export of another organization ({', '.join(theirs)}), and this"
                f" pipeline's is {', '.join(ours)}: name another place"
            )
        return ours

    def _exported(self, table: SourceTable, written_with: str, putting: Putting) -> ExportedTable:
        before = self._table_before(table.full_name, table.columns_by_name, written_with)
        files: dict[str, ExportedFile] = {}
        changed: list[Part] = []
        parts = parts_of(self._connection, table)
        for part in parts:
            last = before.get(_copy_of(table, part))
            if last and (last.fingerprint, last.rows) == (part.fingerprint, part.rows):
                files[last.copy] = last
            else:
                changed.append(part)
        for batch in batches_of(changed):
            self._check_time()
            written = write_parts(self._connection, table, batch, self._scratch / str(putting.next_number()))
            for part, file in zip(batch, written, strict=True):
                put = self._put(table, part, file, putting)
                files[put.copy] = put
        ordered = [files[_copy_of(table, part)] for part in parts]
        days = DATE_COLUMN if table.has_days else None
        return ExportedTable(table.full_name, table.folder, days, table.columns_by_name, written_with, ordered)

    def _table_before(self, name: str, columns: dict[str, str], written_with: str) -> dict[str, ExportedFile]:
        """What the target has of a table and keeps, by fixed name: nothing once the columns or types are others.

        Nor a file that somebody has deleted there, or that has another length. Other bytes of the same length are not
        found: all of the target would have to be read.
        """
        for table in self._before.tables if self._before else ():
            if (table.name, list(table.columns.items()), table.made_by) == (name, list(columns.items()), written_with):
                return {file.copy: file for file in table.files if self._there.get(file.file) == file.bytes}
        return {}

    def _check_time(self) -> None:
        if self._longest is not None and time.monotonic() - self._started > self._longest:
            raise ExportFailed(
                f"{self._store.where} was not reached within {self._longest / 60:,.0f} minutes; the next export goes on"
                f" with what is missing, and {typed('export')} without such a limit"
            )

    def _put(self, table: SourceTable, part: Part, written: Path, putting: Putting) -> ExportedFile:
        length = written.stat().st_size
        with written.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        day = None if part.day is None else part.day.isoformat()
        name = f"{VERSIONS}/{table.folder}/{f'{day}-' if day else ''}{sha256[:16]}.parquet"
        if self._there.get(name) == length:  # put by an export that did not come to its manifest
            written.unlink()
        else:
            putting.put(written, name)
        copy = _copy_of(table, part)
        return ExportedFile(day, name, copy, part.rows, length, sha256, part.sums, part.fingerprint, self._now)

    def _with_pending(self, manifest: Manifest) -> Manifest:
        """With the fixed names that are not yet as it says, those that an earlier export has left so too."""
        before = self._before.files if self._before else {}
        left = set(self._before.to_copy) if self._before else set()
        files = manifest.files
        to_copy = [
            copy
            for copy, file in files.items()
            if copy in left
            or self._there.get(copy) != file.bytes
            or copy not in before
            or before[copy].file != file.file
        ]
        gone = {*before, *(self._before.to_delete if self._before else ())} - files.keys()
        return replace(manifest, to_copy=to_copy, to_delete=sorted(gone))

    def _check_unchanged(self, found: bytes | None) -> None:
        if self._store.read(MANIFEST) != found:
            raise ExportFailed(
                f"another export has written to {self._store.where} meanwhile: let one pipeline alone export there"
            )

    def _replace_copies(self, manifest: Manifest) -> None:
        """Have the fixed names follow, and say so in the manifest; delete the files that no reader can ask for.

        What the manifest before named stays until the next export, for whoever is still reading by that one.
        """
        files = manifest.files
        with ThreadPoolExecutor(self._store.workers) as pool:
            for _ in pool.map(lambda copy: self._copy(files[copy].file, copy), manifest.to_copy):
                pass
        self._store.delete(manifest.to_delete)
        self._store.put_bytes(replace(manifest, to_copy=[], to_delete=[]).as_json(), MANIFEST)
        named = {file.file for of in (manifest, self._before) if of for file in of.files.values()}
        self._store.delete([name for name in self._there if name.startswith(f"{VERSIONS}/") and name not in named])

    def _copy(self, name: str, to: str) -> None:
        self._check_time()
        self._store.copy(name, to)

    def _told(self, manifest: Manifest) -> Exported:
        before = self._before.files if self._before else {}
        files = manifest.files
        new = [file for copy, file in files.items() if copy not in before or before[copy].file != file.file]
        return Exported(
            where=self._store.where,
            files=len(new),
            rows=sum(file.rows for file in new),
            bytes=sum(file.bytes for file in new),
            days=sorted({file.report_date for file in new if file.report_date}),
            gone=len(manifest.to_delete),
            all_files=len(files),
            all_rows=sum(file.rows for file in files.values()),
            all_bytes=sum(file.bytes for file in files.values()),
            seconds=time.monotonic() - self._started,
        )


def _copy_of(table: SourceTable, part: Part) -> str:
    return f"{table.folder_of(part.day)}/{COPY}"


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Raises ExportFailed while another process exports the same published file. The file stays."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportFailed("another export of this data folder is at work: wait until it has ended") from None
        yield


@contextlib.contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """An empty folder for the block; what a killed export has left there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def summary(exported: Exported) -> Iterator[str]:
    """What to tell of an export, a line each."""
    if not exported.files and not exported.gone:
        yield f"{exported.where} has all of it already: nothing has changed since its last export"
        return
    days = exported.days
    span = f", {days[0]} to {days[-1]}" if len(days) > 1 else f", {days[0]}" if days else ""
    yield (
        f"Exported: {counted(exported.files, 'file')} with {counted(exported.rows, 'row')} ({size(exported.bytes)}) to"
        f" {exported.where}; {counted(len(days), 'day')} changed{span}"
    )
    yield (
        f"It holds {counted(exported.all_files, 'file')} with {counted(exported.all_rows, 'row')}"
        f" ({size(exported.all_bytes)})"
    )
