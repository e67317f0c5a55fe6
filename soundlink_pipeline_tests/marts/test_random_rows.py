"""The marts of random rows are what plain Python makes of them: nulls, two currencies and changing targets included."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from soundlink_pipeline_tests.marts.shared import (
    COUNTRY,
    ENGAGEMENT,
    LISTENING,
    OF_ROWS,
    OTHER,
    PAGE,
    PROMOTED,
    Marts,
    one,
)

Row = dict[str, Any]

COUNTS = ("impressions", "ad_clicks", "link_clicks", "streams", "listeners", "followers")
MONEY = ("spend_media", "spend_total", "fees")
VIEWED = ("views", "streams", "listeners", "followers")
UNSURELY_VIEWED = (
    *("link_clicks", "spotify_link_clicks", "apple_music_link_clicks", "youtube_music_link_clicks"),
    *("new_listeners", "returning_listeners", "new_listener_streams", "returning_listener_streams"),
)
TARGET = ("campaign_target_type", "campaign_target_spotify_track_id", "campaign_target_playlist_id")
DAYS = st.dates(date(2026, 3, 1), date(2026, 3, 20)).map(str)
CAMPAIGNS, COUNTRIES = st.sampled_from(["c1", "c2"]), st.sampled_from(["US", "NA", "DE", "T1"])
COUNT = st.integers(0, 2**40)
UNSURE = st.none() | COUNT
CENTS = st.integers(0, 10**8).map(lambda cents: Decimal(cents) / 100)
EXPORTED = st.sampled_from(["2026-03-22 03:00:00", "2026-03-22 03:00:00.5", "2026-03-23 03:00:00"])
OF_TARGET = st.sampled_from(
    [("track", PROMOTED, None), ("track", OTHER, None), ("track", None, None), ("playlist", None, "p1"), (None,) * 3]
)
IDENTITY = {"exported_at": EXPORTED, "target": OF_TARGET, "campaign_name": st.sampled_from(["One", "Two"])}
COUNTRY_ROWS = st.dictionaries(
    st.tuples(CAMPAIGNS, DAYS, COUNTRIES),
    st.fixed_dictionaries(
        IDENTITY
        | dict(zip(COUNTS, (UNSURE, UNSURE, UNSURE, COUNT, COUNT, COUNT), strict=True))
        | {"currency": st.sampled_from(["USD", "JPY"]), "spend_media": CENTS, "fees": CENTS}
    ),
    max_size=15,
)
ENGAGEMENT_ROWS = st.dictionaries(
    st.tuples(CAMPAIGNS, DAYS, COUNTRIES, st.sampled_from([PROMOTED, OTHER]), st.sampled_from(["catalog", "playlist"])),
    st.fixed_dictionaries(
        IDENTITY
        | {
            "new": st.tuples(COUNT, COUNT),
            "returning": st.tuples(COUNT, COUNT),
            "status": st.sampled_from(["active", "ended", "scheduled"]),
            "playlist_position": st.none() | st.integers(1, 60),
            "engaged_track_isrc": st.none() | st.just("DEXW62500001"),
        }
    ),
    max_size=15,
)

OF_SOUNDLINK = st.sampled_from(
    [("track", PROMOTED, None), ("album", None, None), ("track", None, None), ("playlist", None, "p1"), (None,) * 3]
)
LINKED = {"exported_at": EXPORTED, "target": OF_SOUNDLINK, "soundlink_name": st.sampled_from(["One", "Two"])}
# Ids are case-sensitive.
SOUNDLINKS = st.sampled_from(["s1", "S1"])
PAGE_ROWS = st.dictionaries(
    st.tuples(SOUNDLINKS, DAYS, COUNTRIES),
    st.fixed_dictionaries(LINKED | dict.fromkeys(VIEWED, COUNT) | dict.fromkeys(UNSURELY_VIEWED, UNSURE)),
    max_size=15,
)
LISTENING_ROWS = st.dictionaries(
    st.tuples(
        SOUNDLINKS, DAYS, COUNTRIES, st.sampled_from([PROMOTED, OTHER]), st.sampled_from(["catalog", "playlist"])
    ),
    st.fixed_dictionaries(
        LINKED
        | {
            "new": st.tuples(COUNT, COUNT),
            "returning": st.tuples(COUNT, COUNT),
            "playlist_position": st.none() | st.integers(1, 60),
        }
    ),
    max_size=15,
)


# Without shrinking, which takes minutes here.
FEW = settings(
    max_examples=8,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_marts_of_random_rows_are_what_their_rows_make(marts: Marts) -> None:
    @FEW
    @given(COUNTRY_ROWS, ENGAGEMENT_ROWS)
    def check(country: dict[Any, Any], engagement: dict[Any, Any]) -> None:
        marts.clear()
        marts.pulled(COUNTRY, "2026-03-01", "2026-03-20", delivery=OF_ROWS)
        marts.pulled(ENGAGEMENT, "2026-03-01", "2026-03-20")
        ads, listening = list[Row](), list[Row]()
        for (campaign, day, code), values in country.items():
            of_account = {"campaign_id": campaign, "account_id": f"of-{campaign}"}
            row = named(of_account | {"spend_total": values["spend_media"] + values["fees"]} | values)
            marts.country(day, code, **row)
            ads.append({"report_date": day, "country_code": code} | row)
        for (campaign, day, code, track, context), values in engagement.items():
            row = named({"campaign_id": campaign, "engagement_context": context} | values)
            marts.engagement(day, track, code, **row)
            streams = {"streams": values["new"][1] + values["returning"][1]}
            listening.append({"report_date": day, "country_code": code, "track": track} | streams | row)
        marts.build()
        assert marts.failing(singular=True) == []
        ads_are_what_their_rows_make(marts, ads)
        listening_is_what_its_rows_make(marts, listening)
        campaigns_are_what_their_rows_make(marts, ads, listening)

    check()


def test_marts_of_random_soundlinks_are_what_their_rows_make(marts: Marts) -> None:
    @FEW
    @given(PAGE_ROWS, LISTENING_ROWS)
    def check(pages: dict[Any, Any], engagement: dict[Any, Any]) -> None:
        marts.clear()
        marts.pulled(PAGE, "2026-03-01", "2026-03-20", path="s1", delivery=OF_ROWS)
        marts.pulled(LISTENING, "2026-03-01", "2026-03-20", path="s1")
        viewed, listening = list[Row](), list[Row]()
        for (soundlink, day, code), values in pages.items():
            row = named({"soundlink_id": soundlink} | values, LINK_TARGET)
            marts.page(day, code, **row)
            viewed.append({"report_date": day, "country_code": code} | row)
        for (soundlink, day, code, track, context), values in engagement.items():
            row = named({"soundlink_id": soundlink, "engagement_context": context} | values, LINK_TARGET)
            marts.soundlink_engagement(day, track, code, **row)
            sums = {"streams": values["new"][1] + values["returning"][1], "new_listeners": values["new"][0]}
            listening.append({"report_date": day, "country_code": code, "track": track} | sums | row)
        marts.build()
        assert marts.failing(singular=True) == []
        pages_are_what_their_rows_make(marts, viewed)
        soundlinks_are_what_their_rows_make(marts, viewed, listening)

    check()


def named(row: Row, target: Iterable[str] = TARGET) -> Row:
    return {name: value for name, value in row.items() if name != "target"} | dict(
        zip(target, row["target"], strict=True)
    )


def pages_are_what_their_rows_make(marts: Marts, viewed: list[Row]) -> None:
    key = ("soundlink_id", "report_date")
    names = ("soundlink_name", *LINK_TARGET)
    sums_are_those_of(marts, "soundlink_daily", key, viewed, named_alike(*VIEWED, *UNSURELY_VIEWED))
    # Listeners have no sum over days but one that says so.
    over_days = (name for name in (*VIEWED, *UNSURELY_VIEWED) if name not in ("listeners", "returning_listeners"))
    columns = named_alike(*over_days) | {"listener_days": "listeners"}
    sums_are_those_of(marts, "soundlink_summary", ("soundlink_id",), viewed, columns, "days > 0")
    assert attributes(marts, "soundlink_daily", key, names) == {k: of(r, names) for k, r in newest(key, viewed).items()}


def named_alike(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def sums_are_those_of(
    marts: Marts, mart: str, key: tuple[str, ...], rows: list[Row], columns: dict[str, str], where: str = "true"
) -> None:
    """`columns`: those of the mart, each with the rows' one that it adds up."""
    found = marts.rows(f"marts.{mart}", ", ".join((*key, *columns, "ctr_lp")), where)
    expected = {
        k: (*(total(group, name) for name in columns.values()), shown(ratio(group, "link_clicks", "views")))
        for k, group in by(key, rows).items()
    }
    assert {row[: len(key)]: (*row[len(key) : -1], shown(row[-1])) for row in found} == expected, mart


