"""However days were loaded and rebuilt: the daily models hold what a full rebuild makes of the same warehouse."""

import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.loading.listing import save_listing
from soundlink_pipeline.models.build import STATE_TABLE, build_model, build_models, models_behind
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import Row, arrival, load, row

PROJECT = read_project(Path(__file__).parents[2] / "dbt_like_sql")
FIRST = datetime(2026, 4, 1, 6, tzinfo=UTC)
_DAYS = 12


@st.composite
def refreshes(draw: st.DrawFn) -> tuple[DateRange, int, str, int, bool, bool, str]:
    """A range of days, the day it is pulled on, the campaign, something to vary values by, whether models came, whether
    the campaign is over, and the campaigns listed.
    """
    start = draw(st.integers(0, _DAYS - 1))
    end = draw(st.integers(start, min(start + 7, _DAYS - 1)))
    dates = DateRange((FIRST + timedelta(days=start)).date(), (FIRST + timedelta(days=end)).date())
    pulled_after = draw(st.integers(end + 1, end + 12))
    more = draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from(["", "a", "ab", "abc"]))
    return dates, pulled_after, draw(st.sampled_from("ab")), draw(st.integers(0, 3)), *more


def delivered(export: Export, dates: DateRange, campaign: str, value: int, exported_at: datetime) -> list[Row]:
    """Some values are null, and currency and target change from pull to pull."""
    more: dict[str, Any] = {"new_listeners": value, "returning_listeners": 5, "engaged_track_isrc": None}
    if export is CAMPAIGN_COUNTRY_DAILY:
        nulls = ("impressions", "ad_clicks", "link_clicks")[:value]
        more = {"currency": "USD" if value % 2 else "JPY"} | dict.fromkeys(nulls)
    more["campaign_target_type"] = (None, "track", "playlist", "track")[value]
    return [
        row(
            export,
            report_date=str(day),
            campaign_id=campaign,
            country_code=country,
            exported_at=exported_at.isoformat(),
            streams=value + place,
            listeners=value + 5,
            **more,
        )
        for day in dates.dates()
        for place, country in enumerate(("DE", "US")[: 1 + (value + day.day) % 2])
    ]


def list_campaigns(warehouse: NativeFile, folder: Path, number: int, campaign: str, over: bool, listed: str) -> None:
    """A listing after the `number`th refresh: of `campaign`, over or running, and of others that run."""
    fields = {"createdAt": "2026-03-01T00:00:00Z", "campaignDuration": 31, "status": "active"}
    ended = {"status": "ended", "updatedAt": f"2026-04-0{1 + number}T00:00:00Z"}
    items = [{"campaignId": name, **fields, **(ended if over and name == campaign else {})} for name in listed]
    lines = [json.dumps(item).encode() for item in items]
    with warehouse.write() as connection:
        save_listing(
            connection,
            CAMPAIGN,
            Landing(folder).land_listing(CAMPAIGN, lines, FIRST + timedelta(number), None, f"run-{number}"),
        )


def test_incremental_is_what_a_full_rebuild_is(pytestconfig: pytest.Config) -> None:
    assert PROJECT.errors == {}

    @settings(
        max_examples=2 * pytestconfig.getoption("--histories"),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.lists(refreshes(), min_size=2, max_size=5))  # one alone is built in full in any case
    def check(steps: list[tuple[DateRange, int, str, int, bool, bool, str]]) -> None:
        assert_incremental_is_full(steps)

    check()


def assert_incremental_is_full(steps: list[tuple[DateRange, int, str, int, bool, bool, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = NativeFile(Path(folder) / "data")
        for number, (dates, pulled_after, campaign, value, built, over, listed) in enumerate(steps):
            list_campaigns(warehouse, Path(folder), number, campaign, over, listed)
            pulled = FIRST + timedelta(days=pulled_after, minutes=number)
            batch = [
                arrival(
                    Path(folder) / str(number),
                    delivered(export, dates, campaign, value, pulled),
                    export=export,
                    campaign=campaign,
                    dates=dates,
                    pulled=pulled,
                )
                for export in (CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY)
            ]
            assert load(warehouse, *batch).rejected == []
            with warehouse.write() as connection:
                if number == len(steps) - 1:
                    build_models(connection, PROJECT, dates)
                elif built:  # marts that are always built in full are so by the last step, too
                    for model in PROJECT.models.values():
                        if model.materialized != "table" or model.schema == "staging":
                            build_model(connection, PROJECT, model, dates)
        with warehouse.write() as connection:
            incremental = tables(connection)
            connection.execute(f"delete from {STATE_TABLE}")
            assert {item.dates for item in build_models(connection, PROJECT)} == {None}
            assert tables(connection) == incremental
            assert all(
                incremental[name] for name in ("campaign_daily", "track_engagement_daily", "rows_by_day", "data_status")
            )


def test_models_are_built_in_full_once_the_tables_have_changed(tmp_path: Path) -> None:
    dates = DateRange(FIRST.date(), FIRST.date())
    rows = delivered(CAMPAIGN_COUNTRY_DAILY, dates, "a", 1, FIRST)
    load(NativeFile(tmp_path), arrival(tmp_path / "in", rows, dates=dates, pulled=FIRST + timedelta(days=1)))
    with NativeFile(tmp_path).write() as connection:
        build_models(connection, PROJECT)
    columns = tuple(
        replace(column, type="DOUBLE") if column.name == "streams" else column
        for column in CAMPAIGN_COUNTRY_DAILY.columns
    )
    changed = replace(CAMPAIGN_COUNTRY_DAILY, columns=columns)
    with NativeFile(tmp_path, exports=(changed, CAMPAIGN_ENGAGEMENT_DAILY)).write() as connection:
        assert models_behind(connection, PROJECT)  # so nothing is published before they are built
        assert {item.dates for item in build_models(connection, PROJECT, dates)} == {None}


def tables(connection: Any) -> dict[str, list[Any]]:
    return {
        model.name: connection.execute(f"from {model.table} order by all").fetchall()
        for model in PROJECT.models.values()
        if model.materialized != "view"
    }


def test_a_listing_changes_what_is_expected_on_days_that_no_refresh_touches(tmp_path: Path) -> None:
    days = [(FIRST + timedelta(days=number)).date() for number in range(12)]
    warehouse = NativeFile(tmp_path)

    def expected(number: int, over: bool, dates: DateRange) -> list[tuple[int, bool]]:
        """On 1 and 11 April, after a listing and a refresh of `dates`."""
        list_campaigns(warehouse, tmp_path, number, "b", over, "ab")
        pulled = FIRST + timedelta(days=20 + number)
        load(warehouse, arrival(tmp_path / str(number), [], campaign="a", dates=dates, pulled=pulled))
        with warehouse.write() as connection:
            build_models(connection, PROJECT, dates)
            return connection.execute(
                "select subjects_expected, is_complete from marts.data_status"
                f" where report_date in ('{days[0]}', '{days[10]}') order by report_date"
            ).fetchall()

    # Two campaigns, of which one is pulled. The other turns out to have ended on 2 April: rows until 9 April.
    assert expected(0, False, DateRange(days[0], days[10])) == [(2, False), (2, False)]
    assert expected(1, True, DateRange(days[11], days[11])) == [(2, False), (1, True)]
