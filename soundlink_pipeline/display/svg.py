"""A card of panels with axes as SVG, drawn without a plotting library: DECISIONS.md, 155.

Lengths are points, y grows downwards. A card is opaque and has its own light and dark colours, so that it stands alone
on any page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

# name: light, dark
_COLOURS = {
    "card": ("#ffffff", "#191d24"),
    "ink": ("#414956", "#c3cad6"),
    "rule": ("#e3e6eb", "#313845"),
    "first": ("#4f46e5", "#8f8bff"),
    "first-soft": ("#e2e0fb", "#2f2d5e"),
    "second": ("#0b8457", "#3ecf8e"),
    "second-soft": ("#d3efe3", "#164534"),
    "third": ("#c2410c", "#fb923c"),
    "fourth": ("#a21caf", "#e879f9"),
}
_LIGHT, _DARK = (";".join(f"--{name}:{pair[mode]}" for name, pair in _COLOURS.items()) for mode in (0, 1))
_STYLE = (
    f"svg{{{_LIGHT}}}@media(prefers-color-scheme:dark){{svg{{{_DARK}}}}}"
    "text{font:9px system-ui,sans-serif;fill:var(--ink)}.title{font-size:10px}"
)
_DIGIT, _LETTER = 5.6, 5.2  # about as wide as one is in most fonts
_LEFT, _RIGHT = 8.0, 14.0  # beside the numbers, and beside the last bar
_LEGEND, _TITLE = 22.0, 22.0
_MOST_STEPS = 4


@dataclass(frozen=True)
class Scale:
    """The numbers of an axis: `ticks` are what is written, `low` and `high` where it begins and ends."""

    low: float
    high: float
    ticks: Sequence[float]


def scale(values: Sequence[float], *, from_zero: bool) -> Scale:
    """An axis for these finite values, with round numbers; it has a length where all are alike, or nearly so."""
    least, greatest = min(values, default=0.0), max(values, default=0.0)
    if from_zero:
        least, greatest = min(least, 0.0), max(greatest, 0.0)
    if greatest / 2 - least / 2 <= max(1e-300, 1e-9 * max(abs(least), abs(greatest))):
        greatest = least + max(1.0, abs(least))
    step = _round_step(greatest / _MOST_STEPS - least / _MOST_STEPS)
    ticks = [number * step for number in range(math.ceil(least / step - 1e-9), math.floor(greatest / step + 1e-9) + 1)]
    above = 0.05 * (greatest - least) if math.isfinite(greatest - least) else 0.0
    return Scale(least if from_zero else least - above, greatest + above, ticks)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not under `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(times * power for times in (1, 2, 2.5, 5, 10) if times * power >= least * (1 - 1e-9))


def number(value: float) -> str:
    """As it is written beside an axis: 12,000."""
    return f"{value:,.12g}"


@dataclass
class Card:
    """A picture of panels below each other, one for each of `scales`, each with `below` points for what is under it.

    What is drawn is added to `parts`.
    """

    scales: Sequence[Scale]
    width: float
    panel_height: float
    below: float
    parts: list[str] = field(default_factory=list)

    def panel(self, place: int, title: str, keys: tuple[float, float]) -> Panel:
        """The panel at this place (from 0) with title, rules and numbers; `keys` are the ends of its x axis."""
        values = self.scales[place]
        digits = max((len(number(tick)) for scale in self.scales for tick in scale.ticks), default=1)
        left = _LEFT + 6 + _DIGIT * digits
        top = _LEGEND + place * self.panel_height + _TITLE
        bottom = _LEGEND + (place + 1) * self.panel_height - self.below
        panel = Panel(self, left, self.width - _RIGHT, top, bottom, values, keys)
        self.text(left, top - 8, title, more=' class="title"')
        for tick in values.ticks:
            panel.rule(tick, "rule", 0.8)
            self.text(left - 5, panel.y(tick) + 3, number(tick), anchor="end")
        panel.rule(values.low, "rule", 0.8)
        return panel

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", more: str = "") -> None:
        placed = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}"{placed}{more}>{escape(words)}</text>')

    def hatch(self, name: str, colour: str) -> str:
        """A fill of oblique lines, under this name."""
        self.parts.append(
            f'<pattern id="{name}" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            f'<rect width="4" height="4" fill="var(--{colour}-soft)"/>'
            f'<path d="M.5 0V4" stroke="var(--{colour})"/></pattern>'
        )
        return f"url(#{name})"

    def legend(self, entries: Sequence[tuple[Callable[[float, float], str], str]]) -> None:
        """Marks and their meanings at the top left. A mark is drawn by where the middle of its left edge is."""
        x = _LEFT
        for mark, words in entries:
            self.parts.append(mark(x, _LEGEND - 9))
            self.text(x + 14, _LEGEND - 6, words)
            x += 14 + _LETTER * len(words) + 10

    def svg(self) -> bytes:
        height = _LEGEND + len(self.scales) * self.panel_height
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:g}pt" height="{height:g}pt"'
            f' viewBox="0 0 {self.width:g} {height:g}"><style>{_STYLE}</style>'
            f'<rect width="100%" height="100%" fill="var(--card)"/>{"".join(self.parts)}</svg>'
        ).encode()


@dataclass(frozen=True)
class Panel:
    """Where values and keys stand in a card."""

    card: Card
    left: float
    right: float
    top: float
    bottom: float
    values: Scale
    keys: tuple[float, float]

    def x(self, key: float) -> float:
        first, last = self.keys
        return self.left + (self.right - self.left) * (key - first) / (last - first)

    def y(self, value: float) -> float:
        low, high = self.values.low, self.values.high
        # Halves, for the whole may be more than a number can be.
        return self.bottom - (self.bottom - self.top) * (value / 2 - low / 2) / (high / 2 - low / 2)

    def rule(self, value: float, colour: str, width: float, more: str = "") -> None:
        """A line from left to right."""
        self.card.parts.append(
            f'<path d="M{self.left:.1f} {self.y(value):.1f}H{self.right:.1f}" stroke="var(--{colour})"'
            f' stroke-width="{width}"{more}/>'
        )

    def bars(self, bars: Sequence[tuple[float, float]], look: str) -> None:
        """A bar one key wide for each key and value, from zero on, all in one path with these attributes."""
        ground = self.y(0)
        path = "".join(
            f"M{self.x(key):.1f} {ground:.1f}V{self.y(value):.1f}H{self.x(key + 1):.1f}V{ground:.1f}z"
            for key, value in bars
        )
        self.card.parts.append(f'<path d="{path}" {look}/>')

    def line(self, points: Sequence[tuple[float, float]], colour: str, mark: Callable[[float, float], str]) -> None:
        """A line through the points, with a mark on each."""
        placed = [(self.x(key), self.y(value)) for key, value in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        self.card.parts.append(f'<path d="M{path}" fill="none" stroke="var(--{colour})" stroke-width="1.6"/>')
        self.card.parts.extend(mark(x, y) for x, y in placed)

    def key_labels(self, labels: Sequence[tuple[float, str]]) -> None:
        """Words under the axis, centred on their keys."""
        for key, words in labels:
            self.card.text(self.x(key), self.bottom + 13, words, anchor="middle")
