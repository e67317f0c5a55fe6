"""Damaged deliveries from a seed, and an oracle that says of their bytes what must become of them.

The oracle shares no code with the pipeline, only the list of columns: it is written from the API's contract, the README
and docs/exports.md, with Python's json, decimals and integers. It says the exact typed rows, or that the delivery must
be refused. Where the contract leaves it open (`OPEN`) both will do, but even then there is no third: rows that are
loaded are the rows it says.
"""

# ruff: noqa: SIM905  (a table of odd texts is read more easily without quotes)
from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache, cached_property
from random import Random
from typing import Any, NoReturn
from uuid import UUID

from soundlink_pipeline.exports import EXPORTS, Column, Export
from soundlink_pipeline.partitions import DateRange
from soundlink_pipeline.simulator import World, dumps

# The oracle

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
    for single in ("account_id", "campaign_id"):
        if len({row[names.index(single)] for row in rows}) > 1:
            raise MustRefuse(f"more than one {single}")
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


def _cell(column: Column, value: Any, matters: set[str]) -> Cell:
    if value is None:
        if column.nullable:
            return None
        raise MustRefuse(f"no {column.type}")
    if column.type in ("text", "date", "timestamp"):
        if not isinstance(value, str) or isinstance(value, _Number):
            raise MustRefuse(f"{column.type} that is none")
    elif not isinstance(value, _Number):
        raise MustRefuse(f"{column.type} that is none")
    return _READ[column.type](column, value, matters)


def _text(column: Column, value: str, _: set[str]) -> Cell:
    if not _is_unicode(value):
        raise MustRefuse("no Unicode")
    if column.allowed and value not in column.allowed:
        raise MustRefuse("a word that is not allowed")
    if column.country and not (len(value) == 2 and all("A" <= letter <= "Z" for letter in value)):
        raise MustRefuse("no country")
    return value


def _date(_: Column, value: str, __: set[str]) -> Cell:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        raise MustRefuse("no date")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise MustRefuse("no date") from None


def _timestamp(_: Column, value: str, matters: set[str]) -> Cell:
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


def _integer(column: Column, value: str, matters: set[str]) -> Cell:
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


def _double(_: Column, value: str, __: set[str]) -> Cell:
    if abs(float(value)) == float("inf"):
        raise MustRefuse("no finite number")
    return float(value)


def _money(_: Column, value: str, matters: set[str]) -> Cell:
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


_READ: dict[str, Callable[[Column, str, set[str]], Cell]] = {
    "text": _text,
    "date": _date,
    "timestamp": _timestamp,
    "integer": _integer,
    "number": _double,
    "money": _money,
}


# The deliveries

