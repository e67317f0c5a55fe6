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


def test_new_and_returning_listeners_are_told_at_the_end_of_a_country_row() -> None:
    worlds = [World(campaigns=1, newest_fields=newest) for newest in (False, True)]
    days = (date(2026, 1, 1), date(2026, 2, 1), NOW)
    plain, found = (world.rows(BREAKDOWN, world.campaigns[0].uuid, *days) for world in worlds)
    assert {tuple(row)[-2:] for row in found} == {("new_listeners", "returning_listeners")}
    assert all(row["new_listeners"] + row["returning_listeners"] == row["listeners"] for row in found)
    assert any(row["returning_listeners"] for row in found)
    assert [dict(list(row.items())[:-2]) for row in found] == plain


def test_a_world_has_none_of_it_unless_asked() -> None:
    found = [row for index in range(5) for row in rows(BREAKDOWN, index)]
    assert {row["currency"] for row in found} == {"USD"}
    assert all(row["country_code"].isalpha() for row in found)
    running = date(2026, 1, 1) + timedelta(days=29)
    assert {row["impressions"] is None for row in found if row["report_date"] <= str(running)} == {False}
    assert all(len({next(iter(of)) for of in targets(rows(BREAKDOWN, index)).values()}) == 1 for index in range(5))


# Rows that are keyed anew: what the answers about the first campaign say, on the mornings of its 30 days and after.

PRIMARY_KEY = {
    BREAKDOWN: ("report_date", "country_code"),
    ENGAGEMENT: ("report_date", "engagement_context", "country_code", "engaged_spotify_track_id"),
}
NEW_CODE = "GB"  # the first code that the campaign does not have


def morning(number: int) -> datetime:
    """07:00 on a day of January, or beyond: 32 is 1 February."""
    return datetime(2026, 1, 1, 7, tzinfo=UTC) + timedelta(days=number - 1)


MORNINGS = [morning(number) for number in range(2, 46)]
# 32 days into the world, which begins on 1 January; the last night of 25 January is over by then.
BEFORE, AFTER = morning(32), morning(33)
LAST_SETTLED = "2026-01-25"


def world_of(**switches: bool) -> World:
    return World(seed=1, campaigns=2, duration_days=30, oddities=Oddities(**switches))


def answer(world: World, export: str, now: datetime) -> list[Row]:
    """All days that have closed. Keys are unique in it, and the rows sorted by them."""
    found = world.rows(export, world.campaigns[0].uuid, world.first_day, now.date() - timedelta(days=1), now)
    keys = [tuple(row[name] for name in PRIMARY_KEY[export]) for row in found]
    assert keys == sorted(set(keys)), f"{export} at {now}"
    return found


def without(name: str, found: list[Row]) -> list[Row]:
    return sorted(({key: value for key, value in row.items() if key != name} for row in found), key=str)


@pytest.mark.parametrize("export", [BREAKDOWN, ENGAGEMENT])
def test_account_moves_and_days_that_had_settled_stay_behind(export: str) -> None:
    plain, world = world_of(), world_of(moving_account=True)
    assert answer(world, export, BEFORE) == answer(plain, export, BEFORE)
    account = plain.campaigns[0].account_id
    for now in (AFTER, morning(45)):
        found = answer(world, export, now)
        assert without("account_id", found) == without("account_id", answer(plain, export, now))
        stayed = {row["account_id"] for row in found if row["report_date"] <= LAST_SETTLED}
        moved = {row["account_id"] for row in found if row["report_date"] > LAST_SETTLED}
        assert (stayed, len(moved), account in moved) == ({account}, 1, False)
        assert {item["organizationId"] for item in world.listing(now)} == moved
    assert {item["organizationId"] for item in world.listing(BEFORE)} == {account}


@pytest.mark.parametrize("export", [BREAKDOWN, ENGAGEMENT])
def test_country_of_a_day_turns_into_one_that_the_campaign_has_not(export: str) -> None:
    plain, world = world_of(), world_of(reattributed_countries=True)
    third = sorted(zip(plain.campaigns[0].country_weights, plain.campaigns[0].countries, strict=True))[-3][1]
    codes: dict[str, list[str]] = {}
    for now in MORNINGS:
        found, before = answer(world, export, now), answer(plain, export, now)
        assert without("country_code", found) == without("country_code", before)
        for day in {row["report_date"] for row in before if row["country_code"] == third}:
            here = {row["country_code"] for row in found if row["report_date"] == day} & {third, NEW_CODE}
            codes.setdefault(day, []).append("".join(here))  # two would be no code
    assert {code for of_day in codes.values() for code in of_day} == {third, NEW_CODE}
    turned = [day for day, of_day in codes.items() if NEW_CODE in of_day]
    assert 0.4 < len(turned) / len(codes) < 0.9
    for day, of_day in codes.items():
        assert of_day == sorted(of_day, key=[third, NEW_CODE].index), day  # once turned, it stays so
    assert any(of_day[0] == third for day, of_day in codes.items() if day in turned)


