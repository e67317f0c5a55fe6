"""A delivery's lines as JSON's own grammar has them, where DuckDB reads more than that or drops what it does not know.

Python reads them line by line where something is odd, and where a refusal is to say which line it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import duckdb

from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.landing.deliveries import SAMPLED_WHOLE_BYTES, Delivery, HashedDelivery

# Longer lines need not be read; a row of either export is under 2 kB.
LONGEST_LINE_BYTES = 1 << 22
_OTHER_BLANKS = (b"\v", b"\f")
# A trailing comma, or a text that looks like one.
_TRAILING_COMMA = re.compile(rb",\s*[}\]]")
# What DuckDB raises when the bytes are at fault; anything else (disk, memory, lock) is not the delivery's doing.
BAD_BYTES = (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException)


def suspects(connection: duckdb.DuckDBPyConnection, export: Export, deliveries: Sequence[HashedDelivery]) -> set[str]:
    """The files whose sample `unknown_fields` must read: the large ones, and those with something odd.

    Odd is a field that the contract does not know, and anything DuckDB's parser accepts beyond JSON (above). To look
    for it takes a fifth of the time that Python takes to read the lines. What DuckDB has read and has nothing odd is
    JSON. Raises BAD_BYTES.
    """
    files = {str(hashed.delivery.path): hashed for hashed in deliveries}
    odd = {
        file for file, hashed in files.items() if hashed.size > SAMPLED_WHOLE_BYTES or _may_be_no_json(hashed.sample())
    }
    if asked := sorted(files.keys() - odd):
        found = connection.execute(
            """
            select distinct filename
            from (
                select distinct filename, unnest(json_keys(json)) as name
                from read_json_objects(
                    $files, format = 'newline_delimited', filename = true, hive_partitioning = false,
                    maximum_object_size = $longest
                )
            )
            where not list_contains($known, name)
            """,
            {"files": asked, "longest": LONGEST_LINE_BYTES, "known": export.known_fields},
        ).fetchall()
        odd |= {file for (file,) in found}
    return odd


def _may_be_no_json(lines: bytes) -> bool:
    return any(blank in lines for blank in _OTHER_BLANKS) or _TRAILING_COMMA.search(lines) is not None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _without_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"a field is there twice: {twice if twice.isprintable() else ascii(twice)}")
    return dict(pairs)


_STRICT = json.JSONDecoder(parse_constant=_no_constant)
_STRICTEST = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_without_repeated_names)


def unknown_fields(export: Export, hashed: HashedDelivery) -> tuple[tuple[str, ...], str | None]:
    """The fields in the sample that the contract does not know, or what in it is not JSON although DuckDB took it."""
    names: set[str] = set()
    try:
        for line in hashed.sample().split(b"\n"):
            if line.strip():
                names.update(_STRICT.decode(line.decode()))
    except (ValueError, TypeError, RecursionError):
        # A field given twice is no reason here: DuckDB refuses it itself where the contract knows the field.
        return (), first_unreadable_line(hashed.delivery, _STRICT)
    return tuple(sorted(names.difference(export.known_fields))), None


def nth_row(delivery: Delivery, index: int) -> tuple[int, dict[str, Any] | None]:
    """Line number (from 1) and content of the row `index` (from 0); None where it is not an object in valid JSON.

    Blank lines are lines but not rows.
    """
    with delivery.open() as file:
        rows = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
        for position, (number, line) in enumerate(rows):
            if position == index:
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    return number, None
                return number, row if isinstance(row, dict) else None
    raise AssertionError(f"{delivery.path} has no row {index}")


def first_unreadable_line(delivery: Delivery, decoder: json.JSONDecoder = _STRICTEST) -> str | None:
    """What is wrong with the first line that is not one JSON object; None if Python finds nothing wrong."""
    with delivery.open() as file:
        for number, line in enumerate(file, start=1):
            if len(line) > LONGEST_LINE_BYTES:
                return f"line {number}: longer than {LONGEST_LINE_BYTES} bytes"
            if not line.strip():
                continue
            try:
                row = decoder.decode(line.decode("utf-8"))
                json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is no text, and DuckDB takes none
            except UnicodeDecodeError as error:
                return f"line {number}: not UTF-8 at byte {error.start + 1}"
            except ValueError as error:
                return f"line {number}: not valid JSON: {error}"
            except RecursionError:
                return f"line {number}: not readable: nested too deeply"
            if not isinstance(row, dict):
                return f"line {number}: not a JSON object"
    return None