DAYS = DateRange(date(2026, 1, 5), date(2026, 2, 20))
HOSTILE = [
    *("'; drop table campaigns; --", "') or 1=1; --", "\"; attach 'x.db' as y; --", "''", "'", '"', "$$", "--", "/*"),
    *("../../etc/passwd", "/etc/passwd", "C:\\x\\..\\y", "~", ".", "..", "a/b", "file.parquet", "*.ndjson", "[a-z]"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&amp;", "]]>", "![x](http://x.invalid/)", "a|b"),
    *("{{ 7 * 7 }}", "{% raw %}", "${HOME}", "$(id)", "`id`", "%s%n", "%(x)s", "%2F", "\\x00", "\\", '\\"', "a\\", "?"),
    *("\x00", "a\x00b", "\x01", "\x1f", "\x7f", "\x85", "\x0b", "\x0c", "\r", "\n", "\r\n", "\t", "\u2028", "\u2029"),
    *("\ufeff", "\ufffe", "\u202eevil\u202c", "\U0010ffff", "🎧" * 50, "x" * 10_000, "İıß", "é", "e\u0301", "", "  "),
    *("null", "NaN", "nan", "true", "TRUE", "False", "Infinity", "-inf", "1984", "-1", "1e5", "0x10", "01", "+1", ".5"),
    *("{}", "[]", '{"a":1}', "[1", "1 ", " 1", "2026-04-01", "infinity", "soundlink", "None", "undefined", "NA", "N/A"),
]  # fmt: skip
NUMBERS = """
    0 -0 1 7 -1 12 1.0 -0.0 1.5 1e3 1E3 1e+3 12e-1 120e-1 0.1 1.005 2.675 0.1234567 0.1234565 0.0000005 -0.0000005 1e-7
    1e-400 1e308 1e309 1E400 -1e400 1e18 1e19 4.9e-324 2.4703282292062327e-324 2.2250738585072011e-308
    1.7976931348623157e308 1.7976931348623159e308 3.4028235677973366e38 0.30000000000000004 8.000000000000001 100000.015
    9007199254740991.0 9007199254740993 9007199254740993.0 9223372036854775807 9223372036854775808 18446744073709551615
    18446744073709551616 12345678901234567890 1.0000000000000000001 999999999999.999999 999999999999.9999995
    123456789012.123456 1000000000000 -999999999999 9999999.9999995 10000000000000000000000000000000000000000
    0.333333333333333333333333333333333333333333333333333333333333
""".split()
NO_NUMBERS = "01 +1 .5 1. NaN Infinity -Infinity nan inf 0x1F 1e --1 1_000 ١".split()
OTHERS = 'true false null {} [] [1] {"a":1} "12" "1.5" "" "null" [[[]]] [{"a":[null]}]'.split()
DATES = [
    *("", "2026-01-10 ", "2026-01-10 (BC)"),
    *"""
    2026-01-05 2026-02-20 2026-01-04 2026-02-21 2026-02-30 0000-01-01 0001-01-01 9999-12-31 12026-01-10 -2026-01-10
    infinity -infinity epoch today now 2026-1-10 2026/01/10 20260110 2026-01-10T00:00:00Z +2026-01-10 2026-W02-6
    ２０２６-01-10
    """.split(),
]
TIMESTAMPS = [
    *("", "2026-05-20 03:00:00Z", "2026-05-20T03:00:00 UTC", "2026-05-20 03:00:00 Europe/Berlin"),
    *("2026-05-20T03:00:00Z ", " 2026-05-20T03:00:00Z"),
    *"""
        2026-05-20T03:00:00Z 2026-05-20T03:00:00+00:00 2026-05-20T03:00:00+05:45 2026-05-20T03:00:00-12:00
        2026-05-20T03:00:00.1Z 2026-05-20T03:00:00.123456Z 2026-05-20T23:59:59.999999Z 2024-02-29T00:00:00Z
        1969-12-31T23:59:59.000001Z 1582-10-10T00:00:00Z 1900-01-01T00:00:00-00:30 9999-12-31T23:59:59.999999Z
        2026-05-20T03:00:00.123456789Z 2026-05-20T03:00:00.9999999Z 2026-05-20T03:00:00.1234565+02:00
        2026-05-20t03:00:00z 2026-05-20T03:00:00 2026-05-20T03:00:00+0200 2026-05-20T03:00:00-02
        2026-06-30T23:59:60Z 2026-05-20T24:00:00Z 2026-05-20T03:00:00+14:00 2026-05-20T03:00:00+23:59
        0001-01-01T00:00:00Z 0001-01-01T00:00:00+01:00 9999-12-31T23:59:59-01:00 0000-01-01T00:00:00Z
        2026-05-20 2026-05-20T03:00Z 2026-05-20T25:00:00Z 2026-05-20T03:60:00Z 2026-05-20T03:00:61Z
        2026-02-30T03:00:00Z 2026-13-01T00:00:00Z 2026-05-20T03:00:00+24:00 2026-05-20T03:00:00+02:60
        2026-05-20T03:00:00.Z 2026-05-20T03:00:00.1234567890Z 2026-05-20T03:00:00,5Z 2026-05-20T03:00:00ZZ
        infinity -infinity epoch now 1779246000 290309-12-22T00:00:00Z ２026-05-20T03:00:00Z 2026-05-20T03:00:00−02:00
    """.split(),
]
COUNTRIES = ["", "  ", "US\n", "\x00\x00", "U\u200b", *"NA NA US XX na Us USA U ÄÖ İS IŞ ＵＳ 12".split()]
SEPARATORS = [text.encode() for text in "\r\x0b\x0c\x85\u2028\u2029\x00\ufeff\x1e,\xa0"]
BAD_UTF8 = [bytes.fromhex(text) for text in "ff c0af e080af eda080 f4908080 c3 f09f8e 80".split()]

