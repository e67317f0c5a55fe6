"""Small charts as SVG: measures per day, final and provisional days in different tones; and how a day fills up.

Each picture stands alone: an opaque card with its own light and dark colours, for the Dagster UI (`markdown_image`) and
the report (`data_uri`) alike. SVG, because it is sharp on every screen and smaller than a picture of pixels.
"""

from __future__ import annotations

import base64
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from soundlink_pipeline.display.svg import Card, Scale, scale

if TYPE_CHECKING:  # takes half a second, which loading Dagster's definitions should not pay
    import pandas as pd

LAST_DAYS = 60
_EPOCH = date(1970, 1, 1)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WIDE, NARROW = 403.0, 252.0  # points: for the Dagster UI, and for a page that is also read on a phone
_FEWEST_DAYS = 14  # on the axis, so that a single day is a bar and not a wall
_MOST_DATES = 5

_TONES = ("first", "second")
_LINES = ("first", "second", "third", "fourth")


def days_chart(
    days: pd.DataFrame,
    measures: Mapping[str, str],
    *,
    last_days: int = LAST_DAYS,
    tones: Sequence[int] = (0, 1),
    width: float = WIDE,
) -> bytes:
    """Measures per UTC day, a panel each, newest `last_days`: solid where final, hatched where still provisional.

    `days` has report_date, is_settled and the columns that `measures` gives titles to; rows of one day are added up,
    and are final when all of them are. A day without a row, or without a finite number, is a gap. Money must be of one
    currency. `tones` are the panels' colours: 0 or 1.
    """
    daily = newest_days(days, list(measures), last_days)
    final = daily.final
    first = (daily.first - _EPOCH).days
    last = first + len(final)
    bars = {
        column: [(key, value) for key, value in enumerate(values, first) if math.isfinite(value)]
        for column, values in daily.values.items()
    }
    scales = [scale([value for _, value in own], from_zero=True) if final else Scale(0, 1, ()) for own in bars.values()]
    card = Card(scales, width, panel_height=133, below=23)
    hatches = {tone: card.hatch(f"hatch-{_TONES[tone]}", _TONES[tone]) for tone in dict.fromkeys(tones)}
    for place, ((column, title), tone) in enumerate(zip(measures.items(), tones, strict=False)):
        panel = card.panel(place, title, (min(first, last - _FEWEST_DAYS), last))
        for settled in (True, False):
            own = [bar for bar in bars[column] if final[bar[0] - first] is settled]
            if own:
                panel.bars(own, _look(tone, hatches[tone], final=settled))
        if final:
            panel.key_labels([(key + 0.5, short_day(_EPOCH + timedelta(days=key))) for key in _dates(first, last)])
        else:
            card.text((panel.left + panel.right) / 2, (panel.top + panel.bottom) / 2, "no days yet", anchor="middle")
    card.legend(
        [
            (_swatch(_look(tones[0], hatches[tones[0]], final=settled)), name)
            for settled, name in ((True, "final"), (False, "provisional"))
        ]
    )
    return card.svg()


def filling_chart(curve: pd.DataFrame, measures: Mapping[str, str], *, width: float = WIDE) -> bytes:
    """How much of its final value each measure shows, by days after the close; a line each.

    `curve` has measure, days_after_close and shortfall_share, as the mart `revision_curve`, where 0 is the
    day after `report_date`.
    """
    shown = {
        label: [
            (int(days_after), (1 - float(share)) * 100)
            for name, days_after, share in zip(
                curve["measure"], curve["days_after_close"], curve["shortfall_share"], strict=True
            )
            if name == measure
        ]
        for measure, label in measures.items()
    }
    last = int(curve["days_after_close"].max())
    values = scale([100.0, *(value for points in shown.values() for _, value in points)], from_zero=False)
    card = Card([values], width, panel_height=144, below=40)
    panel = card.panel(0, "Share of the final value, %", (-0.3, last + 0.3))
    panel.rule(100, "ink", 0.8, ' stroke-dasharray="2 2"')
    marks = []
    for place, ((label, points), colour) in enumerate(zip(shown.items(), itertools.cycle(_LINES), strict=False)):
        marks.append((_marker(place, colour, 5), label))
        if points:
            panel.line(sorted(points), colour, _marker(place, colour, 0))
    panel.key_labels([(day, str(day)) for day in range(last + 1)])
    card.text((panel.left + panel.right) / 2, panel.bottom + 30, "days after the close (0: day after)", anchor="middle")
    card.legend(marks)
    return card.svg()


