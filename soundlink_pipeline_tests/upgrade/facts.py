"""What a project folder holds and shows: computed by the version that made the folder, and again by the tests.

`python facts.py MOMENT` in a project folder prints it as JSON. An earlier version's Python runs this file too, so it
names nothing of the pipeline but what users hold: `soundlink_pipeline.definitions`, and tables.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def facts(
    data: Path, definitions: dg.Definitions, instance: dg.DagsterInstance, now: datetime, like: dict[str, Any] | None
) -> dict[str, Any]:
    """Everything that must stay; of the tables in `like` (earlier facts) those columns alone, else all of all."""
    runs = Counter(run.status.value for run in instance.get_runs())
    return {
        "tables": tables(data / "warehouse.duckdb", None if like is None else like["tables"]),
        "settled days": _settled(data / "warehouse.duckdb"),
        "the schedule asks for": asked_by_schedule(definitions, instance, now),
        "partitions": partitions(instance),
        "runs": dict(sorted(runs.items())),
        "landed files": sorted(_files(data / "landing")),
        "refused files": sorted(_files(data / "quarantine")),
    }


def tables(database: Path, like: dict[str, Any] | None = None) -> dict[str, Any]:
    """Of each table and view its columns, its number of rows and the SHA-256 of all their values."""
    with duckdb.connect(str(database), read_only=True) as connection:
        if like is None:
            like = dict.fromkeys(
                f"{schema}.{name}"
                for schema, name in connection.execute(
                    "select table_schema, table_name from information_schema.tables"
                    " where not starts_with(table_name, '_') order by all"
                ).fetchall()
            )
        return {name: _content(connection, name, known and known["columns"].split()) for name, known in like.items()}


def asked_by_schedule(definitions: dg.Definitions, instance: dg.DagsterInstance, now: datetime) -> list[str]:
    """First and last report_date of the daily schedule's run at a moment."""
    schedule = definitions.resolve_schedule_def("daily_refresh_schedule")
    with dg.build_schedule_context(instance, now, resources=definitions.resources) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    return [request.tags[name] for name in _RANGE]


def partitions(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """Of each asset the days that Dagster shows as materialized."""
    found = {key.to_user_string(): instance.get_materialized_partitions(key) for key in instance.all_asset_keys()}
    return {name: _ranges(map(date.fromisoformat, found[name])) for name in sorted(found)}


def _settled(database: Path) -> dict[str, list[str]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        (listed_id,) = _present(connection, "report_date_status", ["campaign_id"])
        found = connection.execute(
            f"select export, {listed_id} as listed_id, list(report_date) from report_date_status where is_settled"
            " group by all order by all"
        ).fetchall()
    return {f"{export} of {campaign}": _ranges(days) for export, campaign, days in found}


def _content(connection: duckdb.DuckDBPyConnection, table: str, columns: list[str] | None) -> dict[str, Any]:
    columns = columns or _columns(connection, table)
    named = ", ".join(f'"{column}"' for column in _present(connection, table, columns))
    rows = sorted(repr([_shown(value) for value in row]) for row in _rows(connection, f"select {named} from {table}"))
    return {
        "columns": " ".join(columns),
        "rows": len(rows),
        "sha256": hashlib.sha256("\n".join(rows).encode()).hexdigest(),
    }


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [row[0] for row in connection.execute(f"describe {table}").fetchall()]


def _present(connection: duckdb.DuckDBPyConnection, table: str, columns: list[str]) -> list[str]:
    """The columns by the names that they have in this table, which may be newer ones."""
    there = _columns(connection, table)
    newer = {"campaign_id": "subject_id", "row_campaign_id": "row_subject_id"}
    newer |= {f"campaigns_{what}": f"subjects_{what}" for what in ("expected", "pulled")}
    return [name if name in there else newer[name] for name in columns]


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def _shown(value: Any) -> Any:
    # The last digits of a sum of doubles depend on the order of its rows.
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _ranges(days: Iterable[date]) -> list[str]:
    """Days as ranges without a gap: `2026-01-01 to 2026-01-17`."""
    ranges: list[list[date]] = []
    for day in sorted(days):
        if ranges and day - ranges[-1][-1] == timedelta(days=1):
            ranges[-1][-1] = day
        else:
            ranges.append([day, day])
    return [f"{first} to {last}" for first, last in ranges]


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


if __name__ == "__main__":
    from soundlink_pipeline.definitions import defs

    # Before 0.2 they were made when the module was imported.
    loaded = defs if isinstance(defs, dg.Definitions) else defs()
    with dg.DagsterInstance.get() as opened:
        said = facts(Path("data"), loaded, opened, datetime.fromisoformat(sys.argv[1]), None)
        print(json.dumps(said))
