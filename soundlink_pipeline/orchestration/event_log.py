"""Dagster's own SQLite storage, with the event log's connections kept open; `dagster.yaml` names it.

Dagster opens the event log anew for every event: engine, connection and compiled statements, two commits, and a
checkpoint when the last connection closes. A partitioned asset has two events a day, so a refresh of eight days spends
more on them than on its rows. Here connections stay open, and what one event writes to a database is one transaction.
Events that Dagster marks as a batch (those of one asset's partitions, and a run's planned ones) are committed together,
and so are a step's outputs and checks with the event that follows them. Files, tables and SQL stay Dagster's; without
this class (`storage: sqlite:`) they are read just the same.

Beside `run_origin.py` this is the one module that uses Dagster's private names, and it is tested with the versions in
`TESTED` only. Under any other version `PooledSqliteStorage` makes Dagster's own SQLite storage instead, with one line
of warning: the same files, slower. Importing this module works even if that version has moved the names.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from sqlalchemy import Connection, Engine, QueuePool, bindparam, create_engine, inspect, text
from sqlalchemy.exc import DatabaseError

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData

try:
    from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
except ImportError:
    DagsterSqliteStorage = type("_Moved", (), {})  # type: ignore[assignment,misc]
try:
    from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
    from dagster._core.storage.event_log.schema import (
        AssetCheckExecutionsTable,
        AssetKeyTable,
        SqlEventLogStorageMetadata,
        SqlEventLogStorageTable,
    )
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
except ImportError:  # the base class alone is needed at import
    SqliteEventLogStorage = type("_Moved", (), {})  # type: ignore[assignment,misc]

TESTED = ("1.13.27", "1.13.28")
_log = logging.getLogger(__name__)

# A run writes to its own database and to the index; the UI reads the databases of many runs one after another.
_OPEN_DATABASES = 4
# How long a connection waits for another process's transaction, as in Dagster's own storage.
_BUSY_SECONDS = 60
# Dagster hands events over in batches only if this variable says how large they may be.
_BATCH_SIZE = ("DAGSTER_EVENT_BATCH_SIZE", "1000")
# Where Alembic keeps the revision of a database's tables.
_REVISION = "alembic_version"
# The events of a step's outputs and checks. More events of the step follow, and these are committed with the next one;
# a crash in between leaves none of them, and the step counts as not done.
_HELD = {dg.DagsterEventType.STEP_OUTPUT, dg.DagsterEventType.ASSET_CHECK_EVALUATION}


def is_sqlite(event_log: object) -> bool:
    """Whether an instance's event log is in SQLite files, of this class or of Dagster's own: so on this machine."""
    return isinstance(event_log, SqliteEventLogStorage)


@cache
def _indexed() -> frozenset[dg.DagsterEventType]:
    """The events that are stored in the index too, which answers questions about all runs."""
    return frozenset((*ASSET_EVENTS, *ASSET_CHECK_EVENTS, *EVENT_TYPE_TO_PIPELINE_RUN_STATUS))


def _a_millisecond_each(events: Sequence[dg.EventLogEntry]) -> list[dg.EventLogEntry]:
    """The events in their order, each in a later millisecond than the one before it.

    The UI counts in milliseconds, and its list of an asset's events takes two of one run and moment for one. Partitions
    of one asset are materialized several in a millisecond; the last of 90 is moved by less than a tenth of a second.
    """
    apart: list[dg.EventLogEntry] = []
    newest = 0
    for event in events:
        moment = int(event.timestamp * 1000)
        if moment <= newest:
            moment = newest + 1
            event = event._replace(timestamp=(moment + 0.5) / 1000)  # noqa: PLW2901  (half: where it is cut off)
        apart.append(event)
        newest = moment
    return apart


class PooledSqliteEventLog(SqliteEventLogStorage):
    """Dagster's event log in SQLite, one database per run and an index, with the last used databases kept open."""

    def __init__(self, base_dir: str) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._seen: set[str] = set()  # tables, columns and migrations: once there, they stay
        self._open: dict[str, Connection] = {}  # within `_connect`, by the thread that has the lock
        self._held: list[dg.EventLogEntry] = []  # not stored yet
        super().__init__(base_dir)
        self._db_lock: Any = threading.RLock()  # a batch has both its run's database and the index open
        os.environ.setdefault(*_BATCH_SIZE)

    def store_event(self, event: dg.EventLogEntry) -> None:
        if event.step_key is not None and event.dagster_event_type in _HELD:
            with self._db_lock:
                self._held.append(event)
        else:
            self._store_with_held([event])

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events of one batch in one transaction; after an error Dagster stores each by itself."""
        self._store_with_held(_a_millisecond_each(events))

    def _store_with_held(self, events: Sequence[dg.EventLogEntry]) -> None:
        with self._db_lock:
            held = self._held
            of_run: dict[str, list[dg.EventLogEntry]] = {}
            for event in [*held, *events]:
                of_run.setdefault(event.run_id, []).append(event)
            try:
                self._held = []
                for run_id in list(of_run):
                    self._store(of_run[run_id])
                    del of_run[run_id]
            except BaseException as error:
                self._held = [event for event in held if event.run_id in of_run]
                if isinstance(error, Exception):  # not an interrupt: one of them cannot be stored
                    self._store_one_by_one()
                raise

    def _store_one_by_one(self) -> None:
        """Store each held event by itself, so that one that cannot be stored does not block all others for ever."""
        held, self._held = self._held, []
        for event in held:
            with suppress(Exception):
                self._store([event])

    def _store(self, events: Sequence[dg.EventLogEntry]) -> None:
        """As Dagster's `store_event`, for many: one commit per database, and each asset's entry written once."""
        table = SqlEventLogStorageTable
        rows = [self._event_to_row(event) for event in events]
        indexed = [at for at, event in enumerate(events) if event.dagster_event_type in _indexed()]
        with ExitStack() as stack:
            index = stack.enter_context(self.index_connection()) if indexed else None
            run = stack.enter_context(self.run_connection(events[0].run_id))
            run.execute(table.insert(), rows)
            if index is not None:
                self._store_in_index(index, [events[at] for at in indexed], [rows[at] for at in indexed])

    def _store_in_index(
        self, index: Connection, events: Sequence[dg.EventLogEntry], rows: Sequence[dict[str, Any]]
    ) -> None:
        table = SqlEventLogStorageTable
        numbered = table.insert().returning(table.c.id, sort_by_parameter_order=True)
        ids = list(index.execute(numbered, rows).scalars())
        about_assets = [at for at, event in enumerate(events) if event.dagster_event_type in ASSET_EVENTS]
        if about_assets:
            self._store_asset_event_tags(index, [events[at] for at in about_assets], [ids[at] for at in about_assets])
        # The entry holds the asset's last event only.
        last = {(rows[at]["asset_key"], rows[at]["dagster_event_type"]): at for at in about_assets}
        self._update_assets(index, [(events[at], ids[at]) for at in last.values()])
        planned: list[dict[str, Any]] = []
        evaluated: list[tuple[dg.EventLogEntry, int, str]] = []
        for event, event_id, row in zip(events, ids, rows, strict=True):
            if event.dagster_event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                planned += self._planned_checks(event, event_id, row["event"])
            elif event.dagster_event_type in ASSET_CHECK_EVENTS:
                evaluated.append((event, event_id, row["event"]))
        if planned:
            index.execute(AssetCheckExecutionsTable.insert(), planned)
        self._update_checks(index, evaluated)

    def _update_assets(self, index: Connection, events: Sequence[tuple[dg.EventLogEntry, int]]) -> None:
        """As Dagster's `_store_asset_event` for each, which tries an insert first: nearly every asset is there."""
        alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for event, event_id in events:
            values = self._get_asset_entry_values(event, event_id, self._has_asset_key_index_cols_on_connection(index))
            key: Any = event.dagster_event.asset_key if event.dagster_event else None
            if values and key:
                alike.setdefault(tuple(values), []).append({**values, "of_asset": key.to_string()})
        found = sum(
            index.execute(
                AssetKeyTable.update()
                .where(AssetKeyTable.c.asset_key == bindparam("of_asset"))
                .values({name: bindparam(name) for name in names}),
                entries,
            ).rowcount
            for names, entries in alike.items()
        )
        if found != sum(map(len, alike.values())):  # the first event of an asset
            for event, event_id in events:
                self._store_asset_event(index, event, event_id)

    def _update_checks(self, index: Connection, evaluated: Sequence[tuple[dg.EventLogEntry, int, str]]) -> None:
        """As Dagster's `store_asset_check_event` for each: a check that a run has planned gets its result."""
        table = AssetCheckExecutionsTable
        results = [
            self._check_result(event, event_id, serialized) for event, event_id, serialized in evaluated if event.run_id
        ]
        found = 0
        if results:
            names = [name for name in results[0] if not name.startswith("of_")]
            found = index.execute(
                table.update()
                .where(
                    table.c.asset_key == bindparam("of_asset"),
                    table.c.check_name == bindparam("of_check"),
                    table.c.run_id == bindparam("of_run"),
                    table.c.partition.is_not_distinct_from(bindparam("of_partition")),
                )
                .values({name: bindparam(name) for name in names}),
                results,
            ).rowcount
        if found != len(evaluated):  # one that no run has planned
            for event, event_id, _ in evaluated:
                self.store_asset_check_event(event, event_id)

    def _check_result(self, event: dg.EventLogEntry, event_id: int, serialized: str) -> dict[str, Any]:
        evaluation: Any = event.dagster_event.event_specific_data if event.dagster_event else None
        target = evaluation.target_materialization_data
        return {
            "of_asset": evaluation.asset_key.to_string(),
            "of_check": evaluation.check_name,
            "of_run": event.run_id,
            "of_partition": evaluation.partition,
            "execution_status": "SUCCEEDED" if evaluation.passed else "FAILED",
            "evaluation_event": serialized,
            "evaluation_event_timestamp": self._moment(event),
            "evaluation_event_storage_id": event_id,
            "materialization_event_storage_id": target.storage_id if target else None,
        }

    def _get_latest_materialization_records(self, raw_asset_rows: Sequence[dict[str, Any]]) -> Any:
        """As Dagster's, which asks the log too, even of nothing; here each entry holds the asset's last event."""
        records = {}
        for row in raw_asset_rows:
            record = dg.deserialize_value(row["last_materialization"]) if row["last_materialization"] else None
            if row["asset_details"] or not isinstance(record, dg.EventLogRecord):  # wiped, or of an older Dagster
                return super()._get_latest_materialization_records(raw_asset_rows)
            records[dg.AssetKey.from_db_string(row["asset_key"])] = record
        return records

    def _planned_checks(self, event: dg.EventLogEntry, event_id: int, serialized: str) -> list[dict[str, Any]]:
        """The rows of Dagster's `store_asset_check_event` for a check that a run intends to execute.

        A run plans all its checks at once: a statement for each, compiled and serialized anew, is a tenth of its start.
        """
        planned: Any = event.dagster_event.event_specific_data if event.dagster_event else None
        partitions = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]
        return [
            {
                "asset_key": planned.asset_key.to_string(),
                "check_name": planned.check_name,
                "partition": partition,
                "run_id": event.run_id,
                "execution_status": "PLANNED",
                "evaluation_event": serialized,
                "evaluation_event_timestamp": self._moment(event),
                "evaluation_event_storage_id": event_id,
            }
            for partition in partitions
        ]

    @staticmethod
    def _moment(event: dg.EventLogEntry) -> datetime:
        """When it was, in UTC, as a column holds it."""
        return datetime.fromtimestamp(event.timestamp, UTC).replace(tzinfo=None)

    def delete_events(self, run_id: str) -> None:
        """Delete a run's events and its database file, which Dagster would only empty."""
        super().delete_events(run_id)
        with self._db_lock:
            self.close_run(run_id)
            self._initialized_dbs.discard(run_id)
            for file in Path(self._base_dir).glob(f"{run_id}.db*"):
                file.unlink()

    def close_run(self, run_id: str) -> None:
        """Close a run's database, which is opened again when it is needed."""
        with self._db_lock:
            if run_id in self._engines:
                self._engines.pop(run_id).dispose()

    # Dagster checks these for every event and every look at an asset.

    def has_table(self, table_name: str) -> bool:
        check = super().has_table
        return self._once(f"table {table_name}", lambda: check(table_name))

    def has_secondary_index(self, name: str) -> bool:
        check = super().has_secondary_index
        return self._once(f"index {name}", lambda: check(name))

    def has_asset_key_col(self, column_name: str) -> bool:
        check = super().has_asset_key_col
        return self._once(f"column {column_name}", lambda: check(column_name))

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        check = super()._has_asset_key_col_on_connection
        return self._once(f"column {column_name}", lambda: check(conn, column_name))

    def _once(self, name: str, is_there: Callable[[], bool]) -> bool:
        if name not in self._seen and is_there():
            self._seen.add(name)
        return name in self._seen

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A database in a transaction; within another `_connect` to it, in that one's transaction."""
        with self._db_lock:
            if shard in self._open:
                yield self._open[shard]
                return
            if self._held and not self._open:
                self._store_with_held([])  # a reader sees them
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection:
                sqlite: Any = connection.connection.driver_connection
                before = sqlite.total_changes
                self._open[shard] = connection
                try:
                    with connection.begin():
                        yield connection
                finally:
                    del self._open[shard]
                if shard != INDEX_SHARD_NAME and sqlite.total_changes != before:
                    # The UI watches the database file's mtime; with WAL, SQLite writes to the -wal file first.
                    os.utime(self.path_for_shard(shard))

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """As Dagster's, which asks Alembic, and that reads a hundred scripts for each run's new database.

        A database that bears a revision is whole. A new one of a run gets the revision that the index bears.
        """
        if not for_index_shard and (self._bears_revision(engine) or self._made_like_the_index(engine)):
            return
        super()._initdb(engine, for_index_shard)

    def _bears_revision(self, engine: Engine) -> str | None:
        with engine.connect() as connection:
            if not inspect(connection).has_table(_REVISION):
                return None
            revision: str | None = connection.scalar(text(f"select version_num from {_REVISION}"))
            return revision

    def _made_like_the_index(self, engine: Engine) -> bool:
        """Whether this has made the database. Not if another process is at it, or an older one stands there."""
        revision = self._bears_revision(self._engine(INDEX_SHARD_NAME))
        with suppress(DatabaseError), engine.connect() as connection:
            if revision is None or inspect(connection).get_table_names():
                return False
            connection.rollback()  # the mode cannot be changed within a transaction
            connection.execute(text("pragma journal_mode = wal"))
            connection.execute(text("begin immediate"))  # or Python's driver would commit each table by itself
            SqlEventLogStorageMetadata.create_all(connection)
            connection.execute(text(f"create table {_REVISION} (version_num VARCHAR(32) not null primary key)"))
            connection.execute(text(f"insert into {_REVISION} values (:revision)"), {"revision": revision})
            connection.commit()
            return True
        return False

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            self._engines[shard] = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=QueuePool,
                pool_size=1,
                connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
            )
        self._engines.move_to_end(shard)
        if len(self._engines) > _OPEN_DATABASES:
            self._engines.popitem(last=False)[1].dispose()
        return self._engines[shard]

    def _close_all(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()

    def wipe(self) -> None:
        self._close_all()
        self._seen.clear()
        self._held.clear()
        super().wipe()

    def dispose(self) -> None:
        if self._held:
            self._store_with_held([])
        self._close_all()
        super().dispose()


class PooledSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage below `base_dir`, in the same files, with the event log above.

    The class that `dagster.yaml` names: `from_config_value` decides whether the event log above is used.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage: SqliteEventLogStorage = PooledSqliteEventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> DagsterSqliteStorage:
        """The storage for a Dagster of this version: this class where it was tested, else Dagster's own."""
        if dg.__version__ in TESTED:
            return cls.from_local(config_value["base_dir"], inst_data)
        _warn_of_fallback()
        return DagsterSqliteStorage.from_local(config_value["base_dir"], inst_data)


@cache
def _warn_of_fallback() -> None:
    """One line in each process."""
    _log.warning(
        "The pooled event log was tested with Dagster %s, not with %s: using Dagster's own SQLite storage (slower).",
        " and ".join(TESTED),
        dg.__version__,
    )