Pairs = list[tuple[str, str]]  # the fields of a row: JSON text of name and value


@dataclass
class Draft:
    """A delivery to be spoiled: of rows, until they are rendered."""

    export: Export
    rows: list[Pairs]

    def of_type(self, *types: str) -> list[str]:
        return [json.dumps(column.name) for column in self.export.columns if column.type in types]

    def free_texts(self) -> list[str]:
        return [
            json.dumps(c.name) for c in self.export.columns
            if c.type == "text" and not (c.allowed or c.country or c.one_per_delivery)
        ]  # fmt: skip

    def put(self, rng: Random, names: Sequence[str], text: str) -> None:
        """Give one field of one row another JSON text."""
        row, name = rng.choice(self.rows), rng.choice(names)
        row[:] = [(key, text if key == name else value) for key, value in row]

    def put_everywhere(self, name: str, text: str) -> None:
        for row in self.rows:
            row[:] = [(key, text if key == name else value) for key, value in row]


@dataclass(frozen=True)
class Damaged:
    """A delivery made from a seed: what was done to it, and its bytes."""

    seed: int
    export: Export
    campaign: str  # the id asked for
    kinds: tuple[str, ...]
    data: bytes = field(repr=False)
    declared: int | None

    @cached_property
    def verdict(self) -> Verdict:
        return verdict(self.export, self.data, DAYS, self.declared)


@cache
def _real_rows() -> dict[str, list[list[Pairs]]]:
    """Per export and campaign of the simulated API, its rows over the first of `DAYS`."""
    world, now = World(seed=7, campaigns=8), datetime(2026, 3, 1, tzinfo=UTC)
    campaigns = {
        export.name: [
            world.rows(export.name, c.uuid, DAYS.start, DAYS.start + timedelta(days=30), now)[:60]
            for c in world.campaigns
        ]
        for export in EXPORTS
    }  # fmt: skip
    return {
        name: [[[(json.dumps(k), dumps(v)) for k, v in row.items()] for row in rows] for rows in found if len(rows) > 3]
        for name, found in campaigns.items()
    }


def damaged(seed: int) -> Damaged:
    """The delivery of this seed: a few rows of the simulated API with none, one or two kinds of damage."""
    rng = Random(seed)
    export = rng.choice(EXPORTS)
    rows = rng.choice(_real_rows()[export.name])
    draft = Draft(export, [list(row) for row in rng.sample(rows, rng.choice((1, 1, 2, 2, 3)))])
    draft.put_everywhere('"campaign_id"', json.dumps(str(UUID(int=rng.getrandbits(128)))))
    kinds = rng.choices(list(_KINDS), [kind.weight for kind in _KINDS.values()], k=rng.choice((1, 1, 1, 2)))
    # A large delivery is not read a second time for what DuckDB is lenient about: nothing else is wrong with it.
    kinds = next(([kind] for kind in kinds if kind in _LARGE), kinds)
    for kind in kinds:
        _KINDS[kind].in_rows(rng, draft)
    data = b"".join(("{" + ",".join(f"{k}:{v}" for k, v in row) + "}\n").encode() for row in draft.rows)
    for kind in kinds:
        data = _KINDS[kind].in_bytes(rng, data)
    lines = sum(1 for line in data.split(b"\n") if line.strip())
    declared = rng.choice((None, lines, lines, lines, len(draft.rows)))
    if seed % 40 == 0:
        kinds, declared = [*kinds, "row count"], lines + (1 if seed % 80 else -1)
    campaign = f"{rng.choice(HOSTILE)[:40] if rng.random() < 0.2 else 'camp'}_{seed}"
    return Damaged(seed, export, campaign, tuple(kinds), data, declared)


