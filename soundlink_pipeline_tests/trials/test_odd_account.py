"""An account with all that real ones bring is loaded, modelled, checked, published and reported; every sum is true."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.publishing.gate import publish_tested
from soundlink_pipeline.quality.row_checks import run_checks
from soundlink_pipeline.report.__main__ import main as make_report
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.simulator import BREAKDOWN, KeyInfo, Oddities, SimClock, World, running_simulator
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY, day, each_day, pull, truth, utc

# Campaign 0 changes its target, 1 turns from USD to EUR, 2 is in JPY and 3 in KWD. Between the backfill and the refresh
# the account moves, and tracks are linked anew.
WORLD = World(
    campaigns=4,
    duration_days=24,
    countries_per_campaign=3,
    tracks_per_campaign=2,
    oddities=Oddities.every(),
)
NOW = utc("2026-02-02T07:00")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backfill and the next morning's refresh, whose models are built for its days only."""
    project = read_project(REPOSITORY / "dbt_like_sql")
    clock = SimClock(utc("2026-02-01T07:00"))
    with running_simulator(WORLD, clock, keys={KEY: KeyInfo()}, per_minute=None, per_hour=None) as sim:
        folder = tmp_path_factory.mktemp("odd")
        settings = Settings(
            base_url=sim.base_url, data_dir=folder, requests_per_minute=100_000, requests_per_hour=100_000
        )
        soundlink = Soundlink(settings, lambda _: KEY)
        for now, start, end in (("02-01", "2026-01-01", "2026-01-31"), ("02-02", "2026-01-25", "2026-02-01")):
            clock.set(utc(f"2026-{now}T07:00"))
            assert not pull(soundlink, start, end, f"run-{now}").failed
            with soundlink.warehouse.write() as connection:
                build_models(connection, project, DateRange(day(start), day(end)))
    with soundlink.warehouse.read() as connection:
        results = [
            r for export in CAMPAIGN_EXPORTS for r in run_checks(connection, export, DateRange(day(start), day(end)))
        ]
    # Warnings, of which none keeps the file from being published.
    red = {(result.check.name, result.check.severity) for result in results if not result.passed}
    assert red == {(name, "warn") for name in ("known_countries", "no_rows_gone", "no_vanished_keys")}
    target = soundlink.published_path
    publish_tested(soundlink.warehouse, project, target, run_id="run-2", now=NOW, log=lambda _: None, build_all=True)
    return target


def test_money_of_each_currency_is_what_the_source_says(published: Path) -> None:
    true: Counter[str] = Counter()
    for campaign in WORLD.campaigns:
        for row in WORLD.rows(BREAKDOWN, campaign.uuid, day("2026-01-01"), day("2026-02-01"), NOW):
            true[row["currency"]] += Decimal(row["spend_total"])  # type: ignore[assignment]
    assert set(true) == {"USD", "EUR", "JPY", "KWD"}
    with duckdb.connect(str(published), read_only=True) as connection:
        for mart in ("campaign_daily", "campaign_summary", "country_daily", "country_summary"):
            found = f"select currency, sum(spend_total) from marts.{mart} where currency is not null group by all"
            assert dict(connection.execute(found).fetchall()) == true, mart


def test_ratios_are_those_of_the_rows_that_know_both_sides(published: Path) -> None:
    known: dict[str, list[dict[str, Any]]] = {}
    for campaign in WORLD.campaigns:
        rows = WORLD.rows(BREAKDOWN, campaign.uuid, day("2026-01-01"), day("2026-02-01"), NOW)
        assert {row["impressions"] is None for row in rows} == {True, False}
        for row in rows:
            if row["impressions"] is not None and row["ad_clicks"] is not None:
                known.setdefault(f"{campaign.uuid} {row['currency']}", []).append(row)
    expected = {
        of: round(sum(row["ad_clicks"] for row in rows) / impressions, 9) if impressions else None
        for of, rows in known.items()
        for impressions in [sum(row["impressions"] for row in rows)]
    }
    with duckdb.connect(str(published), read_only=True) as connection:
        key = "concat_ws(' ', campaign_id, currency)"
        query = f"select {key}, round(ctr_adclick, 9) from marts.campaign_summary"
        assert dict(connection.execute(query).fetchall()) == expected


def test_rows_of_both_exports_are_the_last_answer_and_the_others_have_vanished(published: Path) -> None:
    days = each_day("2026-01-01", "2026-02-01", NOW)
    with duckdb.connect(str(published), read_only=True) as connection:
        for export in CAMPAIGN_EXPORTS:
            columns, key = ", ".join(export.column_names), ", ".join(export.primary_key)
            rows = connection.execute(f"select {columns} from {export.name} order by {key}").fetchall()
            assert rows == truth(WORLD, export, days)
            accounts = f"select count(distinct account_id) from {export.name}"
            assert connection.execute(accounts).fetchall() == [(2,)]
        moved = "select count(*) > 50 from vanished_rows where key ->> 'account_id' = ?"
        assert connection.execute(moved, [WORLD.campaigns[0].account_id]).fetchall() == [(True,)]


def test_campaign_has_the_target_of_its_newest_day(published: Path) -> None:
    with duckdb.connect(str(published), read_only=True) as connection:
        query = (
            "select distinct campaign_target_type, campaign_target_spotify_track_id, campaign_target_playlist_id"
            f" from marts.campaign_summary where campaign_id = '{WORLD.campaigns[0].uuid}'"
        )
        assert connection.execute(query).fetchall() == [(None, None, None)]


def test_report_shows_each_currency_in_its_decimals_and_codes_of_no_country(published: Path) -> None:
    output = published.with_name("report.html")
    assert make_report(["--database", str(published), "--output", str(output)]) == 0
    page = output.read_text(encoding="utf-8")
    with duckdb.connect(str(published), read_only=True) as connection:
        sums = dict(
            connection.execute("select currency, sum(spend_total) from marts.campaign_daily group by all").fetchall()
        )
    for currency, decimals in (("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3)):
        assert f"<td>{sums[currency]:,.{decimals}f}\u00a0{currency}<br>" in page
        assert f"Spend per day (UTC), {currency}, as bars" in page
    assert "unknown (T1)" in page
    assert "unknown (A1)" in page
