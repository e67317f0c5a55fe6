"""Every table of the warehouse: its columns, what they mean, and the statements that make it.

An export's columns are the contract's, with some of the pipeline's own behind them, whose names begin with `_`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from soundlink_pipeline.contracts.exports import subjects_of
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.contracts.table import Column, Table
from soundlink_pipeline.warehouse.accounts import ACCOUNT, EXPECTED_ACCOUNTS, accounts_view
from soundlink_pipeline.warehouse.iso_views import COUNTRIES, CURRENCIES
from soundlink_pipeline.warehouse.ledger_views import REPORT_DATE_STATUS
from soundlink_pipeline.warehouse.own_tables import DISTRIBUTOR_MONTHLY, OWN_FILES, STATEMENTS
from soundlink_pipeline.warehouse.row_ids import row_id_column
from soundlink_pipeline.warehouse.sql import quote
from soundlink_pipeline.warehouse.unknown_fields import UNKNOWN_FIELDS

# What each SQL model was built from; `models/build.py` keeps it. Not published.
MODEL_STATE = "_model_state"


def _own(name: str, type: str, meaning: str) -> Column:
    """A column the pipeline adds to an export's; the database forbids no null in it."""
    return Column(name, type, meaning, nullable=None)


OWN_COLUMNS = (
    _own("_pulled_at", "TIMESTAMP", "Moment (UTC, server's clock) of the newest pull that delivered this version."),
    _own("_valid_from", "TIMESTAMP", "Moment (UTC) of the pull that first delivered these values."),
    _own("_delivery_id", "VARCHAR", "The delivery this version is from; see deliveries."),
    _own("_last_seen_delivery_id", "VARCHAR", "A newer delivery that held this key in an older version; mostly null."),
    _own(
        UNKNOWN_FIELDS,
        "JSON",
        "The row's fields that the contract does not know, as delivered with this version; null where there are none. A"
        " change of them alone is no new version.",
    ),
)
_HISTORY_COLUMNS = (
    _own("_valid_until", "TIMESTAMP", "Moment (UTC) of the pull whose values replaced these."),
    _own("_replaced_by_delivery_id", "VARCHAR", "The delivery that replaced these values, or no longer held the key."),
    _own("_vanished", "BOOLEAN", "True where the key was no longer delivered; else other values replaced these."),
)

DELIVERIES = Table(
    name="deliveries",
    meaning="The ledger: what was pulled when, and what became of it. Grain: one row per loaded delivery.",
    grain=("delivery_id",),
    columns=(
        Column("delivery_id", "VARCHAR", "Unique; its text order is the order of the pulls.", nullable=False),
        ACCOUNT,
        Column("export", "VARCHAR", "The export, which is also the name of its table.", nullable=False),
        Column(
            "subject_id",
            "VARCHAR",
            "The id in the request (as the API lists it): of a campaign or soundlink, as the export is about.",
            nullable=False,
            renamed_from=("campaign_id",),
        ),
        Column(
            "row_subject_id",
            "VARCHAR",
            "The id in the rows (campaign_id, soundlink_id); null if the delivery was empty.",
            renamed_from=("row_campaign_id",),
        ),
        Column("start_date", "DATE", "First report_date requested.", nullable=False),
        Column("end_date", "DATE", "Last report_date requested.", nullable=False),
        Column("requested_at", "TIMESTAMP", "When the request left (UTC, our clock).", nullable=False),
        Column("received_at", "TIMESTAMP", "When the last byte was on disk (UTC, our clock).", nullable=False),
        Column("server_date", "TIMESTAMP", "The response's Date header (UTC, server's clock); null if there was none."),
        Column(
            "pulled_at",
            "TIMESTAMP",
            "Moment of the pull: server_date, or requested_at without one. Decides settling.",
            nullable=False,
        ),
        Column("declared_rows", "BIGINT", "X-Row-Count; null if absent."),
        Column("rows", "BIGINT", "Rows in the file.", nullable=False),
        Column("bytes", "BIGINT", "Size of the file, uncompressed.", nullable=False),
        Column("sha256", "VARCHAR", "SHA-256 of the file, uncompressed, hexadecimal.", nullable=False),
        Column("inserted", "BIGINT", "Rows with a key that was new.", nullable=False),
        Column(
            "updated", "BIGINT", "Rows that replaced different values; the old ones are in the history.", nullable=False
        ),
        Column("unchanged", "BIGINT", "Rows that confirmed what was known.", nullable=False),
        Column(
            "ignored_as_older",
            "BIGINT",
            "Rows older than what was known, or repeated within the delivery.",
            nullable=False,
        ),
        Column(
            "unknown_fields",
            "VARCHAR[]",
            "Fields the contract does not know; their values are with the rows, in _unknown_fields.",
            nullable=False,
        ),
        Column("run_id", "VARCHAR", "The Dagster run that pulled it.", nullable=False),
        Column(
            "landed_file", "VARCHAR", "The file below landing/ it is kept in for the retention time.", nullable=False
        ),
        Column("load_order", "BIGINT", "Its place in the order of loading.", nullable=False),
        Column(
            "speaks_for",
            "VARCHAR",
            "The id in the rows for whose days it is an answer, row_subject_id; of an empty delivery that of its path's"
            " last delivery with rows. Null: for none.",
        ),
    ),
)