@dataclass(frozen=True)
class Kind:
    weight: float
    in_rows: Callable[[Random, Draft], None] = lambda *_: None
    in_bytes: Callable[[Random, bytes], bytes] = lambda _, data: data


def _quoted(rng: Random, text: str) -> str:
    """The text as a JSON string, written in one of several ways."""
    if rng.random() < 0.1:
        return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in text) + '"'
    return json.dumps(text, ensure_ascii=rng.random() < 0.4)


def _hostile(rng: Random) -> str:
    text = rng.choice(HOSTILE)
    return text if rng.random() < 0.7 else "".join((rng.choice(("a", " ", "Mix ")), text, rng.choice(("", "b", "!"))))


def _hostile_id(rng: Random, draft: Draft) -> None:
    """In every row, and unlike any other delivery's."""
    for name in rng.sample(['"account_id"', '"campaign_id"'], rng.choice((1, 2))):
        draft.put_everywhere(name, _quoted(rng, f"{_hostile(rng)}{rng.getrandbits(64)}"))


def _key_text(rng: Random, draft: Draft) -> None:
    name = rng.choice(('"engaged_spotify_track_id"', '"currency"'))
    draft.put_everywhere(name, _quoted(rng, _hostile(rng)))


def _any_integer(rng: Random) -> str:
    return str(rng.getrandbits(rng.randint(1, 66)))


def _any_decimal(rng: Random) -> str:
    return f"{rng.uniform(-1e9, 1e9):.{rng.randint(0, 9)}f}"


def _any_days(rng: Random) -> list[str]:
    return [f"2026-01-{rng.randint(5, 31):02d}" for _ in range(2)]


def _shuffled(rng: Random, draft: Draft) -> None:
    for row in draft.rows:
        rng.shuffle(row)


def _long_text(rng: Random, draft: Draft) -> None:
    draft.put(rng, draft.free_texts(), json.dumps(rng.choice("xé🎧") * rng.choice((50_000, 300_000))))


def _renamed(rng: Random, draft: Draft) -> None:
    """A name in other letters, escaped, with NUL or very long: only the escaped one is the same name."""
    row = rng.choice(draft.rows)
    place = rng.randrange(len(row))
    name, value = row[place]
    plain = json.loads(name)
    new = rng.choice((
        *[f'"\\u{ord(plain[0]):04x}{plain[1:]}"'] * 4, '"' + "".join(f"\\u{ord(c):04X}" for c in plain) + '"',
        json.dumps(plain.upper()), json.dumps(plain.title()), json.dumps(plain + "\0"), json.dumps("\0" + plain),
        json.dumps(plain + " "), json.dumps(plain[:-1]), json.dumps(plain * 500), '""',
    ))  # fmt: skip
    row[place] = (new, value)


def _extra(rng: Random, draft: Draft) -> None:
    row = rng.choice(draft.rows)
    value = rng.choice(
        (*NUMBERS, *OTHERS, json.dumps(rng.choice(HOSTILE)), '"\\ud83c"', '"\\udfff\\ud83c"', "1" * 5000)
    )
    name = rng.choice(("extra", "Streams", "STREAMS", "_fault", "_file", "filename", "json", *HOSTILE))
    for _ in range(rng.choice((1, 1, 1, 1, 2))):
        row.insert(rng.randint(0, len(row)), (_quoted(rng, name), value))


