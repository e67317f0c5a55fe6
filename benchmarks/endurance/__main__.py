"""The command; the package tells what it does."""

import argparse
import os
import shutil
import signal
import sys
import warnings
from datetime import timedelta
from pathlib import Path

from benchmarks.endurance.children import serving
from benchmarks.endurance.picture import report
from benchmarks.endurance.world import FIRST_DAY, Year, calendar
from benchmarks.endurance.year import Endurance
from soundlink_pipeline.simulator import DEMO_KEY


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=1, help="of the world and of what befalls it")
    parser.add_argument("--quiet", type=int, default=9, help="good days between bad ones, on average")
    parser.add_argument("--longest", type=int, default=10, help="days that an outage may last")
    parser.add_argument("--retention", type=int, default=120, help="days that landed files are kept")
    parser.add_argument(
        "--dagster-retention",
        type=int,
        metavar="DAYS",
        help="that Dagster's runs are kept; without it nothing is deleted",
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/endurance"))
    given = parser.parse_args()
    folder = given.out.absolute()
    for scratch in (folder / "data", folder / ".dagster"):
        shutil.rmtree(scratch, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy("dagster.yaml", folder)
    os.chdir(folder)  # the paths in dagster.yaml are relative
    os.environ |= {"DAGSTER_HOME": str(folder), "SOUNDLINK_API_KEY": DEMO_KEY}
    world, plan = Year(given.seed, given.days), calendar(given.days, given.seed, given.quiet, given.longest)
    with serving(world) as api:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
        year = Endurance(folder, api, world, given.retention, given.dagster_retention, given.seed)
        try:
            for number, befalls in enumerate(plan):
                record = year.day(FIRST_DAY + timedelta(days=1 + number), befalls, last=number == len(plan) - 1)
                took = (
                    f"{record['seconds']:.1f} s, {record['peak_mb']:.0f} MB" if "seconds" in record else "nothing ran"
                )
                came = "all true" if record["success"] else "no refresh"
                print(f"{record['day']} {befalls or 'good'}: {came}, {took}", flush=True)
        finally:  # what was measured until then is worth having, whatever ended it
            report(year.records, year.red, folder)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
