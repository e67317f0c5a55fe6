"""What an export to Parquet costs: `python -m benchmarks.exporting [--rows …] [--rounds …]`.

First the refresh of 8 days of 30 campaigns, as Dagster runs it, and the export of what it has changed: processor time
of each, in turn. Then a published file of 10 million rows, exported whole, beside DuckDB's own `COPY … TO` of the same
tables with the same options and nothing else: no fingerprint, no checksum, no manifest. Each copy is made by a process
of its own, which tells its peak memory. Ratios count: seconds are this machine's.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from benchmarks.refreshing import Folder
from benchmarks.serving import say, verdict
from benchmarks.synthetic import fill
from soundlink_pipeline.exporting.export import Exported, export
from soundlink_pipeline.publishing.file_copy import publish
from soundlink_pipeline.simulator import DEMO_KEY, SimClock, World, running_simulator
from soundlink_pipeline.warehouse.native_file import NativeFile

_NOW = datetime(2026, 4, 1, 7, tzinfo=UTC)
_REFRESH_SHARE, _COPY_RATIO, _MEGABYTES = 0.15, 1.5, 600


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exporting", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=("export", "copy"), help=argparse.SUPPRESS)
    parser.add_argument("--published", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(_way(given.way, given.published)))
        return
    with tempfile.TemporaryDirectory(prefix="soundlink-bench-") as scratch:
        _refreshes(Path(scratch) / "refreshed", given.rounds)
        _large(Path(scratch), given.rows, given.rounds)


def _refreshes(folder: Path, rounds: int) -> None:
    """The world of the refresh's own benchmark: some 300,000 rows in 90 days."""
    first = date(2026, 1, 1)
    world = World(campaigns=30, first_day=first, duration_days=120, countries_per_campaign=30, tracks_per_campaign=4)
    clock = SimClock(_NOW)
    with running_simulator(world, clock, per_minute=None, per_hour=None, prepare=True) as simulator:
        project = Folder(folder, simulator, {"SOUNDLINK_API_KEY": DEMO_KEY})
        project.refresh(_NOW.date() - timedelta(days=90), _NOW.date() - timedelta(days=1))
        published, target = folder / "data" / "soundlink.duckdb", folder / "parquet"
        _exported(published, target)
        lines, shares = [], []
        for number in range(1, rounds + 1):
            day = _NOW + timedelta(days=number)
            clock.set(day)
            before = _cpu()
            project.refresh(day.date() - timedelta(days=8), day.date() - timedelta(days=1))
            refreshed = _cpu()
            done = _exported(published, target)
            ended = _cpu()
            shares.append((ended - refreshed) / (refreshed - before))
            lines.append(
                f"| {number} | {refreshed - before:.2f} | {ended - refreshed:.2f} | {shares[-1]:.2f} |"
                f" {len(done.days)} | {done.files} of {done.all_files} |"
                f" {done.bytes / 1e6:.1f} of {done.all_bytes / 1e6:.1f} |"
            )
    print("## Exporting to Parquet\n\nAfter a refresh of 8 days of 30 campaigns, into a folder:\n")
    print("| round | refresh, CPU s | export, CPU s | share | days with changes | files | MB |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    print("\n".join(lines))
    share = statistics.median(shares)
    print(
        "\n"
        + verdict(f"an export at most {_REFRESH_SHARE} of its refresh's CPU", share <= _REFRESH_SHARE, f"{share:.2f}")
    )


def _large(folder: Path, rows: int, rounds: int) -> None:
    warehouse = NativeFile(folder)
    fill(warehouse, rows)
    published = folder / "soundlink.duckdb"
    publish(warehouse, published, run_id="benchmark", now=_NOW)
    warehouse.path.unlink()
    say(f"{rows:,} rows published")
    told: dict[str, list[dict[str, float]]] = {"copy": [], "export": []}
    for _ in range(rounds):
        for way, rounds_told in told.items():
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.exporting", "--way", way]
            done = subprocess.run([*command, "--published", str(published)], check=True, stdout=subprocess.PIPE)
            rounds_told.append(json.loads(done.stdout))
            say(f"{way}: {rounds_told[-1]}")
    print(f"\n{rows:,} rows, exported whole into an empty folder:\n")
    print("| | seconds | CPU s | ratio of time | peak memory, MB | files | MB |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    medians = {
        way: {name: statistics.median(each[name] for each in found) for name in found[0]} for way, found in told.items()
    }
    names = {"copy": "bare `COPY … TO`, the tables with a day by `partition_by`", "export": "**export**"}
    for way, found in medians.items():
        ratio = found["seconds"] / medians["copy"]["seconds"]
        print(
            f"| {names[way]} | {found['seconds']:.1f} | {found['cpu']:.1f} | {ratio:.2f} | {found['peak_mb']:.0f} |"
            f" {found['files']:,.0f} | {found['mb']:.0f} |"
        )
    ratio, peak = medians["export"]["seconds"] / medians["copy"]["seconds"], medians["export"]["peak_mb"]
    target = f"an export at most {_COPY_RATIO} x the time of bare COPY, in under {_MEGABYTES} MB"
    reached = ratio <= _COPY_RATIO and peak < _MEGABYTES
    print("\n" + verdict(target, reached, f"{ratio:.2f} x, {peak:.0f} MB"))


def _way(way: str, published: Path) -> dict[str, float]:
    target = published.with_name(f"parquet-{way}")
    shutil.rmtree(target, ignore_errors=True)
    started, cpu = time.perf_counter(), _cpu()
    if way == "export":
        _exported(published, target)
    else:
        _copied(published, target)
    told = {
        "seconds": time.perf_counter() - started,
        "cpu": _cpu() - cpu,
        # Not ru_maxrss: a child inherits it from the process that has made the rows.
        "peak_mb": int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1e3,
    }
    files = [path for path in target.rglob("*.parquet") if "_versions" not in path.parts]
    return told | {"files": len(files), "mb": sum(path.stat().st_size for path in files) / 1e6}


def _exported(published: Path, target: Path) -> Exported:
    return export(published, str(target), timestamps="utc", now=_NOW)


def _copied(published: Path, target: Path) -> None:
    """Every table as DuckDB writes it by itself, with the same types and the same compression."""
    with duckdb.connect(str(published), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        tables = connection.execute(
            """
            select table_name, string_agg(
                column_name || case data_type when 'TIMESTAMP' then '::timestamptz as ' || column_name else '' end, ', '
            ), bool_or(column_name = 'report_date')
            from duckdb_columns()
            where not internal and schema_name = 'main' and table_name[1] <> '_' and table_name <> 'publication'
            group by table_name
            """
        ).fetchall()
        for table, columns, has_days in tables:
            place = target / table
            (place if not has_days else target).mkdir(parents=True, exist_ok=True)
            partitions = ", partition_by (report_date), write_partition_columns true" if has_days else ""
            file = place if has_days else place / "data.parquet"
            connection.execute(
                f"copy (select {columns} from {table}) to '{file}' (format parquet, compression zstd{partitions})"
            )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