def _odd_extra(rng: Random, draft: Draft) -> None:
    depth = rng.choice((3, 90, 500, 5000, 100_000))
    value = rng.choice((
        "[" * depth + "]" * depth, "[" * depth, '{"a":' * min(depth, 200) + "1" + "}" * min(depth, 200),
        '{"a":1,"a":2}', '{"streams":1}', '"' + "y" * rng.choice((10, 60_000, 2_000_000)) + '"',
    ))  # fmt: skip
    name = rng.choice(('"extra"', '"\\ud800"', '"' + "k" * 70_000 + '"', '"a\\u0000b"', '"campaign_name\\ud800"'))
    rng.choice(draft.rows).append((name, value))


def _twice(rng: Random, draft: Draft) -> None:
    row = rng.choice(draft.rows)
    name, value = rng.choice(row)
    escaped = f'"\\u{ord(name[1]):04x}{name[2:]}'
    row.insert(rng.randint(0, len(row)), (rng.choice((name, escaped)), rng.choice((value, "null", "1"))))


def _missing(rng: Random, draft: Draft) -> None:
    row = rng.choice(draft.rows)
    nullable = [json.dumps(c.name) for c in draft.export.columns if c.nullable]
    name = rng.choice(nullable) if rng.random() < 0.7 else rng.choice(row)[0]
    row[:] = [(k, rng.choice(("null", v))) if k == name else (k, v) for k, v in row]
    if rng.random() < 0.5:
        row[:] = [pair for pair in row if pair[0] != name]


