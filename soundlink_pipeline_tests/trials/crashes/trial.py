"""A copy of a project with a past, one run in it that meets its end, and what must be true after the next."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.models.build import STATE_TABLE, build_models
from soundlink_pipeline.models.project import SqlProject, read_project
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.publishing.file_copy import compare, figures_of
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import KeyInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import KEY, asked, each_day, environment, truth, utc
from soundlink_pipeline_tests.trials.crashes.worker import Order, Step, Worker, instance_of, outcome, run, working

WORLD = World(campaigns=5, countries_per_campaign=2, tracks_per_campaign=1)
# Two runs before, the second of which finds the first one's values revised. As the schedule's do, each begins with the
# first day that the run before has not pulled since it was final: no campaign has anything to make up for, and every
# run asks for its own range.
EARLIER = (
    ("2026-02-12", "2026-02-21", utc("2026-02-22T06:00")),
    ("2026-02-15", "2026-02-23", utc("2026-02-24T06:00")),
)
NOW = utc("2026-02-26T06:00")
BACKFILL, REFRESH = ("2026-02-06", "2026-02-09"), ("2026-02-17", "2026-02-25")
# Dagster's steps of a run.
RUN_STEPS = 4
# What analysts and the next run find in the data folder, and nothing else.
KEPT = {"api_scheme.json", "landing", "requests.sqlite", "requests.sqlite.lock", "run.lock", "soundlink.duckdb"}
KEPT |= {"bound_models.json"} | {f"warehouse.{kind}" for kind in ("duckdb", "lock", "contract")}


@dataclass(frozen=True)
class Past:
    """A project folder with two runs behind it, and their steps: what can be expected of the runs to come.

    `models` is the folder of the SQL models that its runs build.
    """

    folder: Path
    models: Path
    steps: dict[tuple[str, str], list[Step]]


@cache
def models_of(folder: Path) -> SqlProject:
    return read_project(folder)


@contextmanager
def api(now: datetime) -> Iterator[Simulator]:
    with running_simulator(WORLD, SimClock(now), keys={KEY: KeyInfo()}, per_minute=None, per_hour=None) as sim:
        yield sim


def settings(sim: Simulator, folder: Path, models: Path, days: tuple[str, str] = EARLIER[0][:2]) -> dict[str, str]:
    first_day = min(days[0], EARLIER[0][0])  # no refresh makes up for what is before
    more = {"SOUNDLINK_SQL_DIR": str(models), "SOUNDLINK_START_DATE": first_day}
    made = environment(sim.base_url, folder / "data", **more)
    del made["SOUNDLINK_API_KEY"]
    return made


class Trial:
    """A copy of the past, and one more range to pull, whatever happens to the run."""

    def __init__(self, past: Past, folder: Path, sim: Simulator, days: tuple[str, str] = REFRESH) -> None:
        shutil.copytree(past.folder, folder, dirs_exist_ok=True)
        self.sim, self.folder, self.days, self.pulled_at = sim, folder, days, NOW
        self.settings = settings(sim, folder, past.models, days)
        self.models = models_of(past.models)
        self.data = folder / "data"
        self.soundlink = Soundlink(settings_from(self.settings), lambda _: KEY)

    def order(self, **more: Any) -> Order:
        return Order(self.folder, self.settings, *self.days, **more)

    @contextmanager
    def held_at(self, name: str, nth: int = 0) -> Iterator[Worker]:
        """A worker that stands before a step. When the block ends it goes on, if it still lives, until its end."""
        with working(self.order(hold_at=(name, nth))) as worker:
            assert worker.holds(), f"it never came to {name}: {outcome(self.folder)}"
            yield worker
            worker.go_on()
            worker.end()

    def kill_at(self, step: Step, fraction: float) -> str | None:
        """Kill the run when so much of a step's usual time has passed; which step it hit, None if it was over.

        At 0 the worker is killed as it stands before the step: some are too short to be hit otherwise.
        """
        with working(self.order(hold_at=(step.name, step.nth))) as worker:
            if not worker.holds():
                return None
            if fraction > 0:
                worker.go_on()
                time.sleep((step.seconds or 0) * fraction)
            worker.signal(signal.SIGKILL)
            if worker.end() != -signal.SIGKILL:
                return None
            at = worker.now_at()
        return step.name if step.name in at else at[-1] if at else "after the last step"

    def landed(self, run_id: str | None = None) -> set[tuple[str, str]]:
        """Export and campaign of the deliveries of the trial's range, of all runs or of one."""
        return {
            (found.export, found.subject_id)
            for found in self.soundlink.landing.deliveries()
            if (str(found.dates.start), str(found.dates.end)) == self.days and run_id in (None, found.run_id)
        }

    def failed_run(self) -> str | None:
        """The trial's run as Dagster's monitoring leaves it when the worker has gone; None if none had begun."""
        with instance_of(self.folder) as instance:
            (newest,) = instance.get_runs(limit=1)
            if (newest.tags[RANGE_START], newest.tags[RANGE_END]) != self.days:
                return None
            if not newest.is_finished:
                instance.report_run_failed(newest)
            done = {event.step_key for event in instance.all_logs(newest.run_id, dg.DagsterEventType.STEP_SUCCESS)}
        return newest.run_id if len(done) < RUN_STEPS else None

    def finish(self, how: str) -> None:
        """Another worker does what is left: by the same order `again`, or `tomorrow`; `resumed` as Dagster retries."""
        failed = self.failed_run()
        if how == "tomorrow":
            self.pulled_at += timedelta(days=1)
            self.sim.clock.set(self.pulled_at)
        resumes = failed if how == "resumed" else None
        # A settled day is not asked for again; another one only by a run that does not resume the one that has it.
        there = self.landed() if self.days == BACKFILL else self.landed(resumes) if resumes else set()
        listed = any(listing.run_id == resumes for listing in self.soundlink.landing.listings(CAMPAIGN))
        self.sim.stats.reset()
        run(self.order(resumes=resumes or ""))
        every = {(export.name, campaign.path_id) for export in CAMPAIGN_EXPORTS for campaign in WORLD.campaigns}
        paths = {export.path.format(id=name): (export.name, name) for export in CAMPAIGN_EXPORTS for _, name in every}
        assert sorted(paths[path] for path, _ in asked(self.sim)) == sorted(every - there)
        assert self.sim.stats.count(kind="campaigns") == (not listed)

    # What must hold at the end

    def assert_nothing_happened(self) -> None:
        """Data, ledger, history, models and published file are what a run without any trouble makes; no litter."""
        with self.soundlink.warehouse.read() as connection:
            self._assert_tables_are_true(connection)
            self._assert_ledger_adds_up(connection)
            for export in CAMPAIGN_EXPORTS:
                _assert_history_is_a_chain(connection, export)
        self._assert_marts_are_as_rebuilt()
        self._assert_published()
        self._assert_no_litter()

    def _assert_tables_are_true(self, connection: duckdb.DuckDBPyConnection) -> None:
        pulled = {}
        for start, end, moment in (*EARLIER, (*self.days, self.pulled_at)):
            pulled.update(dict(each_day(start, end, moment)))
        for export in CAMPAIGN_EXPORTS:
            columns, key = ", ".join(export.column_names), ", ".join(export.primary_key)
            found = connection.execute(f"select {columns} from {export.name} order by {key}").fetchall()
            assert found == truth(WORLD, export, sorted(pulled.items())), f"{export.name} is not what the API holds"

    def _assert_ledger_adds_up(self, connection: duckdb.DuckDBPyConnection) -> None:
        ledger = connection.execute("select delivery_id, load_order from deliveries").fetchall()
        landed = [(found.delivery_id, found.loaded) for found in self.soundlink.landing.deliveries()]
        assert sorted(ledger) == sorted(landed), "a delivery is not loaded, or not once"
        assert sorted(order for _, order in ledger) == list(range(1, len(ledger) + 1))
        asked_for = connection.execute(
            "select export, subject_id, run_id, start_date, count(*) from deliveries group by all having count(*) > 1"
        ).fetchall()
        assert asked_for == [], "one run counted a delivery twice"
        for export in CAMPAIGN_EXPORTS:
            ((inserted, updated, wrong),) = connection.execute(
                "select sum(inserted), sum(updated),"
                " count(*) filter (rows <> inserted + updated + unchanged + ignored_as_older or rows <> declared_rows)"
                f" from deliveries where export = '{export.name}'"
            ).fetchall()
            counts = f"select (select count(*) from {export.name}), (select count(*) from {export.name}_history), 0"
            assert connection.execute(counts).fetchall() == [(inserted, updated, wrong)]

    def _assert_marts_are_as_rebuilt(self) -> None:
        copy = self.folder / "rebuilt" / "warehouse.duckdb"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(self.soundlink.warehouse.path, copy)
        with duckdb.connect(str(copy)) as connection:
            built = _rows_of(connection, "staging", "marts")
            connection.execute(f"delete from {STATE_TABLE}")
            build_models(connection, self.models)
            assert _rows_of(connection, "staging", "marts") == built
        assert {model.table for model in self.models.models.values()} == built.keys()

    def _assert_published(self) -> None:
        warehouse = self.soundlink.warehouse
        assert compare(figures_of(warehouse), warehouse.exports, self.soundlink.published_path) == []
        published = str(self.soundlink.published_path)
        with self.soundlink.warehouse.read() as ours, duckdb.connect(published, read_only=True) as theirs:
            schemas = ("main", "staging", "marts")
            assert _rows_of(theirs, *schemas, without="publication") == _rows_of(ours, *schemas)

    def _assert_no_litter(self) -> None:
        landing = self.soundlink.landing
        assert {path.name for path in self.data.iterdir()} <= KEPT | {"tmp"}
        assert not list(self.data.glob("tmp/*"))
        assert landing.not_archived() == []
        landing.sweep(datetime.now(UTC) + timedelta(days=1, hours=1), 10_000)
        assert [path for path in self.data.rglob("*") if path.name.startswith(".") or ".part" in path.name] == []


