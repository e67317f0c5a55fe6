"""How often a run opens the warehouse, and when: opening is what costs, and what shuts others out."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.simulator.stats import Record, Stats
from soundlink_pipeline.warehouse.native_file import ClosedFile, NativeFile
from soundlink_pipeline_tests.support.project import Project, project, utc
from soundlink_pipeline_tests.support.sql_folder import sql_folder

LOADING = "_load"
# The product's function that opens it, and how often a refresh of both exports does.
REFRESH = {
    "save_and_ask": 1,  # all questions before the first request for an export
    LOADING: 2,  # one batch per export
    "pull_exports": 1,  # checks and pages of both exports
    "build": 1,  # every model
    "closed_file": 1,  # the gate, the figures that the copy is compared with, and the checkpoint before it
    "_newest_in_warehouse": 1,
}


class Openings:
    """Who has opened the warehouse how often, and who has it open."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.counted: Counter[str] = Counter()
        self.open: list[str] = []
        real = NativeFile._connected

        @contextmanager
        def connected(home: NativeFile, **how: Any) -> Iterator[duckdb.DuckDBPyConnection]:
            opener = _opener()
            self.counted[opener] += 1
            with real(home, **how) as connection:
                self.open.append(opener)
                try:
                    yield connection
                finally:
                    self.open.remove(opener)

        patch.setattr(NativeFile, "_connected", connected)


def _opener() -> str:
    """The function of the product that asked the home for a connection."""
    for frame in inspect.stack():
        if "/soundlink_pipeline/" in frame.filename and frame.function not in ("read", "write", "_connected"):
            return frame.function
    raise AssertionError("the warehouse was not opened by the product")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path, sql_dir=sql_folder(tmp_path / "sql")) as made:
        yield made


def test_a_refresh_opens_the_warehouse_once_per_phase_and_never_while_it_waits_for_the_api(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here.refresh("2026-02-20", "2026-02-27").success
    here.sim.clock.set(utc("2026-03-03T06:00"))
    here.sim.stats.reset()
    openings = Openings(monkeypatch)
    during_requests: set[str] = set()
    during_copies: list[list[str]] = []
    record, copy = Stats.add, ClosedFile.copy_to

    def requested(stats: Stats, request: Record) -> None:
        during_requests.update(openings.open)
        record(stats, request)

    def copied(file: ClosedFile, target: Path) -> None:
        during_copies.append([*openings.open])
        copy(file, target)

    monkeypatch.setattr(Stats, "add", requested)
    monkeypatch.setattr(ClosedFile, "copy_to", copied)
    assert here.refresh("2026-02-23", "2026-03-02").success
    assert len(here.sim.stats.records) > len(here.sim.world.campaigns)
    assert openings.counted == REFRESH
    # While a batch is loaded the next deliveries are fetched: nothing else is open then.
    assert during_requests <= {LOADING}
    assert during_copies == [[]]
