"""Where a run writes: the data folder, the disk it is on, and the warehouse file."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator

import duckdb

from soundlink_pipeline.doctor.finding import Finding, fault, ok, warn
from soundlink_pipeline.doctor.patient import Patient
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable

# What a day's landed files, DuckDB's temporary ones and Dagster's books may need beside a copy of the warehouse.
_FLOOR_BYTES = 256_000_000
# A run, or another doctor, that reads has soon read.
_READERS_SECONDS = 3.0


def check_data_folder(patient: Patient) -> Iterator[Finding]:
    """Whether a run could write there, by writing a file that is gone at once; and whether there is room."""
    folder = patient.settings.data_dir
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
    size = patient.warehouse.describe().bytes
    free, needed = shutil.disk_usage(there).free, size + _FLOOR_BYTES
    says = f"{_mb(free)} free; publishing copies the warehouse ({_mb(size)}), and a run needs some {_mb(_FLOOR_BYTES)}"
    if free < needed:
        fix = f"free {_mb(needed - free)} or more; programs that have an earlier publication open keep its space"
        yield fault("disk space", says, fix)
    elif free < 2 * needed:
        yield warn("disk space", says, "free some: it is near the end")
    else:
        yield ok("disk space", says)


def check_warehouse(patient: Patient) -> Iterator[Finding]:
    """Whether a run could write to the warehouse: it is whole, and nobody else has it open."""
    warehouse, what = patient.warehouse, patient.warehouse.describe().name
    if not warehouse.exists():
        yield ok(what, "is not there yet; the first run makes it")
        return
    try:
        with warehouse.read() as connection:
            ((deliveries, rows),) = connection.execute("select count(*), sum(rows) from deliveries").fetchall()
    except WarehouseLocked as locked:
        try:
            with warehouse.turn():  # free: so it is not a run that writes
                yield fault(what, str(locked))
        except WarehouseLocked:
            yield ok(what, "a pipeline run is writing to it right now; not opened")
    except WarehouseUnusable as unusable:
        yield fault(what, str(unusable))
    except duckdb.CatalogException:
        yield ok(what, "holds nothing yet; the first run makes its tables")
    else:
        yield ok(what, f"can be opened: {deliveries:,} deliveries, {int(rows or 0):,} rows delivered")
        if obstacle := warehouse.obstacle(_READERS_SECONDS):
            yield fault(what, obstacle.reason, obstacle.fix)


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size < 10e9 else f"{size / 1e9:,.0f} GB"
