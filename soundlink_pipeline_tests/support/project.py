"""A project in a temporary folder, run against a local Soundlink API: what the tests of whole runs share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS, subjects_of
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.definitions import build_definitions, secret_from_environment
from soundlink_pipeline.models.binding import BoundModels, load_models
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.publishing import file_copy
from soundlink_pipeline.pulling.fetcher import Source
from soundlink_pipeline.pulling.listing import list_subject, save_and_ask
from soundlink_pipeline.pulling.outcome import PullResult
from soundlink_pipeline.pulling.planning import plan
from soundlink_pipeline.pulling.puller import Puller
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import KeyInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.instances import instance_at
from soundlink_pipeline_tests.support.sql_folder import without_models

REPOSITORY = Path(__file__).parents[2]
KEY = "sk_test_Qm7vR2xYpL9sKd4w"
TABLES = (
    *(export.name for export in EXPORTS),
    *(f"{export.name}_history" for export in EXPORTS),
    "deliveries",
    "campaigns",
    "soundlinks",
    "report_date_status",
    "vanished_rows",
    "accounts",
)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
FROM_FAILURE = {"dagster/is_resume_retry": "true"}


def small_world(campaigns: int = 8) -> World:
    return World(campaigns=campaigns, countries_per_campaign=3, tracks_per_campaign=2)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day(text: str) -> date:
    return date.fromisoformat(text)


def environment(sim_url: str, data_dir: Path, **more: str) -> dict[str, str]:
    """The settings as a user would set them, with limits that do not slow the tests."""
    return {
        "SOUNDLINK_API_KEY": KEY,
        "SOUNDLINK_BASE_URL": sim_url,
        "SOUNDLINK_DATA_DIR": str(data_dir),
        "SOUNDLINK_REQUESTS_PER_MINUTE": "100000",
        "SOUNDLINK_REQUESTS_PER_HOUR": "100000",
        **more,
    }


def job_of(name: str, settings: dict[str, str]) -> dg.JobDefinition:
    """A job as a run worker makes it from its environment. Dagster calls this four times in a run."""
    models = models_of(settings_from(settings).sql_dir)
    return _definitions(json.dumps(settings, sort_keys=True), models).resolve_job_def(name)


@lru_cache(maxsize=1)
def _definitions(settings: str, models: BoundModels) -> dg.Definitions:
    """Made once for as many runs as nothing changes between."""
    return build_definitions(settings_from(json.loads(settings)), secret_from_environment, models=models)


def models_of(folder: Path) -> BoundModels:
    """The SQL models of a folder, read once for all projects that use it as it is."""
    files = sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file())
    return _models(folder, tuple(files))


@lru_cache(maxsize=4)
def _models(folder: Path, _files: tuple[tuple[str, int], ...]) -> BoundModels:
    return load_models(folder)


@dataclass
class Project:
    """A data folder, a Dagster instance and the API they are used with."""

    sim: Simulator
    instance: dg.DagsterInstance
    folder: Path
    settings: dict[str, str]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def soundlink(self) -> Soundlink:
        return Soundlink(settings_from(self.settings), secret_from_environment)

    def refresh(self, start: str, end: str, **options: Any) -> dg.JobExecutionResult:
        """One run of daily_refresh over a range, as the schedule and `make backfill` ask for it."""
        tags = {RANGE_START: start, RANGE_END: end, **options.pop("tags", {})}
        return self.execute(DAILY_REFRESH, tags=tags, **options)

    def execute(self, job: str, **options: Any) -> dg.JobExecutionResult:
        # The settings are in what identifies the job, for Dagster keeps what it has reconstructed. The key is not.
        asked_for: tuple[Any, ...] = (job, dict(self.settings))
        reconstructable = dg.build_reconstructable_job(__name__, job_of.__name__, asked_for)
        run_config = QUIET | options.pop("run_config", {})
        with dg.execute_job(reconstructable, self.instance, run_config=run_config, **options) as result:
            return result

    def resume(self, failed: dg.JobExecutionResult) -> dg.JobExecutionResult:
        """What "Re-execute from failure" does."""
        parent = self.instance.get_run_by_id(failed.run_id)
        assert parent is not None
        tags = {name: parent.tags[name] for name in (RANGE_START, RANGE_END)}
        again = dg.ReexecutionOptions.from_failure(failed.run_id, self.instance)
        return self.execute(DAILY_REFRESH, tags=tags | FROM_FAILURE, reexecution_options=again)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.soundlink.warehouse.read() as connection:
            return connection.execute(sql).fetchall()

    def table(self, export: Export, where: str = "true") -> list[tuple[Any, ...]]:
        """The contract's columns, in the order of the primary key."""
        return self.query(
            f"select {', '.join(export.column_names)} from {export.name} where {where}"
            f" order by {', '.join(export.primary_key)}"
        )

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every table and view, all columns."""
        with self.soundlink.warehouse.read() as connection:
            return {name: connection.execute(f"select * from {name} order by all").fetchall() for name in TABLES}

    def texts(self) -> Iterator[tuple[Path, bytes]]:
        """Every file of the data folder and of the Dagster instance."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                yield path, path.read_bytes()


