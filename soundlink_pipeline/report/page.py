"""Renders the report's page: the template, and the pictures, shares and parts of sentences that it needs."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from soundlink_pipeline.contracts.countries import COUNTRY_NAMES
from soundlink_pipeline.contracts.currencies import decimals
from soundlink_pipeline.display import charts
from soundlink_pipeline.report.figures import Campaign, Figures
from soundlink_pipeline.report.rows import Row, total

_TEMPLATES = Path(__file__).parent / "templates"
_TREND_DAYS = 90
_CALENDAR_WEEKS = 13
_TOP = 10
_COHORT_WEEKS = 13
_CURVE_MEASURES = {"spend_total": "spend", "streams": "streams", "listeners": "listeners", "followers": "followers"}
# A figure counts as nearly final within this share of its final value.
_TRUSTED = 0.01
_KINDS = {"promoted": "promoted tracks", "other": "other tracks", "playlist": "tracks in the promoted playlist"}
_SHORT_ID = 8


def render(campaign: Campaign | None, figures: Figures | None, published: str | None) -> str:
    """The page as HTML; without figures, it says so. `published`: name of the published file, if any."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number, day=_day, percent=_percent, final=_final, money=_money, change=_change, country=_country
    )
    script = (_TEMPLATES / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html.jinja").render(
        published=published,
        campaign=campaign,
        figures=figures,
        everything=_everything(figures),
        top=_TOP,
        kinds=_KINDS,
        style=(_TEMPLATES / "style.css").read_text(encoding="utf-8"),
        script=script,
        script_digest=digest,
        **(_shown(figures) if figures else {}),
    )


def _everything(figures: Figures | None) -> str:
    """What a report of all is about."""
    if figures is None or not figures.soundlinks:
        return "campaigns"
    return "campaigns and soundlinks" if figures.has_campaigns else "soundlinks"


def _shown(figures: Figures) -> dict[str, Any]:
    """The template's values besides the figures: pictures, sums and parts of sentences."""
    newest = max((row["report_date"] for row in figures.days), default=None)
    recent = [row for row in figures.days if newest and row["report_date"] > newest - timedelta(days=_TREND_DAYS)]
    frame = pd.DataFrame(recent, columns=["report_date", "currency", "spend_total", "streams", "is_settled"])

    def picture(title: str, column: str, rows: pd.DataFrame, tone: int) -> tuple[str, str]:
        chart = charts.days_chart(rows, {column: title}, last_days=_TREND_DAYS, tones=(tone,), width=charts.NARROW)
        return title, charts.data_uri(chart)

    return {
        "trend": [
            *(
                picture(f"Spend per day (UTC), {currency}", "spend_total", frame[frame["currency"] == currency], 0)
                for currency in figures.currencies
            ),
            picture("Attributed streams per day (UTC)", "streams", frame, 1),
        ],
        "recent": recent[::-1],
        "sums": _sums(figures.headline),
        "told_apart": _told_apart(figures.campaigns),
        "why_no_state": _why_no_state,
        "cohort_weeks": figures.cohorts[:_COHORT_WEEKS],
        "month": lambda day: charts.short_day(day).split()[1],
        "kind_totals": _kind_totals(figures.tracks),
        "curves": _curves(figures),
        "calendars": _calendars(figures.status),
    }


def _told_apart(campaigns: Sequence[Row]) -> dict[str, str]:
    """By id the beginning of it, for campaigns that share their name with another; as long as it must be."""
    names = {row["campaign_id"]: row["campaign_name"] for row in campaigns}
    often = Counter(names.values())
    apart: dict[str, str] = {}
    for name in (name for name, count in often.items() if count > 1):
        own = [campaign_id for campaign_id, other in names.items() if other == name]
        length = _SHORT_ID
        while len({campaign_id[:length] for campaign_id in own}) < len(own):
            length += 1
        apart |= {campaign_id: campaign_id[:length] for campaign_id in own}
    return apart


def _why_no_state(row: Row) -> str:
    """Why a campaign has no pace."""
    if row["days_not_pulled"]:
        days = row["days_not_pulled"]
        return f"not known: {days} {'day was' if days == 1 else 'days were'} not pulled"
    if row["total_budget"] is None:
        listed = "no budget in this currency" if row["currency"] != "USD" else "no budget listed"
        return f"not known: {listed}"
    if row["run_start_date"] is None:
        return "not begun: nothing spent yet"
    if row["run_end_date"] is None:
        return "not known: no duration listed"
    return "goes on past its planned time"


def _sums(headline: Sequence[Row]) -> Row:
    """Counts over all currencies; money has no such sum."""
    names = ("streams", "settled_streams", "followers", "settled_followers")
    settled = all(row["is_settled"] for row in headline)
    return {**{name: total(headline, name) for name in names}, "is_settled": settled}


def _kind_totals(tracks: Sequence[Row]) -> list[Row]:
    """Streams of promoted and other tracks. Listeners of several tracks cannot be added up."""
    everything = total(tracks, "streams")
    totals = []
    for kind in _KINDS:
        own = [row for row in tracks if row["kind"] == kind]
        if own:
            sums = {name: total(own, name) for name in ("streams", "settled_streams")}
            settled = all(row["is_settled"] for row in own)
            share = sums["streams"] / everything if everything else None
            totals.append({"kind": kind, **sums, "is_settled": settled, "share": share})
    return totals


