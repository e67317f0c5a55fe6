"""What a daily refresh takes as Dagster runs it, and what of that is neither HTTP nor DuckDB.

`python -m benchmarks.refresh [--rounds …]`: 30 campaigns, 90 days loaded, then one refresh of 8 days per round with all
models, checks and the publication, on the storage that dagster.yaml names. The API answers at once, and after that with
a quarter of a second per answer, as an API across a network does. The step's thread is looked at every few
milliseconds, and each look counted for what it was in. Shares count: seconds are this machine's.
"""

import argparse
import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from types import FrameType

import dagster as dg

from benchmarks.serving import verdict
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import DEMO_KEY, Fault, SimClock, World, running_simulator

_NOW = datetime(2026, 4, 1, 7, tzinfo=UTC)
_ANSWER_SECONDS = 0.25
_LOOK_EVERY = 0.003
# How long Python may go on before the watcher has its look. At Python's own 5 ms it mostly looked when the step went
# into DuckDB or SQLite, which let others run, and counted what had been Python before for theirs.
_SWITCH_SECONDS = 0.0005
_WORK = ("HTTP", "DuckDB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refresh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of refreshes; the table shows medians")
    rounds = parser.parse_args().rounds
    # The world of the first-load benchmark: some 300,000 rows in 90 days.
    first = date(2026, 1, 1)
    world = World(campaigns=30, first_day=first, duration_days=120, countries_per_campaign=30, tracks_per_campaign=4)
    clock = SimClock(_NOW)
    with (
        tempfile.TemporaryDirectory(prefix="soundlink-bench-") as scratch,
        running_simulator(world, clock, per_minute=None, per_hour=None, prepare=True) as simulator,
        _instance(Path(scratch)) as instance,
    ):
        no_limit = {f"SOUNDLINK_REQUESTS_PER_{unit}": "1000000" for unit in ("MINUTE", "HOUR")}
        data = {"SOUNDLINK_BASE_URL": simulator.base_url, "SOUNDLINK_DATA_DIR": f"{scratch}/data", **no_limit}
        _start()
        job = build_definitions(settings_from(data), lambda _: DEMO_KEY).resolve_job_def(DAILY_REFRESH)
        _run(job, instance, _NOW.date() - timedelta(days=90), _NOW.date() - timedelta(days=1))
        day = _NOW
        for answer in (0.0, _ANSWER_SECONDS):
            if answer:
                simulator.faults.add(Fault("hang", match="/v1/", times=None, seconds=answer))
            looks: list[Counter[str]] = []
            for _ in range(rounds):
                day += timedelta(days=1)
                clock.set(day)
                simulator.stats.reset()
                looks.append(_run(job, instance, day.date() - timedelta(days=8), day.date() - timedelta(days=1)))
            print(f"\nRefresh of 8 days, {len(simulator.stats.records)} requests, {answer:.2f} s per answer:\n")
            _print(looks)


def _start() -> None:
    """What loading the definitions costs beyond importing Dagster itself, each in a process of its own."""
    seconds: dict[str, list[float]] = {
        "import dagster": [],
        "from soundlink_pipeline.definitions import defs; defs()": [],
    }
    for _ in range(5):
        for program, times in seconds.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
            times.append(time.perf_counter() - started)
    bare, ours = (statistics.median(times) for times in seconds.values())
    print("## A daily refresh as Dagster runs it\n")
    print(
        f"`import dagster` {bare:.2f} s, with our definitions {ours:.2f} s.",
        verdict("definitions at most 0.35 s beyond `import dagster`", ours - bare <= 0.35, f"{ours - bare:.2f} s"),
    )


def _print(looks: list[Counter[str]]) -> None:
    medians = {part: statistics.median(look[part] for look in looks) for part in sorted(set().union(*looks))}
    total = statistics.median(look.total() for look in looks)
    print("| | seconds | share |")
    print("|---|---|---|")
    for part, seconds in sorted(medians.items(), key=lambda item: -item[1]):
        print(f"| {part} | {seconds:.2f} | {seconds / total:.0%} |")
    other = statistics.median(1 - sum(look[part] for part in _WORK) / look.total() for look in looks)
    print(f"| all | {total:.2f} | other than HTTP and DuckDB: {other:.0%} |\n")
    told = f"{total:.1f} s, {other:.0%}"
    target = "a refresh within 20 s, at most a third of it other than HTTP and DuckDB"
    print(verdict(target, total <= 20 and other <= 1 / 3, told))


def _instance(folder: Path) -> dg.DagsterInstance:
    """An instance as the project's dagster.yaml has it, below `folder`."""
    shutil.copy("dagster.yaml", folder)
    os.chdir(folder)  # its paths are relative
    os.environ["DAGSTER_HOME"] = str(folder)
    return dg.DagsterInstance.get()


def _run(job: dg.JobDefinition, instance: dg.DagsterInstance, start: date, end: date) -> Counter[str]:
    """Run the job over the range; seconds by what its thread was in."""
    looks: Counter[str] = Counter()
    done = threading.Event()
    watched = threading.get_ident()

    def look() -> None:
        before = time.perf_counter()
        while not done.wait(_LOOK_EVERY):
            frame, now = _frame_of(watched), time.perf_counter()
            looks.update({_part(frame): now - before})  # seconds, not a count
            before = now

    sys.setswitchinterval(_SWITCH_SECONDS)
    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    result = job.execute_in_process(
        instance=instance,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={RANGE_START: start.isoformat(), RANGE_END: end.isoformat()},
    )
    done.set()
    watcher.join()
    assert result.success
    return looks


def _frame_of(thread: int) -> FrameType | None:
    # A garbage collection within this call waits for ever (CPython before 3.12, gh-106883).
    gc.disable()
    try:
        return sys._current_frames().get(thread)
    finally:
        gc.enable()


@cache
def _lines(file: str) -> list[str]:
    # Not linecache, which the watched thread may be using.
    return Path(file).read_text().splitlines()


def _part(frame: FrameType | None) -> str:
    """What a thread is in, told by the innermost frame that tells."""
    innermost = frame
    while frame is not None:
        file = frame.f_code.co_filename
        if file.endswith(("/display/charts.py", "/display/small_bars.py", "/display/svg.py")):
            return "charts"
        if "/sqlalchemy/" in file or "/dagster/" in file or "/dagster_shared/" in file:
            return "Dagster: events and steps"
        if "/httpx/" in file or "/soundlink_pipeline/api/" in file:
            return "HTTP"
        if "/soundlink_pipeline/" in file:
            line = _lines(file)[(frame.f_lineno or 1) - 1]  # none between two lines
            if frame.f_code.co_name == "_fetch_and_load":
                return "HTTP"  # it waits for the fetchers
            in_engine = frame is innermost and any(f".{call}(" in line for call in ("execute", "connect", "close"))
            return "DuckDB" if in_engine or ".fetchall(" in line or ".df(" in line else "our own Python"
        frame = frame.f_back
    return "our own Python"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
