"""What the warehouse keeps of analysts' own files: what became of each, and a distributor's statements."""

from __future__ import annotations

from soundlink_pipeline.contracts.table import Column, Table

# The schema of the tables that own files become.
OWN_SCHEMA = "own"

OWN_FILES = Table(
    name="own_files",
    meaning=(
        "The files in the folder own, and what became of each. None in a file of one account. Grain: one row per file."
    ),
    grain=("file",),
    columns=(
        Column("file", "VARCHAR", "The file's name.", nullable=False),
        Column("table_name", "VARCHAR", "Its table in schema own; null if there is none, since it was never read."),
        Column("rows", "BIGINT", "How many rows were read of it; null if it was never read."),
        Column("bytes", "BIGINT", "Size of the file as it was read."),
        Column("modified_at", "TIMESTAMP", "When the file, as it was read, had last been written to (UTC)."),
        Column("read_at", "TIMESTAMP", "When it was read (UTC, this machine's clock)."),
        Column(
            "problem",
            "VARCHAR",
            "Why the file, as it is now, could not be read; the table is of an earlier state of it then. Null if it"
            " could.",
        ),
    ),
)

STATEMENTS = Table(
    name="distributor_statements",
    meaning=(
        "What a distributor's statements say, from the own files whose names begin so. None in a file of one account."
        " Grain: one row per file and row."
    ),
    grain=("file", "row"),
    columns=(
        Column("file", "VARCHAR", "The file's name.", nullable=False),
        Column("row", "BIGINT", "The row's number in the file, without the line of column names.", nullable=False),
        Column("isrc", "VARCHAR", "The track: capital letters, without hyphens.", nullable=False),
        Column("store", "VARCHAR", "The store, such as Spotify.", nullable=False),
        Column("sale_month", "DATE", "First day of the month in which it was streamed.", nullable=False),
        Column("country_code", "VARCHAR", "ISO 3166-1 alpha-2, as the statement says; null if it does not."),
        Column("streams", "BIGINT", "Streams; a correction may be negative. May be summed.", nullable=False),
        Column(
            "revenue",
            "DECIMAL(38,18)",
            "What was paid, in currency, with up to 18 decimals; a correction may be negative. May be summed within a"
            " currency.",
            nullable=False,
        ),
        Column("currency", "VARCHAR", "ISO 4217 code.", nullable=False),
    ),
)

DISTRIBUTOR_MONTHLY = Table(
    name="distributor_monthly",
    kind="view",
    meaning=(
        "The Spotify rows of distributor_statements, with the names that Soundlink's playlist-impact example gives"
        " them: its queries run on this view. Grain: one row per isrc, month, country_code and currency."
    ),
    grain=("isrc", "month", "country_code", "currency"),
    columns=(
        Column("isrc", "VARCHAR", "The track: capital letters, without hyphens.", nullable=None),
        Column("month", "DATE", "First day of the month in which it was streamed.", nullable=None),
        Column("country_code", "VARCHAR", "ISO 3166-1 alpha-2; null if the statement does not say.", nullable=None),
        Column("streams", "BIGINT", "Streams. May be summed.", nullable=None),
        Column("revenue", "DECIMAL(38,18)", "What was paid. May be summed within a currency.", nullable=None),
        Column("currency", "VARCHAR", "ISO 4217 code.", nullable=None),
    ),
    query=(
        "select isrc, sale_month as month, country_code, sum(streams)::bigint as streams, sum(revenue) as revenue,"
        f" currency from {STATEMENTS.name} where lower(store) = 'spotify' group by all"
    ),
)