def _repeated(rng: Random, draft: Draft) -> None:
    """A key twice, with the same or another version, and other values."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        again = dict(rng.choice(draft.rows))
        again['"streams"'] = str(rng.randrange(1000))
        if rng.random() < 0.6:
            again['"exported_at"'] = json.dumps(f"2026-02-{rng.randint(10, 28)}T03:00:0{rng.randrange(2)}Z")
        draft.rows.insert(rng.randint(0, len(draft.rows)), list(again.items()))


def _another_owner(rng: Random, draft: Draft) -> None:
    if len(draft.rows) > 1:
        draft.put(rng, ['"account_id"', '"campaign_id"'], rng.choice(('"other"', '""', '" "')))


def _allowed(rng: Random, draft: Draft) -> None:
    column = rng.choice([column for column in draft.export.columns if column.allowed])
    word = rng.choice(column.allowed)
    spoiled = rng.choice((word, word, word, word.upper(), word + " ", word[:-1], word + "\0", "", "1.0", "null"))
    draft.put(rng, [json.dumps(column.name)], rng.choice((_quoted(rng, spoiled), json.dumps(spoiled), "1.0", "null")))


def _somewhere(rng: Random, data: bytes, piece: bytes, cut: int = 0) -> bytes:
    """Put a piece at a random place, most often inside of a name or a text."""
    at = rng.randint(0, len(data))
    if rng.random() < 0.5 and (found := data.find(b'"campaign_name":"', at)) >= 0:
        at = found + 17
    return data[:at] + piece + data[at + cut :]


def _bytes(rng: Random, data: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 8))):
        if rng.random() < 0.4 and data:
            at = rng.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        else:
            data = _somewhere(rng, data, rng.randbytes(rng.choice((0, 1, 1, 3))), rng.choice((0, 1, 1, 7)))
    return data


def _letters(rng: Random, data: bytes) -> bytes:
    """A digit for a digit, a letter for a letter: what stays JSON, and most often valid."""
    for _ in range(rng.choice((1, 2, 5))):
        at = rng.randrange(len(data)) if data else 0
        if data[at : at + 1].isdigit():
            data = data[:at] + b"%d" % rng.randrange(10) + data[at + 1 :]
        elif data[at : at + 1].isalpha():
            data = data[:at] + bytes([rng.choice(b"abcdefxyzABTZ")]) + data[at + 1 :]
    return data


def _lines(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(8):
        case 0:
            lines[at] = lines[at][: rng.randint(0, len(lines[at]))]
        case 1 | 2:
            lines.insert(rng.randint(0, len(lines)), lines[at])
        case 3 | 4:
            rng.shuffle(lines)
        case 5:
            return data.replace(b"\n", rng.choice((b"", b" ", b",", b"\r")), 1)
        case 6:
            lines.insert(
                at,
                rng.choice(
                    (b"null", b"[]", b"7", b'""', b"{}", b"<html>", b"\x00", b"\x0b", b"#", b"[" + lines[at] + b"]")
                ),
            )
        case 7:
            return data[: rng.randint(0, len(data))]
    return b"\n".join(lines)


def _separators(rng: Random, data: bytes) -> bytes:
    piece = rng.choice(SEPARATORS)
    where = rng.randrange(6)
    if where == 0:
        return data.replace(b"\n", piece)
    if where == 1:
        return piece + data
    if where == 2:
        return data.replace(b"\n", piece + b"\n")
    return _somewhere(rng, data, piece)


def _spaces(rng: Random, data: bytes) -> bytes:
    """Blanks where JSON and NDJSON allow them."""
    at = rng.choice((b",", b":", b"{", b"}", b"\n"))
    blank = rng.choice((b" ", b"\t", b"\r", b"  \t ", b"\r\n" if at == b"\n" else b" "))
    if at == b"\n":
        return rng.choice(
            (data.replace(at, blank + at), at + data + blank, data.replace(at, at + blank + at), data[:-1])
        )
    return data.replace(at + b'"', at + blank + b'"') if at != b"}" else data.replace(b"}\n", blank + b"}\n")


_KINDS = {
    "as it is": Kind(2),
    "hostile text": Kind(16, lambda r, d: d.put(r, d.free_texts(), _quoted(r, _hostile(r)))),
    "hostile id": Kind(6, _hostile_id),
    "key text": Kind(2, _key_text),
    "count": Kind(7, lambda r, d: d.put(r, d.of_type("integer"), r.choice((*NUMBERS, _any_integer(r))))),
    "number": Kind(6, lambda r, d: d.put(r, d.of_type("number"), r.choice((*NUMBERS, repr(r.lognormvariate(0, 40)))))),
    "money": Kind(6, lambda r, d: d.put(r, d.of_type("money", "number"), r.choice((*NUMBERS, _any_decimal(r))))),
    "no number": Kind(1, lambda r, d: d.put(r, d.of_type("integer", "number", "money"), r.choice(NO_NUMBERS))),
    "another type": Kind(4, lambda r, d: d.put(r, [key for key, _ in d.rows[0]], r.choice((*OTHERS, *NUMBERS)))),
    "date": Kind(3, lambda r, d: d.put(r, d.of_type("date"), _quoted(r, r.choice((r.choice(DATES), *_any_days(r)))))),
    "timestamp": Kind(6, lambda r, d: d.put(r, d.of_type("timestamp"), _quoted(r, r.choice(TIMESTAMPS)))),
    "country": Kind(3, lambda r, d: d.put(r, ['"country_code"'], _quoted(r, r.choice(COUNTRIES)))),
    "allowed word": Kind(3, _allowed),
    "field renamed": Kind(3, _renamed),
    "field missing": Kind(5, _missing),
    "field twice": Kind(1, _twice),
    "unknown field": Kind(7, _extra),
    "odd unknown field": Kind(0.4, _odd_extra),
    "order of fields": Kind(3, _shuffled),
    "key twice": Kind(6, _repeated),
    "two owners": Kind(1, _another_owner),
    "long text": Kind(0.1, _long_text),
    "bytes": Kind(3, in_bytes=_bytes),
    "letters": Kind(5, in_bytes=_letters),
    "lines": Kind(3, in_bytes=_lines),
    "separators": Kind(3, in_bytes=_separators),
    "bad UTF-8": Kind(0.7, in_bytes=lambda r, data: _somewhere(r, data, r.choice(BAD_UTF8))),
    "blanks": Kind(5, in_bytes=_spaces),
}  # fmt: skip
_LARGE = ("odd unknown field", "long text")
