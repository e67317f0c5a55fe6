"""A synthetic warehouse of any size and realistic shape, made inside DuckDB: what the benchmarks of size start from."""

from datetime import date, timedelta

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_EXPORTS
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import ExportColumn
from soundlink_pipeline.contracts.table import Column
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline.warehouse.tables import DELIVERIES

_FIRST = date(2026, 1, 1)
_COUNTRIES, _TRACKS = 30, 4
# Rows of both exports per campaign and day; a day has so many campaigns that any number of rows covers 222 days.
ROWS_PER_CAMPAIGN = _COUNTRIES * (1 + _TRACKS)
_ROWS_PER_CAMPAIGN_OVER_ALL_DAYS = 33_300


def fill(warehouse: NativeFile, rows: int, campaigns: int | None = None) -> DateRange:
    """Both exports over the same days and campaigns, and the ledger of pulling 8 days every day; returns the days.

    Without `campaigns` there are as many as make the rows cover 222 days; with it, more rows are more days.
    """
    campaigns = campaigns or max(rows // _ROWS_PER_CAMPAIGN_OVER_ALL_DAYS, 1)
    days = rows // (campaigns * ROWS_PER_CAMPAIGN)
    with warehouse.write() as connection:
        for export, tracks in zip(CAMPAIGN_EXPORTS, (1, _TRACKS), strict=True):
            per_day = campaigns * _COUNTRIES * tracks
            values = ", ".join(f"{_value(column)} as {column.name}" for column in export.columns)
            connection.execute(
                f"""
                insert into {export.name} by name
                select {values}, timestamp '2026-09-01' as _pulled_at, timestamp '2026-09-01' as _valid_from,
                    {_delivery_id(f"least(day + 7, {days - 1})", export.name)} as _delivery_id
                from (
                    select i, i // {per_day} as day, i % {per_day} // {_COUNTRIES * tracks} as campaign,
                        i % {_COUNTRIES * tracks} // {tracks} as country, i % {tracks} as track
                    from range({days * per_day}) as numbers(i)
                )
                """
            )
            connection.execute(
                f"""
                insert into deliveries
                select {", ".join(_ledger_value(column, export.name) for column in DELIVERIES.columns)}
                from range({days}) as days(day), range({campaigns}) as campaigns(campaign)
                """
            )

        connection.execute(
            """
            insert into campaigns (account, campaign_id, status, created_at, _listed_json, _listed_at)
            select 'default', 'path-' || campaign, 'active', timestamp '2020-01-01', '{}', timestamp '2026-01-01'
            from range(?) as campaigns(campaign)
            """,
            [campaigns],
        )
    return DateRange(_FIRST, _FIRST + timedelta(days=days - 1))


def _delivery_id(day: str, export: str) -> str:
    return f"printf('%06d-%04d-{export}', {day}, campaign)"


def _value(column: ExportColumn) -> str:
    """An SQL expression for a column's values, about as repetitive as real ones are."""
    known = {
        "report_date": "date '2026-01-01' + day::int",
        "campaign_id": "md5(campaign::varchar)::uuid::varchar",
        "campaign_name": "'Campaign ' || campaign",
        "campaign_target_spotify_track_id": "md5(campaign::varchar)[:22]",
        "campaign_target_playlist_id": "null",
        "country_code": "chr((65 + country % 26)::int) || chr((65 + country // 26)::int)",
        "engaged_spotify_track_id": "md5('track ' || campaign || track)[:22]",
        "engaged_track_name": "'Track ' || campaign || track",
        "account_id": "'a7ac3173-2f71-4e79-921f-d15d7112dd11'",
    }
    by_type = {
        "BIGINT": f"hash(i, '{column.name}') % 500",
        "DOUBLE": f"round(hash(i, '{column.name}') % 10000 / 7.0, 4)",
        "DECIMAL(18,6)": f"(hash(i, '{column.name}') % 10000 / 100)::decimal(18,6)",
        "TIMESTAMP": "timestamp '2026-09-01'",
        "VARCHAR": f"'{column.allowed[0] if column.allowed else 'DEXW62500259'}'",
    }
    return known.get(column.name) or by_type[column.type]


def _ledger_value(column: Column, export: str) -> str:
    known = {
        "delivery_id": _delivery_id("day", export),
        "account": "'default'",
        "export": f"'{export}'",
        "subject_id": "'path-' || campaign",
        "row_subject_id": "md5(campaign::varchar)::uuid::varchar",
        "start_date": "date '2026-01-01' + day::int - 7",
        "end_date": "date '2026-01-01' + day::int",
        "sha256": "sha256(day || '-' || campaign)",
        "unknown_fields": "[]",
    }
    by_type = {
        "TIMESTAMP": "timestamp '2026-01-02 07:00:00' + to_days(day::int)",
        "BIGINT": "240 * (day + 1)" if column.name == "load_order" else "240",
        "VARCHAR": "'run-' || day",
    }
    return known.get(column.name) or by_type[column.type]
