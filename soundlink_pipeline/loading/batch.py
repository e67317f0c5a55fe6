"""Loading landed deliveries: validated as wholes, then merged with history and ledger in one transaction.

A delivery is loaded whole or rejected whole (`validation.py`); a batch of deliveries is committed as one or not at all.
No row passes through Python.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from soundlink_pipeline.contracts.account import ListedId
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery
from soundlink_pipeline.loading import direct_insert, merge_sql
from soundlink_pipeline.loading.unknown_fields import UnknownField
from soundlink_pipeline.loading.validation import RejectedDelivery, Staging, ValidDelivery
from soundlink_pipeline.warehouse.accounts import known_organizations
from soundlink_pipeline.warehouse.presence import Answer, Presence
from soundlink_pipeline.warehouse.row_ids import note_row_ids
from soundlink_pipeline.warehouse.sql import insert_rows, naive, transaction

# How much a batch should hold; only a delivery that is larger by itself exceeds it.
BATCH_BYTES = 192 << 20
# A batch of that size takes a third of this; but with a lower limit DuckDB reads JSON with one thread.
_MEMORY_LIMIT = "1GiB"
# A larger delivery spills to disk beyond this, however large it is: slower, but memory stays flat. With so little
# memory DuckDB reads JSON with one thread in any case, and more threads only need more of it for the rest.
_LARGE_MEMORY_LIMIT = "160MiB"
# From here on it is worth it to read with all threads, however small the file is that the rows go to.
_WORTH_ALL_THREADS = 32 << 20


@dataclass(frozen=True)
class Loaded:
    """What became of a delivery's rows. rows = inserted + updated + unchanged + ignored_as_older."""

    delivery: Delivery
    bytes: int
    rows: int
    inserted: int
    updated: int
    unchanged: int
    ignored_as_older: int
    load_order: int
    unknown: tuple[UnknownField, ...] = ()

    @property
    def unknown_fields(self) -> tuple[str, ...]:
        """The names of the fields that the contract does not know."""
        return tuple(field.name for field in self.unknown)


@dataclass
class BatchResult:
    """What became of a batch. `known`: the deliveries that were loaded before, by id, and their load order."""

    loaded: list[Loaded] = field(default_factory=list)
    rejected: list[RejectedDelivery] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)


def load_batch(
    connection: duckdb.DuckDBPyConnection, exports: Iterable[Export], deliveries: Sequence[HashedDelivery]
) -> BatchResult:
    """Load deliveries in one transaction, each whole or not at all; what breaks a rule is reported, not loaded.

    Deliveries of one campaign are merged one after the other, in the order given. A delivery that the ledger knows
    already is passed over. Raises duckdb.Error or RuntimeError with nothing loaded.
    """
    known = _known(connection, deliveries)
    new = _new(deliveries, known)
    if not new:
        return BatchResult(known=known)
    size = sum(item.size for item in new)
    if size > BATCH_BYTES:
        connection.execute(f"set memory_limit = '{_LARGE_MEMORY_LIMIT}'; set threads = 1")
    else:
        threads = "; reset threads" if size > _WORTH_ALL_THREADS else ""
        connection.execute(f"set memory_limit = '{_MEMORY_LIMIT}'{threads}")
    exports = tuple(exports)
    batch = _by_export(exports, new)
    _name_batch(connection, new)
    organizations = known_organizations(connection)
    if direct_insert.is_first(connection):
        with contextlib.suppress(direct_insert.NotPlain), transaction(connection):
            inserted = _insert(connection, batch, organizations)
            note_row_ids(connection, exports)
            return BatchResult(inserted, known=known)
    stagings = [Staging(connection, export, own, organizations) for export, own in batch]
    valid = [staging.validate() for staging in stagings]
    with transaction(connection):
        orders = _orders(connection, deliveries)
        loaded = [
            item
            for staging, own in zip(stagings, valid, strict=True)
            if own
            for item in _merge(connection, staging, own, orders)
        ]
        note_row_ids(connection, exports)
    for staging in stagings:
        staging.clear()
    return BatchResult(loaded, [rejected for staging in stagings for rejected in staging.rejected], known)


def _by_export(
    exports: Iterable[Export], deliveries: Sequence[HashedDelivery]
) -> list[tuple[Export, list[HashedDelivery]]]:
    return [(e, own) for e in exports if (own := [item for item in deliveries if item.delivery.export == e.name])]


