"""Where a run writes: the data folder, the disk it is on, and the warehouse file."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator

import duckdb

from soundlink_pipeline.doctor.finding import Finding, fault, ok, warn
from soundlink_pipeline.doctor.project_state import ProjectState
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.wording import counted

# What a day's landed files, DuckDB's temporary files and Dagster's storage may need beside a copy of the warehouse.
_FLOOR_BYTES = 256_000_000
# A run or another doctor that reads has the file open for less than this.
_READERS_SECONDS = 3.0


def check_data_folder(project: ProjectState) -> Iterator[Finding]:
    """Whether a run could write there, by writing a temporary file; and whether the disk has room."""
    folder = project.settings.data_dir
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"ok")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        state = "cannot be written to" if there == folder else f"cannot be made: {there} cannot be written to"
        fix = "give the user that runs the pipeline the right to write there, or set SOUNDLINK_DATA_DIR"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "free space there, or raise that user's quota"
        yield fault("folder", f"{folder} {state} ({error.strerror})", fix)
    else:
        state = "can be written to" if there == folder else "is not there yet; the first run makes it"
        yield ok("folder", f"{folder} {state}")
    size = project.warehouse.describe().bytes
    free, needed = shutil.disk_usage(there).free, size + _FLOOR_BYTES
    message = (
        f"{_mb(free)} free; publishing copies the warehouse ({_mb(size)}), and a run needs some {_mb(_FLOOR_BYTES)}"
    )
    if free < needed:
        fix = f"free {_mb(needed - free)} or more; programs that have an earlier publication open keep its space"
        yield fault("disk space", message, fix)
    elif free < 2 * needed:
        yield warn("disk space", message, "free some space: it is nearly used up")
    else:
        yield ok("disk space", message)


def check_warehouse(project: ProjectState) -> Iterator[Finding]:
    """Whether a run could write to the warehouse: it is intact, of a contract that can be used, and free."""
    warehouse, what = project.warehouse, project.warehouse.describe().name
    if not warehouse.exists():
        yield ok(what, "is not there yet; the first run makes it")
        return
    try:
        with warehouse.read() as connection:
            if changes := warehouse.pending(connection):
                yield ok("contract", f"the next run brings the tables to the present one: {'; '.join(changes)}")
            ((deliveries, rows),) = connection.execute("select count(*), sum(rows) from deliveries").fetchall()
    except WarehouseLocked as locked:
        try:
            with warehouse.turn():  # free: the program that has the file open is not a run
                yield fault(what, str(locked))
        except WarehouseLocked:
            yield ok(what, "a pipeline run is writing to it right now; not opened")
    except WarehouseUnusable as unusable:
        yield fault(what, str(unusable))
    except duckdb.CatalogException:
        yield ok(what, "is empty; the first run makes its tables")
    else:
        yield ok(what, f"can be opened: {counted(deliveries, 'delivery')}, {counted(int(rows or 0), 'row')} delivered")
        if obstacle := warehouse.obstacle(_READERS_SECONDS):
            yield fault(what, obstacle.reason, obstacle.fix)


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size < 10e9 else f"{size / 1e9:,.0f} GB"
