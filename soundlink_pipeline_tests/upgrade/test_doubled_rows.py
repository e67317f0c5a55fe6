"""A warehouse in which version 0.2 counted re-keyed rows twice is mended by the upgrade, without any request."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support import version_0_2
from soundlink_pipeline_tests.support.deliveries import APRIL, NOON, Row, arrival, load, query, row, snapshot
from soundlink_pipeline_tests.support.project import REPOSITORY

DAY = "2026-04-01"
LATER = NOON + timedelta(hours=1)
ENGAGEMENT = CAMPAIGN_ENGAGEMENT_DAILY


def spent(country: str, amount: int, **changes: Any) -> Row:
    return row(report_date=DAY, country_code=country, spend_media=amount, spend_total=amount, fees=0, **changes)


def played(track: str, streams: int) -> Row:
    counts = {"new_listeners": 1, "returning_listeners": 0, "listeners": 1, "returning_listener_streams": 0}
    own = {"report_date": DAY, "engaged_spotify_track_id": track, "streams": streams, "new_listener_streams": streams}
    return row(ENGAGEMENT, campaign_id="c3", **own, **counts)


# An account moved, DE turned into AT, and a track got another id: 800, 800 and 1,280 are true, each. An amount was
# revised, too, which the history tells from what has vanished.
EARLIER = {
    "c1": [spent("US", 500, campaign_id="c1"), spent("DE", 300, campaign_id="c1")],
    "c2": [spent("US", 399, campaign_id="c2"), spent("DE", 400, campaign_id="c2")],
}
NEWER = {
    "c1": [spent(r["country_code"], r["spend_total"], campaign_id="c1", account_id="moved") for r in EARLIER["c1"]],
    "c2": [spent("US", 400, campaign_id="c2"), spent("AT", 400, campaign_id="c2")],
}
SPENT = "select campaign_id, sum(spend_total) from {} group by all order by all"
STREAMS = "select sum(streams) from {}"


def test_rows_that_count_twice_leave_the_tables_and_the_marts(tmp_path: Path) -> None:
    warehouse, folder = NativeFile(tmp_path / "data"), tmp_path / "in"
    for pulled, rows, tracks in (
        (NOON, EARLIER, [played("t1", 640), played("t2", 640)]),
        (LATER, NEWER, [played("t1", 640), played("t2 anew", 640)]),
    ):
        for campaign, own in rows.items():
            load(warehouse, arrival(folder, own, campaign=campaign, pulled=pulled))
        load(warehouse, arrival(folder, tracks, export=ENGAGEMENT, campaign="c3", pulled=pulled))
    history = f"from {CAMPAIGN_COUNTRY_DAILY.name}_history order by all"
    with warehouse.read() as connection:
        never_doubled, believed = snapshot(connection), connection.execute(history).fetchall()
        assert [row[-1] for row in believed].count(False) == 1
    project = read_project(REPOSITORY / "dbt_like_sql")
    with warehouse.write() as connection:
        version_0_2.leave(connection)
        doubled = connection.execute(SPENT.format(CAMPAIGN_COUNTRY_DAILY.name)).fetchall()
        assert doubled == [("c1", 1600), ("c2", 1200)]
        assert connection.execute(STREAMS.format(ENGAGEMENT.name)).fetchall() == [(1920,)]
    upgraded = NativeFile(tmp_path / "data")
    with upgraded.write() as connection:
        assert snapshot(connection) == never_doubled
        assert connection.execute(history).fetchall() == believed
        # A refresh of another day builds all days, this first time.
        other = DateRange(date(2026, 4, 20), APRIL.end)
        build_models(connection, project, other)
    spent_by_campaign = [("c1", Decimal(800)), ("c2", Decimal(800))]
    for table in (CAMPAIGN_COUNTRY_DAILY.name, "marts.campaign_daily"):
        assert query(upgraded, SPENT.format(table)) == spent_by_campaign
    # A country has a row for each organization: c1 has moved to another.
    assert query(upgraded, "select country_code, spend_total from marts.country_daily order by all") == [
        ("AT", 400),
        ("DE", 300),
        ("US", 400),
        ("US", 500),
    ]
    for table in (ENGAGEMENT.name, "marts.track_engagement_daily"):
        assert query(upgraded, STREAMS.format(table)) == [(1280,)]
    assert query(upgraded, "select subject_id, key ->> 'country_code' from vanished_rows order by all") == [
        ("c1", "DE"),
        ("c1", "US"),
        ("c2", "DE"),
        ("c3", "US"),
    ]
