"""The totals of a campaign, as `metrics/overview` gives them: the sums of its country rows."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from soundlink_pipeline.simulator.rows import Row, ratio

_ALWAYS_KNOWN = ("listeners", "streams", "followers")
_PERHAPS_UNKNOWN = ("impressions", "ad_clicks", "link_clicks")
_MONEY = ("spend_media", "spend_total", "fees")


def overview(rows: Sequence[Row], off: Mapping[str, int | Decimal]) -> dict[str, Any]:
    """Fields and order as documented. What a row does not know counts as nothing; what no row knows is null.

    `off` is added to the figures it names: an account whose totals do not agree with its exports.
    """
    totals: dict[str, Any] = {}
    for name in (*_ALWAYS_KNOWN, *_PERHAPS_UNKNOWN, *_MONEY):
        known = [row[name] for row in rows if row[name] is not None]
        totals[name] = None if name in _PERHAPS_UNKNOWN and not known else sum(known)
        if name in off:
            totals[name] = (totals[name] or 0) + off[name]
    totals["currency"] = rows[-1]["currency"] if rows else "USD"
    totals["cpl"] = ratio(float(totals["spend_media"]), totals["listeners"], 3)
    totals["cpf"] = ratio(float(totals["spend_media"]), totals["followers"], 3)
    totals["streams_per_listener"] = ratio(totals["streams"], totals["listeners"], 2)
    return totals
