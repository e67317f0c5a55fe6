"""How numbers and lists of things are said."""

from collections.abc import Sequence


def counted(number: int, what: str) -> str:
    """`1 day`, `1,200 deliveries`."""
    many = f"{what.removesuffix('y')}ies" if what.endswith("ry") else f"{what}s"
    return f"{number:,} {what if number == 1 else many}"


def in_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
