"""Validating landed deliveries: staged with types by one pass over the bytes, and judged as wholes.

A delivery keeps every rule of its export's contract or is rejected, with a reason a person can act on. No row passes
through Python, but for those of a delivery with something odd, which are held to JSON's own grammar, and the file of a
rejected delivery, which is read line by line to say which line it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from soundlink_pipeline.contracts.schema import DATE_COLUMN, ORGANIZATION_COLUMN, Export
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery
from soundlink_pipeline.loading import read_sql
from soundlink_pipeline.loading.json_lines import (
    BAD_BYTES,
    LONGEST_LINE_BYTES,
    first_unreadable_line,
    nth_row,
    suspects,
    unknown_fields,
)
from soundlink_pipeline.loading.unknown_fields import UnknownField, count_unknown
from soundlink_pipeline.wording import counted


@dataclass(frozen=True)
class RejectedDelivery:
    """A delivery that breaks a rule, and which."""

    delivery: Delivery
    reason: str


@dataclass(frozen=True)
class ValidDelivery:
    """A staged delivery that keeps every rule. `row_subject_id`: None where it has no rows."""

    hashed: HashedDelivery
    rows: int
    row_subject_id: str | None
    unknown_fields: tuple[UnknownField, ...]

    @property
    def delivery(self) -> Delivery:
        return self.hashed.delivery


class Staging:
    """The deliveries of one export in one batch, staged in the temp table `table` of one connection."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        export: Export,
        deliveries: Sequence[HashedDelivery],
        organizations: Mapping[str, str] | None = None,
    ) -> None:
        """`organizations` are the only ones whose rows are taken, by account; any of an account that is not in it."""
        self._connection = connection
        self._organizations = organizations or {}
        self.export = export
        self._by_file = {str(item.delivery.path): item for item in deliveries}
        self._singles = [column.name for column in export.columns if column.one_per_delivery]
        self._per_row = export.one_per_row
        self._first_rowid: dict[str, int] = {}
        # Of each file with something odd what `json_lines.unknown_fields` says.
        self._odd: dict[str, tuple[tuple[str, ...], str | None]] = {}
        self._unknown: dict[str, tuple[UnknownField, ...]] = {}
        self.table = f"staged_{export.name}"
        self.rejected: list[RejectedDelivery] = []

    def validate(self) -> list[ValidDelivery]:
        """Stage what can be staged, and return the deliveries that keep every rule; the others are in `rejected`.

        The table then still holds the rows of some that are rejected.
        """
        files = list(self._by_file)
        try:
            self._read(files)
        except BAD_BYTES:
            # One of them is not NDJSON; find out which by reading each alone.
            files = [file for file in files if self._readable(file)]
            if not files:
                return []
            self._read(files)
        self._look_for_unknown(files)
        found = [self._validate(file, faults) for file, faults in self._faults(files).items()]
        valid = [delivery for delivery in found if delivery is not None]
        self._correct_money(valid)
        return valid

    def clear(self) -> None:
        self._connection.execute(f"drop table if exists {self.table}")

    def _look_for_unknown(self, files: list[str]) -> None:
        """Look at what is odd; where a file has fields that the contract does not know, keep those of all files."""
        try:
            odd = suspects(self._connection, self.export, [self._by_file[file] for file in files])
        except BAD_BYTES:
            odd = set(files)
        self._odd = {file: unknown_fields(self.export, self._by_file[file]) for file in odd}
        if any(names for names, _ in self._odd.values()):
            self._read(files, unknown=True)
            self._unknown = count_unknown(self._connection, self.table, "_file")

    def _read(self, files: list[str], *, unknown: bool = False) -> None:
        """Stage the files the quick way, and exactly where that leaves a row in doubt."""
        for exact in (False, True):
            self.clear()  # first, so that memory never holds two
            self._connection.execute(
                read_sql.stage(self.export, self.table, files, LONGEST_LINE_BYTES, exact=exact, unknown=unknown)
            )
            doubtful = read_sql.doubtful_texts(self.export, self.table)
            if exact or self._connection.execute(doubtful).fetchall() != [(True,)]:
                return

    def _correct_money(self, valid: list[ValidDelivery]) -> None:
        """Read the amounts of deliveries with very large ones again, exactly."""
        files = [str(item.delivery.path) for item in valid]
        large = [
            file
            for (file,) in self._connection.execute(
                f"select distinct _file from {self.table}"
                f" where list_contains($files, _file) and ({read_sql.large_money(self.export)})",
                {"files": files},
            ).fetchall()
        ]
        if large:
            self._connection.execute(read_sql.correct_money(self.export, self.table, large, LONGEST_LINE_BYTES))

    def _readable(self, file: str) -> bool:
        try:
            self._read([file])
        except BAD_BYTES as error:
            delivery = self._by_file[file].delivery
            self.rejected.append(RejectedDelivery(delivery, first_unreadable_line(delivery) or str(error)))
            return False
        return True

    def _faults(self, files: list[str]) -> dict[str, list[Any]]:
        """Per file its rows by fault: (fault, rows, first rowid, then least and greatest date, subject, account)."""
        found: dict[str, list[Any]] = {file: [] for file in files}
        bounds = ", ".join(f"min({name}), max({name})" for name in (DATE_COLUMN, *self._singles, *self._per_row))
        for file, *fault in self._connection.execute(
            f"select _file, _fault, count(*), min(rowid), {bounds} from {self.table} group by _file, _fault"
        ).fetchall():
            found[file].append(tuple(fault))
        self._first_rowid = {file: min(fault[2] for fault in faults) for file, faults in found.items() if faults}
        return found

    def _validate(self, file: str, faults: list[Any]) -> ValidDelivery | None:
        """The delivery, or None where it was added to `rejected`."""
        hashed = self._by_file[file]
        rows = sum(fault[1] for fault in faults)
        reason = self._wrong_count(hashed, rows) or self._broken_rule(hashed, faults) or self._mixed(hashed, faults)
        if reason is None:
            _, reason = self._odd.get(file, ((), None))
        if reason is not None:
            self.rejected.append(RejectedDelivery(hashed.delivery, reason))
            return None
        subject = faults[0][5 + 2 * self._singles.index(self.export.id_column)] if faults else None
        return ValidDelivery(hashed, rows, subject, self._unknown.get(file, ()))

    def _wrong_count(self, hashed: HashedDelivery, rows: int) -> str | None:
        declared = hashed.delivery.declared_rows
        if declared is None or rows == declared:
            return None
        more = "more" if rows > declared else "fewer"
        return f"the file holds {counted(rows, 'row')}, {more} than X-Row-Count's {declared}"

    def _broken_rule(self, hashed: HashedDelivery, faults: list[Any]) -> str | None:
        broken = [fault for fault in faults if fault[0] != 0]
        if not broken:
            return None
        position, count, rowid = min(broken, key=lambda fault: fault[2])[:3]
        column = self.export.columns[position - 1]
        line, row = self._row(hashed, rowid)
        if row is None:
            return f"line {line}: not a JSON object"
        got = _shown(row[column.name]) if column.name in row else "nothing: the field is missing"
        others = _others(count)
        return (
            f"line {line}: {column.name} must be {read_sql.requirement(column)}, got {got} ({self._key(row)}){others}"
        )

    def _mixed(self, hashed: HashedDelivery, faults: list[Any]) -> str | None:
        """Rules about a delivery as a whole: its dates, one subject, no row under two accounts."""
        if not faults:
            return None
        _, _, _, first, last, *bounds = faults[0]
        dates = hashed.delivery.dates
        if first < dates.start or last > dates.end:
            return self._first_row_with(
                hashed,
                f"{DATE_COLUMN} not between ? and ?",
                [dates.start, dates.end],
                f"{DATE_COLUMN} must be within the range requested, {dates}",
            )
        for name, least, greatest in zip((*self._singles, *self._per_row), bounds[::2], bounds[1::2], strict=True):
            if least == greatest:
                continue
            if name in self._singles:
                rule = f"all rows must be of one {name}, here are {_shown(least)} and {_shown(greatest)}"
                return self._first_row_with(hashed, f"{name} = ?", [greatest], rule)
            if reason := self._under_two(hashed, name):
                return reason
        return self._foreign(hashed)

    def _foreign(self, hashed: HashedDelivery) -> str | None:
        """The reason where a row is of another organization than the one that its account is said to be."""
        delivery = hashed.delivery
        known = own_organization(delivery, self._organizations)
        if known is None or ORGANIZATION_COLUMN not in self.export.column_names:
            return None
        foreign = f"select exists (from {self.table} where _file = ? and lower({ORGANIZATION_COLUMN}) <> ?)"
        if self._connection.execute(foreign, [str(delivery.path), known]).fetchall() == [(False,)]:
            return None
        rule = f"{ORGANIZATION_COLUMN} must be {known}, the organization of account {delivery.account}"
        return self._first_row_with(hashed, f"lower({ORGANIZATION_COLUMN}) <> ?", [known], rule)

    def _under_two(self, hashed: HashedDelivery, name: str) -> str | None:
        """The reason where two rows differ in the key column `name` alone; the second of the first such pair."""
        rest = ", ".join(column for column in self.export.primary_key if column != name)
        found = self._connection.execute(
            f"""
            select min(again), count(*) from (
                select max(first) as again from (
                    select {rest}, {name}, min(rowid) as first from {self.table} where _file = ? group by all
                ) group by {rest} having count(*) > 1
            )
            """,
            [str(hashed.delivery.path)],
        ).fetchall()
        rowid, count = found[0]
        if rowid is None:
            return None
        line, row = self._row(hashed, rowid)
        return f"line {line}: a row stands under two values of {name} ({self._key(row or {})}){_others(count)}"

    def _first_row_with(self, hashed: HashedDelivery, where: str, values: list[Any], rule: str) -> str:
        """A reason that names the first row for which a condition on the staged table holds."""
        found = self._connection.execute(
            f"select min(rowid), count(*) from {self.table} where _file = ? and {where}",
            [str(hashed.delivery.path), *values],
        ).fetchall()
        rowid, count = found[0]
        line, row = self._row(hashed, rowid)
        return f"line {line}: {rule} ({self._key(row or {})}){_others(count)}"

    def _row(self, hashed: HashedDelivery, rowid: int) -> tuple[int, dict[str, Any] | None]:
        return nth_row(hashed.delivery, rowid - self._first_rowid[str(hashed.delivery.path)])

    def _key(self, row: dict[str, Any]) -> str:
        return ", ".join(f"{name} {_shown(row.get(name))}" for name in self.export.primary_key)


def own_organization(delivery: Delivery, organizations: Mapping[str, str]) -> str | None:
    """The one organization whose rows a delivery may hold; None where that is not said, or it was loaded before."""
    known = organizations.get(delivery.account) if delivery.loaded is None else None
    return None if known is None else known.lower()


def _others(count: int) -> str:
    """How many rows break a rule, where it is more than the one that is named."""
    return f"; {counted(count, 'row')} break this rule" if count > 1 else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"
