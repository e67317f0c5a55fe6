"""Eight days delivered again into a warehouse of any size: `python -m benchmarks.redelivery [--rows …]`.

Synthetic warehouses of 30 campaigns, more rows being more days. Each round delivers the last 8 days of every campaign
again, with a newer `exported_at` and a third of the rows revised, as files that have landed; measured is loading them:
staging, checks, history, merge, ledger, commit. Both sizes in turn, medians; ratios count.
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
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_EXPORTS
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.warehouse.native_file import NativeFile

_CAMPAIGNS, _ROUNDS = 30, 5
_FIRST_EXPORTED = datetime(2040, 1, 1, tzinfo=UTC)  # later than any synthetic row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.redelivery", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    sizes: list[int] = parser.parse_args().rows
    with ExitStack() as stack:
        made = []
        for rows in sizes:
            warehouse = NativeFile(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soundlink-bench-"))))
            days = fill(warehouse, rows, campaigns=_CAMPAIGNS)
            made.append((warehouse, DateRange(days.end - timedelta(days=7), days.end)))
            say(f"{rows:,} rows made, {days}")
        seconds: list[list[float]] = [[] for _ in sizes]
        loaded = [0 for _ in sizes]
        for number in range(_ROUNDS):
            for at, (warehouse, dates) in enumerate(made):
                arrivals = [
                    HashedDelivery.of(delivery)
                    for export in CAMPAIGN_EXPORTS
                    for delivery in _delivered(warehouse, export, dates, number)
                ]
                started = time.perf_counter()
                with warehouse.write() as connection:
                    result = load_batch(connection, warehouse.exports, arrivals)
                seconds[at].append(time.perf_counter() - started)
                loaded[at] = sum(item.rows for item in result.loaded)
                if result.rejected or not any(item.updated for item in result.loaded):
                    raise SystemExit(f"not loaded as meant: {result.rejected[:1]}")
    if len(set(loaded)) > 1:
        raise SystemExit(f"the deliveries differ: {loaded}")
    medians = [statistics.median(own) for own in seconds]
    print(f"## Eight days delivered again: {loaded[0]:,} rows into a warehouse that grows\n")
    print("| rows in the warehouse | seconds | ratio |\n|---|---|---|")
    for rows, median in zip(sizes, medians, strict=True):
        print(f"| {rows:,} | {median:.2f} | {median / medians[0]:.2f} |")
    print(f"\nMedians of {_ROUNDS} rounds.", end="")
    if len(sizes) > 1:
        ratio = medians[-1] / medians[0]
        print("", verdict("at most 1.5 x from the smallest to the largest warehouse", ratio <= 1.5, f"{ratio:.2f} x"))
    print()


def _delivered(warehouse: NativeFile, export: Export, dates: DateRange, number: int) -> list[Delivery]:
    """The days as the warehouse has them, exported anew, a file per campaign; another third is revised each time."""
    landing = Landing(warehouse.path.parent)
    moment = _FIRST_EXPORTED + timedelta(days=number)
    smallest = {c.name: f"greatest({c.name}, {c.minimum}) as {c.name}" for c in export.columns if c.minimum is not None}
    values = smallest | {
        "exported_at": f"strftime(timestamp '{moment:%Y-%m-%d %H:%M:%S}', '%Y-%m-%dT%H:%M:%SZ') as exported_at",
        # Only what is in no sum: the rows stay such as the checks let pass.
        "streams": f"streams + (hash({', '.join(export.row_key)}) % 3 = {number % 3})::int as streams",
    }
    columns = ", ".join(values.get(name, name) for name in export.column_names)
    with warehouse.read() as connection:
        campaigns = connection.execute(f"select distinct campaign_id from {export.name}").fetchall()
        deliveries = []
        for (campaign,) in campaigns:
            file = landing.temporary_file()
            connection.execute(
                f"copy (select {columns} from {export.name} where campaign_id = '{campaign}'"
                f" and report_date between '{dates.start}' and '{dates.end}') to '{file}' (format json)"
            )
            delivery = Delivery(
                export=export.name,
                subject_id=campaign,
                dates=dates,
                requested_at=moment,
                received_at=moment,
                server_date=moment,
                declared_rows=None,
                run_id=f"round-{number}",
                path=file,
            )
            deliveries.append(landing.land(delivery))
    return deliveries


if __name__ == "__main__":
    main()
