"""A project folder that an earlier version made and used: the current code goes on where that version stopped."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dotenv import dotenv_values

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.orchestration.jobs import REBUILD
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import KeyInfo, SimClock, World, running_simulator
from soundlink_pipeline.warehouse.home import WarehouseUnusable
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import Project, asked, each_day, truth
from soundlink_pipeline_tests.upgrade.facts import asked_by_schedule, facts, partitions, tables
from soundlink_pipeline_tests.upgrade.make_fixture import ARCHIVE, FACTS

BEFORE: dict[str, Any] = json.loads(FACTS.read_text(encoding="utf-8"))
NEXT_TICK = datetime.fromisoformat(BEFORE["next tick"])
FIRST = "2026-01-01"
SETTLED = [f"2026-01-{day:02}" for day in range(1, 18)]


@pytest.fixture(scope="module")
def as_left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("as-left")
    with tarfile.open(ARCHIVE) as archive:
        # Python 3.11.2, which Debian has, does not know filters yet.
        options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **options)
    return folder


@pytest.fixture
def here(as_left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The folder as it was left, its own dagster.yaml and .env in use, on the morning after."""
    folder = shutil.copytree(as_left, tmp_path / "project")
    monkeypatch.chdir(folder)  # where its relative paths lead to
    settings = {name: value or "" for name, value in dotenv_values(folder / ".env").items()}
    key = settings.pop("SOUNDLINK_API_KEY")
    monkeypatch.setenv("SOUNDLINK_API_KEY", key)
    with (
        running_simulator(world(), SimClock(NEXT_TICK), keys={key: KeyInfo()}, per_minute=None, per_hour=None) as sim,
        dg.DagsterInstance.from_config(str(folder)) as instance,
    ):
        yield Project(sim, instance, folder, settings | {"SOUNDLINK_BASE_URL": sim.base_url})


def world() -> World:
    """The one that the earlier version's simulator served."""
    of = BEFORE["world"]
    return World(
        of["seed"],
        of["campaigns"],
        date.fromisoformat(of["first-day"]),
        countries_per_campaign=of["countries"],
        tracks_per_campaign=of["tracks"],
    )


# One key had vanished when that version stopped, whose row it kept. An upgrade takes the row out of its table, and the
# history says until when it was believed.
MOVED = {
    f"{schema}{name}": rows
    for schema, name, rows in (
        ("main.", "campaign_country_daily", -1),
        ("main.", "campaign_country_daily_history", +1),
        ("staging.stg_", "campaign_country_daily", -1),
        ("staging.stg_", "campaign_country_daily_history", +1),
    )
}
# Counted in another way since: no sum holds that row, click rates leave out what is half unknown, and rows are expected
# by another rule.
COUNTED = [
    "staging.stg_campaigns",
    *(
        f"marts.{name}"
        for name in ("campaign_daily", "campaign_summary", "country_daily", "country_summary", "data_status")
    ),
]


# The models that show columns of the ledger, which were renamed in 0.5.
RENAMED_IN = {
    *(f"staging.stg_{name}" for name in ("deliveries", "report_date_status", "vanished_rows")),
    "marts.revision_curve",
}


def expected(built: bool) -> dict[str, Any]:
    """Of each table what that version left and this one is to have; the models as well, where they were `built`."""
    tables = {name: dict(of) for name, of in BEFORE["tables"].items()}
    for name, rows in MOVED.items():
        tables[name] |= {"rows": tables[name]["rows"] + rows, "sha256": "…"}
    for name in COUNTED if built else []:
        tables[name]["sha256"] = "…"
    if built:  # only of days pulled on the day after, of which that project had none
        tables["marts.revision_curve"] |= {"rows": 0, "sha256": "…"}
    return tables


