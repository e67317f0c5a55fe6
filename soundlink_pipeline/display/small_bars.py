"""The newest days of one measure as bars, small enough for Dagster's UI to show them in its table of metadata.

A larger picture (`charts.py`) is there behind a link only: what is longer than `SHOWN_IN_A_DIALOG` opens in a dialog.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from soundlink_pipeline.display.charts import markdown_image, newest_days, short_day

if TYPE_CHECKING:
    import pandas as pd

_DAYS = 30
_HEIGHT = 40  # of the highest bar, in steps: two digits each keep the text short
_COLOUR = "#6366f1"  # to be seen on light and dark


def small_bars(days: pd.DataFrame, column: str, title: str) -> str:
    """A Markdown sentence and picture of the newest days: full bars where final, pale where still provisional.

    `days` is as for `days_chart`. A day without a row has no bar.
    """
    daily = newest_days(days, [column], _DAYS)
    values = [value if 0 <= value <= sys.float_info.max else 0.0 for value in daily.values[column]]  # else no height
    highest = max(values) or 1
    steps = [round(_HEIGHT * value / highest) for value in values]
    final = daily.final
    paths = [
        f'<path {look} d="M0 {_HEIGHT}{_outline(steps, [settled == wanted for settled in final])}z"/>'
        for wanted, look in ((True, ""), (False, 'opacity=".4"'))
    ]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="60" viewBox="0 0 {len(steps)} {_HEIGHT}"'
        f' preserveAspectRatio="none" fill="{_COLOUR}">{"".join(paths)}</svg>'
    )
    first, last = (short_day(day) for day in (daily.first, daily.first + timedelta(days=len(final) - 1)))
    return (
        f"{first} to {last}, at most {highest:,.12g} a day; pale: provisional\n\n{markdown_image(svg.encode(), title)}"
    )


def _outline(steps: list[int], shown: list[bool]) -> str:
    """From the left to the right over the bars that are shown, along the ground below the others."""
    return (
        "".join(f"V{_HEIGHT - step if own else _HEIGHT}h1" for step, own in zip(steps, shown, strict=True))
        + f"V{_HEIGHT}"
    )
