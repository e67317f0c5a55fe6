"""Analysts and pipeline at the same time: readers in other processes, while runs backfill, refresh and publish."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from soundlink_pipeline.simulator import World
from soundlink_pipeline_tests.project import REPOSITORY, Project, project, utc

# Opens, asks, closes, again and again; or opens once and asks again and again. Every look must be at one whole version.
READER = """
import sys, time
from pathlib import Path
from soundlink_pipeline.publishing import read_published
database, stop, long_lived = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "long"
QUERY = '''
    select (select run_id from publication), (select count(*) from deliveries),
        (select coalesce(sum(streams), 0) from campaign_country_daily),
        (select coalesce(sum(streams), 0) from marts.campaign_daily),
        (select coalesce(sum(streams), 0) from marts.campaign_summary),
        (select count(*) from marts.revision_curve)
'''
seen, looks, connection, opened = set(), 0, None, None
while not stop.exists():
    if not database.exists():
        time.sleep(0.01)
        continue
    if connection is None:
        opened = read_published(database)
        connection = opened.__enter__()
    ((run, deliveries, raw, daily, summary, _),) = connection.execute(QUERY).fetchall()
    assert raw == daily == summary > 0, (run, raw, daily, summary)
    seen.add((run, deliveries, raw))
    looks += 1
    time.sleep(0.3)  # for the runs, which share the machine
    if not long_lived:
        opened.__exit__(None, None, None)
        connection = None
print(len(seen), len({run for run, *_ in seen}), looks)
"""


@contextmanager
def readers(here: Project, *kinds: str) -> Iterator[list[list[int]]]:
    """Reader processes; at the end, of each how many states and runs it saw, and in how many looks."""
    stop, told = here.folder / "stop", list[list[int]]()
    command = [sys.executable, "-c", READER, str(here.soundlink.published_path), str(stop)]
    started = [
        subprocess.Popen([*command, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for kind in kinds
    ]
    try:
        yield told
    finally:
        stop.touch()
        ended = [(process, *process.communicate(timeout=60)) for process in started]
    for process, out, error in ended:
        assert process.returncode == 0, error
        told.append([int(number) for number in out.split()])


@pytest.mark.slow
def test_readers_and_runs_never_disturb_each_other(tmp_path: Path) -> None:
    world = World(campaigns=6, countries_per_campaign=3, tracks_per_campaign=2)
    with project(tmp_path, world=world, sql_dir=REPOSITORY / "dbt_like_sql") as here:
        here.sim.clock.set(utc("2026-04-10T06:00"))
        assert here.refresh("2026-01-01", "2026-01-03").success
        with readers(here, "short", "short", "long") as told:
            assert here.refresh("2026-01-04", "2026-04-03").success  # 90 days
            for day in range(11, 14):
                here.sim.clock.set(utc(f"2026-04-{day}T06:00"))
                assert here.refresh(f"2026-04-{day - 8:02}", f"2026-04-{day - 1:02}").success
        *short, long = told
        # A publication is one state; who keeps the file open goes on seeing the one it opened.
        assert long[:2] == [1, 1]
        for states, runs, looks in short:
            assert states == runs
            assert 2 <= runs <= 5
            assert looks > runs
        assert not list(here.data.glob(".*.part*"))
