"""The totals that Soundlink itself gives of a campaign: which figures, and how each compares with the country rows.

Source: the vendor's documentation of `metrics/overview`. Its figures are the sums of the country rows of the range.
Only `listeners` has two meanings: the newest documentation says that it counts new listeners there, who are at most as
many as the rows' listeners of each day. The ratios that come along (cpl, cpf, streams_per_listener) are made from these
figures, and rounded; they say nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

OVERVIEW_PATH = "/v1/campaigns/{id}/metrics/overview"
# More digits than any total has: what is larger is no number to reckon with.
_MOST_DIGITS = 20


@dataclass(frozen=True)
class Figure:
    """A figure of the overview, which is also a column of the country rows.

    `money` is in a currency. Of a figure `counted_otherwise` the overview may say less than the rows.
    """

    name: str
    money: bool = False
    counted_otherwise: bool = False


FIGURES = (
    Figure("streams"),
    Figure("listeners", counted_otherwise=True),
    Figure("followers"),
    Figure("impressions"),
    Figure("ad_clicks"),
    Figure("link_clicks"),
    Figure("spend_media", money=True),
    Figure("spend_total", money=True),
    Figure("fees", money=True),
)


def figure_of(overview: Mapping[str, Any], figure: Figure) -> Decimal | None:
    """The number an overview gives; None where it gives none. Fields may be missing or null, as in every generation."""
    value = overview.get(figure.name)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() and number.adjusted() < _MOST_DIGITS else None