def soundlinks_are_what_their_rows_make(marts: Marts, viewed: list[Row], listening: list[Row]) -> None:
    names = ("soundlink_name", *LINK_TARGET)
    key = ("soundlink_id", "report_date", "track", "engagement_context")
    columns = ("soundlink_id", "report_date", "engaged_spotify_track_id", "engagement_context")
    of_track = (*names, "playlist_position")
    tracks = newest(key, listening)
    assert attributes(marts, "soundlink_track_daily", columns, of_track) == {
        k: of(row, of_track) for k, row in tracks.items()
    }
    days: dict[str, list[tuple[tuple[Any, ...], Row]]] = defaultdict(list)
    for (soundlink, day), row in newest(("soundlink_id", "report_date"), viewed).items():
        days[soundlink].append(((day, row["exported_at"], 2, "", ""), row))
    for (soundlink, day, track, context), row in tracks.items():
        days[soundlink].append(((day, row["exported_at"], 1, context, track), row))
    listened = by(("soundlink_id",), listening)
    expected = {
        (soundlink, *of(max(found)[1], names), *(total(listened[(soundlink,)], name) or 0 for name in LISTENED))
        for soundlink, found in days.items()
    }
    measures = (f"engagement_{name}" for name in LISTENED)
    assert set(marts.rows("marts.soundlink_summary", ", ".join(("soundlink_id", *names, *measures)))) == expected