def _known(connection: duckdb.DuckDBPyConnection, deliveries: Sequence[HashedDelivery]) -> dict[str, int]:
    """Those of the deliveries that the ledger has, by id, and their load order."""
    return dict(
        connection.execute(
            "select delivery_id, load_order from deliveries where list_contains($ids, delivery_id)",
            {"ids": [item.delivery.delivery_id for item in deliveries]},
        ).fetchall()
    )


def _new(deliveries: Sequence[HashedDelivery], known: Mapping[str, int]) -> list[HashedDelivery]:
    """The deliveries that are not `known`, each once."""
    by_id = {item.delivery.delivery_id: item for item in deliveries}
    return [item for name, item in by_id.items() if name not in known]


def _insert(
    connection: duckdb.DuckDBPyConnection,
    batch: list[tuple[Export, list[HashedDelivery]]],
    organizations: Mapping[str, str],
) -> list[Loaded]:
    """Bring deliveries in that are all the first of their days. Raises direct_insert.NotPlain."""
    loaded, orders = [], _orders(connection, [item for _, own in batch for item in own])
    for export, own in batch:
        valid = direct_insert.insert(connection, export, own, organizations)
        presence = Presence(connection, export)
        fates = Counter({(str(item.delivery.path), "insert"): item.rows for item in valid})
        loaded += _record(connection, valid, fates, orders)
        if presence.contests([_answer(item) for item in valid]):
            raise direct_insert.NotPlain("another delivery speaks for the same days, and may lack a key")
    return loaded


def _merge(
    connection: duckdb.DuckDBPyConnection, staging: Staging, valid: list[ValidDelivery], orders: Iterator[int]
) -> list[Loaded]:
    """Bring an export's valid deliveries in and write the ledger, in rounds; between them, keys vanish and return.

    In each round a campaign comes but once: an overwritten version would not be seen else.
    """
    export = staging.export
    presence = Presence(connection, export)
    by_id = {item.delivery.delivery_id: item for item in valid}
    loaded: list[Loaded] = []
    for answers in presence.rounds([_answer(item) for item in valid]):
        own = [by_id[answer.delivery_id] for answer in answers]
        presence.enter(answers)
        loaded += _record(connection, own, _merge_round(connection, staging, own), orders)
        presence.settle(answers)
    return loaded


def _answer(item: ValidDelivery) -> Answer:
    own = item.delivery
    path = ListedId(own.account, own.subject_id)
    return Answer(own.delivery_id, path, item.row_subject_id, own.dates, own.pulled_at)


def _merge_round(
    connection: duckdb.DuckDBPyConnection, staging: Staging, valid: list[ValidDelivery]
) -> Counter[tuple[str, str]]:
    """Merge the rows of deliveries of different campaigns; per file and fate, how many rows met it.

    The staged table may hold rows of others too.
    """
    export, table = staging.export, staging.table
    files = [str(item.delivery.path) for item in valid if item.rows]
    if not files:
        return Counter()
    of_others = f"select count(*) from {table} where not list_contains($files, _file)"
    if not _number(connection, of_others, {"files": files}):
        return Counter(_apply(connection, export, table))
    table = f"round_{export.name}"
    connection.execute(
        f"create or replace temp table {table} as from {staging.table} where list_contains($files, _file)",
        {"files": files},
    )
    fates = _apply(connection, export, table)
    connection.execute(f"drop table {table}")
    return Counter(fates)


def _orders(connection: duckdb.DuckDBPyConnection, deliveries: Iterable[HashedDelivery]) -> Iterator[int]:
    """The next places in the order of loading; one that a replayed delivery keeps is not given again."""
    used = _number(connection, "select coalesce(max(load_order), 0) from deliveries")
    return itertools.count(1 + max([used, *(item.delivery.loaded or 0 for item in deliveries)]))


def _name_batch(connection: duckdb.DuckDBPyConnection, deliveries: Iterable[HashedDelivery]) -> None:
    """Make the temp table `batch`: of each file what was requested, and what its rows are to carry."""
    connection.execute(
        "create or replace temp table batch (file VARCHAR, delivery_id VARCHAR, export VARCHAR, subject_id VARCHAR,"
        " pulled_at TIMESTAMP, start_date DATE, end_date DATE)"
    )
    insert_rows(
        connection,
        "batch",
        [
            (str(d.path), d.delivery_id, d.export, d.subject_id, naive(d.pulled_at), d.dates.start, d.dates.end)
            for d in (item.delivery for item in deliveries)
        ],
    )


