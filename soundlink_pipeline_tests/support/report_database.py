"""A small published database for the report: two campaigns, twenty days, the newest six provisional.

The first ten days were pulled on 11 April with half of their streams, and all twenty on 22 April: days up to 14 April
are settled then. Every day has the same figures, so that sums can be checked by hand.
"""

from __future__ import annotations

import atexit
import shutil
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.soundlink_exports import SOUNDLINK_COUNTRY_DAILY
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.publishing.file_copy import publish
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import Row, arrival, load, row

MODELS = Path(__file__).parents[2] / "dbt_like_sql"
FIRST_DAY = date(2026, 4, 1)
LOUD = '<b>"Rock" & Roll</b> 🎧 \u2028 <script>alert(1)</script> {{ 7 * 7 }} ' + "endless" * 12
QUIET = "Quiet Playlist"
LOUD_ID, QUIET_ID = "f1e28d31-c358-4284-9bef-00a2334625fd", "0ad600a0-3b61-4b82-8916-6c4bd5336d67"
# how many days, with how many streams a day and campaign, when
_PULLS = ((10, 40, datetime(2026, 4, 11, 7, tzinfo=UTC)), (20, 80, datetime(2026, 4, 22, 7, tzinfo=UTC)))
_LINK: Row = dict.fromkeys(column.name for column in SOUNDLINK_COUNTRY_DAILY.columns)
_LINK |= {"provider": "soundlink", "account_id": "a7ac3173-2f71-4e79-921f-d15d7112dd11", "schema_version": "1.0"}
_LINK |= {"report_date_timezone": "UTC", "exported_at": "2026-04-22T03:00:00Z", "country_code": "US"}
_PROMOTED = "6habFhsOp2NvndAvgiJ01P"


def _days(count: int) -> list[str]:
    return [(FIRST_DAY + timedelta(days=offset)).isoformat() for offset in range(count)]


