"""Which type of DuckDB's can take over every value of another."""

from __future__ import annotations

import re

# From narrow to wide, with the decimal digits of each.
_INTEGERS = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": 39}


def is_wider(old: str, new: str) -> bool:
    """Whether `new` is meant to hold all that `old` holds.

    A BIGINT beyond 2^53 has no DOUBLE of its own, and one of 19 digits no DECIMAL(18,6): such pairs count as wider, and
    the values at hand decide.
    """
    if new == "VARCHAR":
        return _decimal(old) is not None or not old.endswith((")", "]"))  # no lists and structs
    if old in _INTEGERS:
        if new in _INTEGERS:
            return _INTEGERS[new] > _INTEGERS[old]
        return new == "DOUBLE" or _decimal(new) is not None
    before, after = _decimal(old), _decimal(new)
    if before and after:
        digits, scale = before
        return after[1] >= scale and after[0] - after[1] >= digits - scale
    return (old, new) in (("FLOAT", "DOUBLE"), ("DATE", "TIMESTAMP"))


def _decimal(type: str) -> tuple[int, int] | None:
    """Digits and scale of a DECIMAL."""
    found = re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", type)
    return (int(found[1]), int(found[2])) if found else None
