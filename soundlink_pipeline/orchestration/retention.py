"""What Dagster's own storage keeps: runs, their events and logs, results of checks, ticks.

Dagster deletes none of them. Deleting a run in the UI deletes its materializations too, and each day whose newest one
was among them turns missing, so that the next backfill would pull it again. Here the newest materialization of every
asset and partition stays, whatever becomes of its run, and so does the newest result of every check. They stay as they
are, with their time and id: nothing downstream takes them for news.

Two steps, both in small transactions, so that runs go on meanwhile:

- *Thinned* are successful runs older than DETAILED_DAYS: events that repeat others, materializations of days that were
  materialized again, and the charts and tables of former materializations. Start, end, steps, messages, failures and
  figures stay.
- *Deleted* are runs older than the retention, but for those that still say something (`_needed`).
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from sqlalchemy import DateTime, bindparam, text

from soundlink_pipeline.orchestration.event_log import PooledSqliteEventLog, is_sqlite
from soundlink_pipeline.orchestration.run_context import BACKFILL, UNDER_WAY
from soundlink_pipeline.wording import counted

if TYPE_CHECKING:
    from sqlalchemy import Connection

DETAILED_DAYS = 7
# What the doctor, the runs list and the checks of totals look at, per job.
NEWEST_RUNS_OF_A_JOB = 10
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_BACKFILL_GOES_ON = ("REQUESTED", "CANCELING", "FAILING")
# Of a run's own log in a successful run: what says again which assets and checks there were. They are in the index.
_REPEATED = (
    *("STEP_OUTPUT", "STEP_INPUT", "HANDLED_OUTPUT", "LOADED_INPUT", "RESOURCE_INIT_STARTED", "RESOURCE_INIT_SUCCESS"),
    *("ASSET_MATERIALIZATION_PLANNED", "ASSET_CHECK_EVALUATION_PLANNED"),
)
_IN_THE_INDEX = ("ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION", "ASSET_OBSERVATION")
_CHECK_EVENTS = ("ASSET_CHECK_EVALUATION", "ASSET_CHECK_EVALUATION_PLANNED")
_KEPT_KINDS = ("ASSET_MATERIALIZATION", "ASSET_OBSERVATION")
# Under this id Dagster keeps events that belong to no run.
_NO_RUN = ""
_IDS_PER_STATEMENT = 500
# A file is made anew if so much of it is free.
_FREE_SHARE = 0.25
_BUSY_SECONDS = 60
# A run's database has some thirty tables and indexes, most of them empty, and each takes a page at least.
_SMALL_PAGE = 1024
# How Dagster stores what is text with a layout.
_MARKDOWN = "MarkdownMetadataEntryData"


@dataclass
class Kept:
    """What one pass did: runs by what became of them; `finished` if it had the time for all of them."""

    deleted: int = 0
    thinned: int = 0
    thinned_until: float = 0.0
    finished: bool = True

    def __str__(self) -> str:
        done = f"{counted(self.deleted, 'run')} deleted, {self.thinned} thinned"
        return done if self.finished else f"{done}; more to come"


def keep_bounded(
    instance: dg.DagsterInstance, now: datetime, days: int, *, thinned_until: float = 0.0, seconds: float = 20.0
) -> Kept:
    """One pass, of about so many `seconds`; `thinned_until` is what the last one returned (Unix seconds).

    Runs that have not ended are not touched.
    """
    until = time.monotonic() + seconds
    kept = Kept(thinned_until=thinned_until)
    newest = _newest_events(instance)
    needed = _needed(instance)
    too_old, not_new = now - timedelta(days=days), now - timedelta(days=DETAILED_DAYS)
    for run in _runs(instance, too_old):
        if run.run_id in needed or _is_among_the_newest(instance, run):
            continue
        if time.monotonic() > until:
            kept.finished = False
            return kept
        _delete(instance, run.run_id, newest)
        kept.deleted += 1
    for record in _records(instance, not_new, created_after=thinned_until):
        if time.monotonic() > until:
            kept.finished = False
            return kept
        if record.dagster_run.is_success:
            _thin(instance, record.dagster_run.run_id, newest)
            kept.thinned += 1
        kept.thinned_until = record.create_timestamp.timestamp()
    _delete_check_results(instance, too_old)
    _delete_ticks(instance, too_old)
    under_way = instance.get_runs(dg.RunsFilter(statuses=list(UNDER_WAY)), limit=1)
    if is_sqlite(instance.event_log_storage) and not under_way:
        _shrink(instance.event_log_storage.path_for_shard("index"))  # type: ignore[attr-defined]
    return kept


def _records(instance: dg.DagsterInstance, before: datetime, created_after: float = 0.0) -> Iterator[Any]:
    """Ended runs created before then, the oldest first."""
    after = datetime.fromtimestamp(created_after, before.tzinfo)
    filters = dg.RunsFilter(statuses=_ENDED, created_before=before, created_after=after)
    cursor: str | None = None
    while page := instance.get_run_records(filters, limit=100, ascending=True, cursor=cursor):
        yield from page
        cursor = page[-1].dagster_run.run_id


def _runs(instance: dg.DagsterInstance, before: datetime) -> list[dg.DagsterRun]:
    return [record.dagster_run for record in _records(instance, before)]


def _needed(instance: dg.DagsterInstance) -> set[str]:
    """The runs that the state of a partition, of a check or of a backfill is read from."""
    with instance.event_log_storage.index_connection() as index:  # type: ignore[attr-defined]
        failed_days = index.execute(
            text(
                "select run_id from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED' and id in ("
                " select max(id) from event_logs where asset_key is not null and dagster_event_type in"
                " ('ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED') group by asset_key, partition)"
            )
        ).scalars()
        unevaluated = index.execute(
            text(
                "select run_id from asset_check_executions where execution_status = 'PLANNED' and id in"
                " (select max(id) from asset_check_executions group by asset_key, check_name)"
            )
        ).scalars()
        needed = {*failed_days, *unevaluated}
    for backfill in instance.get_backfills():
        if backfill.status.value in _BACKFILL_GOES_ON:
            of_backfill = dg.RunsFilter(tags={BACKFILL: backfill.backfill_id})
            needed.update(run.run_id for run in instance.get_runs(of_backfill))
    return needed


def _is_among_the_newest(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    newest = instance.get_runs(dg.RunsFilter(job_name=run.job_name), limit=NEWEST_RUNS_OF_A_JOB)
    return run.run_id in {found.run_id for found in newest}


def _newest_events(instance: dg.DagsterInstance) -> set[int]:
    """The ids of the newest materialization, observation and attempt of every asset and partition."""
    query = (
        "select max(id) from event_logs where asset_key is not null and dagster_event_type in ({})"
        " group by asset_key, partition"
    )
    kinds = (
        "'ASSET_MATERIALIZATION'",
        "'ASSET_OBSERVATION'",
        "'ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED'",
    )
    with instance.event_log_storage.index_connection() as index:  # type: ignore[attr-defined]
        return {event_id for kind in kinds for event_id in index.execute(text(query.format(kind))).scalars()}


def _delete(instance: dg.DagsterInstance, run_id: str, newest: set[int]) -> None:
    """Delete a run with its events and logs, but for the newest events, which belong to no run from now on."""
    with instance.event_log_storage.index_connection() as index:  # type: ignore[attr-defined]
        staying = [event_id for event_id in _events(index, run_id, _KEPT_KINDS) if event_id in newest]
        for ids in _batches(staying):
            statement = text("update event_logs set run_id = :none where id in :ids")
            index.execute(statement.bindparams(bindparam("ids", expanding=True)), {"none": _NO_RUN, "ids": ids})
    instance.delete_run(run_id)
    with suppress(OSError, NotImplementedError):  # some stores keep what they have
        instance.compute_log_manager.delete_logs(prefix=[run_id])


def _thin(instance: dg.DagsterInstance, run_id: str, newest: set[int]) -> None:
    log: Any = instance.event_log_storage
    with log.index_connection() as index:

        def superseded(kind: str, more: str = "") -> list[int]:
            return [event_id for event_id in _events(index, run_id, (kind,), more) if event_id not in newest]

        of_days = superseded("ASSET_MATERIALIZATION", " and partition is not null")
        planned = superseded("ASSET_MATERIALIZATION_PLANNED")
        _delete_events(index, [*of_days, *planned, *_events(index, run_id, _CHECK_EVENTS)])
        for event_id in superseded("ASSET_MATERIALIZATION"):
            _drop_charts(index, event_id)
    with log.run_connection(run_id) as own:
        # Where a run's events are in a database of their own, they are copies.
        kinds = (*_REPEATED, *_IN_THE_INDEX) if log.is_run_sharded else _REPEATED[:6]
        _delete_events(own, _events(own, run_id, kinds))
    if is_sqlite(log):
        if isinstance(log, PooledSqliteEventLog):
            log.close_run(run_id)
        _shrink(log.path_for_shard(run_id), _SMALL_PAGE)


def _drop_charts(connection: Connection, event_id: int) -> None:
    """Drop charts and tables from an asset's former materialization: they are most of its size."""
    stored = connection.execute(text("select event from event_logs where id = :id"), {"id": event_id}).scalar_one()
    event = json.loads(stored)
    try:
        made = event["dagster_event"]["event_specific_data"]["materialization"]
        entries = made["metadata_entries"]
        made["metadata_entries"] = [entry for entry in entries if entry["entry_data"]["__class__"] != _MARKDOWN]
    except (KeyError, TypeError):  # stored by another version of Dagster: it stays as it is
        return
    if len(made["metadata_entries"]) < len(entries):
        changed = {"id": event_id, "event": json.dumps(event)}
        connection.execute(text("update event_logs set event = :event where id = :id"), changed)


