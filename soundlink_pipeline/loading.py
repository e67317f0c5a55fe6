"""Loading landed deliveries: staged with types, checked as wholes, merged with history and ledger in one transaction.

A delivery is loaded whole or refused whole; a batch of deliveries is committed as one or not at all. No row passes
through Python: only where a delivery is refused is its file read line by line, to say which line it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

import duckdb

from soundlink_pipeline import export_sql
from soundlink_pipeline.exports import CAMPAIGN_COLUMN, DATE_COLUMN, Export
from soundlink_pipeline.landing import Delivery, content

# A line longer than this is refused; a row of either export is under 2 kB.
_LONGEST_LINE_BYTES = 1 << 22
# How much a batch should hold; only a delivery that is larger by itself exceeds it.
BATCH_BYTES = 128 << 20
# A batch of that size takes 200 MiB at most; but with a lower limit than this DuckDB reads JSON with one thread.
_MEMORY_LIMIT = "640MiB"
# A larger delivery spills to disk beyond this, however large it is: slower, but memory stays flat.
_LARGE_MEMORY_LIMIT = "256MiB"
# Fields the contract does not know are looked for in every line of a delivery up to this size. Reading all lines a
# second time for their names would make a large load half as slow again, and a new field is in every row or in none.
_SURVEYED_WHOLE_BYTES = 1 << 20
_SURVEYED_END_BYTES = 1 << 16
_TRAILING_COMMA = re.compile(rb",\s*}\s*(\n|\Z)")
# What DuckDB raises when the bytes are at fault; anything else (disk, memory, lock) is not the delivery's doing.
_BAD_BYTES = (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException)


@dataclass(frozen=True)
class Arrival:
    """A delivery ready to be loaded: the size and SHA-256 of its bytes, and a sample of its lines.

    The sample is the whole delivery up to 1 MiB, and else its first and last 64 KiB.
    """

    delivery: Delivery
    size: int
    sha256: str
    sample: bytes

    @classmethod
    def of(cls, delivery: Delivery, known: tuple[int, str] | None = None) -> Arrival:
        """From a landed file. `known` is its size and SHA-256 where a download has just told them."""
        size, sha256 = known or content(delivery)
        with delivery.open() as file:
            if size <= _SURVEYED_WHOLE_BYTES:
                sample = file.read()
            else:
                head = file.read(_SURVEYED_END_BYTES).rpartition(b"\n")[0]
                file.seek(size - _SURVEYED_END_BYTES)
                sample = head + b"\n" + file.read().partition(b"\n")[2]
        return cls(delivery, size, sha256, sample)


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
    unknown_fields: tuple[str, ...]


@dataclass(frozen=True)
class Refused:
    """A delivery that breaks a rule, and which."""

    delivery: Delivery
    reason: str


@dataclass
class BatchResult:
    loaded: list[Loaded] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True)
class _Checked:
    """A staged delivery that keeps every rule."""

    arrival: Arrival
    rows: int
    row_campaign_id: str | None
    unknown_fields: tuple[str, ...]


class _Loader:
    """One batch of one export's deliveries on one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, export: Export, arrivals: Sequence[Arrival]) -> None:
        self._connection = connection
        self._export = export
        self._by_file = {str(arrival.delivery.path): arrival for arrival in arrivals}
        self.staged = f"staged_{export.name}"
        self._changes = f"changes_{export.name}"
        self._singles = [column.name for column in export.columns if column.one_per_delivery]
        self._first_rowid: dict[str, int] = {}
        self.refused: list[Refused] = []

    # Staging and checks

    def stage(self) -> list[_Checked]:
        """Stage what can be staged, and return the deliveries that keep every rule; the others are in `refused`."""
        files = list(self._by_file)
        try:
            self._read(files)
        except _BAD_BYTES:
            # One of them is not NDJSON; find out which by reading each alone.
            files = [file for file in files if self._readable(file)]
            if not files:
                return []
            self._read(files)
        checked = [self._check(file, faults) for file, faults in self._faults(files).items()]
        return [delivery for delivery in checked if delivery is not None]

    def _read(self, files: list[str]) -> None:
        """Stage the files the quick way, and exactly where that leaves a row in doubt."""
        for exact in (False, True):
            self.clear()  # first, so that memory never holds two
            self._connection.execute(
                export_sql.stage(self._export, self.staged, files, _LONGEST_LINE_BYTES, exact=exact)
            )
            doubtful = f"select count(*) from {self.staged} where _fault = {export_sql.DOUBTFUL}"
            if exact or _number(self._connection, doubtful) == 0:
                return

    def clear(self) -> None:
        self._connection.execute(f"drop table if exists {self.staged}")

    def _readable(self, file: str) -> bool:
        try:
            self._read([file])
        except _BAD_BYTES as error:
            delivery = self._by_file[file].delivery
            self.refused.append(Refused(delivery, _first_unreadable_line(delivery) or str(error)))
            return False
        return True

    def _faults(self, files: list[str]) -> dict[str, list[Any]]:
        """Per file its rows by fault: (fault, rows, first rowid, then least and greatest date, account, campaign)."""
        found: dict[str, list[Any]] = {file: [] for file in files}
        bounds = ", ".join(f"min({name}), max({name})" for name in (DATE_COLUMN, *self._singles))
        for file, *fault in self._connection.execute(
            f"select _file, _fault, count(*), min(rowid), {bounds} from {self.staged} group by _file, _fault"
        ).fetchall():
            found[file].append(tuple(fault))
        self._first_rowid = {file: min(fault[2] for fault in faults) for file, faults in found.items() if faults}
        return found

    def _check(self, file: str, faults: list[Any]) -> _Checked | None:
        """The delivery as checked, or None with the reason put down."""
        arrival = self._by_file[file]
        rows = sum(fault[1] for fault in faults)
        reason = (
            self._wrong_count(arrival, rows)
            or self._broken_rule(arrival, faults)
            or self._mixed(arrival, faults)
            or self._loose_json(arrival)
        )
        if reason is not None:
            self.refused.append(Refused(arrival.delivery, reason))
            return None
        campaign = faults[0][5 + 2 * self._singles.index(CAMPAIGN_COLUMN)] if faults else None
        return _Checked(arrival, rows, campaign, self._unknown_fields(arrival) if rows else ())

    def _unknown_fields(self, arrival: Arrival) -> tuple[str, ...]:
        """The fields the contract does not know, which `read_json` has left out."""
        names: set[str] = set()
        for line in arrival.sample.split(b"\n"):
            if line.strip():
                names.update(json.loads(line))
        return tuple(sorted(names.difference(self._export.column_names)))

    def _wrong_count(self, arrival: Arrival, rows: int) -> str | None:
        declared = arrival.delivery.declared_rows
        if declared is None or rows == declared:
            return None
        return f"the file holds {rows} rows, {'more' if rows > declared else 'fewer'} than X-Row-Count's {declared}"

    def _broken_rule(self, arrival: Arrival, faults: list[Any]) -> str | None:
        broken = [fault for fault in faults if fault[0] != 0]
        if not broken:
            return None
        position, count, rowid = min(broken, key=lambda fault: fault[2])[:3]
        column = self._export.columns[position - 1]
        line, row = self._row(arrival, rowid)
        if row is None:
            return f"line {line}: not valid JSON"
        got = _shown(row[column.name]) if column.name in row else "nothing: the field is missing"
        others = f"; {count} rows break this rule" if count > 1 else ""
        return (
            f"line {line}: {column.name} must be {export_sql.requirement(column)}, got {got} ({self._key(row)}){others}"
        )

    def _mixed(self, arrival: Arrival, faults: list[Any]) -> str | None:
        """Rules about a delivery as a whole: its dates, and one campaign and account."""
        if not faults:
            return None
        _, _, _, first, last, *bounds = faults[0]
        dates = arrival.delivery.dates
        if first < dates.start or last > dates.end:
            return self._first_row_with(
                arrival,
                f"{DATE_COLUMN} not between ? and ?",
                [dates.start, dates.end],
                f"{DATE_COLUMN} must be within the range asked for, {dates}",
            )
        for name, least, greatest in zip(self._singles, bounds[::2], bounds[1::2], strict=True):
            if least != greatest:
                rule = f"all rows must be of one {name}, here are {_shown(least)} and {_shown(greatest)}"
                return self._first_row_with(arrival, f"{name} = ?", [greatest], rule)
        return None

    def _loose_json(self, arrival: Arrival) -> str | None:
        """DuckDB takes a trailing comma for JSON; Python's reader does not, and is asked where one may be."""
        return _first_unreadable_line(arrival.delivery) if _TRAILING_COMMA.search(arrival.sample) else None

    def _first_row_with(self, arrival: Arrival, where: str, values: list[Any], rule: str) -> str:
        """A reason that names the first row for which a condition on the staged table holds."""
        found = self._connection.execute(
            f"select min(rowid), count(*) from {self.staged} where _file = ? and {where}",
            [str(arrival.delivery.path), *values],
        ).fetchall()
        rowid, count = found[0]
        line, row = self._row(arrival, rowid)
        return f"line {line}: {rule} ({self._key(row or {})}); {count} rows are affected"

    def _row(self, arrival: Arrival, rowid: int) -> tuple[int, dict[str, Any] | None]:
        return _nth_row(arrival.delivery, rowid - self._first_rowid[str(arrival.delivery.path)])

    def _key(self, row: dict[str, Any]) -> str:
        return ", ".join(f"{name} {_shown(row.get(name))}" for name in self._export.primary_key)

    # Merging, within the caller's transaction

    def merge(self, checked: list[_Checked], first_load_order: int) -> list[Loaded]:
        connection, export, staged = self._connection, self._export, self.staged
        accepted = [str(item.arrival.delivery.path) for item in checked]
        connection.execute(f"delete from {staged} where not list_contains($files, _file)", {"files": accepted})
        if _number(connection, export_sql.repeated_keys(export, staged)):
            connection.execute(export_sql.drop_repeated_keys(export, staged))
        connection.execute(
            "create or replace temp table batch (file VARCHAR, delivery_id VARCHAR, pulled_at TIMESTAMP)"
        )
        connection.executemany(
            "insert into batch values (?, ?, ?)",
            [(str(d.path), d.delivery_id, _naive(d.pulled_at)) for d in (item.arrival.delivery for item in checked)],
        )
        bounds = connection.execute(f"select min({DATE_COLUMN}), max({DATE_COLUMN}) from {staged}").fetchone()
        fates = self._apply(bounds) if bounds and bounds[0] is not None else {}
        loaded, entries = [], []
        for load_order, item in enumerate(checked, start=first_load_order):
            fate = fates.get(str(item.arrival.delivery.path), {})
            inserted, updated, unchanged = (fate.get(op, 0) for op in ("insert", "update", "same"))
            loaded.append(
                Loaded(
                    delivery=item.arrival.delivery,
                    bytes=item.arrival.size,
                    rows=item.rows,
                    inserted=inserted,
                    updated=updated,
                    unchanged=unchanged,
                    ignored_as_older=item.rows - inserted - updated - unchanged,
                    # a delivery that is replayed keeps its place
                    load_order=item.arrival.delivery.loaded or load_order,
                    unknown_fields=item.unknown_fields,
                )
            )
            entries.append(_ledger_entry(item, loaded[-1]))
        names = ", ".join(entries[0])
        rows = ", ".join(f"({', '.join('?' * len(entries[0]))})" for _ in entries)
        connection.execute(
            f"insert into deliveries ({names}) values {rows}", [value for entry in entries for value in entry.values()]
        )
        return loaded

    def _apply(self, bounds: tuple[date, date]) -> dict[str, dict[str, int]]:
        """Bring the staged rows in; per file, how many rows met which fate."""
        connection, export, staged, changes = self._connection, self._export, self.staged, self._changes
        between = {"first": bounds[0], "last": bounds[1]}
        if _number(connection, export_sql.touches_known_rows(export, staged), between) == 0:
            # Days of campaigns that the table does not have: every row is new, there is nothing to compare.
            connection.execute(export_sql.insert_all(export, staged))
            counts = connection.execute(f"select _file, 'insert', count(*) from {staged} group by _file").fetchall()
        else:
            connection.execute(export_sql.classify(export, staged, changes), between)
            connection.execute(export_sql.keep_history(export, changes), between)
            connection.execute(export_sql.merge(export, changes))
            connection.execute(export_sql.mark_seen(export, changes))
            counts = connection.execute(f"select _file, op, count(*) from {changes} group by _file, op").fetchall()
            connection.execute(f"drop table {changes}")
        touched = f"{DATE_COLUMN} between $first and $last"
        if _number(connection, export_sql.repeated_keys(export, export.name, touched), between):
            twice = connection.execute(export_sql.exact_repeated_keys(export, export.name, touched), between).fetchone()
            if twice is not None:
                raise RuntimeError(
                    f"{export.name} would hold a primary key twice: {twice}; nothing of this batch was loaded"
                )
        fates: dict[str, dict[str, int]] = {}
        for file, op, count in counts:
            fates.setdefault(file, {})[op] = count
        return fates


