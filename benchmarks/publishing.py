"""What it costs to publish the warehouse, by each way there is: `python -m benchmarks.publishing [--rows 1000000 …]`.

Synthetic warehouses of both exports, a ledger of daily pulls, and as many rows as asked for. Every way ends as
publishing must: on disk (fsync) and under its final name. All ways run in turn, in each of three rounds; the table
shows medians. Ratios count: seconds are this machine's.
"""

import argparse
import fcntl
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from soundlink_pipeline.exports import EXPORTS, Column
from soundlink_pipeline.publishing import publish
from soundlink_pipeline.warehouse import LEDGER_COLUMNS, Warehouse

_ROUNDS = 3
_COUNTRIES, _TRACKS = 30, 4
# Rows of both exports per campaign and day; a day has so many campaigns that any number of rows covers 222 days.
_ROWS_PER_CAMPAIGN = _COUNTRIES * (1 + _TRACKS)
_ROWS_PER_CAMPAIGN_OVER_ALL_DAYS = 33_300
_NOW = datetime(2026, 9, 1, 7, tzinfo=UTC)
_FICLONE = 0x40049409  # <linux/fs.h>: share the blocks until one of the two files changes

Way = Callable[[Path, Path], None]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publishing", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    sizes: list[int] = parser.parse_args().rows
    measured = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="soundlink-bench-") as folder:
            measured.append(_measure(Warehouse(Path(folder)), rows))
    print("| way |" + "".join(f" {rows:,} rows: s | ratio | MB |" for rows in sizes))
    print("|---|" + "---|---|---|" * len(sizes))
    for way in measured[0]:
        print(f"| {way} |" + "".join(_cells(result, way) for result in measured))