def _events(connection: Connection, run_id: str, kinds: Sequence[str], more: str = "") -> list[int]:
    statement = text(f"select id from event_logs where run_id = :run_id and dagster_event_type in :kinds{more}")
    found = connection.execute(
        statement.bindparams(bindparam("kinds", expanding=True)), {"run_id": run_id, "kinds": kinds}
    )
    return list(found.scalars())


def _batches(event_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (event_ids[at : at + _IDS_PER_STATEMENT] for at in range(0, len(event_ids), _IDS_PER_STATEMENT))


def _delete_events(connection: Connection, event_ids: Sequence[int]) -> None:
    for ids in _batches(event_ids):
        for table, column in (("asset_event_tags", "event_id"), ("event_logs", "id")):
            statement = text(f"delete from {table} where {column} in :ids")
            connection.execute(statement.bindparams(bindparam("ids", expanding=True)), {"ids": ids})


def _delete_check_results(instance: dg.DagsterInstance, before: datetime) -> None:
    """Delete old results of checks; the newest one of each stays, and the newest with a verdict."""
    # Of a run over a range Dagster leaves, beside the result, a planned one per partition: those say nothing.
    statement = text(
        "delete from asset_check_executions where create_timestamp < :before"
        " and id not in (select max(id) from asset_check_executions group by asset_key, check_name)"
        " and id not in (select max(id) from asset_check_executions where execution_status <> 'PLANNED'"
        " group by asset_key, check_name, partition)"
    )
    with instance.event_log_storage.index_connection() as index:  # type: ignore[attr-defined]
        index.execute(statement.bindparams(bindparam("before", before.replace(tzinfo=None), DateTime)))


def _delete_ticks(instance: dg.DagsterInstance, before: datetime) -> None:
    for state in instance.all_instigator_state():
        instance.purge_ticks(state.instigator_origin_id, state.selector_id, before.timestamp())


def _shrink(file: str, page_size: int | None = None) -> None:
    """Give back what is free in a SQLite file, if it is much: deleting rows does not make it smaller.

    With `page_size` (bytes) it is made anew with pages of that size, unless another process has it open.
    """
    with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        pages, free = (connection.execute(f"pragma {what}").fetchone()[0] for what in ("page_count", "freelist_count"))
        if page_size:
            connection.execute("pragma busy_timeout = 0")
            with suppress(sqlite3.OperationalError):  # with a write-ahead log the size of a page cannot change
                connection.execute("pragma journal_mode = delete")
                connection.execute(f"pragma page_size = {page_size}")
            connection.execute(f"pragma busy_timeout = {_BUSY_SECONDS * 1000}")
        if page_size or free > pages * _FREE_SHARE:
            connection.execute("vacuum")
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma wal_checkpoint(truncate)")
