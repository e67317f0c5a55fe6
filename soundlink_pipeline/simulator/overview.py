"""The totals of a campaign or a soundlink, as `metrics/overview` gives them: the sums of its country rows."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from soundlink_pipeline.simulator.rows import Row, ratio, ratio_or_null

Off = Mapping[str, int | Decimal]  # what is added to the figures it names: totals that do not agree with the exports
Totals = Callable[[Sequence[Row], Off], dict[str, Any]]

_ALWAYS_KNOWN = ("listeners", "streams", "followers")
_PERHAPS_UNKNOWN = ("impressions", "ad_clicks", "link_clicks")
_MONEY = ("spend_media", "spend_total", "fees")


def campaign_totals(rows: Sequence[Row], off: Off) -> dict[str, Any]:
    """Fields and order as documented. What a row does not know counts as nothing; what no row knows is null."""
    totals = _sums(rows, off, (*_ALWAYS_KNOWN, *_PERHAPS_UNKNOWN, *_MONEY))
    totals["currency"] = rows[-1]["currency"] if rows else "USD"
    totals["cpl"] = ratio(float(totals["spend_media"]), totals["listeners"], 3)
    totals["cpf"] = ratio(float(totals["spend_media"]), totals["followers"], 3)
    totals["streams_per_listener"] = ratio(totals["streams"], totals["listeners"], 2)
    return totals


def soundlink_totals(rows: Sequence[Row], off: Off) -> dict[str, Any]:
    """No document tells these fields: the additive ones of the rows, and their ratios."""
    totals = _sums(rows, off, (*_ALWAYS_KNOWN, "views", "link_clicks"))
    totals["streams_per_listener"] = ratio(totals["streams"], totals["listeners"], 2)
    totals["ctr_lp"] = ratio_or_null(totals["link_clicks"], totals["views"], 4)
    return totals


def _sums(rows: Sequence[Row], off: Off, names: tuple[str, ...]) -> dict[str, Any]:
    totals: dict[str, Any] = {}
    for name in names:
        known = [row[name] for row in rows if row[name] is not None]
        totals[name] = None if name in _PERHAPS_UNKNOWN and not known else sum(known)
        if name in off:
            totals[name] = (totals[name] or 0) + off[name]
    return totals
