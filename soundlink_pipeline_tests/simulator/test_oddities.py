"""What real accounts bring: each switch does what it says, and without it a world has none of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Oddities, World

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
Row = dict[str, Any]


def rows(export: str, index: int = 0, **switches: bool) -> list[Row]:
    """All rows of one campaign that runs for 30 days from 1 January on."""
    world = World(seed=1, campaigns=5, duration_days=30, oddities=Oddities(**switches))
    return world.rows(export, world.campaigns[index].uuid, world.first_day, date(2026, 12, 31), NOW)


def targets(found: list[Row]) -> dict[str, set[tuple[Any, ...]]]:
    names = [f"campaign_target_{name}" for name in ("type", "spotify_track_id", "playlist_id")]
    by_day: dict[str, set[tuple[Any, ...]]] = {}
    for row in found:
        by_day.setdefault(row["report_date"], set()).add(tuple(row[name] for name in names))
    return by_day


@pytest.mark.parametrize("export", [BREAKDOWN, ENGAGEMENT])
def test_campaign_promotes_something_else_from_a_day_on_and_then_what_nobody_knows(export: str) -> None:
    by_day = targets(rows(export, changing_targets=True))
    assert all(len(found) == 1 for found in by_day.values())
    ((kind, track, playlist),) = by_day["2026-01-10"]
    assert (kind, track is None, playlist) == ("track", False, None)
    ((kind, track, playlist),) = by_day["2026-01-11"]
    assert (kind, track, playlist is None) == ("playlist", None, False)
    assert by_day["2026-01-20"] == by_day["2026-01-11"]
    assert by_day["2026-01-21"] == {(None, None, None)}
    assert targets(rows(export, 1, changing_targets=True)) == targets(rows(export, 1))


def test_listing_and_contexts_follow_the_target() -> None:
    world = World(seed=1, campaigns=1, duration_days=30, oddities=Oddities(changing_targets=True))
    listed = [world.listing(datetime(2026, 1, day, tzinfo=UTC))[0] for day in (10, 11, 21)]
    found = [(item["trackId"] is not None, item["playlistId"] is not None) for item in listed]
    assert found == [(True, False), (False, True), (False, False)]
    contexts: dict[str, set[str]] = {}
    for row in rows(ENGAGEMENT, changing_targets=True):
        contexts.setdefault(row["report_date"], set()).add(row["engagement_context"])
    assert (contexts["2026-01-10"], contexts["2026-01-11"]) == ({"catalog"}, {"playlist"})


def test_some_countries_report_no_impressions_and_others_no_clicks() -> None:
    running = [row for row in rows(BREAKDOWN, null_metrics=True) if row["report_date"] <= "2026-01-30"]
    by_country: dict[str, list[Row]] = {}
    for row in running:
        by_country.setdefault(row["country_code"], []).append(row)
    assert len(by_country) == 6
    ordered = [by_country[code] for code in sorted(by_country)]
    for found in ordered[1::3]:
        assert {row["impressions"] for row in found} == {None}
        assert any(row["ad_clicks"] for row in found)
        assert {(row["ctr_adclick"], row["ctr_linkclick"]) for row in found} == {(None, None)}
    for found in ordered[2::3]:
        assert {(row["ad_clicks"], row["link_clicks"], row["cpc_linkclick"]) for row in found} == {(None, None, None)}
        assert any(row["impressions"] for row in found)


def test_money_is_in_the_currency_and_its_minor_units() -> None:
    def money(index: int) -> list[tuple[str, str, Decimal]]:
        names = ("spend_media", "spend_total", "fees")
        return [
            (row["report_date"], row["currency"], Decimal(row[name]))
            for row in rows(BREAKDOWN, index, currencies=True)
            for name in names
        ]

    assert {(currency, day >= "2026-01-16") for day, currency, _ in money(1)} == {("USD", False), ("EUR", True)}
    for index, currency, decimals in ((0, "USD", 2), (2, "JPY", 0), (3, "KWD", 3)):
        found = money(index)
        assert {of for _, of, _ in found} == {currency}
        assert max(-int(amount.normalize().as_tuple().exponent) for _, _, amount in found if amount) == decimals
    for row in rows(BREAKDOWN, 3, currencies=True):
        assert Decimal(row["fees"]) == Decimal(row["spend_total"]) - Decimal(row["spend_media"])


def test_networks_have_no_country() -> None:
    found = rows(BREAKDOWN, anonymous_networks=True)
    codes = {row["country_code"] for row in found}
    assert {"A1", "T1", "US", "NA"} < codes
    keys = [(row["report_date"], row["country_code"]) for row in found]
    assert keys == sorted(set(keys))


def test_a_world_has_none_of_it_unless_asked() -> None:
    found = [row for index in range(5) for row in rows(BREAKDOWN, index)]
    assert {row["currency"] for row in found} == {"USD"}
    assert all(row["country_code"].isalpha() for row in found)
    running = date(2026, 1, 1) + timedelta(days=29)
    assert {row["impressions"] is None for row in found if row["report_date"] <= str(running)} == {False}
    assert all(len({next(iter(of)) for of in targets(rows(BREAKDOWN, index)).values()}) == 1 for index in range(5))