def _record(
    connection: duckdb.DuckDBPyConnection,
    valid: list[ValidDelivery],
    fates: Counter[tuple[str, str]],
    orders: Iterator[int],
) -> list[Loaded]:
    """Write the ledger."""
    loaded = [_loaded(item, fates, orders) for item in valid]
    entries = [_ledger_entry(item, fate) for item, fate in zip(valid, loaded, strict=True)]
    insert_rows(connection, f"deliveries ({', '.join(entries[0])})", [tuple(entry.values()) for entry in entries])
    return loaded


def _apply(connection: duckdb.DuckDBPyConnection, export: Export, staged: str) -> dict[tuple[str, str], int]:
    """Bring the staged rows in; per file and fate, how many rows met it."""
    if _number(connection, merge_sql.repeated_keys(export, staged)):
        connection.execute(merge_sql.drop_repeated_keys(export, staged))
    bounds = connection.execute(f"select min({DATE_COLUMN}), max({DATE_COLUMN}) from {staged}").fetchall()[0]
    between = {"first": bounds[0], "last": bounds[1]}
    changes = f"changes_{export.name}"
    connection.execute(merge_sql.classify(export, staged, changes), between)
    connection.execute(merge_sql.keep_history(export, changes), between)
    connection.execute(merge_sql.merge(export, changes))
    connection.execute(merge_sql.mark_seen(export, changes))
    counts = connection.execute(f"select _file, op, count(*) from {changes} group by _file, op").fetchall()
    connection.execute(f"drop table {changes}")
    touched = f"{DATE_COLUMN} between $first and $last"
    if _number(connection, merge_sql.repeated_keys(export, export.name, touched), between):
        twice = connection.execute(merge_sql.exact_repeated_keys(export, export.name, touched), between).fetchone()
        if twice is not None:
            raise RuntimeError(
                f"{export.name} would hold a primary key twice: {twice}; nothing of this batch was loaded"
            )
    return {(file, op): count for file, op, count in counts}


def _loaded(item: ValidDelivery, fates: Counter[tuple[str, str]], orders: Iterator[int]) -> Loaded:
    delivery = item.delivery
    inserted, updated, unchanged = (fates[str(delivery.path), op] for op in ("insert", "update", "same"))
    return Loaded(
        delivery=delivery,
        bytes=item.hashed.size,
        rows=item.rows,
        inserted=inserted,
        updated=updated,
        unchanged=unchanged,
        ignored_as_older=item.rows - inserted - updated - unchanged,
        # a delivery that is replayed keeps its place
        load_order=delivery.loaded or next(orders),
        unknown=item.unknown_fields,
    )


def _ledger_entry(item: ValidDelivery, loaded: Loaded) -> dict[str, Any]:
    """The delivery as a row of the ledger."""
    delivery = item.delivery
    final = replace(delivery, loaded=loaded.load_order)
    return {
        "delivery_id": delivery.delivery_id,
        "account": delivery.account,
        "export": delivery.export,
        "subject_id": delivery.subject_id,
        "row_subject_id": item.row_subject_id,
        "start_date": delivery.dates.start,
        "end_date": delivery.dates.end,
        "requested_at": naive(delivery.requested_at),
        "received_at": naive(delivery.received_at),
        "server_date": delivery.server_date and naive(delivery.server_date),
        "pulled_at": naive(delivery.pulled_at),
        "declared_rows": delivery.declared_rows,
        "rows": loaded.rows,
        "bytes": item.hashed.size,
        "sha256": item.hashed.sha256,
        "inserted": loaded.inserted,
        "updated": loaded.updated,
        "unchanged": loaded.unchanged,
        "ignored_as_older": loaded.ignored_as_older,
        "unknown_fields": list(loaded.unknown_fields),
        "run_id": delivery.run_id,
        "landed_file": f"{delivery.folder}/{final.name}.zst",
        "load_order": loaded.load_order,
    }


def _number(connection: duckdb.DuckDBPyConnection, sql: str, values: dict[str, Any] | None = None) -> int:
    row = connection.execute(sql, values or {}).fetchone()
    return int(row[0]) if row else 0