def _ledger_entry(item: _Checked, loaded: Loaded) -> dict[str, Any]:
    """The delivery as a row of the ledger."""
    delivery = item.arrival.delivery
    final = replace(delivery, loaded=loaded.load_order)
    return {
        "delivery_id": delivery.delivery_id,
        "export": delivery.export,
        "campaign_id": delivery.campaign_id,
        "row_campaign_id": item.row_campaign_id,
        "start_date": delivery.dates.start,
        "end_date": delivery.dates.end,
        "requested_at": _naive(delivery.requested_at),
        "received_at": _naive(delivery.received_at),
        "server_date": delivery.server_date and _naive(delivery.server_date),
        "pulled_at": _naive(delivery.pulled_at),
        "declared_rows": delivery.declared_rows,
        "rows": loaded.rows,
        "bytes": item.arrival.size,
        "sha256": item.arrival.sha256,
        "inserted": loaded.inserted,
        "updated": loaded.updated,
        "unchanged": loaded.unchanged,
        "ignored_as_older": loaded.ignored_as_older,
        "unknown_fields": list(loaded.unknown_fields),
        "run_id": delivery.run_id,
        "landed_file": f"{delivery.export}/{delivery.path.parent.name}/{final.name}.zst",
        "load_order": loaded.load_order,
    }


