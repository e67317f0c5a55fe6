"""The four pages, and which charts each has, one below the other. `sql/` has what a chart shows, under its `data`.

Superset computes a chart's width from its columns alone: beside another it would be as narrow on a phone, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_MONEY, _COUNT, _PERCENT, _RATIO = ",.2f", ",d", ".0%", ".2f"


@dataclass(frozen=True)
class Chart:
    """A chart, `height` pixels high. `settings` are those that Superset calls the params of its `kind`."""

    title: str
    data: str
    kind: str
    height: int
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    title: str
    says: str  # Markdown above the charts
    charts: tuple[Chart, ...]


def _table(title: str, data: str, columns: tuple[str, ...], order: str, height: int, **formats: str) -> Chart:
    """Rows as they are, ordered by the columns of `order`; a name with `-` before it is descending."""
    ordered = [[name.removeprefix("-"), not name.startswith("-")] for name in order.split()]
    settings = {
        "query_mode": "raw",
        "all_columns": list(columns),
        "order_by_cols": [f'["{name}", {str(up).lower()}]' for name, up in ordered],
        "row_limit": 1000,
        # A campaign's name is a text, also one like "<b>".
        "allow_render_html": False,
        "show_cell_bars": False,
        "table_timestamp_format": "%Y-%m-%d",
        "column_config": {
            name: {"horizontalAlign": "right"} if shape == "text" else {"d3NumberFormat": shape}
            for name, shape in formats.items()
        },
    }
    return Chart(title, data, "table", height, settings)


def _sum(column: str) -> dict[str, Any]:
    return {"expressionType": "SQL", "sqlExpression": f'sum("{column}")', "label": column.replace("_", " ")}


def _chart(title: str, data: str, kind: str, x: str, y: tuple[str, ...], height: int, **settings: Any) -> Chart:
    settings = {
        "x_axis": x,
        "metrics": [_sum(column) for column in y],
        "groupby": [],
        "adhoc_filters": [],
        "row_limit": 10000,
        "show_legend": True,
        "legendType": "scroll",
        "legendOrientation": "top",
        "rich_tooltip": True,
        "x_axis_time_format": "%d %b",
        "y_axis_format": _COUNT,
        **settings,
    }
    return Chart(title, data, f"echarts_timeseries_{kind}", height, settings)


_WEEK = Page(
    "Week",
    "**Provisional numbers are mostly too low**: streams and followers are attributed for days after a click, and "
    "Soundlink may revise a day for 7 days. Compare weeks that are both final. Amounts of two currencies are never "
    "added up. A listener of two tracks plays each for the first time.",
    (
        _table(
            "The last 7 days against the 7 before",
            "week",
            ("measure", "this_week", "is_it_final", "week_before", "was_it_final", "change", "account"),
            "account place measure",
            480,
            this_week="text",
            week_before="text",
            change="text",
        ),
        _chart(
            "Followers by day, all campaigns",
            "followers_by_day",
            "bar",
            "day",
            ("followers",),
            480,
            groupby=["series"],
            stack="Stack",
            time_grain_sqla="P1D",
        ),
        _table(
            "By campaign: the last 7 days against the 7 before (cost per follower without fees)",
            "week_by_campaign",
            (
                *("campaign", "currency", "state", "spend", "spend_before", "followers", "followers_before"),
                *("cost_per_follower", "cost_before"),
            ),
            "currency -spend campaign",
            420,
            spend=_MONEY,
            spend_before=_MONEY,
            followers=_COUNT,
            followers_before=_COUNT,
            cost_per_follower=_MONEY,
            cost_before=_MONEY,
        ),
        _table(
            "Which file this is",
            "publication",
            ("this_week", "week_before", "final_up_to", "published"),
            "published",
            180,
        ),
    ),
)
_PACING = Page(
    "Pacing",
    "What is spent, with fees, against the budget and the time that is gone. **Budgets are in USD**: a campaign that "
    "spends in another currency has no share here. The newest days are mostly too low, so a provisional campaign "
    "may be further than shown.",
    (
        _chart(
            "Time and budget that are gone",
            "pacing",
            "bar",
            "label",
            ("time_share", "budget_share"),
            460,
            orientation="horizontal",
            xAxisForceCategorical=True,
            y_axis_format=_PERCENT,
            adhoc_filters=[{"clause": "WHERE", "expressionType": "SQL", "sqlExpression": "budget_share is not null"}],
        ),
        _chart(
            "Share of the budget by day, final days alone",
            "pacing_by_day",
            "line",
            "day",
            ("budget_share",),
            460,
            groupby=["campaign"],
            time_grain_sqla="P1D",
            y_axis_format=_PERCENT,
        ),
        _table(
            "Each campaign's newest day",
            "pacing",
            (
                *("campaign", "state", "pace", "time_share", "budget_share", "without_fees"),
                *("spent", "projected", "budget", "currency", "up_to"),
            ),
            "-up_to campaign currency",
            460,
            time_share=_PERCENT,
            budget_share=_PERCENT,
            without_fees=_PERCENT,
            spent=_MONEY,
            projected=_MONEY,
            budget=_MONEY,
        ),
    ),
)
_CAMPAIGNS = Page(
    "Campaigns",
    "`listener days` counts who listens on two days twice: it is no number of people. What begins with `final` counts "
    "settled days alone and does not change any more; the cost per follower is without fees.",
    (
        _table(
            "Campaigns, over all their days",
            "campaigns",
            (
                *("campaign", "currency", "state", "spend", "followers", "streams", "listener_days", "status"),
                *("final_days", "final_spend", "final_followers", "final_cost_per_follower"),
            ),
            "currency -spend campaign",
            520,
            spend=_MONEY,
            followers=_COUNT,
            streams=_COUNT,
            listener_days=_COUNT,
            final_days=_COUNT,
            final_spend=_MONEY,
            final_followers=_COUNT,
            final_cost_per_follower=_MONEY,
        ),
        _table(
            "Countries in the newest whole week",
            "countries",
            (
                *("country", "currency", "state", "spend", "followers", "followers_before", "cost_per_follower"),
                *("streams", "week_from", "account"),
            ),
            "-followers country currency",
            520,
            spend=_MONEY,
            followers=_COUNT,
            followers_before=_COUNT,
            cost_per_follower=_MONEY,
            streams=_COUNT,
        ),
        _chart(
            "Followers by country, final days alone",
            "countries_settled",
            "bar",
            "country",
            ("followers",),
            520,
            orientation="horizontal",
            xAxisForceCategorical=True,
            row_limit=12,
            order_desc=True,
            x_axis_sort="followers",
            x_axis_sort_asc=True,
            show_legend=False,
        ),
    ),
)
_TRACKS = Page(
    "Tracks",
    "`unique listeners` of one track are people; over tracks they must not be added up, since a listener of two is in "
    "both rows. What begins with `final` counts settled days alone.",
    (
        _table(
            "Tracks",
            "tracks",
            (
                *("campaign", "track", "state", "unique_listeners", "streams", "streams_each"),
                *("final_listeners", "role"),
            ),
            "-unique_listeners campaign track",
            520,
            unique_listeners=_COUNT,
            streams=_COUNT,
            streams_each=_RATIO,
            final_listeners=_COUNT,
        ),
        _chart(
            "New listeners among the listener-days, final weeks since the start",
            "cohorts",
            "line",
            "week_since_start",
            ("new_share",),
            520,
            groupby=["campaign"],
            y_axis_format=_PERCENT,
        ),
        _table(
            "How far the last 14 days can be trusted",
            "data_status",
            ("export", "day", "state", "rows", "revised", "vanished", "last_pulled_utc", "account"),
            "account export -day",
            520,
            rows=_COUNT,
            revised=_COUNT,
            vanished=_COUNT,
        ),
    ),
)
PAGES = (_WEEK, _PACING, _CAMPAIGNS, _TRACKS)