def _look(tone: int, hatch: str, *, final: bool) -> str:
    if final:
        return f'class="final" fill="var(--{_TONES[tone]})"'
    return f'class="provisional" fill="{hatch}" stroke="var(--{_TONES[tone]})" stroke-width=".8"'


def _swatch(look: str) -> Callable[[float, float], str]:
    return lambda x, y: f'<rect x="{x:.1f}" y="{y - 3.5:.1f}" width="10" height="7" {look}/>'


def _marker(place: int, colour: str, right: float) -> Callable[[float, float], str]:
    """The mark of a measure, `right` points from where it is placed: colour is not all that tells them apart."""
    shape = ("M-2-2H2V2H-2z", "M0-2.6L2.6 2H-2.6z", "M0-2.8L2.8 0L0 2.8L-2.8 0z")[place % 4 - 1]
    if place % 4 == 0:
        return lambda x, y: f'<circle cx="{x + right:.1f}" cy="{y:.1f}" r="2.2" fill="var(--{colour})"/>'
    return lambda x, y: f'<path transform="translate({x + right:.1f} {y:.1f})" d="{shape}" fill="var(--{colour})"/>'


def data_uri(svg: bytes) -> str:
    """The picture as a data URI, which needs no request."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def markdown_image(svg: bytes, alt: str) -> str:
    """The picture for Markdown metadata; `alt` is its text for screen readers."""
    plain = re.sub(r"[\[\]\\`<>\s]+", " ", alt).strip()
    return f"![{plain}]({data_uri(svg)})"


@dataclass(frozen=True)
class Daily:
    """A value per measure of each UTC day from the first one on, NaN where there is none, and whether it is final."""

    first: date
    values: Mapping[str, Sequence[float]]
    final: Sequence[bool]


def newest_days(days: pd.DataFrame, columns: Sequence[str], last_days: int) -> Daily:
    """The newest days, rows of one day added up; missing days have no values and count as final."""
    # A grouping by pandas of so few rows takes ten times as long.
    sums: dict[date, list[float]] = {}
    final: dict[date, bool] = {}
    rows = zip(*(days[column].tolist() for column in ("report_date", "is_settled", *columns)), strict=True)
    for moment, settled, *values in rows:
        day = date(moment.year, moment.month, moment.day)
        own = sums.setdefault(day, [math.nan] * len(columns))
        for place, value in enumerate(map(_number, values)):
            if not math.isnan(value):
                own[place] = value if math.isnan(own[place]) else own[place] + value
        final[day] = final.get(day, True) and settled is True
    if not sums:
        return Daily(_EPOCH, {column: [] for column in columns}, [])
    newest = max(sums)
    first = max(min(sums), newest - timedelta(days=last_days - 1))
    shown = [first + timedelta(days=offset) for offset in range((newest - first).days + 1)]
    nothing = [math.nan] * len(columns)
    by_day = [sums.get(day, nothing) for day in shown]
    return Daily(
        first,
        {column: [values[place] for values in by_day] for place, column in enumerate(columns)},
        [final.get(day, True) or all(map(math.isnan, values)) for day, values in zip(shown, by_day, strict=True)],
    )


def _number(value: Any) -> float:
    try:
        return float(value)
    except TypeError:  # None, or one of the ways in which pandas says so
        return math.nan


def _dates(first: int, last: int) -> list[int]:
    """The days that are named under the axis: the newest one, and back from it at equal distances of whole weeks."""
    shown = max(last - first, _FEWEST_DAYS)
    step = next(step for step in itertools.count(7, 7) if shown / step <= _MOST_DATES)
    return list(range(last - 1, first - 1, -step))[::-1]


def short_day(day: date) -> str:
    """1 Nov, in every locale."""
    return f"{day.day} {_MONTHS[day.month - 1]}"
