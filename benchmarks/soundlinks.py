"""What soundlinks add to a daily refresh: `python -m benchmarks.soundlinks [--rounds …]`.

One account of 30 campaigns and 30 soundlinks, pulled into two folders in turns: with a key that opens the campaigns
alone (two exports), and with one that opens both (four). A refresh of 8 days with all models, checks and the
publication, as Dagster runs it; the API answers at once, so that what is measured is our own time.
"""

import argparse
import statistics
import tempfile
import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.refreshing import Folder
from benchmarks.serving import say, verdict
from soundlink_pipeline.simulator import (
    CAMPAIGNS_READ,
    METRICS_READ,
    SOUNDLINKS_READ,
    KeyInfo,
    SimClock,
    World,
    running_simulator,
)

_NOW = datetime(2026, 4, 1, 7, tzinfo=UTC)
_KEYS = {
    "campaigns": ("sk_bench_campaigns", frozenset({CAMPAIGNS_READ, METRICS_READ})),
    "campaigns and soundlinks": ("sk_bench_both", frozenset({CAMPAIGNS_READ, METRICS_READ, SOUNDLINKS_READ})),
}
_MOST = 1.6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soundlinks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of refreshes; the table shows medians")
    rounds = parser.parse_args().rounds
    world = World(
        campaigns=30,
        soundlinks=30,
        first_day=date(2026, 1, 1),
        duration_days=120,
        countries_per_campaign=30,
        tracks_per_campaign=4,
    )
    clock = SimClock(_NOW)
    keys = {key: KeyInfo(scopes=scopes) for key, scopes in _KEYS.values()}
    with (
        tempfile.TemporaryDirectory(prefix="soundlink-bench-") as scratch,
        running_simulator(world, clock, keys=keys, per_minute=None, per_hour=None, prepare=True) as simulator,
    ):
        folders = {
            what: Folder(Path(scratch) / str(number), simulator, {"SOUNDLINK_API_KEY": key})
            for number, (what, (key, _)) in enumerate(_KEYS.items())
        }
        for what, folder in folders.items():
            say(f"first load of {what}")
            folder.refresh(_NOW.date() - timedelta(days=90), _NOW.date() - timedelta(days=1))
        seconds: dict[str, list[float]] = {what: [] for what in folders}
        requests, megabytes = dict[str, int](), dict[str, float]()
        for number in range(1, rounds + 1):
            day = _NOW + timedelta(days=number)
            clock.set(day)
            for what, folder in folders.items():
                simulator.stats.reset()
                dates = day.date() - timedelta(days=8), day.date() - timedelta(days=1)
                seconds[what].append(folder.refresh(*dates))
                requests[what] = len(simulator.stats.records)
                megabytes[what] = sum(record.bytes for record in simulator.stats.records) / 1e6
    medians = {what: statistics.median(times) for what, times in seconds.items()}
    alone, both = medians.values()
    print("## A refresh of 8 days with soundlinks\n")
    print("| | requests | MB | seconds | ratio |\n|---|---|---|---|---|")
    for what, median in medians.items():
        print(f"| 30 {what} | {requests[what]} | {megabytes[what]:.1f} | {median:.2f} | {median / alone:.2f} |")
    print(
        f"\nMedians of {rounds} rounds. "
        + verdict(f"four exports at most {_MOST} x two", both <= _MOST * alone, f"{both / alone:.2f} x")
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
