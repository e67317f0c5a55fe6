"""What the benchmarks share: a simulator with prepared answers, and processes of their own to measure in."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_EXPORTS
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.simulator import SimClock, Simulator, World, running_simulator

NOW = datetime(2026, 4, 1, 7, tzinfo=UTC)
DAYS = DateRange(date(2026, 1, 1), date(2026, 3, 31))
_ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "ignore"}


@contextmanager
def serving() -> Iterator[Simulator]:
    """30 campaigns, 30 countries, 4 tracks: some 312,000 rows and 248 MB in 90 days, encoded beforehand."""
    world = World(
        campaigns=30, first_day=DAYS.start, duration_days=90, countries_per_campaign=30, tracks_per_campaign=4
    )
    say("preparing the answers")
    with running_simulator(world, SimClock(NOW), per_minute=None, per_hour=None, prepare=True) as simulator:
        simulator.prepare(DAYS.start, DAYS.end)
        yield simulator


def answers(simulator: Simulator, folder: Path, dates: DateRange = DAYS) -> dict[str, list[tuple[str, Path]]]:
    """Per export the URL of each campaign's answer, and the same bytes as a file below `folder`."""
    found: dict[str, list[tuple[str, Path]]] = {}
    query = f"startDate={dates.start}&endDate={dates.end}"
    with httpx.Client(headers={"authorization": f"Bearer {simulator.key}"}, timeout=60) as client:
        for export in CAMPAIGN_EXPORTS:
            (folder / export.name).mkdir(parents=True)
            for campaign in simulator.world.campaigns:
                url = f"{simulator.base_url}{export.path.format(id=campaign.path_id)}?{query}"
                file = folder / export.name / f"{campaign.uuid}.ndjson"
                file.write_bytes(client.get(url).raise_for_status().content)
                found.setdefault(export.name, []).append((url, file))
    return found


def ours(simulator: Simulator, data_dir: Path, dates: DateRange) -> dict[str, Any]:
    """What a run of ours does with the API and the warehouse, in a process of its own (`ours.py`)."""
    arguments = [simulator.base_url, str(data_dir), str(dates.start), str(dates.end)]
    return measured([sys.executable, "-m", "benchmarks.ours", *arguments])


def measured(command: list[str], cwd: Path | None = None) -> dict[str, Any]:
    """What the command printed as its last line, which is JSON."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=_ENVIRONMENT, cwd=cwd)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


_VERDICT = re.compile(r"Target: (.+?)\. (Reached|\*\*NOT reached)\.")


def verdict(target: str, reached: bool, found: str = "") -> str:
    """A sentence for a report: what was to be reached, what was found, and whether that is it."""
    return f"Target: {target}{f' ({found})' if found else ''}. {'Reached.' if reached else '**NOT reached.**'}"


def verdicts_in(report: str) -> list[tuple[str, bool]]:
    """The targets of a report, each with what was found, and whether it was reached."""
    return [(target, reached == "Reached") for target, reached in _VERDICT.findall(report)]


def say(line: str) -> None:
    """Progress goes to stderr: stdout is the report."""
    print(line, file=sys.stderr, flush=True)