def ads_are_what_their_rows_make(marts: Marts, ads: list[Row]) -> None:
    for mart, key in (
        ("campaign_daily", ("campaign_id", "report_date", "currency")),
        ("campaign_summary", ("campaign_id", "currency")),
        ("country_daily", ("account_id", "country_code", "report_date", "currency")),
        ("country_summary", ("account_id", "country_code", "currency")),
    ):
        listeners = "listener_days" if mart.endswith("_summary") else "listeners"
        columns = (*key, *(listeners if name == "listeners" else name for name in (*COUNTS, *MONEY)))
        found = marts.rows(f"marts.{mart}", ", ".join(columns), "currency is not null")
        expected = {k: tuple(total(rows, name) for name in (*COUNTS, *MONEY)) for k, rows in by(key, ads).items()}
        assert {row[: len(key)]: row[len(key) :] for row in found} == expected, mart
        ratios = marts.rows(f"marts.{mart}", ", ".join((*key, *RATIOS)), "currency is not null")
        for row in ratios:
            rows = by(key, ads)[row[: len(key)]]
            assert [shown(value) for value in row[len(key) :]] == [
                shown(ratio(rows, *parts)) for parts in RATIOS.values()
            ]
    key = ("campaign_id", "report_date", "currency")
    assert attributes(marts, "campaign_daily", key) == {k: of(row, NAMES) for k, row in newest(key, ads).items()}


def listening_is_what_its_rows_make(marts: Marts, listening: list[Row]) -> None:
    key = ("campaign_id", "report_date", "track", "engagement_context")
    names = (*NAMES, "engaged_track_isrc", "status", "playlist_position")
    columns = ("campaign_id", "report_date", "engaged_spotify_track_id", "engagement_context")
    assert attributes(marts, "track_engagement_daily", columns, names) == {
        k: of(row, names) for k, row in newest(key, listening).items()
    }
    streams = "coalesce(sum(streams), 0)"
    expected = (sum(row["streams"] for row in listening),)
    for mart in ("track_engagement_daily", "track_engagement_summary"):
        assert one(marts, f"marts.{mart}", streams) == expected, mart
    assert one(marts, "marts.campaign_summary", "coalesce(sum(engagement_streams), 0)") == expected


def campaigns_are_what_their_rows_make(marts: Marts, ads: list[Row], listening: list[Row]) -> None:
    days: dict[str, list[tuple[tuple[Any, ...], Row]]] = defaultdict(list)
    for (campaign, day, currency), row in newest(("campaign_id", "report_date", "currency"), ads).items():
        days[campaign].append(((day, row["exported_at"], 2, currency, ""), row))
    key = ("campaign_id", "report_date", "engagement_context", "track")
    for (campaign, day, context, track), row in newest(key, listening).items():
        days[campaign].append(((day, row["exported_at"], 1, context, track), row))
    expected = {(campaign, *of(max(found)[1], NAMES)) for campaign, found in days.items()}
    assert set(marts.rows("marts.campaign_summary", ", ".join(("campaign_id", *NAMES)))) == expected


NAMES = ("campaign_name", *TARGET)
LISTENED = ("new_listeners", "streams")
LINK_TARGET = tuple(name.replace("campaign", "soundlink") for name in TARGET)
# The ratios with a side that may be null.
RATIOS = {
    "cpc_linkclick": ("spend_media", "link_clicks"),
    "ctr_linkclick": ("link_clicks", "impressions"),
    "ctr_adclick": ("ad_clicks", "impressions"),
}


def by(key: Iterable[str], rows: list[Row]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[of(row, key)].append(row)
    return groups


def of(row: Row, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def newest(key: Iterable[str], rows: list[Row]) -> dict[tuple[Any, ...], Row]:
    def newness(row: Row) -> tuple[str, float, str]:
        return row["exported_at"], -(row.get("playlist_position") or math.inf), row["country_code"]

    return {of_key: max(found, key=newness) for of_key, found in by(key, rows).items()}


def shown(value: float | None) -> str:
    """Without the last digits, in which two ways of dividing may differ."""
    return f"{value:.9g}" if value is not None else "null"


def total(rows: list[Row], name: str) -> Any:
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) if known else None


def ratio(rows: list[Row], part: str, whole: str) -> float | None:
    both = [row for row in rows if row[part] is not None and row[whole] is not None]
    below = sum(row[whole] for row in both)
    return float(sum(row[part] for row in both)) / float(below) if below else None


def attributes(
    marts: Marts, mart: str, key: tuple[str, ...], names: tuple[str, ...] = NAMES
) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    found = marts.rows(f"marts.{mart}", ", ".join((*key, *names)))
    return {row[: len(key)]: row[len(key) :] for row in found}
