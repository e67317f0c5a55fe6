"""What a daily refresh of the SQL models costs as the warehouse grows: `python -m benchmarks.models [--rows …]`.

Synthetic warehouses of 30 campaigns, more rows being more days. Measured are building all models for the last 8 days,
asking their tests for these days, and publishing: medians of five rounds, each size in turn. Ratios count: seconds are
this machine's.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.serving import say, verdict
from benchmarks.synthetic import fill
from soundlink_pipeline.contracts.days import TRAILING_DAYS, DateRange
from soundlink_pipeline.models.build import build_models, run_tests
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.publishing.file_copy import publish
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.native_file import NativeFile

_CAMPAIGNS, _ROUNDS = 30, 5
_NOW = datetime(2026, 9, 1, 7, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    sizes: list[int] = parser.parse_args().rows
    with ExitStack() as stack:
        warehouses = []
        for rows in sizes:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="soundlink-bench-"))
            warehouses.append(_prepared(NativeFile(Path(folder)), rows))
        # per size and part, the seconds of each round
        seconds = [{part: list[float]() for part in ("models", "tests", "publishing")} for _ in sizes]
        for _ in range(_ROUNDS):
            for (warehouse, dates), parts in zip(warehouses, seconds, strict=True):
                _refresh(warehouse, dates, parts)
    print("## The models' refresh as the warehouse grows\n")
    print("| a refresh of 8 days |" + "".join(f" {rows:,} rows: s |" for rows in sizes) + " ratio |")
    print("|---|" + "---|" * (len(sizes) + 1))
    for part in seconds[0]:
        medians = [statistics.median(parts[part]) for parts in seconds]
        print(f"| {part} |" + "".join(f" {m:.3f} |" for m in medians) + f" {medians[-1] / medians[0]:.2f} |")
    both = [statistics.median(parts["models"]) + statistics.median(parts["tests"]) for parts in seconds]
    ratio = both[-1] / both[0]
    print(
        "\n"
        + verdict("models and tests at most 1.5 x from the smallest to the largest", ratio <= 1.5, f"{ratio:.2f} x")
    )


def _prepared(warehouse: NativeFile, rows: int) -> tuple[NativeFile, DateRange]:
    started = time.perf_counter()
    days = fill(warehouse, rows, campaigns=_CAMPAIGNS)
    made = time.perf_counter()
    with warehouse.write() as connection:
        for built in sorted(build_models(connection, read_project(Settings().sql_dir)), key=lambda b: -b.seconds)[:3]:
            say(f"  {built.model.name} in full: {built.seconds:.2f} s")
    say(f"{rows:,} rows made in {made - started:.1f} s, all models in {time.perf_counter() - made:.1f} s")
    return warehouse, DateRange(days.end - timedelta(days=TRAILING_DAYS - 1), days.end)


def _refresh(warehouse: NativeFile, dates: DateRange, seconds: dict[str, list[float]]) -> None:
    project = read_project(Settings().sql_dir)
    with warehouse.write() as connection:
        started = time.perf_counter()
        built = build_models(connection, project, dates)
        seconds["models"].append(time.perf_counter() - started)
        started = time.perf_counter()
        for item in built:
            window = item.dates or (dates if item.model.materialized == "view" else None)
            run_tests(connection, project, item.model, window)
        seconds["tests"].append(time.perf_counter() - started)
    started = time.perf_counter()
    publish(warehouse, warehouse.path.with_name("soundlink.duckdb"), run_id="benchmark", now=_NOW)
    seconds["publishing"].append(time.perf_counter() - started)


if __name__ == "__main__":
    main()
