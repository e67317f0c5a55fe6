"""Bars as a PNG without any library and without text: mail clients show no SVG, and slim servers have no fonts.

What the bars are stands as text beside the picture, where it can also be read aloud and copied.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

_WHITE, _RULE = (255, 255, 255), (227, 230, 235)
# Colours as on the report's page: what is final, and what may still change.
FINAL, PROVISIONAL = (79, 70, 229), (196, 193, 247)
WIDTH, HEIGHT = 1120, 240  # shown at half of that, so that it is sharp on dense screens
_GAP = 6


def bars(values: Sequence[float], *, is_final: Sequence[bool]) -> bytes:
    """A picture of bars from left to right, the highest of which fills the height; negative ones have none."""
    rows = [bytearray(bytes(_WHITE) * WIDTH) for _ in range(HEIGHT)]
    rows[-1] = rows[-2] = bytearray(bytes(_RULE) * WIDTH)
    highest = max((float(value) for value in values), default=0.0)
    step = WIDTH / max(len(values), 1)
    for place, (value, final) in enumerate(zip(values, is_final, strict=True)):
        left, right = round(place * step) + _GAP // 2, round((place + 1) * step) - _GAP // 2
        height = round((HEIGHT - 4) * max(float(value), 0.0) / highest) if highest > 0 else 0
        if value > 0:
            height = max(height, 2)  # something is not nothing
        colour = bytes(FINAL if final else PROVISIONAL) * (right - left)
        for row in rows[HEIGHT - 2 - height : HEIGHT - 2]:
            row[left * 3 : right * 3] = colour
    return _png(rows)


def _png(rows: Sequence[bytearray]) -> bytes:
    """PNG (ISO/IEC 15948): eight bits each of red, green and blue, rows without a filter."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", WIDTH, len(rows), 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