def _measure(warehouse: Warehouse, rows: int) -> dict[str, tuple[float, int] | None]:
    """Median seconds and size in bytes of each way; None where the file system has no such thing."""
    started = time.perf_counter()
    _fill(warehouse, rows)
    target = warehouse.path.with_name("soundlink.duckdb")
    print(f"{rows:,} rows made in {time.perf_counter() - started:.1f} s", flush=True)
    ways: dict[str, Way] = {
        "checkpoint, close, shutil.copyfile": _closed(shutil.copyfile),
        "checkpoint, close, os.copy_file_range": _closed(_copy_file_range),
        "checkpoint, close, reflink (FICLONE)": _closed(_clone),
        "COPY FROM DATABASE": _copy_from_database,
        "EXPORT DATABASE to Parquet": _export_parquet,
        "**publish()**": lambda _, new: _publish(warehouse, new),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    sizes: dict[str, int] = {}
    for _ in range(_ROUNDS):
        for name, way in ways.items():
            new = target.with_name("new.duckdb")
            started = time.perf_counter()
            try:
                way(warehouse.path, new)
            except OSError:
                _remove(new)
                continue
            if new.exists():
                for path in [*new.rglob("*"), new, new.parent]:
                    _sync(path)
                new.replace(target)
                _sync(target.parent)
            seconds[name].append(time.perf_counter() - started)
            sizes[name] = sum(path.stat().st_size for path in [target, *target.rglob("*")] if path.is_file())
            _remove(target)
    return {name: (statistics.median(seconds[name]), sizes[name]) if seconds[name] else None for name in ways}


def _cells(result: dict[str, tuple[float, int] | None], way: str) -> str:
    found, first = result[way], next(iter(result.values()))
    if found is None or first is None:
        return " not on this file system | | |"
    return f" {found[0]:.2f} | {found[0] / first[0]:.1f} | {found[1] / 1e6:,.0f} |"


def _closed(copy: Callable[[Path, Path], object]) -> Way:
    def way(source: Path, new: Path) -> None:
        with duckdb.connect(str(source)) as connection:
            connection.execute("checkpoint")
        copy(source, new)

    return way


def _copy_file_range(source: Path, new: Path) -> None:
    with source.open("rb") as read, new.open("wb") as write:
        while os.copy_file_range(read.fileno(), write.fileno(), 1 << 30):
            pass


def _clone(source: Path, new: Path) -> None:
    with source.open("rb") as read, new.open("wb") as write:
        fcntl.ioctl(write.fileno(), _FICLONE, read.fileno())


def _copy_from_database(source: Path, new: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"attach '{source}' as source (read_only)")
        connection.execute(f"attach '{new}' as new (storage_version 'v1.5.0')")
        connection.execute("copy from database source to new")


def _export_parquet(source: Path, new: Path) -> None:
    with duckdb.connect(str(source), read_only=True) as connection:
        connection.execute(f"export database '{new}' (format parquet)")


def _publish(warehouse: Warehouse, new: Path) -> None:
    publish(warehouse, new.with_name("soundlink.duckdb"), run_id="benchmark", now=_NOW)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fill(warehouse: Warehouse, rows: int) -> None:
    """Both exports over the same days and campaigns, and the ledger of pulling 8 days every day."""
    campaigns = max(rows // _ROWS_PER_CAMPAIGN_OVER_ALL_DAYS, 1)
    days = rows // (campaigns * _ROWS_PER_CAMPAIGN)
    with warehouse.write() as connection:
        for export, tracks in zip(EXPORTS, (1, _TRACKS), strict=True):
            per_day = campaigns * _COUNTRIES * tracks
            values = ", ".join(f"{_value(column)} as {column.name}" for column in export.columns)
            connection.execute(
                f"""
                insert into {export.name} by name
                select {values}, timestamp '2026-09-01' as _pulled_at, timestamp '2026-09-01' as _valid_from,
                    'delivery-' || day || '-' || campaign as _delivery_id
                from (
                    select i, i // {per_day} as day, i % {per_day} // {_COUNTRIES * tracks} as campaign,
                        i % {_COUNTRIES * tracks} // {tracks} as country, i % {tracks} as track
                    from range({days * per_day}) as numbers(i)
                )
                """
            )
            connection.execute(
                f"""
                insert into deliveries
                select {", ".join(_ledger_value(name, sql_type, export.name) for name, sql_type, _ in LEDGER_COLUMNS)}
                from range({days}) as days(day), range({campaigns}) as campaigns(campaign)
                """
            )


def _value(column: Column) -> str:
    """An SQL expression for a column's values, about as repetitive as real ones are."""
    known = {
        "report_date": "date '2026-01-01' + day::int",
        "campaign_id": "md5(campaign::varchar)::uuid::varchar",
        "campaign_name": "'Campaign ' || campaign",
        "campaign_target_spotify_track_id": "md5(campaign::varchar)[:22]",
        "campaign_target_playlist_id": "null",
        "country_code": "chr((65 + country % 26)::int) || chr((65 + country // 26)::int)",
        "engaged_spotify_track_id": "md5('track ' || campaign || track)[:22]",
        "engaged_track_name": "'Track ' || campaign || track",
        "account_id": "'a7ac3173-2f71-4e79-921f-d15d7112dd11'",
    }
    by_type = {
        "BIGINT": f"hash(i, '{column.name}') % 500",
        "DOUBLE": f"round(hash(i, '{column.name}') % 10000 / 7.0, 4)",
        "DECIMAL(18,6)": f"(hash(i, '{column.name}') % 10000 / 100)::decimal(18,6)",
        "TIMESTAMP": "timestamp '2026-09-01'",
        "VARCHAR": f"'{column.allowed[0] if column.allowed else 'DEXW62500259'}'",
    }
    return known.get(column.name) or by_type[column.sql_type]


def _ledger_value(name: str, sql_type: str, export: str) -> str:
    known = {
        "delivery_id": f"'delivery-' || day || '-' || campaign || '-{export}'",
        "export": f"'{export}'",
        "campaign_id": "'path-' || campaign",
        "row_campaign_id": "md5(campaign::varchar)::uuid::varchar",
        "start_date": "date '2026-01-01' + day::int - 7",
        "end_date": "date '2026-01-01' + day::int",
        "sha256": "sha256(day || '-' || campaign)",
        "unknown_fields": "[]",
    }
    by_type = {
        "TIMESTAMP": "timestamp '2026-01-02 07:00:00' + to_days(day::int)",
        "BIGINT": "240",
        "VARCHAR": "'run-' || day",
    }
    return known.get(name) or by_type[sql_type.split(maxsplit=1)[0]]


if __name__ == "__main__":
    main()
