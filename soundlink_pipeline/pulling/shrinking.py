"""The guard before landing: an answer that holds far fewer rows than the warehouse is not believed at once.

A delivery replaces what its days held, so one wrong answer could empty them. Rows are counted, not keys: an account
that has moved to another organization delivers as many rows under new keys, and nothing is missing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO, Self

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export
from soundlink_pipeline.landing.stored import CHUNK
from soundlink_pipeline.loading.json_lines import BAD_BYTES, LONGEST_LINE_BYTES
from soundlink_pipeline.pulling.planning import PullRequest
from soundlink_pipeline.warehouse.home import Home
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.sql import quote
from soundlink_pipeline.wording import counted

# A day has shrunk if it lost more than half of its rows, and at least so many: of a few rows half is soon gone.
_FEWEST_LOST = 10
_SHOWN_DAYS = 5
# A row's day. In a text of a row it cannot stand: there the quotes are escaped.
_DAY = re.compile(rb'"' + DATE_COLUMN.encode() + rb'"\s*:\s*"(\d{4}-\d\d-\d\d)"')


class NotBelieved(Exception):
    """Two answers to one request hold far fewer rows than the warehouse, and miss different ones."""


def has_shrunk(held: int, delivered: int) -> bool:
    """Whether a day of so many rows in the warehouse is suspicious with so many in an answer."""
    return held - delivered >= _FEWEST_LOST and 2 * delivered < held


@dataclass(frozen=True)
class ShrunkenDay:
    report_date: date
    held: int
    delivered: int

    def __str__(self) -> str:
        return f"{self.delivered} of {self.held} rows of {self.report_date}"


def describe(days: Sequence[ShrunkenDay]) -> str:
    """The days for people: `3 of 40 rows of 2026-04-01, 0 of 12 rows of 2026-04-02`."""
    more = f" and of {counted(len(days) - _SHOWN_DAYS, 'more day')}" if len(days) > _SHOWN_DAYS else ""
    return ", ".join(map(str, days[:_SHOWN_DAYS])) + more


@dataclass(frozen=True)
class HeldRows:
    """What the warehouse holds before a pull of the days that could shrink.

    `per_day`: rows by export, subject_id in the rows and report_date; days of fewer than ten rows are left out.
    `spoken_for`: the subject_id in the rows by export and listed id, for an answer without rows. Without either,
    every answer is taken.
    """

    per_day: Mapping[tuple[str, str], Mapping[date, int]]
    spoken_for: Mapping[tuple[str, str], str]

    @classmethod
    def before(cls, ledger: Ledger, requests: Sequence[PullRequest], account: str = DEFAULT_ACCOUNT) -> Self:
        """Of the days that these requests of an account are about. Raises duckdb.Error."""
        per_day: dict[tuple[str, str], Mapping[date, int]] = {}
        for export in {request.export.name: request.export for request in requests}.values():
            ranges = [request.dates for request in requests if request.export.name == export.name]
            dates = DateRange(min(part.start for part in ranges), max(part.end for part in ranges))
            for subject_id, days in ledger.rows_per_day(export, dates, at_least=_FEWEST_LOST).items():
                per_day[export.name, subject_id] = days
        return cls(per_day, ledger.row_subject_ids(account) if per_day else {})

    def shrunken_days(self, request: PullRequest, answer: Path) -> list[ShrunkenDay]:
        """The days of a request that an answer to it (an NDJSON file) holds suspiciously few rows of, in their order.

        None of an answer that cannot be read: the load refuses it, and says why. One pass over the file, and only where
        a day could have shrunk.
        """
        if not self.per_day:
            return []
        try:
            subject_id = self.subject_of(request, answer)
            rows = self.per_day.get((request.export.name, subject_id or ""), {})
            held = {day: rows[day] for day in request.dates.dates() if day in rows}
            delivered = _rows_per_day(answer) if held else {}
        except ValueError:
            return []
        days = (ShrunkenDay(day, count, delivered.get(day, 0)) for day, count in held.items())
        return [day for day in days if has_shrunk(day.held, day.delivered)]

    def subject_of(self, request: PullRequest, answer: Path) -> str | None:
        """The subject_id that an answer's rows hold, or that an answer without rows speaks for, if any.

        Raises ValueError where the first row has none.
        """
        with answer.open("rb") as file:
            for line in filter(bytes.strip, iter(lambda: _line(file), b"")):
                subject_id = _row(line).get(request.export.id_column)
                if not isinstance(subject_id, str):
                    raise ValueError(f"a row without {request.export.id_column}")  # noqa: TRY004  (of the file's content)
                return subject_id
        return self.spoken_for.get((request.export.name, request.subject_id))


# What every pull may take: nothing is held that could shrink.
NOTHING_HELD = HeldRows({}, {})


def _rows_per_day(file: Path) -> dict[date, int]:
    """Rows of an NDJSON file by report_date. Raises ValueError for what is no row with a day."""
    found: Counter[bytes] = Counter()
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            found.update(_days(chunk + _line(opened)))
    return {date.fromisoformat(day.decode()): rows for day, rows in found.items()}


def _days(lines: bytes) -> list[bytes]:
    """The day of every row. Lines are read as JSON only where they do not hold one day each (a nested one, a blank)."""
    days: list[bytes] = _DAY.findall(lines)
    if len(days) == lines.count(b"\n") + (not lines.endswith(b"\n")):
        return days
    return [str(_row(line).get(DATE_COLUMN)).encode() for line in lines.split(b"\n") if line.strip()]


def _line(file: BinaryIO) -> bytes:
    """The rest of a line. Raises ValueError where that is longer than a row may be."""
    line = file.readline(LONGEST_LINE_BYTES)
    if len(line) == LONGEST_LINE_BYTES:
        raise ValueError("a line is too long")
    return line


def _row(line: bytes) -> dict[str, object]:
    try:
        row = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  (of the file's content)
    return row


def miss_the_same_keys(
    warehouse: Home, export: Export, dates: DateRange, subject_ids: Sequence[str | None], answers: tuple[Path, Path]
) -> bool:
    """Whether, of the keys held for subjects and days, two answers (NDJSON files) lack the same ones.

    False where one of them cannot be read. Opens the warehouse briefly, in the writer's turn. Raises WarehouseLocked,
    WarehouseUnusable.
    """
    key = ", ".join(export.primary_key)
    columns = ", ".join(f"{name}: 'VARCHAR'" for name in export.primary_key)
    keys_of = [
        f"select distinct {key}, true as holds from read_json({quote(str(answer))}, columns = {{{columns}}},"
        f" format = 'newline_delimited', hive_partitioning = false, maximum_object_size = {LONGEST_LINE_BYTES})"
        for answer in answers
    ]
    texts = ", ".join(f"{name}::varchar as {name}" for name in export.primary_key)
    try:
        with warehouse.turn(), warehouse.read() as connection:
            ((differ,),) = connection.execute(
                f"""
                with held as (
                    select {texts} from {export.name}
                    where list_contains($subjects, {export.id_column}) and {DATE_COLUMN} between $start and $end
                )
                select exists (
                    from held left join ({keys_of[0]}) as a using ({key}) left join ({keys_of[1]}) as b using ({key})
                    where a.holds is distinct from b.holds
                )
                """,
                {"subjects": list(subject_ids), "start": dates.start, "end": dates.end},
            ).fetchall()
    except BAD_BYTES:
        return False
    return not differ
