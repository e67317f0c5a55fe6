"""Every table of the warehouse: its columns, what they mean, and the statements that make it."""

from __future__ import annotations

from dataclasses import dataclass

from soundlink_pipeline.contracts.schema import Column, Export
from soundlink_pipeline.warehouse.sql import quote

# name, type, meaning; the names are the API's in snake case
CAMPAIGN_COLUMNS = (
    (
        "campaign_id",
        "VARCHAR not null",
        "The id the API lists; campaign_id in the exports' rows may differ. Primary key.",
    ),
    ("organization_id", "VARCHAR", "Organization the campaign belongs to."),
    ("status", "VARCHAR", "creating, active, inactive, ended, renewing, stopped, … as last listed."),
    ("social_platform", "VARCHAR", "Where the ads run."),
    ("daily_budget", "DECIMAL(18,6)", "Daily budget in USD."),
    ("total_budget", "DECIMAL(18,6)", "Total budget in USD."),
    ("campaign_duration", "BIGINT", "Planned duration in days."),
    ("generation", "BIGINT", "Generation of the campaign product, 1 to 3."),
    ("artist_id", "VARCHAR", "Spotify artist."),
    ("artist_name", "VARCHAR", "Display name of the artist."),
    ("track_id", "VARCHAR", "Promoted Spotify track."),
    ("playlist_id", "VARCHAR", "Promoted Spotify playlist."),
    ("track_name", "VARCHAR", "Display name of the track."),
    ("campaign_url", "VARCHAR", "The campaign's landing page."),
    ("created_at", "TIMESTAMP", "When the campaign was created (UTC)."),
    ("updated_at", "TIMESTAMP", "When the campaign was last changed (UTC)."),
    ("_listed_json", "VARCHAR", "The campaign as the API listed it, all fields."),
    (
        "_listed_at",
        "TIMESTAMP",
        "When it was last listed (UTC, server's clock). Older than the newest: no longer listed.",
    ),
    ("_run_id", "VARCHAR", "The run that last listed it."),
)


@dataclass(frozen=True)
class OwnColumn:
    """A column the pipeline adds behind the contract's."""

    name: str
    sql_type: str
    meaning: str


OWN_COLUMNS = (
    OwnColumn(
        "_pulled_at", "TIMESTAMP", "Moment (UTC, server's clock) of the newest pull that delivered this version."
    ),
    OwnColumn("_valid_from", "TIMESTAMP", "Moment (UTC) of the pull that first delivered these values."),
    OwnColumn("_delivery_id", "VARCHAR", "The delivery this version is from; see deliveries."),
    OwnColumn(
        "_last_seen_delivery_id", "VARCHAR", "A newer delivery that held this key in an older version; mostly null."
    ),
)
HISTORY_COLUMNS = (
    OwnColumn("_valid_until", "TIMESTAMP", "Moment (UTC) of the pull whose values replaced these."),
    OwnColumn("_replaced_by_delivery_id", "VARCHAR", "The delivery that replaced these values."),
)


def history_table(export: Export) -> str:
    return f"{export.name}_history"


def create_tables(export: Export) -> list[str]:
    """Statements that create the export's table and its history, with comments; harmless where they exist."""
    key = set(export.primary_key)
    contract = [f"{c.name} {c.sql_type}{' not null' if c.name in key else ''}" for c in export.columns]
    own = [f"{c.name} {c.sql_type}" for c in OWN_COLUMNS]
    extra = [f"{c.name} {c.sql_type}" for c in HISTORY_COLUMNS]
    history = history_table(export)
    statements = [
        f"create table if not exists {export.name} ({', '.join(contract + own)})",
        f"create table if not exists {history} ({', '.join(contract + own + extra)})",
        f"comment on table {export.name} is {quote(export.describe())}",
        f"comment on table {history} is "
        + quote(
            f"Versions of {export.name} that were overwritten by different values. Grain: one per overwritten version."
        ),
    ]
    for table, columns in ((export.name, OWN_COLUMNS), (history, (*OWN_COLUMNS, *HISTORY_COLUMNS))):
        statements += [f"comment on column {table}.{c.name} is {quote(comment(export, c))}" for c in export.columns]
        statements += [f"comment on column {table}.{c.name} is {quote(c.meaning)}" for c in columns]
    return statements


def add_columns(export: Export) -> list[str]:
    """Statements that add, to tables that are older than the contract, the columns it has gained since."""
    return [
        f"alter table if exists {table} add column if not exists {column.name} {column.sql_type}"
        for table in (export.name, history_table(export))
        for column in export.columns
        if column.name not in export.primary_key
    ]


def comment(export: Export, column: Column) -> str:
    """What the database says of a column: meaning, rule, place in the key."""
    text = column.meaning + (f" Rule: {column.rule}." if column.rule else "")
    if column.name in export.primary_key:
        text += f" Primary key, column {export.primary_key.index(column.name) + 1} of {len(export.primary_key)}."
    return text


# name, type, meaning
LEDGER_COLUMNS = (
    ("delivery_id", "VARCHAR not null", "Unique; its text order is the order of the pulls."),
    ("export", "VARCHAR not null", "The export, which is also the name of its table."),
    ("campaign_id", "VARCHAR not null", "The campaign id that was asked for (as the API lists it)."),
    ("row_campaign_id", "VARCHAR", "The campaign_id in the rows; null if the delivery was empty."),
    ("start_date", "DATE not null", "First report_date asked for."),
    ("end_date", "DATE not null", "Last report_date asked for."),
    ("requested_at", "TIMESTAMP not null", "When the request left (UTC, our clock)."),
    ("received_at", "TIMESTAMP not null", "When the last byte was on disk (UTC, our clock)."),
    ("server_date", "TIMESTAMP", "The answer's Date header (UTC, server's clock); null if there was none."),
    (
        "pulled_at",
        "TIMESTAMP not null",
        "Moment of the pull: server_date, or requested_at without one. Decides settling.",
    ),
    ("declared_rows", "BIGINT", "X-Row-Count; null if absent."),
    ("rows", "BIGINT not null", "Rows in the file."),
    ("bytes", "BIGINT not null", "Size of the file, uncompressed."),
    ("sha256", "VARCHAR not null", "SHA-256 of the file, uncompressed, hexadecimal."),
    ("inserted", "BIGINT not null", "Rows with a key that was new."),
    ("updated", "BIGINT not null", "Rows that replaced different values; the old ones are in the history."),
    ("unchanged", "BIGINT not null", "Rows that confirmed what was known."),
    ("ignored_as_older", "BIGINT not null", "Rows older than what was known, or repeated within the delivery."),
    ("unknown_fields", "VARCHAR[] not null", "Fields the contract does not know; kept in the landed file."),
    ("run_id", "VARCHAR not null", "The Dagster run that pulled it."),
    ("landed_file", "VARCHAR not null", "The file below landing/ it is kept in for the retention time."),
    ("load_order", "BIGINT not null", "Its place in the order of loading."),
)