def test_track_is_linked_anew_and_keeps_its_isrc() -> None:
    plain, world = world_of(), world_of(relinked_tracks=True)
    name = "engaged_spotify_track_id"
    assert answer(world, ENGAGEMENT, BEFORE) == answer(plain, ENGAGEMENT, BEFORE)
    assert answer(world, BREAKDOWN, AFTER) == answer(plain, BREAKDOWN, AFTER)
    links: dict[str, dict[bool, set[str]]] = {}
    found = answer(world, ENGAGEMENT, AFTER)
    assert without(name, found) == without(name, answer(plain, ENGAGEMENT, AFTER))
    for row in found:
        of_track = links.setdefault(row["engaged_track_isrc"], {True: set(), False: set()})
        of_track[row["report_date"] <= LAST_SETTLED].add(row[name])
    assert all(len(old) == len(new) == 1 for old, new in (of.values() for of in links.values()))
    (relinked,) = [isrc for isrc, of in links.items() if of[True] != of[False]]
    assert relinked not in (None, found[0]["campaign_target_isrc"])


@pytest.mark.parametrize("export", [BREAKDOWN, ENGAGEMENT])
def test_keys_leave_their_day_and_some_come_back(export: str) -> None:
    plain, world = world_of(), world_of(vanishing_keys=True)
    presence: dict[tuple[Any, ...], str] = {}  # of each key of a plain world, morning by morning
    for now in MORNINGS:
        found, before = answer(world, export, now), answer(plain, export, now)
        assert [row for row in before if row in found] == found
        here = {tuple(row[name] for name in PRIMARY_KEY[export]) for row in found}
        for row in before:
            key = tuple(row[name] for name in PRIMARY_KEY[export])
            presence[key] = presence.get(key, "") + ("x" if key in here else ".")
    left = [mornings for mornings in presence.values() if "x." in mornings]
    assert 0.1 < len(left) / len(presence) < 0.2
    back = [mornings for mornings in left if ".x" in mornings]
    assert 0.3 < len(back) / len(left) < 0.7
    assert all(mornings.strip("x") == "." for mornings in back)
    # On the eighth morning after its close a day has settled: what is there then stays, what is not does not come.
    assert all(len(set(mornings[7:])) <= 1 for mornings in presence.values())


def test_every_range_agrees_on_the_keys() -> None:
    switches = ("moving_account", "reattributed_countries", "relinked_tracks", "vanishing_keys")
    world = world_of(**dict.fromkeys(switches, True))
    uuid = world.campaigns[0].uuid
    for export in (BREAKDOWN, ENGAGEMENT):
        days = [date(2026, 1, 1) + timedelta(days=number) for number in range(32)]
        one_by_one = [row for day in days for row in world.rows(export, uuid, day, day, AFTER)]
        assert one_by_one == world.rows(export, uuid, days[0], days[-1], AFTER) != answer(world_of(), export, AFTER)


@pytest.mark.parametrize("export", [BREAKDOWN, ENGAGEMENT])
def test_row_under_another_key_is_no_later(export: str) -> None:
    keyed_anew = dict.fromkeys(("moving_account", "reattributed_countries", "relinked_tracks"), True)
    lasting, world = world_of(late_rows=True), world_of(late_rows=True, **keyed_anew)
    names = ("account_id", "country_code", "engaged_spotify_track_id")
    for now in (morning(12), BEFORE, AFTER, morning(80)):
        found, expected = (answer(of, export, now) for of in (world, lasting))
        assert found != expected
        for name in names:
            found, expected = without(name, found), without(name, expected)
        assert found == expected
    # Late, and of a day that had settled before the account moved: they turn up where their day's rows are.
    late = [row for row in answer(world, export, morning(80)) if row["exported_at"].endswith("T00:00:00Z")]
    assert late
    assert {row["account_id"] for row in late if row["report_date"] <= LAST_SETTLED} <= {world.campaigns[0].account_id}