def _rows_of(connection: duckdb.DuckDBPyConnection, *schemas: str, without: str = "") -> dict[str, list[Any]]:
    """Every row of every table and view of ours, but for those that are the pipeline's own."""
    names = connection.execute(
        "select table_schema, table_name from information_schema.tables where list_contains($schemas, table_schema)",
        {"schemas": list(schemas)},
    ).fetchall()
    return {
        f"{schema}.{name}": connection.execute(f"from {schema}.{name} order by all").fetchall()
        for schema, name in names
        if not name.startswith("_") and name != without
    }


def _assert_history_is_a_chain(connection: duckdb.DuckDBPyConnection, export: Export) -> None:
    """Each version was believed until the next one, the newest of which is the table's; none is there twice."""
    key = ", ".join(export.primary_key)
    broken = connection.execute(
        f"""
        with versions as (
            select {key}, _valid_from, _valid_until, _delivery_id, _replaced_by_delivery_id
            from {export.name}_history
            union all
            select {key}, _valid_from, null, null, null from {export.name}
        )
        select *, lead(_valid_from) over (partition by {key} order by _valid_from, _valid_until nulls last) as next
        from versions
        qualify (_valid_until is null and next is not null)
            or (_valid_until is not null and (next is distinct from _valid_until or _valid_from >= _valid_until))
        """
    ).fetchall()
    assert broken == []
    ((versions,),) = connection.execute(f"select count(*) from {export.name}_history").fetchall()
    assert versions > 0, "nothing was revised: the test shows nothing"