def _country_rows(campaign: Row, days: int, streams: int, **changes: Any) -> list[Row]:
    """Two countries a day, US with all the money and three quarters of the streams."""
    return [
        row(CAMPAIGN_COUNTRY_DAILY, report_date=day, country_code=country, **campaign, **changes, **figures)
        for day in _days(days)
        for country, figures in (
            ("NA", {"streams": streams // 4, "spend_media": 0, "spend_total": 0, "fees": 0}),
            ("US", {"streams": streams // 4 * 3, "spend_media": 80, "spend_total": 1234.5, "fees": 1154.5}),
        )
    ]


def _engagement_rows(campaign: Row, days: int, streams: int, context: str) -> list[Row]:
    """The promoted track and another one a day, with the same figures."""
    return [
        row(
            CAMPAIGN_ENGAGEMENT_DAILY,
            report_date=day,
            engagement_context=context,
            engaged_spotify_track_id=track,
            engaged_track_name=name,
            new_listeners=5,
            returning_listeners=0,
            listeners=5,
            new_listener_streams=streams,
            returning_listener_streams=0,
            streams=streams,
            **campaign,
        )
        for day in _days(days)
        for track, name in ((_PROMOTED, "Promoted <i>Song</i>"), ("another-track", "Another Song"))
    ]


def warehouse_with_rows(folder: Path) -> NativeFile:
    """The pipeline's own database, with its models; a copy of one that is made once a process."""
    made = _published_once()
    folder.mkdir(parents=True, exist_ok=True)
    return NativeFile(Path(shutil.copy(made.with_name("warehouse.duckdb"), folder)).parent)


@cache
def _published_once() -> Path:
    """Where a published file lies beside its warehouse: to build all models takes two seconds."""
    folder = Path(mkdtemp(prefix="soundlink-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / "soundlink.duckdb"
    publish(_make_warehouse(folder), target, run_id="run-7", now=datetime(2026, 4, 22, 8, tzinfo=UTC))
    return target


def _make_warehouse(folder: Path) -> NativeFile:
    warehouse = NativeFile(folder)
    loud = {"campaign_id": LOUD_ID, "campaign_name": LOUD, "campaign_target_spotify_track_id": _PROMOTED}
    quiet: dict[str, str | None] = {"campaign_id": QUIET_ID, "campaign_name": QUIET, "campaign_target_type": "playlist"}
    quiet |= {"campaign_target_spotify_track_id": None, "campaign_target_isrc": None}
    quiet |= {"campaign_target_playlist_id": "37i9dQZF1DX4sWSpwq3LiO"}
    for count, streams, moment in _PULLS:
        dates = DateRange(FIRST_DAY, FIRST_DAY + timedelta(days=count - 1))
        exported = {"exported_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
        for path, campaign, currency, context in (
            ("camp_loud", loud | exported, "USD", "catalog"),
            (QUIET_ID, quiet | exported, "EUR", "playlist"),
        ):
            country = _country_rows(campaign, count, streams, currency=currency)
            engagement = _engagement_rows(campaign, count, streams, context)
            for export, rows in ((CAMPAIGN_COUNTRY_DAILY, country), (CAMPAIGN_ENGAGEMENT_DAILY, engagement)):
                landed = folder / "landed"
                load(warehouse, arrival(landed, rows, export=export, campaign=path, dates=dates, pulled=moment))
    build(warehouse)
    return warehouse


def load_second_account(warehouse: NativeFile) -> None:
    """Account bolt, organization org-bolt: one campaign of the first ten days, three quarters of it there at once."""
    dates = DateRange(FIRST_DAY, FIRST_DAY + timedelta(days=9))
    for streams, (_, _, moment) in zip((60, 80), _PULLS, strict=True):
        campaign = {"account_id": "org-bolt", "campaign_id": "of-bolt", "campaign_name": "Song of Bolt"}
        campaign |= {"exported_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
        rows = _country_rows(campaign, 10, streams, currency="USD")
        landed = warehouse.path.parent / "landed-bolt"
        load(warehouse, arrival(landed, rows, campaign="of-bolt", account="bolt", dates=dates, pulled=moment))


def load_soundlinks(warehouse: NativeFile) -> None:
    """Two: one of twenty days, archived, and a smaller one of the first ten days, whose clicks are not tracked."""
    moment = datetime(2026, 4, 22, 7, tzinfo=UTC)
    landed = warehouse.path.parent / "landed-soundlinks"
    for soundlink, name, days, views, clicks in (
        ("one", "Link <b>One</b>", 20, 10, 4),
        ("two", "Link Two", 10, 5, None),
    ):
        figures = {"views": views, "link_clicks": clicks, "streams": 8, "listeners": 4, "followers": 1}
        ratios = {"streams_per_listener": 2, "ctr_lp": clicks and clicks / views}
        named = {"soundlink_id": soundlink, "soundlink_name": name}
        rows = [_LINK | named | figures | ratios | {"report_date": day} for day in _days(days)]
        dates = DateRange(FIRST_DAY, FIRST_DAY + timedelta(days=days - 1))
        of: dict[str, Any] = {"export": SOUNDLINK_COUNTRY_DAILY, "campaign": soundlink, "dates": dates}
        load(warehouse, arrival(landed, rows, pulled=moment, **of))
    with warehouse.write() as connection:
        connection.execute(
            "insert into soundlinks (account, soundlink_id, status, _listed_at, _listed_json)"
            " values ('default', ?, ?, ?, '{}')",
            ["one", "archived", moment.replace(tzinfo=None)],
        )


def build(warehouse: NativeFile) -> None:
    with warehouse.write() as connection:
        build_models(connection, read_project(MODELS))


def published_database(folder: Path) -> Path:
    """The file for analysts, published by run-7 on 22 April 2026 at 08:00, beside its warehouse."""
    warehouse_with_rows(folder)
    return Path(shutil.copy(_published_once(), folder))