def load_batch(
    connection: duckdb.DuckDBPyConnection, exports: Iterable[Export], arrivals: Sequence[Arrival]
) -> BatchResult:
    """Load deliveries in one transaction, each whole or not at all; what breaks a rule is reported, not loaded.

    Two deliveries of one export and campaign must not be in one batch: the version of the first would never be seen.
    A delivery that the ledger knows already must not be given. Raises duckdb.Error or RuntimeError with nothing loaded.
    """
    result = BatchResult()
    loaders = []
    large = sum(arrival.size for arrival in arrivals) > BATCH_BYTES
    connection.execute(f"set memory_limit = '{_LARGE_MEMORY_LIMIT if large else _MEMORY_LIMIT}'")
    for export in exports:
        own = [arrival for arrival in arrivals if arrival.delivery.export == export.name]
        if own:
            loader = _Loader(connection, export, own)
            loaders.append((loader, loader.stage()))
            result.refused += loader.refused
    connection.execute("begin")
    try:
        load_order = _number(connection, "select coalesce(max(load_order), 0) + 1 from deliveries")
        for loader, checked in loaders:
            if checked:
                result.loaded += loader.merge(checked, load_order + len(result.loaded))
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise
    for loader, _ in loaders:
        loader.clear()
    return result


def _number(connection: duckdb.DuckDBPyConnection, sql: str, values: dict[str, Any] | None = None) -> int:
    row = connection.execute(sql, values or {}).fetchone()
    return int(row[0]) if row else 0


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"