def _curves(figures: Figures) -> list[dict[str, Any]]:
    """How days filled up, of each organization apart; `account` and `organization` say whose it is."""
    curves = []
    for organization, rows in groupby(figures.curve, key=lambda row: row["account_id"]):
        if curve := _curve(list(rows), figures.currencies):
            account = figures.account_names[organization]
            curves.append(curve | {"account": account, "organization": organization})
    return sorted(curves, key=lambda curve: (curve["account"], curve["organization"]))


def _curve(rows: Sequence[Row], currencies: Sequence[str]) -> dict[str, Any] | None:
    """How an organization's days filled up: picture, table, and the day from which all measures were nearly final."""
    known = [
        row
        for row in rows
        if row["measure"] in _CURVE_MEASURES
        and row["shortfall_share"] is not None
        and row["currency"] in (None, *currencies)
    ]
    if not known:
        return None
    by_day: dict[int, dict[str, Row]] = {}
    labels: dict[str, None] = {}
    for measure, label in _CURVE_MEASURES.items():
        for row in (row for row in known if row["measure"] == measure):
            shown = f"{label} in {row['currency']}" if row["currency"] and len(currencies) > 1 else label
            labels[shown] = None
            by_day.setdefault(row["days_after_close"], {})[shown] = row
    trusted = None
    for days_after in sorted(by_day, reverse=True):
        if any(abs(row["shortfall_share"]) > _TRUSTED for row in by_day[days_after].values()):
            break
        trusted = days_after
    drawn = pd.DataFrame([row | {"measure": shown} for day in by_day.values() for shown, row in day.items()])
    return {
        "picture": charts.data_uri(charts.filling_chart(drawn, {name: name for name in labels}, width=charts.NARROW)),
        "by_day": dict(sorted(by_day.items())),
        "measures": list(labels),
        "trusted": trusted,
        "most_days": max(row["report_dates"] for row in known),
    }


def _calendars(status: Sequence[Row]) -> list[dict[str, Any]]:
    """One for each export of each account."""
    return [
        _calendar(account, export, list(rows))
        for (account, export), rows in groupby(status, key=lambda row: (row["account"], row["export"]))
    ]


def _calendar(account: str, export: str, status: Sequence[Row]) -> dict[str, Any]:
    """The newest weeks of an account's export as cells: day, column and row in a grid of weeks, and state."""
    states = {row["report_date"]: _state(row) for row in status}
    newest = max(states)
    monday = newest - timedelta(days=newest.weekday() + 7 * (_CALENDAR_WEEKS - 1))
    days = [monday + timedelta(days=offset) for offset in range((newest - monday).days + 1)]
    cells = [
        {
            "day": day,
            "column": (day - monday).days // 7 + 1,
            "row": day.weekday() + 2,
            "state": states.get(day, "absent"),
        }
        for day in days
    ]
    return {
        "account": account,
        "export": export,
        "cells": cells,
        "months": [(cell["column"], cell["day"]) for cell in cells if cell["day"].day <= 7 and cell["row"] == 2],
        "counts": {
            state: sum(cell["state"] == state for cell in cells) for state in ("final", "provisional", "incomplete")
        },
        "rows": [row for row in status if row["report_date"] >= monday][::-1],
        "state": _state,
    }


def _state(row: Row) -> str:
    if not row["is_complete"]:
        return "incomplete"
    return "final" if row["is_settled"] else "provisional"


def _number(value: Decimal | float | None, decimals: int = 0) -> str:
    return "n/a" if value is None else f"{value:,.{decimals}f}"


def _money(value: Decimal | float | None, currency: str | None) -> str:
    """With the currency's decimals, and its code."""
    return "n/a" if value is None or currency is None else f"{value:,.{decimals(currency)}f}\u00a0{currency}"


def _day(day: date) -> str:
    return f"{charts.short_day(day)} {day.year}"


def _percent(share: Decimal | float | None) -> str:
    return "n/a" if share is None else f"{float(share):.1%}".replace("%", "\u00a0%")


def _change(share: float) -> str:
    """With an arrow and a sign, so that nobody needs to see a colour."""
    if round(share, 3) == 0:
        return "\u2192 unchanged"
    sign = "\u25b2 +" if share > 0 else "\u25bc \u2212"
    return f"{sign}{abs(share):,.1%}".replace("%", "\u00a0%")


def _country(shown: str) -> str:
    """A country's name in full; what ISO 3166-1 does not assign as the mart shows it."""
    return COUNTRY_NAMES.get(shown, shown)


def _final(row: Row, name: str) -> str:
    """How much of a row's number is final; never rounded up to 100 %."""
    if row["is_settled"]:
        return "final"
    part, whole = float(row[f"settled_{name}"] or 0), float(row[name] or 0)
    return f"{min(part / whole, 0.99):.0%} final".replace("%", "\u00a0%") if part and whole else "provisional"
