"""Damaged deliveries, each from a seed: real lines, changed in ways that occur or that somebody may think of."""

# ruff: noqa: SIM905  (a table of odd texts is read more easily without quotes)
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from random import Random
from uuid import UUID

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.table import MONEY
from soundlink_pipeline.simulator import World, dumps
from soundlink_pipeline_tests.trials.fuzzing.oracle import Verdict, verdict

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
COUNTRIES = ["", "  ", "US\n", "\x00\x00", "U\u200b", *"NA NA US XX na Us USA U ÄÖ İS IŞ ＵＳ 12 T1 1T".split()]
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
            if c.type == "VARCHAR" and not (c.allowed or c.country or c.one_per_delivery)
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
    world, now = World(seed=7, campaigns=8, soundlinks=8), datetime(2026, 3, 1, tzinfo=UTC)
    things = {subject.name: of_subject for subject, of_subject in world.things.items()}
    answers = {
        export.name: [
            world.rows(export.name, thing.row_id, DAYS.start, DAYS.start + timedelta(days=30), now)[:60]
            for thing in things[export.subject.name]
        ]
        for export in EXPORTS
    }
    return {
        name: [[[(json.dumps(k), dumps(v)) for k, v in row.items()] for row in rows] for rows in found if len(rows) > 3]
        for name, found in answers.items()
    }


def damaged(seed: int) -> Damaged:
    """The delivery of this seed: a few rows of the simulated API with none, one or two kinds of damage."""
    rng = Random(seed)
    export = rng.choice(EXPORTS)
    rows = rng.choice(_real_rows()[export.name])
    draft = Draft(export, [list(row) for row in rng.sample(rows, rng.choice((1, 1, 2, 2, 3)))])
    draft.put_everywhere(f'"{export.id_column}"', json.dumps(str(UUID(int=rng.getrandbits(128)))))
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
    campaign = rng.choice(HOSTILE)[:40] if rng.random() < 0.2 else "camp"
    while len(campaign.encode()) > 36:  # no id is asked for that is too long for a folder's name, each byte as %XX
        campaign = campaign[:-1]
    campaign = f"{campaign}_{seed}"
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
    for name in rng.sample(['"account_id"', f'"{draft.export.id_column}"'], rng.choice((1, 2))):
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
        draft.put(rng, ['"account_id"', f'"{draft.export.id_column}"'], rng.choice(('"other"', '""', '" "')))


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
    "count": Kind(7, lambda r, d: d.put(r, d.of_type("BIGINT"), r.choice((*NUMBERS, _any_integer(r))))),
    "number": Kind(6, lambda r, d: d.put(r, d.of_type("DOUBLE"), r.choice((*NUMBERS, repr(r.lognormvariate(0, 40)))))),
    "money": Kind(6, lambda r, d: d.put(r, d.of_type(MONEY, "DOUBLE"), r.choice((*NUMBERS, _any_decimal(r))))),
    "no number": Kind(1, lambda r, d: d.put(r, d.of_type("BIGINT", "DOUBLE", MONEY), r.choice(NO_NUMBERS))),
    "another type": Kind(4, lambda r, d: d.put(r, [key for key, _ in d.rows[0]], r.choice((*OTHERS, *NUMBERS)))),
    "date": Kind(3, lambda r, d: d.put(r, d.of_type("DATE"), _quoted(r, r.choice((r.choice(DATES), *_any_days(r)))))),
    "timestamp": Kind(6, lambda r, d: d.put(r, d.of_type("TIMESTAMP"), _quoted(r, r.choice(TIMESTAMPS)))),
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