# Saying which line it was: only for deliveries that are refused


def _nth_row(delivery: Delivery, index: int) -> tuple[int, dict[str, Any] | None]:
    """Line number (from 1) and content of the row `index` (from 0); None where it is not an object in valid JSON.

    Blank lines are lines but not rows.
    """
    with delivery.open() as file:
        rows = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
        for position, (number, line) in enumerate(rows):
            if position == index:
                try:
                    row = json.loads(line)
                except ValueError:
                    return number, None
                return number, row if isinstance(row, dict) else None
    raise AssertionError(f"{delivery.path} has no row {index}")


def _first_unreadable_line(delivery: Delivery) -> str | None:
    """What is wrong with the first line that is not one JSON object; None if Python finds nothing wrong."""
    with delivery.open() as file:
        for number, line in enumerate(file, start=1):
            if len(line) > _LONGEST_LINE_BYTES:
                return f"line {number}: longer than {_LONGEST_LINE_BYTES} bytes"
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"), object_pairs_hook=_without_repeated_names)
            except UnicodeDecodeError as error:
                return f"line {number}: not UTF-8 at byte {error.start + 1}"
            except ValueError as error:
                return f"line {number}: not valid JSON: {error}"
            if not isinstance(row, dict):
                return f"line {number}: not a JSON object"
    return None


def _without_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"a field is there twice: {next(name for name in names if names.count(name) > 1)}")
    return dict(pairs)
