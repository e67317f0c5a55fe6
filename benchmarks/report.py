"""How long the report takes, and how large it is: `python -m benchmarks.report [--campaigns …] [--days …]`.

Both exports of so many campaigns over so many days, published; then the page, each round in a process of its own as
`make report` starts it.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import synthetic
from benchmarks.serving import say, verdict
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.publishing.file_copy import publish
from soundlink_pipeline.warehouse.native_file import NativeFile

_MOST_SECONDS, _MOST_MEGABYTES = 5, 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--campaigns", type=int, default=50)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soundlink-bench-") as folder:
        database, page = Path(folder) / "soundlink.duckdb", Path(folder) / "report.html"
        warehouse = NativeFile(Path(folder))
        rows = given.days * given.campaigns * synthetic.ROWS_PER_CAMPAIGN
        say(f"{rows:,} rows")
        synthetic.fill(warehouse, rows, given.campaigns)
        with warehouse.write() as connection:
            build_models(connection, read_project(Path("dbt_like_sql")))
        publish(warehouse, database, run_id="benchmark", now=datetime.now(UTC))
        seconds = [_make(database, page) for _ in range(given.rounds)]
        megabytes = page.stat().st_size / 1e6
    median = statistics.median(seconds)
    print(
        f"## The report\n\n{given.campaigns} campaigns over {given.days} days, {rows:,} rows: made in"
        f" **{median:.1f} s** (median of {given.rounds} rounds, {max(seconds):.1f} s at most), the start of Python"
        f" included. The page has **{megabytes:.2f} MB**.\n"
    )
    print(
        verdict(
            f"the report within {_MOST_SECONDS} s, and at most {_MOST_MEGABYTES} MB",
            median <= _MOST_SECONDS and megabytes <= _MOST_MEGABYTES,
            f"{median:.1f} s, {megabytes:.2f} MB",
        )
    )


def _make(database: Path, page: Path) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "soundlink_pipeline.report", "--database", str(database), "--output", str(page)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
