"""The DuckDB warehouse: one file, one writer at a time, its tables and views, and the questions asked of its ledger.

DuckDB lets one process write or many read, and turns the other side away at once. So every use is short (open, one
transaction, close), and waits its turn: behind a lock file of our own, and then for DuckDB's lock with jitter.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from soundlink_pipeline.contracts.campaigns import may_have_rows
from soundlink_pipeline.contracts.days import HEALING_DAYS, DateRange, last_closed_day
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import CAMPAIGN_COLUMN, DATE_COLUMN, Export
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.loading.listing import upsert_listing
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.ledger import DateStatus
from soundlink_pipeline.warehouse.sql import transaction
from soundlink_pipeline.warehouse.tables import missing_columns, schema_statements

# What clients of DuckDB 1.5 can open; 2.0's own format shuts them out.
_STORAGE_VERSION = "v1.5.0"
_WAIT_SECONDS = 120.0
# What the tables were made from; the pipeline's own, not published.
_CREATE_SCHEMA_STATE = "create table if not exists _schema_state (fingerprint VARCHAR)"
# How DuckDB's errors tell a damaged file and a full disk; it raises them as errors of several kinds.
_DAMAGED = ("Corrupt database file", "not a valid DuckDB database file", "Could not read enough bytes")
_CANNOT_WRITE = ("Could not write", "No space left on device", "Disk quota exceeded", "Read-only file system")


class Warehouse:
    """The file `warehouse.duckdb` below `data_dir`. Holds no connection: `write` and `read` open one each."""

    def __init__(
        self, data_dir: Path, *, exports: Sequence[Export] = EXPORTS, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        self.path = data_dir / "warehouse.duckdb"
        self.exports = tuple(exports)
        self._wait_seconds = wait_seconds
        self._turn = FileLock(self.path.with_suffix(".lock"))  # a thread that has it may take it again
        self._temporary = data_dir / "tmp"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The writer's turn with no connection open; `write` may be used within it. Raises WarehouseLocked."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._turn.acquire(timeout=self._wait_seconds)
        except Timeout:
            raise WarehouseLocked(
                f"{self.path} is being written by another run for over {self._wait_seconds:.0f} s"
            ) from None
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The one connection that may write; tables exist. Raises WarehouseLocked, WarehouseUnusable."""
        with self.turn(), self._connected(read_only=False) as connection:
            self._ensure_tables(connection)
            yield connection

    @contextmanager
    def read(self, wait_seconds: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection; the file must exist (`exists`). Raises WarehouseLocked, WarehouseUnusable."""
        with self._connected(read_only=True, wait_seconds=wait_seconds) as connection:
            yield connection

    def exists(self) -> bool:
        return self.path.exists()

    @contextmanager
    def _connected(self, *, read_only: bool, wait_seconds: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._connect(read_only, self._wait_seconds if wait_seconds is None else wait_seconds)
        try:
            yield connection
        except duckdb.Error as error:
            # Damage and a full disk may show only now: DuckDB reads a file's blocks when it needs them.
            unusable = self._unusable(error)
            if unusable is None:
                raise
            raise unusable from error
        finally:
            connection.close()

    def _connect(self, read_only: bool, wait_seconds: float) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + wait_seconds
        config: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": str(self._temporary),
            "storage_compatibility_version": _STORAGE_VERSION,
        }
        while True:
            try:
                connection = duckdb.connect(str(self.path), read_only=read_only, config=config)
            except duckdb.Error as error:
                who = _holder(error)
                if who is None:
                    raise (
                        self._unusable(error) or WarehouseUnusable(f"{self.path} cannot be opened: {error}")
                    ) from None
                if time.monotonic() > deadline:
                    raise WarehouseLocked(
                        f"{self.path} is open in {who}: close it there (a notebook, a DuckDB shell, a BI tool?) and run"
                        " again; nothing was lost"
                    ) from None
                time.sleep(random.uniform(0.03, 0.15))  # noqa: S311
            else:
                connection.execute("set TimeZone = 'UTC'")
                return connection

    def _unusable(self, error: duckdb.Error) -> WarehouseUnusable | None:
        """What to do about an error that is the file's or the disk's; None for any other."""
        if any(words in str(error) for words in _DAMAGED):
            return WarehouseUnusable(
                f"{self.path} is damaged: {error}. Move it away, with {self.path.name}.wal if there is one, and run the"
                " job rebuild_from_landing"
            )
        if cannot_write(error):
            return WarehouseUnusable(
                f"{self.path} cannot be written, is the disk full? {error}. Free space and run again; what was"
                " committed before is safe, of this transaction nothing was kept"
            )
        return None

    def _ensure_tables(self, connection: duckdb.DuckDBPyConnection) -> None:
        statements = schema_statements(self.exports)
        fingerprint = hashlib.sha256("\n".join(statements).encode()).hexdigest()
        try:
            if connection.execute("select fingerprint from _schema_state").fetchall() == [(fingerprint,)]:
                return
            statements = missing_columns(self.exports) + statements
        except duckdb.CatalogException:
            statements = [_CREATE_SCHEMA_STATE, *statements]  # a new file
        with transaction(connection):
            for statement in statements:
                connection.execute(statement)
            connection.execute("delete from _schema_state")
            connection.execute("insert into _schema_state values (?)", [fingerprint])

    # Questions of the ledger

    def oldest_unsettled(self, now: datetime, wait_seconds: float | None = None) -> date | None:
        """The earliest report_date of the last HEALING_DAYS that was pulled but not since it settled.

        Only of campaigns that a run would ask for: of one that is no longer listed nothing more can be had, and one
        that has long ended has no rows on the days after its tail; neither holds the answer back.
        """
        if not self.exists():
            return None
        newest = last_closed_day(now)
        with self.read(wait_seconds) as connection:
            found = connection.execute(
                """
                select min(s.report_date), any_value(c._listed_json)
                from report_date_status as s join campaigns as c using (campaign_id)
                where not s.is_settled and s.report_date between $since and $until
                    and c._listed_at = (select max(_listed_at) from campaigns)
                group by campaign_id
                """,
                {"since": newest - timedelta(days=HEALING_DAYS - 1), "until": newest},
            ).fetchall()
        days = (day for day, listed in found if may_have_rows(json.loads(listed), DateRange(day, newest)))
        return min(days, default=None)

    def date_status(self, export: Export, dates: DateRange) -> list[DateStatus]:
        """Per report_date of `dates`: rows, totals of the export's measures, last pull, settled or not."""
        totals = ", ".join(f"coalesce(sum({name}), 0)::double" for name in export.measures)
        with self.read() as connection:
            rows = connection.execute(
                f"""
                with days as (
                    select unnest(generate_series($start, $end, interval 1 day))::date as report_date
                ),
                pulled as (
                    select report_date, max(last_pulled_at) as last_pulled_at,
                        list(coalesce(_listed_json, '{{}}')) filter (not is_settled) as unsettled
                    from report_date_status left join campaigns using (campaign_id)
                    where export = $export and report_date between $start and $end
                    group by report_date
                ),
                measured as (
                    select report_date, count(*) as n, [{totals}] as totals from {export.name}
                    where report_date between $start and $end group by report_date
                )
                select report_date, coalesce(n, 0), totals, last_pulled_at, coalesce(unsettled, [])
                from days left join pulled using (report_date) left join measured using (report_date)
                order by report_date
                """,
                {"start": dates.start, "end": dates.end, "export": export.name},
            ).fetchall()
        return [
            DateStatus(
                report_date=day,
                rows=count,
                totals=dict(zip(export.measures, sums or [0.0] * len(export.measures), strict=True)),
                last_pulled_at=None if pulled is None else pulled.replace(tzinfo=UTC),
                # A campaign that has long ended has no rows on this day that could change.
                settled=pulled is not None
                and not any(may_have_rows(json.loads(listed), DateRange(day, day)) for listed in unsettled),
            )
            for day, count, sums, pulled, unsettled in rows
        ]

    def done_days(self, dates: DateRange, run_ids: Sequence[str], *, settled: bool) -> dict[tuple[str, str], set[date]]:
        """Per (export, campaign id asked for) the days of `dates` that need not be asked for.

        Those that these runs have pulled, and with `settled` those that are final.
        """
        if not self.exists():
            return {}
        with self.read() as connection:
            rows = connection.execute(
                """
                with pulled as (
                    select export, campaign_id,
                        unnest(generate_series(start_date, end_date, interval 1 day))::date as day
                    from deliveries where list_contains($runs, run_id)
                ),
                final as (
                    select export, campaign_id, report_date as day from report_date_status where $settled and is_settled
                )
                select export, campaign_id, list(distinct day) from (from pulled union all from final)
                where day between $start and $end group by all
                """,
                {"runs": list(run_ids), "settled": settled, "start": dates.start, "end": dates.end},
            ).fetchall()
        return {(export, campaign_id): set(days) for export, campaign_id, days in rows}

    def campaign_names(self) -> dict[str, str]:
        """The display name of each campaign by the id that is asked for, from the newest rows it delivered."""
        if not self.exists():
            return {}
        names = " union all ".join(
            f"select {CAMPAIGN_COLUMN}, {DATE_COLUMN}, campaign_name from {export.name}" for export in self.exports
        )
        with self.read() as connection:
            rows = connection.execute(
                f"""
                select d.campaign_id, any_value(n.name)
                from (select distinct campaign_id, row_campaign_id from deliveries) as d
                join (
                    select {CAMPAIGN_COLUMN}, arg_max(campaign_name, {DATE_COLUMN}) as name from ({names}) group by all
                ) as n on n.{CAMPAIGN_COLUMN} = d.row_campaign_id
                group by all
                """
            ).fetchall()
        return dict(rows)

    def newest_rows(
        self, export: Export, dates: DateRange, limit: int = 5
    ) -> tuple[list[str], list[tuple[object, ...]]]:
        """Names and values of the newest day's first rows, what tells them apart and what they measure: a preview."""
        key = [name for name in export.row_key if name != DATE_COLUMN]
        columns = [DATE_COLUMN, "campaign_name", *key, *export.measures]
        with self.read() as connection:
            rows = connection.execute(
                f"""
                select {", ".join(columns)} from {export.name}
                where {DATE_COLUMN} between $start and $end
                order by {DATE_COLUMN} desc, {", ".join(key)} limit {limit}
                """,
                {"start": dates.start, "end": dates.end},
            ).fetchall()
        return columns, rows

    def row_count(self, export: Export) -> int:
        with self.read() as connection:
            return int(connection.execute(f"select count(*) from {export.name}").fetchall()[0][0])

    def load_orders(self) -> dict[str, int]:
        """Every delivery in the ledger: its id, and its place in the order of loading."""
        if not self.exists():
            return {}
        with self.read() as connection:
            return dict(connection.execute("select delivery_id, load_order from deliveries").fetchall())

    def save_listing(self, listing: Listing) -> int:
        """Upsert a landed campaign listing; returns the number of campaigns in it."""
        with self.write() as connection:
            return upsert_listing(connection, listing)


def cannot_write(error: duckdb.Error) -> bool:
    """Whether the disk is to blame: full, or not to be written to."""
    return any(words in str(error) for words in _CANNOT_WRITE)


def _holder(error: duckdb.Error) -> str | None:
    """Who holds the file that could not be opened; None if that is not why."""
    if "Could not set lock" in str(error):
        process = re.search(r"\(PID (\d+)\)", str(error))
        return f"process {process[1]}" if process else "another process"
    # Within one process a file is open for reading or for writing, not both.
    return "this very process" if "with a different configuration" in str(error) else None