VANISHED_ROWS = Table(
    name="vanished_rows",
    meaning=(
        "Keys that a newer delivery of their campaign (or soundlink) and day no longer holds, with the last version of"
        " each. They are not in the tables; a key that is delivered again is, and leaves this table. Grain: one row per"
        " export and key."
    ),
    grain=("export", "key"),
    columns=(
        Column("export", "VARCHAR", "The export, which is also the name of its table.", nullable=False),
        Column(
            "subject_id",
            "VARCHAR",
            "The id in the row: campaign_id or soundlink_id.",
            nullable=False,
            renamed_from=("campaign_id",),
        ),
        Column("report_date", "DATE", "UTC day the row is about.", nullable=False),
        Column("key", "JSON", "The primary key of the row, as a JSON object.", nullable=False),
        Column(
            "row",
            "JSON",
            "The row's greatest version with its _unknown_fields, as a JSON object of texts and nulls.",
            nullable=False,
        ),
        Column("delivery_id", "VARCHAR", "The delivery that version is from.", nullable=False),
        Column("last_seen_at", "TIMESTAMP", "Moment of the newest pull that held the key (UTC).", nullable=False),
        Column("vanished_at", "TIMESTAMP", "Moment of the first pull after it, which did not (UTC).", nullable=False),
        Column("last_seen_delivery_id", "VARCHAR", "The newest delivery that held the key.", nullable=False),
        Column("vanished_delivery_id", "VARCHAR", "The first delivery after it, which did not.", nullable=False),
    ),
)


def listing_table(subject: Subject) -> Table:
    """The table of what the API lists of a subject."""
    return Table(
        name=subject.table,
        meaning=subject.meaning,
        grain=(ACCOUNT.name, subject.id_column),
        columns=(
            replace(ACCOUNT, meaning="The account that sees it, by its name in the settings."),
            *subject.listed,
            *subject.details,
            Column(
                row_id_column(subject),
                "VARCHAR",
                f"The {subject.name}'s id in the exports' rows, to join them on; null until some have come.",
            ),
            Column("_listed_json", "VARCHAR", f"The {subject.name} as the API listed it, all fields."),
            Column(
                "_listed_at",
                "TIMESTAMP",
                "When it was last listed (UTC, server's clock). Older than its account's newest: no longer listed.",
            ),
            Column("_run_id", "VARCHAR", "The run that last listed it."),
            *(_details_columns(subject) if subject.details else ()),
        ),
    )


def _details_columns(subject: Subject) -> tuple[Column, ...]:
    return (
        Column("_detail_json", "VARCHAR", f"The {subject.name} as the API answered it by itself, all fields."),
        Column("_detail_listed_json", "VARCHAR", "What was listed of it then, which tells when to ask again."),
        Column("_detail_at", "TIMESTAMP", "When its details were asked for (UTC, server's clock)."),
    )


def history_table(export: Export) -> str:
    return f"{export.name}_history"


def version_columns(table: Table) -> tuple[Column, ...]:
    """What a version of an export's row consists of: the delivered columns, and the fields that have none."""
    return tuple(c for c in table.columns if not c.name.startswith("_") or c.name == UNKNOWN_FIELDS)


def export_tables(export: Export) -> tuple[Table, Table]:
    """The export's table, and its history."""
    table = Table(
        name=export.name,
        meaning=export.describe(),
        columns=(*export.columns, *OWN_COLUMNS),
        grain=export.primary_key,
        primary_key=export.primary_key,
    )
    history = Table(
        name=history_table(export),
        meaning=(
            f"Versions of {export.name} that are believed no more: overwritten by different values, or of a key that"
            " was no longer delivered. Grain: one per version and end."
        ),
        columns=(*table.columns, *_HISTORY_COLUMNS),
        grain=(*export.primary_key, "_valid_until", "_delivery_id"),
        primary_key=export.primary_key,
        like=table,
    )
    return table, history


def warehouse_tables(exports: Iterable[Export]) -> list[Table]:
    """Every table and view of the warehouse but the SQL models; a view stands behind the tables it reads."""
    exports = tuple(exports)
    of_exports = [table for export in exports for table in export_tables(export)]
    listings = [listing_table(subject) for subject in subjects_of(exports)]
    own = [DELIVERIES, REPORT_DATE_STATUS, VANISHED_ROWS, *listings, EXPECTED_ACCOUNTS, accounts_view(exports)]
    of_files = [OWN_FILES, STATEMENTS, DISTRIBUTOR_MONTHLY]
    return [*of_exports, *own, *of_files, COUNTRIES, CURRENCIES]


def schema_statements(exports: Iterable[Export]) -> list[str]:
    """Statements that create all tables and views with their comments; harmless where they exist."""
    return [statement for table in warehouse_tables(exports) for statement in (create(table), *comments(table))]


def create(table: Table, *more: str) -> str:
    """The statement that creates a table or view; harmless where it exists. `more`: definitions of further columns."""
    if table.kind == "view":
        return f"create or replace view {table.name} as {table.query}"
    columns = [f"{c.name} {c.type}{' not null' if is_guarded(table, c) else ''}" for c in table.columns]
    return f"create table if not exists {table.name} ({', '.join([*columns, *more])})"


def comments(table: Table) -> list[str]:
    kind = "view" if table.kind == "view" else "table"
    return [
        f"comment on {kind} {table.name} is {quote(table.meaning)}",
        *(f"comment on column {table.name}.{c.name} is {quote(table.comment(c))}" for c in table.columns),
    ]


def is_guarded(table: Table, column: Column) -> bool:
    """Whether the database itself refuses a null.

    Of the exports' tables only in the key: a delivery's other rules are checked before it is loaded, and a column that
    a contract gains is null in the rows that are there already.
    """
    return column.nullable is False and (not table.primary_key or column.name in table.primary_key)
