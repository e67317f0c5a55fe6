"""Dagster's own SQLite storage, with the event log's connections kept open; `dagster.yaml` names it.

Dagster opens the event log anew for every event: engine, connection and compiled statements, and a checkpoint when the
last connection closes. A partitioned asset has two events a day, so a refresh of eight days spends more on them than
on its rows. Files, tables and SQL stay Dagster's; without this class (`storage: sqlite:`) they are read just the same.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, QueuePool, create_engine

# A run writes to its own database and to the index; who shows many runs reads one after another.
_OPEN_DATABASES = 4


class PooledSqliteEventLog(SqliteEventLogStorage):
    """Dagster's event log in SQLite, one database per run and an index, with the last used databases kept open."""

    def __init__(self, base_dir: str) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection:
                sqlite: Any = connection.connection.driver_connection
                before = sqlite.total_changes
                with connection.begin():
                    yield connection
                if shard != INDEX_SHARD_NAME and sqlite.total_changes != before:
                    # Who follows a run in the UI is told of news by a change of the database file; SQLite writes to
                    # its log first.
                    os.utime(self.path_for_shard(shard))

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            self._engines[shard] = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=QueuePool,
                pool_size=1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
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
        super().wipe()

    def dispose(self) -> None:
        self._close_all()
        super().dispose()


class PooledSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage below `base_dir`, in the same files, with the event log above."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage: SqliteEventLogStorage = PooledSqliteEventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        return cls.from_local(config_value["base_dir"], inst_data)
