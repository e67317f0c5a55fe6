"""Soundlinks: pulled, revised, published, probed as campaigns are; each family for itself where a scope is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.soundlinks import SOUNDLINK
from soundlink_pipeline.simulator import Fault, KeyInfo, World
from soundlink_pipeline.simulator.access import CAMPAIGNS_READ, METRICS_READ, SOUNDLINKS_READ
from soundlink_pipeline.simulator.subjects import SOUNDLINK as SIMULATED
from soundlink_pipeline_tests.support.project import (
    KEY,
    REPOSITORY,
    Project,
    day,
    each_day,
    failure_of,
    project,
    truth,
    utc,
)

OURS = [export for export in EXPORTS if export.subject == SOUNDLINK]
CAMPAIGNS = [export for export in EXPORTS if export.subject != SOUNDLINK]
DAYS = ("2026-02-15", "2026-03-01")
CAMPAIGNS_ALONE = frozenset({CAMPAIGNS_READ, METRICS_READ})


def world() -> World:
    return World(campaigns=2, soundlinks=12, countries_per_campaign=3, tracks_per_campaign=2)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Project]:
    """Both families; the API's clock stands at 2026-03-02 06:00 UTC."""
    with project(tmp_path, world()) as here:
        yield here


@pytest.fixture
def both_with_models(tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path, world(), sql_dir=REPOSITORY / "dbt_like_sql") as here:
        yield here


def asked_of(here: Project) -> Counter[str]:
    """Export requests by kind, and forget them."""
    found = Counter(record.kind for record in here.sim.stats.records if record.kind.endswith("_export"))
    here.sim.stats.reset()
    return found


def warnings_of(here: Project, result: dg.JobExecutionResult) -> list[str]:
    entries = here.instance.all_logs(result.run_id)
    return [entry.user_message for entry in entries if entry.level == 30 and entry.user_message]


def test_tables_hold_what_soundlinks_answer_and_the_published_file_has_them(both_with_models: Project) -> None:
    both = both_with_models
    assert both.refresh(*DAYS).success
    now = utc("2026-03-02T06:00")
    for export in EXPORTS:
        assert both.table(export) == truth(both.sim.world, export, each_day(*DAYS, now))
        assert both.table(export)
    listed = both.query("select soundlink_id, name, status, target_type, created_at from soundlinks order by all")
    assert len(listed) == len(both.sim.world.listing(now, SIMULATED))
    with duckdb.connect(str(both.data / "soundlink.duckdb"), read_only=True) as published:
        for export in OURS:
            query = f"select count(*) from {export.name}"
            assert published.execute(query).fetchall() == both.query(query)
    # Some campaigns are listed under another id than their rows bear: a join on that of the rows loses none.
    for export in EXPORTS:
        table, column = export.subject.table, export.id_column
        joined = f"select count(*) from {export.name} as r join {table} as t on t.row_{column} = r.{column}"
        assert both.query(joined) == both.query(f"select count(*) from {export.name}")
    assert both.query("select count(*) from campaigns where row_campaign_id <> campaign_id") != [(0,)]


def test_revisions_of_soundlinks_are_taken_over_and_the_eighth_day_is_final(both: Project) -> None:
    assert both.refresh(*DAYS).success
    both.sim.clock.set(utc("2026-03-10T06:00"))
    assert both.refresh("2026-03-01", "2026-03-09").success
    for export in OURS:
        settled = truth(both.sim.world, export, each_day("2026-03-01", "2026-03-01", utc("2026-03-10T06:00")))
        assert both.table(export, "report_date = '2026-03-01'") == settled
        assert both.query(f"select count(*) > 0 from {export.name}_history") == [(True,)]
        of_day = f"report_date = '2026-03-01' and export = '{export.name}'"
        with_rows = f"subject_id in (select soundlink_id from {export.name} where report_date = '2026-03-01')"
        query = f"select distinct is_settled from report_date_status where {of_day} and {with_rows}"
        assert both.query(query) == [(True,)]


def test_a_key_without_soundlinks_loads_the_campaigns_and_says_once_what_it_lacks(both: Project) -> None:
    both.sim.keys[KEY] = KeyInfo(scopes=CAMPAIGNS_ALONE)
    result = both.refresh("2026-02-22", "2026-03-01")
    assert result.success
    for export in CAMPAIGNS:
        assert both.table(export)
    assert {both.query(f"select count(*) from {export.name}")[0] for export in OURS} == {(0,)}
    (warning,) = [line for line in warnings_of(both, result) if "left out" in line]
    assert warning.startswith("soundlink_country_daily and soundlink_engagement_daily left out: the API key lacks the")
    assert "soundlinks:read" in warning
    # A new key has it: a refresh makes up for the last 90 days, from the first partition on.
    both.sim.keys[KEY] = KeyInfo()
    both.sim.clock.set(utc("2026-03-03T06:00"))
    assert both.refresh("2026-02-23", "2026-03-02").success
    for export in OURS:
        days = each_day("2026-01-01", "2026-03-02", utc("2026-03-03T06:00"))
        assert both.table(export) == truth(both.sim.world, export, days)


def test_a_key_for_soundlinks_alone_loads_them(both: Project) -> None:
    both.sim.keys[KEY] = KeyInfo(scopes=frozenset({SOUNDLINKS_READ}))
    result = both.refresh("2026-02-22", "2026-03-01")
    assert result.success
    assert all(both.table(export) for export in OURS)
    assert {both.query(f"select count(*) from {export.name}")[0] for export in CAMPAIGNS} == {(0,)}
    (warning,) = [line for line in warnings_of(both, result) if "left out" in line]
    assert warning.startswith("campaign_country_daily and campaign_engagement_daily left out: ")


def test_a_family_that_was_loaded_and_is_closed_now_fails_the_run_after_the_others(
    both: Project,
) -> None:
    assert both.refresh("2026-02-22", "2026-03-01").success
    both.sim.keys[KEY] = KeyInfo(scopes=CAMPAIGNS_ALONE)
    both.sim.clock.set(utc("2026-03-03T06:00"))
    result = both.refresh("2026-02-23", "2026-03-02")
    assert not result.success
    assert "all of soundlink_country_daily, 2026-02-23 to 2026-03-02: the API key lacks the scope" in failure_of(result)
    assert both.query("select max(report_date) from campaign_country_daily") == [(day("2026-03-02"),)]


def test_without_metrics_the_campaigns_are_left_out_and_soundlinks_are_not(both: Project) -> None:
    both.sim.keys[KEY] = KeyInfo(scopes=frozenset({CAMPAIGNS_READ, SOUNDLINKS_READ}))
    result = both.refresh("2026-02-22", "2026-03-01")
    assert result.success
    assert all(both.table(export) for export in OURS)
    # One request tells: the others of that scope are not made.
    assert asked_of(both)["breakdown_export"] <= 3
    assert sum("left out" in line for line in warnings_of(both, result)) == 1


def test_an_organization_without_access_is_not_asked_again(both: Project) -> None:
    both.sim.faults.add(Fault("status", match="/metrics/", times=None, status=403, code="access_denied"))
    result = both.refresh("2026-02-22", "2026-03-01")
    assert "the API denies this key's organization access" in failure_of(result)
    assert asked_of(both).total() <= 3  # those that were under way