def alike(found: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """Tables without the checksums that are not to be compared."""
    return {name: of | ({"sha256": "…"} if like[name]["sha256"] == "…" else {}) for name, of in found.items()}


def columns_before(table: str) -> str:
    return ", ".join(BEFORE["tables"][f"main.{table}"]["columns"].split())


def definitions_of(here: Project) -> dg.Definitions:
    return build_definitions(settings_from(here.settings), lambda _: None)


def test_nothing_is_lost_when_the_folder_is_opened(here: Project, as_left: Path) -> None:
    with here.soundlink.warehouse.write():  # where tables are brought up to the current schema
        pass
    # Views of models that name a column which is called otherwise now are made anew by the first build.
    like = {name: of for name, of in expected(built=False).items() if name not in RENAMED_IN}
    found = facts(here.data, definitions_of(here), here.instance, NEXT_TICK, {"tables": like})
    assert alike(found.pop("tables"), like) == like
    assert found == {name: BEFORE[name] for name in found}
    # Of what an upgrade could lose, the folder has some: revisions, a key that has gone, a failed run and its delivery.
    assert BEFORE["tables"]["main.vanished_rows"]["rows"] == 1
    columns = BEFORE["tables"]["main.campaign_country_daily"]["columns"].split()
    of_contract = ", ".join(f"{name}::varchar" for name in columns if not name.startswith("_"))
    of_vanished = ", ".join(f"row ->> '{name}'" for name in columns if not name.startswith("_"))
    with duckdb.connect(str(as_left / "data" / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(f"select {of_contract} from campaign_country_daily order by all").fetchall()
    now = f"select {of_contract} from campaign_country_daily union all select {of_vanished} from vanished_rows"
    assert here.query(f"from ({now}) order by all") == rows
    assert all(BEFORE["tables"][f"main.{export.name}_history"]["rows"] > 100 for export in CAMPAIGN_EXPORTS)
    assert found["runs"] == {"FAILURE": 1, "SUCCESS": 4}
    assert len(found["refused files"]) == 2
    assert here.sim.stats.records == []


def test_a_rebuild_from_its_landed_files_is_equal(here: Project) -> None:
    (here.data / "warehouse.duckdb").unlink()
    assert here.execute(REBUILD).success
    assert here.sim.stats.records == []
    for name in ("warehouse.duckdb", "soundlink.duckdb"):
        assert alike(tables(here.data / name, BEFORE["tables"]), expected(built=True)) == expected(built=True)


def test_the_first_refresh_asks_for_no_settled_day_and_publishes(here: Project) -> None:
    kept = [f"{export.name}_history" for export in CAMPAIGN_EXPORTS]
    kept += [f"{export.name} where report_date <= date '{SETTLED[-1]}'" for export in CAMPAIGN_EXPORTS]
    kept = [f"select {columns_before(rows.split()[0])} from {rows}" for rows in kept]
    before = {rows: set(here.query(rows)) for rows in kept}
    start, end = asked_by_schedule(definitions_of(here), here.instance, NEXT_TICK)
    assert here.refresh(SETTLED[-3], end).success  # with three days that the schedule would not ask for
    queries = [query for _, query in asked(here.sim)]
    assert len(queries) == len(BEFORE["settled days"])  # one for each campaign and export
    assert {(f"startDate={start}" in query, f"endDate={end}" in query) for query in queries} == {(True, True)}
    for export in CAMPAIGN_EXPORTS:
        # What the earlier version settled and what this one has pulled: the source's last answer, to the letter.
        assert here.table(export) == truth(here.sim.world, export, each_day(FIRST, end, NEXT_TICK))
    assert {rows for rows in kept if not before[rows] <= set(here.query(rows))} == set()
    assert here.query("select * from vanished_rows") == []  # the key is back
    assert partitions(here.instance)[CAMPAIGN_EXPORTS[0].name] == [f"{FIRST} to {end}"]
    with duckdb.connect(str(here.data / "soundlink.duckdb"), read_only=True) as published:
        newest = published.execute("select max(report_date), bool_or(is_settled) from marts.data_status").fetchall()
    assert newest == [(date.fromisoformat(end), True)]


# Its warehouse says nothing of its contract but a fingerprint: what it has and what that version made tell the rest.


@pytest.fixture
def old(as_left: Path, tmp_path: Path) -> Path:
    """A data folder with its warehouse alone, to which an analyst has added two columns, one of them with a comment."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(as_left / "data" / "warehouse.duckdb", data)
    with duckdb.connect(str(data / "warehouse.duckdb")) as connection:
        connection.execute(f"alter table {CAMPAIGN_COUNTRY_DAILY.name} add column note VARCHAR default 'mine'")
        connection.execute("alter table deliveries add column seen_by VARCHAR default 'me'")
        connection.execute("comment on column deliveries.seen_by is 'Who has looked at it.'")
    return data


def test_its_columns_are_told_from_an_analysts_and_migrated(old: Path) -> None:
    columns = {column.name: column for column in CAMPAIGN_COUNTRY_DAILY.columns}
    del columns["cpf"]
    columns["link_clicks"] = replace(columns["link_clicks"], name="clicks", renamed_from=("link_clicks",))
    columns["streams"] = replace(columns["streams"], type="DOUBLE")
    changed = replace(CAMPAIGN_COUNTRY_DAILY, columns=tuple(columns.values()), ratios=())
    warehouse = NativeFile(old, exports=[changed, *CAMPAIGN_EXPORTS[1:]])
    rows = f"select sum(%s), sum(streams), count(*) from {changed.name} where report_date <= date '{SETTLED[-1]}'"
    with warehouse.read() as connection:
        before = connection.execute(rows % "link_clicks").fetchall()
    with warehouse.write() as connection:
        assert connection.execute(rows % "clicks").fetchall() == before
        found = connection.execute(f"describe {changed.name}").fetchall()
        assert [name for name, *_ in found[-2:]] == ["_unknown_fields", "note"]
        assert "cpf" not in {name for name, *_ in found}
        assert connection.execute(
            "select distinct note, seen_by from campaign_country_daily, deliveries"
        ).fetchall() == [("mine", "me")]


def test_its_key_is_known_and_does_not_change(old: Path) -> None:
    changed = replace(CAMPAIGN_COUNTRY_DAILY, primary_key=CAMPAIGN_COUNTRY_DAILY.primary_key[1:])
    warehouse = NativeFile(old, exports=[changed, *CAMPAIGN_EXPORTS[1:]])
    with pytest.raises(WarehouseUnusable, match="the primary key of campaign_country_daily was provider, account_id"):
        warehouse.prepare()
