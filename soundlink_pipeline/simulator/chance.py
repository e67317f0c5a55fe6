"""Randomness that depends on names alone: the same parts give the same numbers in every process, for ever.

Only ``Random.random()`` is drawn from: Python promises its sequence for a given seed across versions,
which it does not for ``choice``, ``sample`` or ``shuffle``.
"""

import string
from hashlib import blake2b
from random import Random
from uuid import UUID

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def _digest(parts: tuple[object, ...], size: int) -> bytes:
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=size).digest()


def dice(*parts: object) -> Random:
    """A generator seeded by the parts (hash() would differ between processes)."""
    return Random(int.from_bytes(_digest(parts, 8)))  # noqa: S311  made-up data, nothing secret


def uuid_of(*parts: object) -> str:
    return str(UUID(bytes=_digest(parts, 16), version=4))


def base62_of(*parts: object, length: int = 22) -> str:
    """An opaque identifier; 22 characters of base 62 is the shape of a Spotify id."""
    number = int.from_bytes(_digest(parts, 32))
    text = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        text += BASE62[digit]
    return text


def url_safe_id_of(*parts: object, first: str = "") -> str:
    """21 characters that need no escape in a URL, as nanoid makes them; ``first`` is what it begins with."""
    number = int.from_bytes(_digest((*parts, "id"), 32))
    text = first
    while len(text) < 21:
        number, digit = divmod(number, 64)
        text += (BASE62 + "-_")[digit]
    return text


def isrc_of(*parts: object) -> str:
    """Country, registrant, year, designation: twelve characters (ISO 3901)."""
    number = int.from_bytes(_digest(parts, 8))
    return f"DEXW6{20 + number % 7}{number // 7 % 100_000:05d}"
