"""`make bench`: what the pipeline costs, beside bare DuckDB, measured side by side in one run.

A simulator with prepared answers serves 30 campaigns x 90 days over loopback. Each round runs the floor and ours, each
in a process of its own; the table shows medians and the ratio of the two. Ratios count: seconds are this machine's.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from soundlink_pipeline.exports import EXPORTS
from soundlink_pipeline.partitions import DateRange
from soundlink_pipeline.simulator import SimClock, Simulator, World, running_simulator

_FIRST, _LAST = date(2026, 1, 1), date(2026, 3, 31)
_NOW = datetime(2026, 4, 1, 7, tzinfo=UTC)
_GIGABYTE = 1_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of the first load; the table shows medians")
    options = parser.parse_args()
    world = World(campaigns=30, first_day=_FIRST, duration_days=90, countries_per_campaign=30, tracks_per_campaign=4)
    clock = SimClock(_NOW)
    with (
        tempfile.TemporaryDirectory(prefix="soundlink-bench-") as scratch,
        running_simulator(world, clock, per_minute=None, per_hour=None, prepare=True) as simulator,
    ):
        folder = Path(scratch)
        print(f"preparing answers: 30 campaigns, {_FIRST} to {_LAST}", flush=True)
        simulator.prepare(_FIRST, _LAST)
        size = _save_answers(simulator, folder / "answers")
        lines = [_first_load(simulator, folder, options.rounds, size)]
        lines += [_daily_refresh(simulator, clock, folder), _large_delivery(simulator, folder)]
    print()
    for line in lines:
        print(line)


def _save_answers(simulator: Simulator, folder: Path) -> int:
    """The same bytes as files, for the floor; returns their size."""
    size = 0
    query = {"startDate": _FIRST.isoformat(), "endDate": _LAST.isoformat()}
    with httpx.Client(base_url=simulator.base_url, headers={"x-api-key": simulator.key}, timeout=60) as client:
        for export in EXPORTS:
            (folder / export.name).mkdir(parents=True)
            for campaign in simulator.world.campaigns:
                path = export.path.format(campaign_id=campaign.path_id)
                body = client.get(path, params=query).raise_for_status().content
                (folder / export.name / f"{campaign.uuid}.ndjson").write_bytes(body)
                size += len(body)
    return size


def _first_load(simulator: Simulator, folder: Path, rounds: int, size: int) -> str:
    floors, ours = [], []
    for number in range(rounds):
        floors.append(_run("benchmarks.bare", folder / "answers", folder / f"bare-{number}.duckdb"))
        ours.append(_run("benchmarks.ours", simulator.base_url, folder / f"data-{number}", _FIRST, _LAST))
        assert floors[-1]["rows"] == ours[-1]["rows"], "the two did not load the same rows"
        print(f"round {number + 1}: bare {floors[-1]['seconds']:.2f} s, ours {ours[-1]['seconds']:.2f} s", flush=True)
        if number < rounds - 1:
            shutil.rmtree(folder / f"data-{number}")
    bare, mine = _median(floors, "seconds"), _median(ours, "seconds")
    archived = _median(ours, "seconds_with_archive")
    return "\n".join(
        [
            f"First load: {ours[0]['rows']:,} rows, {size / 1e6:.0f} MB, {ours[0]['requests']} requests, "
            f"medians of {rounds}",
            "| | seconds | ratio | peak memory |",
            "|---|---|---|---|",
            f"| bare DuckDB, from disk, no checks | {bare:.2f} | 1.00 | {_most(floors, 'peak_mb'):.0f} MB |",
            f"| ours: HTTP, checks, upsert, history, ledger | {mine:.2f} | {mine / bare:.2f}"
            f" | {_most(ours, 'peak_mb'):.0f} MB |",
            f"| ours, and every delivery compressed | {archived:.2f} | {archived / bare:.2f} | |",
            f"Target: ratio at most 2.5, memory under 600 MB. {_verdict(mine / bare <= 2.5)}",
        ]
    )


def _daily_refresh(simulator: Simulator, clock: SimClock, folder: Path) -> str:
    """The next morning's run over 8 days into the loaded warehouse."""
    data = max(folder.glob("data-*"))
    clock.set(_NOW + timedelta(days=1))
    dates = DateRange(_LAST - timedelta(days=6), _LAST + timedelta(days=1))
    simulator.stats.reset()
    result = _run("benchmarks.ours", simulator.base_url, data, dates.start, dates.end)
    listings = simulator.stats.count(path_contains="/v1/campaigns?")
    exports = simulator.stats.count(path_contains="/export")
    live = len(simulator.world.campaigns)
    return (
        f"\nDaily refresh of 8 days: {result['rows']:,} rows in {result['seconds']:.2f} s,"
        f" {exports} export requests for {live} live campaigns and {listings} listing page(s),"
        f" {result['updated']:,} rows revised. Target: exactly 2 requests per live campaign."
        f" {_verdict(exports == 2 * live and result['requests'] == exports + listings)}"
    )


def _large_delivery(simulator: Simulator, folder: Path) -> str:
    """One pull of 1 GB: memory must stay flat. Every row has a key of its own: its track id is numbered."""
    export, campaign = EXPORTS[1], simulator.world.campaigns[0]
    sample = (folder / "answers" / export.name / f"{campaign.uuid}.ndjson").read_bytes().splitlines(keepends=True)
    path, rows, size = folder / "large.ndjson", 0, 0
    with path.open("wb") as file:
        while size < _GIGABYTE:
            line = sample[rows % len(sample)]
            body = line.replace(b'"engaged_spotify_track_id":"', b'"engaged_spotify_track_id":"%07d-' % rows, 1)
            file.write(body)
            rows, size = rows + 1, size + len(body)
    simulator.serve_file(export.name, campaign.path_id, path, rows)
    result = _run("benchmarks.ours", simulator.base_url, folder / "large", _FIRST, _LAST)
    return (
        f"\nOne delivery of {size / 1e9:.2f} GB, {rows:,} rows (beside the others): {result['seconds']:.1f} s,"
        f" peak memory {result['peak_mb']:.0f} MB. Target: under 600 MB. {_verdict(result['peak_mb'] < 600)}"
    )


def _run(module: str, *arguments: Any) -> dict[str, Any]:
    answer = _python("-m", module, *(str(argument) for argument in arguments))
    result: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return result


def _python(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return done.stdout


def _median(results: list[dict[str, Any]], what: str) -> float:
    return statistics.median(result[what] for result in results)


def _most(results: list[dict[str, Any]], what: str) -> float:
    return max(result[what] for result in results)


def _verdict(reached: bool) -> str:
    return "Reached." if reached else "NOT reached."


if __name__ == "__main__":
    main()
