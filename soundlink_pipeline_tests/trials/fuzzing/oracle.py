"""An oracle that says of a delivery's bytes what must become of them.

It shares no code with the pipeline, only the list of columns: it is written from the API's contract, the README and
docs/exports.md, with Python's json, decimals and integers. It says the exact typed rows, or that the delivery must be
refused. Where the contract leaves it open (`OPEN`) both will do, but even then there is no third: rows that are loaded
are the rows it says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, NoReturn

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export, ExportColumn

OPEN = {
    "count with a fraction or exponent": (
        "12.0 and 1e3 are whole numbers; the API says that counts are usually JSON integers, not always"
    ),
    "more digits than a double has": (
        "RFC 8259, 6: what a reader makes of digits beyond a double is its own affair; the exact value or the double's"
    ),
    "another ISO 8601 form": (
        "the API shows 2026-05-20T03:00:00Z only; a space, small letters, no offset (then UTC), +0200, +02, a leap"
        " second, 24:00, an offset above 14 hours and the year 0 are ISO 8601 to some"
    ),
    "digits beyond microseconds": "the table has microseconds: cut off or rounded",
    "byte order mark": "RFC 8259, 8.1: a reader may ignore it or call it an error",
    "blank line of other blanks": "NDJSON does not say what a blank line is; one of \\v or \\f holds no row either",
    "unknown field twice": "RFC 8259, 4: names should be unique, and nothing of an unknown field is kept",
    "unknown field of no Unicode": "RFC 8259, 8.2: what a lone surrogate does is unpredictable",
    "unknown field too large": "RFC 8259, 9: a reader may limit the depth and the range of what it reads",
}
_MICROSECONDS = 1_000_000
_EXACT = Context(prec=20_000)
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)([Tt ])(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|([-+])(\d\d)(?::?(\d\d))?)?", re.ASCII
)
_USUAL_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)", re.ASCII)

Cell = Any  # a value of the table, or a frozenset of those that will do; timestamps are microseconds since 1970
Cells = tuple[Cell, ...]


@dataclass(frozen=True)
class Verdict:
    """What must become of a delivery: `rows` by primary key, or None: refused. With `open`, refused will do as well."""

    rows: dict[Cells, Cells] | None
    delivered: int = 0
    unknown_fields: tuple[str, ...] = ()
    why: str = ""
    open: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        return "refused" if self.rows is None else "either" if self.open else "loaded"


class MustRefuse(Exception):
    """The rule that the delivery breaks."""


class _Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


class _Object(tuple[tuple[str, Any], ...]):
    """A JSON object: its pairs, in their order."""

    __slots__ = ()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant)


def verdict(export: Export, data: bytes, dates: DateRange, declared: int | None) -> Verdict:
    """What must become of these bytes, asked for over `dates`, with this X-Row-Count."""
    matters: set[str] = set()
    try:
        return _loaded(export, data, dates, declared, matters)
    except MustRefuse as error:
        return Verdict(None, why=str(error))


def _loaded(export: Export, data: bytes, dates: DateRange, declared: int | None, matters: set[str]) -> Verdict:
    if data.startswith(b"\xef\xbb\xbf"):
        matters.add("byte order mark")
        data = data[3:]
    names, unknown = export.column_names, set[str]()
    # All of it is read before anything is judged, so that what cannot be read is told from what breaks a rule.
    lines = [line for line in data.split(b"\n") if line.strip()]
    if any(line.strip(b" \t\r") and not line.strip() for line in data.split(b"\n")):
        matters.add("blank line of other blanks")
    delivered = [_fields(line, set(names), unknown, matters) for line in lines]
    rows = [tuple(_cell(column, row.get(column.name), matters) for column in export.columns) for row in delivered]
    if declared not in (None, len(rows)):
        raise MustRefuse("another number of rows than X-Row-Count says")
    day, version = names.index("report_date"), names.index("exported_at")
    if any(not dates.start <= row[day] <= dates.end for row in rows):
        raise MustRefuse("a day that was not asked for")
    if len({row[names.index(export.id_column)] for row in rows}) > 1:
        raise MustRefuse("more than one of its subject")
    rest = [name for name in export.primary_key if name != "account_id"]
    owners = {tuple(row[names.index(name)] for name in (*rest, "account_id")) for row in rows}
    if len({owner[:-1] for owner in owners}) < len(owners):
        raise MustRefuse("a row under two accounts")
    newest: dict[Cells, Cells] = {}
    for row in rows:
        key = tuple(row[names.index(name)] for name in export.primary_key)
        if key not in newest or _greatest(row[version]) >= _greatest(newest[key][version]):
            newest[key] = row
    return Verdict(newest, len(rows), tuple(sorted(unknown)), open=frozenset(matters))


def _greatest(cell: Cell) -> Cell:
    return max(cell) if isinstance(cell, frozenset) else cell


def _fields(line: bytes, known: set[str], unknown: set[str], matters: set[str]) -> dict[str, Any]:
    """The fields of a line that the contract knows."""
    balanced = re.sub(rb"(?<!\[)(\[{400,})(\]{400,})", lambda m: b"[]" if len(m[1]) == len(m[2]) else m[0], line)
    if balanced != line:
        matters.add("unknown field too large")
    try:
        read = _JSON.decode(balanced.decode("utf-8"))
    except UnicodeDecodeError:
        raise MustRefuse("not UTF-8") from None
    except (ValueError, RecursionError):  # brackets that deep and balanced were taken out above
        raise MustRefuse("not JSON") from None
    if not isinstance(read, _Object):
        raise MustRefuse("not an object")
    values: dict[str, Any] = {}
    for name, value in read:
        if name in values and name in known:
            raise MustRefuse("a field is there twice")
        if name in values:
            matters.add("unknown field twice")
        values[name] = value
        if name not in known:
            unknown.add(name)
            _look_into(name, matters)
            _look_into(value, matters)
    return values


def _look_into(value: Any, matters: set[str]) -> None:
    """What in an unknown field may be too much for a reader."""
    if isinstance(value, _Number):
        if len(value) > 300 or abs(float(value)) == float("inf"):
            matters.add("unknown field too large")
    elif isinstance(value, str):
        if not _is_unicode(value):
            matters.add("unknown field of no Unicode")
    elif isinstance(value, list | _Object | tuple):
        for item in value:
            _look_into(item, matters)


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _cell(column: ExportColumn, value: Any, matters: set[str]) -> Cell:
    kind, read = _READ[column.type]
    if value is None:
        if column.nullable:
            return None
        raise MustRefuse(f"no {kind}")
    if column.type in ("VARCHAR", "DATE", "TIMESTAMP"):
        if not isinstance(value, str) or isinstance(value, _Number):
            raise MustRefuse(f"{kind} that is none")
    elif not isinstance(value, _Number):
        raise MustRefuse(f"{kind} that is none")
    return read(column, value, matters)


def _text(column: ExportColumn, value: str, _: set[str]) -> Cell:
    if not _is_unicode(value):
        raise MustRefuse("no Unicode")
    if column.allowed and value not in column.allowed:
        raise MustRefuse("a word that is not allowed")
    if column.country and not re.fullmatch("[A-Z][A-Z0-9]", value):
        raise MustRefuse("no country")
    return value


def _date(_: ExportColumn, value: str, __: set[str]) -> Cell:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        raise MustRefuse("no date")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise MustRefuse("no date") from None


def _timestamp(_: ExportColumn, value: str, matters: set[str]) -> Cell:
    match = _TIMESTAMP.fullmatch(value)
    if match is None:
        raise MustRefuse("no timestamp")
    year, month, day, hour, minute, second = (int(match[place]) for place in (1, 2, 3, 5, 6, 7))
    ends = (hour, minute, second) == (24, 0, 0)
    if (hour > 23 and not ends) or minute > 59 or second > 60 or int(match[12] or 0) > 59 or int(match[11] or 0) > 23:
        raise MustRefuse("no timestamp")
    try:
        days = date(year or 400, month, day).toordinal() - date(1970, 1, 1).toordinal() - (0 if year else 146_097)
    except ValueError:
        raise MustRefuse("no timestamp") from None
    offset = (int(match[11] or 0) * 60 + int(match[12] or 0)) * (-1 if match[10] == "-" else 1)
    seconds = days * 86_400 + hour * 3600 + (minute - offset) * 60 + second
    unusual = ends or second == 60 or abs(offset) > 14 * 60 or not _USUAL_TIMESTAMP.fullmatch(value)
    first, last = (date(1, 1, 1).toordinal(), date(9999, 12, 31).toordinal())
    if unusual or year == 0 or not first <= seconds // 86_400 + date(1970, 1, 1).toordinal() <= last:
        matters.add("another ISO 8601 form")
    digits = match[8] or "0"
    exact = seconds * _MICROSECONDS + int(digits.ljust(9, "0")[:6])
    if len(digits) <= 6:
        return exact
    matters.add("digits beyond microseconds")
    return frozenset((exact, exact + (digits.ljust(9, "0")[6] >= "5")))


def _integer(column: ExportColumn, value: str, matters: set[str]) -> Cell:
    if re.fullmatch(r"-?\d+", value):
        counts = {Decimal(value)}
    else:
        matters.add("count with a fraction or exponent")
        as_double = float(value)
        counts = {Decimal(as_double)} if abs(as_double) < 2**64 else set()
        if len(value) < 300 and abs(Decimal(value).adjusted()) < 300:
            counts.add(Decimal(value))
    least = 0 if column.minimum is None else column.minimum
    whole = frozenset(int(n) for n in counts if n == n.to_integral_value(context=_EXACT) and least <= n < 2**63)
    if not whole:
        raise MustRefuse("no count")
    return min(whole) if len(whole) == 1 else whole


def _double(_: ExportColumn, value: str, __: set[str]) -> Cell:
    if abs(float(value)) == float("inf"):
        raise MustRefuse("no finite number")
    return float(value)


def _money(_: ExportColumn, value: str, matters: set[str]) -> Cell:
    readings = {Decimal(value)}
    if len(re.sub(r"[eE].*|\D", "", value).strip("0")) > 15 or abs(readings.copy().pop().adjusted()) > 300:
        matters.add("more digits than a double has")
        readings.add(Decimal(repr(float(value))))
    fitting = set()
    for amount in readings:
        if amount.is_finite() and amount.adjusted() < 13:
            rounded = amount.quantize(Decimal("0.000001"), ROUND_HALF_UP, _EXACT)
            fitting |= {rounded} if abs(rounded) < 10**12 else set()
    if not fitting:
        raise MustRefuse("no amount below 10^12")
    return fitting.pop() if len(fitting) == 1 else frozenset(fitting)


_READ: dict[str, tuple[str, Callable[[ExportColumn, str, set[str]], Cell]]] = {
    "VARCHAR": ("text", _text),
    "DATE": ("date", _date),
    "TIMESTAMP": ("timestamp", _timestamp),
    "BIGINT": ("integer", _integer),
    "DOUBLE": ("number", _double),
    "DECIMAL(18,6)": ("money", _money),
}
