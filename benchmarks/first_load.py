"""A first load beside what else could do it: `python -m benchmarks.first_load [--rounds …] [--chart FILE.svg]`.

Everybody loads the same 90 days of 30 campaigns into a new DuckDB file, from the same server, each in a process of its
own, in turn. Quick ways run several times, and the table shows medians; dlt's ordinary path takes minutes and runs
once; row by row would take an hour, so it loads some rows, once, and is judged by its rows a second. Ratios count:
seconds are this machine's.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.serving import DAYS, answers, measured, ours, say, serving, verdict
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_EXPORTS
from soundlink_pipeline.simulator import Simulator

_HERE = Path(__file__).parent / "alternatives"
_ENVIRONMENTS = Path(__file__).parents[1] / ".venv-alternatives"
_ROWS_ROW_BY_ROW = 1000  # of each export


@dataclass
class Way:
    """One way to load; `script` runs in the environment of that name, and without one in ours."""

    name: str
    script: str
    environment: str = ""
    rounds: int | None = None  # None: as many as asked for
    limit: int | None = None
    schema: str = "main"
    results: list[dict[str, Any]] = field(default_factory=list)

    @property
    def python(self) -> Path:
        return _ENVIRONMENTS / self.environment / "bin" / "python" if self.environment else Path(sys.executable)

    def median(self, what: str) -> float:
        return float(statistics.median(result[what] for result in self.results))


FLOOR = Way("the floor: bare DuckDB, from disk, no keys, no checks", "floor")
OURS = Way("**ours**: HTTP, every check, upsert, history, ledger", "")
WAYS = [
    FLOOR,
    OURS,
    Way("dlt, Arrow tables, merge", "dlt_arrow", "dlt", schema="exports"),
    Way("pandas and DuckDB, INSERT OR REPLACE", "pandas_duckdb", "pandas"),
    Way("dlt, rows, merge", "dlt_ordinary", "dlt", rounds=1, schema="exports"),
    Way("row by row, INSERT OR REPLACE", "row_by_row", "rows", rounds=1, limit=_ROWS_ROW_BY_ROW),
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_load", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of the quick ways; the table shows medians")
    parser.add_argument("--chart", type=Path, help="an SVG file to draw")
    options = parser.parse_args()
    installed = [way for way in WAYS if way.python.exists()]
    with tempfile.TemporaryDirectory(prefix="soundlink-bench-") as scratch, serving() as simulator:
        folder = Path(scratch)
        job, size = _job(simulator, folder)
        for number in range(options.rounds):
            for way in installed:
                if number < (way.rounds or options.rounds):
                    way.results.append(_once(way, simulator, job, folder))
                    say(f"round {number + 1}: {way.script or 'ours'} {way.results[-1]['seconds']:.2f} s")
    _report(installed, size, options.rounds)
    if options.chart:
        _draw(installed, options.chart)


def _job(simulator: Simulator, folder: Path) -> tuple[Path, int]:
    """The job as the alternatives are told it, and the size of all answers in bytes."""
    found = answers(simulator, folder / "answers")
    tables = [
        {
            "name": export.name,
            "columns": {column.name: column.type for column in export.columns},
            "primary_key": export.primary_key,
            "urls": [url for url, _ in found[export.name]],
            "files": [str(file) for _, file in found[export.name]],
        }
        for export in CAMPAIGN_EXPORTS
    ]
    job = folder / "job.json"
    job.write_text(json.dumps({"tables": tables, "headers": {"authorization": f"Bearer {simulator.key}"}}))
    return job, sum(file.stat().st_size for files in found.values() for _, file in files)


def _once(way: Way, simulator: Simulator, job: Path, folder: Path) -> dict[str, Any]:
    simulator.stats.reset()
    data = folder / "data"
    data.mkdir()
    if way is OURS:
        database, result = data / "warehouse.duckdb", ours(simulator, data, DAYS)
    else:
        database = data / "new.duckdb"
        limit = [] if way.limit is None else [str(way.limit)]
        result = measured([str(way.python), f"{way.script}.py", str(job), str(database), *limit], cwd=_HERE)
    result |= {"requests": len(simulator.stats.records), **_outcome(database, way.schema)}
    shutil.rmtree(data)
    return result


def _outcome(database: Path, schema: str) -> dict[str, Any]:
    """How many rows there are, the size of the file, and sums that tell whether the rows are the right ones."""
    sums = {
        CAMPAIGN_EXPORTS[0].name: "sum(spend_total)::decimal(18,2), sum(streams)",
        CAMPAIGN_EXPORTS[1].name: "sum(listeners), 0",
    }
    size = database.stat().st_size / 1e6
    with duckdb.connect(str(database), read_only=True) as connection:
        found = [
            connection.execute(f"select count(*), {sums[name]} from {schema}.{name}").fetchall()[0] for name in sums
        ]
    return {"rows": sum(row[0] for row in found), "sums": [row[1:] for row in found], "file_mb": size}


def _report(ways: list[Way], size: int, rounds: int) -> None:
    rows, mine = OURS.results[0]["rows"], OURS.median("seconds")
    for way in ways:
        for result in way.results:
            if way.limit is None and (result["rows"], result["sums"]) != (rows, OURS.results[0]["sums"]):
                raise SystemExit(f"{way.script} did not load the same rows as ours: {result}, {OURS.results[0]}")
    requests = OURS.results[0]["requests"]
    print(f"## First load: {rows:,} rows, {size / 1e6:.0f} MB, {DAYS.days} days, {requests} requests\n")
    print("| | rounds | rows | seconds | rows a second | seconds to ours | peak memory | file |")
    print("|---|---|---|---|---|---|---|---|")
    for way in ways:
        loaded, seconds = way.results[0]["rows"], way.median("seconds")
        slower = seconds / loaded / (mine / rows)
        peak, file = (max(result[what] for result in way.results) for what in ("peak_mb", "file_mb"))
        print(
            f"| {way.name} | {len(way.results)} | {loaded:,} | {seconds:.2f} | {loaded / seconds:,.0f} |"
            f" {slower:,.2f} | {peak:,.0f} MB | {file:,.0f} MB |"
        )
    archived = OURS.median("seconds_with_archive")
    print(
        f"\nMedians of up to {rounds} rounds; all but the floor fetch over HTTP on loopback. Ours: {archived:.2f} s"
        " until every delivery is compressed, too; its rows are there before. Seconds to ours are per row."
    )
    to_floor = mine / FLOOR.median("seconds")
    print("\n" + verdict("under 1.7 x the floor", to_floor < 1.7, f"{to_floor:.2f} x"), end=" ")
    _targets(ways, mine / rows)
    missing = [way.script for way in WAYS if way not in ways]
    if missing:
        print(f"\nNot installed, so not measured (`make alternatives`): {', '.join(missing)}.")


def _targets(ways: Iterable[Way], mine: float) -> None:
    per_row = {way.script: way.median("seconds") / way.results[0]["rows"] / mine for way in ways if way.environment}
    fastest = min((slower for script, slower in per_row.items() if script.startswith("dlt")), default=None)
    if fastest is not None:
        print(verdict("2.8 x as fast as dlt's fastest path", fastest >= 2.8, f"{fastest:.1f} x"), end=" ")
    if "row_by_row" in per_row:
        slower = per_row["row_by_row"]
        print(verdict("1,000 x as fast per row as row by row", slower >= 1000, f"{slower:,.0f} x"))


def _draw(ways: list[Way], path: Path) -> None:
    """Rows a second of every way, on a logarithmic axis: they differ by four orders of magnitude."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "first-load"
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(ways) + 1.2), layout="constrained")
    ordered = sorted(ways, key=lambda way: way.results[0]["rows"] / way.median("seconds"))
    speeds = [way.results[0]["rows"] / way.median("seconds") for way in ordered]
    names = [way.name.replace("*", "").partition(":")[0] for way in ordered]
    colors = ["#1f6f5c" if way is OURS else "#b8c4c0" for way in ordered]
    bars = axes.barh(names, speeds, color=colors)
    peaks = [max(result["peak_mb"] for result in way.results) for way in ordered]
    labels = [f" {speed:,.0f} rows/s, {peak:,.0f} MB" for speed, peak in zip(speeds, peaks, strict=True)]
    axes.bar_label(bars, labels, fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(right=max(speeds) * 60)
    axes.set_xlabel("rows a second (logarithmic), and peak memory")
    axes.set_title(f"First load of {OURS.results[0]['rows']:,} rows", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
