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

from benchmarks.serving import say
from benchmarks.synthetic import fill
from soundlink_pipeline.publishing.file_copy import publish
from soundlink_pipeline.warehouse.native_file import NativeFile

_ROUNDS = 3
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
            measured.append(_measure(NativeFile(Path(folder)), rows))
    print("## Publishing, by each way there is\n")
    print("| way |" + "".join(f" {rows:,} rows: s | ratio | MB |" for rows in sizes))
    print("|---|" + "---|---|---|" * len(sizes))
    for way in measured[0]:
        print(f"| {way} |" + "".join(_cells(result, way) for result in measured))


def _measure(warehouse: NativeFile, rows: int) -> dict[str, tuple[float, int] | None]:
    """Median seconds and size in bytes of each way; None where the file system has no such thing."""
    started = time.perf_counter()
    fill(warehouse, rows)
    target = warehouse.path.with_name("soundlink.duckdb")
    say(f"{rows:,} rows made in {time.perf_counter() - started:.1f} s")
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


def _publish(warehouse: NativeFile, new: Path) -> None:
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


if __name__ == "__main__":
    main()
