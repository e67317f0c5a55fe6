"""The contracts as data: complete, consistent, and the one source of schema and documentation."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.commands.contract_docs import markdown
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export, ExportColumn
from soundlink_pipeline.contracts.subject import Tail
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, ledger, load, query, refusal, sample_line

# Fields that only the newest documentation names, and no sample line has.
NEWEST = {CAMPAIGN_COUNTRY_DAILY.name: ("new_listeners", "returning_listeners")}
DOCUMENT = Path(__file__).parents[2] / "docs" / "exports.md"


def test_documentation_of_the_exports_is_made_from_the_contracts() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == markdown()


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_contract_has_exactly_the_columns_of_the_documented_line_in_its_order(export: Export) -> None:
    newest = NEWEST.get(export.name, ())
    assert list(export.column_names) == [*json.loads(sample_line(export)), *newest]


def test_primary_keys_are_the_documented_ones() -> None:
    first = ("provider", "account_id", "report_date", "campaign_id")
    assert CAMPAIGN_COUNTRY_DAILY.primary_key == (*first, "country_code")
    assert CAMPAIGN_ENGAGEMENT_DAILY.primary_key == (
        *first,
        "engagement_context",
        "country_code",
        "engaged_spotify_track_id",
    )


def test_types_nullability_and_minima_are_the_documented_ones() -> None:
    breakdown = {c.name: c for c in CAMPAIGN_COUNTRY_DAILY.columns}
    engagement = {c.name: c for c in CAMPAIGN_ENGAGEMENT_DAILY.columns}
    target = {f"campaign_target_{name}" for name in ("type", "isrc", "spotify_track_id", "playlist_id")}
    assert {c.name for c in breakdown.values() if c.nullable} == target | {
        "impressions",
        "ad_clicks",
        "link_clicks",
        "cpc_linkclick",
        "ctr_linkclick",
        "ctr_adclick",
        "result_type",
        *NEWEST[CAMPAIGN_COUNTRY_DAILY.name],
    }
    assert {c.name for c in engagement.values() if c.nullable} == target | {"engaged_track_isrc", "playlist_position"}
    assert {c.name for c in breakdown.values() if c.type == "DECIMAL(18,6)"} == {
        "spend_media",
        "spend_total",
        "fees",
    }
    assert {c.minimum for c in breakdown.values() if c.type == "BIGINT"} == {0}
    assert engagement["playlist_position"].minimum == 1
    assert engagement["status"].allowed == ("active", "ended", "scheduled")
    assert engagement["engagement_context"].allowed == ("catalog", "playlist")
    assert breakdown["result_type"].allowed == ("lp_click", "stream", "follow")


def changed(column: str, /, **values: Any) -> tuple[ExportColumn, ...]:
    return tuple(replace(c, **values) if c.name == column else c for c in CAMPAIGN_COUNTRY_DAILY.columns)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"columns": CAMPAIGN_COUNTRY_DAILY.columns * 2}, "named twice"),
        ({"primary_key": ("report_date", "campaign_id", "nowhere")}, "'nowhere' is used but not declared"),
        ({"measures": ("plays",)}, "'plays' is used but not declared"),
        ({"primary_key": ("report_date", "campaign_id", "result_type")}, "'result_type' must not be nullable"),
        ({"columns": changed("currency", name="_currency")}, "names beginning with _"),
        ({"columns": changed("cpl", name="cost")}, "'cpl' is used but not declared"),
        ({"primary_key": ("report_date", "country_code")}, "must hold report_date and campaign_id"),
        ({"columns": changed("campaign_id", one_per_delivery=False)}, "of one campaign_id"),
        ({"columns": changed("currency", one_per_row=True)}, "only key columns can be one per row"),
        ({"columns": changed("report_date", type="VARCHAR")}, "'report_date' must be of type DATE"),
    ],
)
def test_inconsistent_contract_is_refused_when_it_is_written(mistake: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(CAMPAIGN_COUNTRY_DAILY, **mistake)


PLAYLIST_ADDS = Export(
    name="playlist_adds_daily",
    subject=CAMPAIGN,
    scope="metrics:read",
    path="/v1/campaigns/{id}/metrics/adds/export",
    title="Adds to playlists.",
    grain="campaign, day and kind",
    primary_key=("report_date", "campaign_id", "kind"),
    columns=(
        ExportColumn(name="exported_at", type="TIMESTAMP", meaning="Version."),
        ExportColumn(name="report_date", type="DATE", meaning="Day."),
        ExportColumn(name="campaign_id", type="VARCHAR", meaning="Campaign.", one_per_delivery=True),
        ExportColumn(name="campaign_name", type="VARCHAR", meaning="Name."),
        ExportColumn(name="kind", type="VARCHAR", meaning="Whether it's organic.", allowed=("true", "false", "7")),
        ExportColumn(name="adds", type="BIGINT", meaning="Adds.", minimum=-5),
        ExportColumn(name="cost", type="DECIMAL(18,6)", meaning="Cost.", nullable=True),
    ),
    measures=("adds",),
    tail=Tail(days=7),
)


def test_a_third_export_needs_no_other_code(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path, exports=(*EXPORTS, PLAYLIST_ADDS))
    adds = {
        "exported_at": "2026-05-01T00:00:00+02:00",
        "report_date": "2026-04-02",
        "campaign_id": "c",
        "campaign_name": "C",
        "kind": "true",
        "adds": -5,
    }

    def landed(hour: int, **changes: Any) -> Any:
        return arrival(tmp_path / "in", [adds | changes], export=PLAYLIST_ADDS, pulled=NOON.replace(hour=hour))

    assert not load(warehouse, landed(1), arrival(tmp_path / "in", sample_line(CAMPAIGN_COUNTRY_DAILY))).rejected
    assert load(warehouse, landed(2, cost=3, adds=4)).loaded[0].updated == 1
    assert "kind must be one of" in refusal(load(warehouse, landed(3, kind=True)))
    assert 'got 7 (report_date "2026-04-02"' in refusal(load(warehouse, landed(4, kind=7)))
    assert "adds must be an integer of at least -5, got -6" in refusal(load(warehouse, landed(5, adds=-6)))
    assert query(warehouse, "select kind, adds, cost from playlist_adds_daily") == [("true", 4, Decimal(3))]
    assert query(warehouse, "select adds, cost from playlist_adds_daily_history") == [(-5, None)]
    with ledger(warehouse) as asked:
        days = asked.date_status(PLAYLIST_ADDS, DateRange(date(2026, 4, 1), date(2026, 4, 2)))
    assert [(day.rows, day.totals) for day in days] == [(0, {"adds": 0.0}), (1, {"adds": 4.0})]
    assert {export for (export,) in query(warehouse, "select distinct export from report_date_status")} == {
        "campaign_country_daily",
        "playlist_adds_daily",
    }
