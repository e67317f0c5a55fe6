"""A warehouse with something of everything, and where it is published."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, row, save

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse file with rows, a history, a campaign and models."""
    tmp_path = tmp_path_factory.mktemp("filled")
    warehouse = NativeFile(tmp_path)
    load(warehouse, arrival(tmp_path / "in", [row()]))
    load(warehouse, arrival(tmp_path / "in", [row(streams=9)], pulled=NOON + HOUR))
    load(warehouse, arrival(tmp_path / "in", [row(CAMPAIGN_ENGAGEMENT_DAILY)], export=CAMPAIGN_ENGAGEMENT_DAILY))
    save(warehouse, Landing(tmp_path).land_listing(CAMPAIGN, [b'{"campaignId":"camp_1"}'], NOON, None, "r1"))
    with warehouse.write() as connection:
        connection.execute(
            """
            create table _model_state (model varchar);
            create schema staging;
            create schema marts;
            create view staging.stg_streams as select campaign_id, streams from main.campaign_country_daily;
            create table marts.totals as select sum(streams)::bigint as streams from staging.stg_streams;
            create view marts.summary as select streams, 'x' as x from marts.totals;
            comment on view marts.summary is 'All streams. Grain: one row.';
            comment on table marts.totals is 'It''s a table.';
            comment on column marts.totals.streams is 'Streams.';
            """
        )
    return warehouse.path


@pytest.fixture
def warehouse(filled: Path, tmp_path: Path) -> NativeFile:
    """A copy of it that does not wait for anybody."""
    shutil.copyfile(filled, tmp_path / filled.name)
    return NativeFile(tmp_path, wait_seconds=0)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "soundlink.duckdb"
