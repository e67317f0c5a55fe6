"""Random dbt projects are built and tested as dbt does, or the pipeline says what of them is not honoured.

`--projects` says how many are tried, `--projects-from` from which seed on. A failure prints the seed, and
`random_project(seed)` is that project again. What was found once is a case of its own in `test_examples.py`.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random
from shutil import copy

import duckdb
import pytest

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline_tests.models.same_as_dbt import by_dbt, by_us
from soundlink_pipeline_tests.models.same_as_dbt.expressions import ENVIRONMENT
from soundlink_pipeline_tests.models.same_as_dbt.outcome import Outcome, differences
from soundlink_pipeline_tests.models.same_as_dbt.random_project import DbtProject, random_project
from soundlink_pipeline_tests.models.same_as_dbt.values import add_days, warehouse

# The days that a refresh is told to rebuild, after rows of all days have come.
REFRESH = DateRange(date(2026, 1, 3), date(2026, 1, 6))

pytestmark = [
    pytest.mark.dbt,
    pytest.mark.skipif(not by_dbt.DBT, reason="dbt is not installed: SOUNDLINK_DBT does not name its command"),
]


@dataclass(frozen=True)
class Trial:
    """A project in a folder of its own, with the same warehouse for either side."""

    seed: int
    project: DbtProject
    folder: Path

    @classmethod
    def of(cls, seed: int, at: Path) -> Trial:
        trial = cls(seed, random_project(seed), at / str(seed))
        trial.project.write(trial.source)
        copy(warehouse(trial.warehouse("dbt").parent, Random(seed)), _made(trial.warehouse("ours").parent))
        return trial

    @property
    def source(self) -> Path:
        return self.folder / "project"

    @property
    def sql(self) -> list[str]:
        return [
            text for name, text in self.project.files.items() if name.startswith("models/") and name.endswith(".sql")
        ]

    def warehouse(self, side: str) -> Path:
        return self.folder / side / "warehouse.duckdb"

    def job(self, dates: DateRange | None = None) -> by_dbt.Job:
        window = {"start_date": str(dates.start), "end_date": str(dates.end)} if dates else {}
        return by_dbt.Job(self.source, self.warehouse("dbt"), ENVIRONMENT, window)

    def add_rows(self) -> None:
        for side in ("dbt", "ours"):
            with duckdb.connect(str(self.warehouse(side))) as connection:
                add_days(connection, Random(self.seed), 5)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _dbt(trials: list[Trial], scratch: Path, dates: DateRange | None = None) -> list[Outcome]:
    """By two processes of dbt, for it takes one processor."""
    halves = [trials[0::2], trials[1::2]]
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(
            lambda half: by_dbt.run([trial.job(dates) for trial in half[1]], _made(scratch / half[0])),
            [(f"{dates}-{number}", half) for number, half in enumerate(halves) if half],
        )
        found = dict(
            zip([t.seed for half in halves for t in half], [o for answer in answers for o in answer], strict=True)
        )
    return [found[trial.seed] for trial in trials]


def _compare(trials: list[Trial], scratch: Path, shares: Counter[str], dates: DateRange | None = None) -> list[str]:
    found = []
    for trial, dbt in zip(trials, _dbt(trials, scratch, dates), strict=True):
        ours = by_us.run(trial.source, trial.warehouse("ours"), dates, ENVIRONMENT)
        told = differences(trial.project, dbt, ours)
        found += [f"project {trial.seed}{' refreshed' if dates else ''}, {text}" for text in told]
        shares["models"] += len(dbt.models)
        shares["models not honoured"] += len(dbt.models.keys() - {n for n, m in ours.models.items() if m.table})
        shares.update(f"tests: {verdict.status}" for verdict in dbt.tests.values())
        shares["tests not honoured"] += len(dbt.tests.keys() - ours.tests.keys())
    return found


@pytest.mark.timeout(3600)
def test_random_projects_are_built_and_tested_as_dbt_does(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first, count = request.config.getoption("--projects-from"), request.config.getoption("--projects")
    trials = [Trial.of(seed, tmp_path) for seed in range(first, first + count)]
    shares: Counter[str] = Counter()
    found = _compare(trials, tmp_path, shares)
    by_days = [trial for trial in trials if any("start_date" in text for text in trial.sql)]
    for trial in by_days:
        trial.add_rows()
    if by_days:
        found += _compare(by_days, tmp_path, Counter(), REFRESH)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        counted = [f"{number:7} {what}" for what, number in sorted(shares.items())]
        print(f"\n{count} dbt projects, seeds {first} to {first + count - 1}", *counted, sep="\n")
    assert not found, f"{len(found)} differences\n" + "\n".join(found[:40])
    if count >= 20:  # were there hardly any of a kind, the comparison would prove little
        assert min(shares[f"tests: {status}"] for status in ("pass", "warn", "fail")) > count / 2
        assert shares["models not honoured"] < shares["models"] / 4
