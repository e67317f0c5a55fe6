"""How numbers and lists of things are said."""

from collections.abc import Sequence


def counted(number: int, what: str) -> str:
    """`1 day`, `1,200 deliveries`."""
    many = f"{what.removesuffix('y')}ies" if what.endswith("ry") else f"{what}s"
    return f"{number:,} {what if number == 1 else many}"


def size(count: int, before: int = 0) -> str:
    """So many bytes: `12.3 MB`, `812 kB`, `64 B`; in a smaller unit where only that tells it from those `before`."""
    before = 0 if count == before else before
    for unit, scale, digits in (("MB", 1e6, 1), ("kB", 1e3, 0)):
        shown = f"{count / scale:,.{digits}f}"
        if count >= 10 * scale and shown != f"{before / scale:,.{digits}f}":
            return f"{shown} {unit}"
    return f"{count:,} B"


def in_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