@contextmanager
def project(
    folder: Path, world: World | None = None, sql_dir: Path | None = None, like: Path | None = None
) -> Iterator[Project]:
    """An empty project, without models unless told; the API's clock stands at 2026-03-02 06:00 UTC until moved.

    `like`: the folder of one that has ended, whose data and runs this one begins with.
    """
    if like:
        shutil.copytree(like / "data", folder / "data")
    with (
        running_simulator(
            world or small_world(),
            SimClock(utc("2026-03-02T06:00")),
            keys={KEY: KeyInfo()},
            per_minute=None,
            per_hour=None,
        ) as sim,
        instance_at(folder / "instance", like and like / "instance" / "storage") as instance,
        pytest.MonkeyPatch.context() as patch,
    ):
        settings = environment(sim.base_url, folder / "data", SOUNDLINK_SQL_DIR=str(sql_dir or without_models()))
        patch.setenv("SOUNDLINK_API_KEY", settings.pop("SOUNDLINK_API_KEY"))
        patch.setattr(file_copy, "_OPENING_SECONDS", 0.01)  # no other process opens what is published here
        yield Project(sim, instance, folder, settings)


# The truth, from the simulated world and by the vendor's types


def truth(world: World, export: Export, days: Iterable[tuple[date, datetime]]) -> list[tuple[Any, ...]]:
    """What the table must hold when each day was last pulled at the moment given."""
    answered = (
        row
        for report_date, pulled_at in days
        for subject, things in world.things.items()
        if subject.name == export.subject.name
        for thing in things
        for row in world.rows(export.name, thing.row_id, report_date, report_date, pulled_at)
    )
    return as_in_table(export, answered)


def as_in_table(export: Export, answered: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The rows of answers by the vendor's types, in the order of the primary key."""
    rows = [tuple(_typed(column.type, row.get(column.name)) for column in export.columns) for row in answered]
    places = [export.column_names.index(name) for name in export.primary_key]
    return sorted(rows, key=lambda row: [row[place] for place in places])


def each_day(start: str, end: str, pulled_at: datetime) -> list[tuple[date, datetime]]:
    first, last = day(start), day(end)
    return [(first + timedelta(days=offset), pulled_at) for offset in range((last - first).days + 1)]


def _typed(kind: str, value: Any) -> Any:
    if value is None:
        return None
    match kind:
        case "DATE":
            return date.fromisoformat(value)
        case "TIMESTAMP":
            return datetime.fromisoformat(value).astimezone(UTC).replace(tzinfo=None)
        case "DECIMAL(18,6)":
            return Decimal(value)
        case "DOUBLE":
            return float(value)
        case _:
            return value


def failures_of(result: dg.JobExecutionResult) -> list[str]:
    """What the operator reads where steps failed."""
    failures = [event.step_failure_data for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    for failure in failures:
        assert failure.user_failure_data is not None, failure.error
    return [failure.user_failure_data.description or "" for failure in failures if failure.user_failure_data]


def failure_of(result: dg.JobExecutionResult) -> str:
    (failure,) = failures_of(result)
    return failure


def asked(sim: Simulator) -> list[tuple[str, str]]:
    """Path and query of every export asked for."""
    return [(record.path, record.query) for record in sim.stats.records if record.kind.endswith("_export")]


def pull(
    soundlink: Soundlink, start: str, end: str, run_id: str = "run-1", exports: Sequence[Export] = CAMPAIGN_EXPORTS
) -> PullResult:
    """What a run does about what these exports are about, with the API and the warehouse, without Dagster."""
    dates = DateRange(day(start), day(end))
    with soundlink.connect(lambda _: None) as (client, pacer):
        items = {s: listed(soundlink, client, run_id, [run_id], s) for s in subjects_of(exports)}
        pulls = [pull for export in exports for pull in plan(export, items[export.subject], dates)]
        return puller(soundlink, client, pacer, run_id).run(pulls)


def listed(
    soundlink: Soundlink, client: SoundlinkClient, run_id: str, lineage: Sequence[str], subject: Subject = CAMPAIGN
) -> list[dict[str, Any]]:
    """The campaigns or soundlinks of a run, listed and saved."""
    landing, only = soundlink.landing, soundlink.settings.campaign_ids if subject == CAMPAIGN else ()
    listing = list_subject(client, subject, landing, run_id=run_id, lineage=lineage, only=only)
    items = listing.items(subject)
    if not listing.archived:
        save_and_ask(soundlink.warehouse, landing, [(subject, listing)], lambda _: None)
    return items


def puller(soundlink: Soundlink, client: SoundlinkClient, pacer: Pacer, run_id: str = "run-1") -> Puller:
    return Puller(
        Source(client=client, pacer=pacer),
        landing=soundlink.landing,
        warehouse=soundlink.warehouse,
        run_id=run_id,
        log=lambda _: None,
    )
