"""After every pull of a random history, marts add up to what the simulator would answer now for the days pulled.

Pulls take random campaigns, soundlinks and days at random moments, in order and out of it; the account has every
oddity. The sums are made here from the simulator's rows, by hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.landing.deliveries import HashedDelivery
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.models.build import build_model
from soundlink_pipeline.models.standing import Standing
from soundlink_pipeline.simulator import (
    BREAKDOWN,
    ENGAGEMENT,
    SOUNDLINK_BREAKDOWN,
    SOUNDLINK_ENGAGEMENT,
    Oddities,
    World,
    ndjson,
)
from soundlink_pipeline.simulator.campaigns import Campaign
from soundlink_pipeline.simulator.soundlinks import Soundlink
from soundlink_pipeline.warehouse.migration import migrate
from soundlink_pipeline_tests.marts.shared import Marts
from soundlink_pipeline_tests.support import version_0_2
from soundlink_pipeline_tests.support.deliveries import arrival, snapshot

FIRST = date(2026, 1, 1)
WORLD = World(
    campaigns=4,
    soundlinks=4,
    first_day=FIRST,
    duration_days=24,
    countries_per_campaign=3,
    tracks_per_campaign=2,
    oddities=Oddities.every(),
)
THINGS: dict[str, Sequence[Campaign | Soundlink]] = {"campaign": WORLD.campaigns, "soundlink": WORLD.soundlinks}


def named(*same: str, **others: str) -> dict[str, str]:
    """Columns of a mart, each with the one of the rows that it adds up."""
    return {name: name for name in same} | others


ADS = ("impressions", "ad_clicks", "link_clicks", "streams", "followers", "spend_media", "spend_total", "fees")
SPLITS = ("new_listener_streams", "returning_listener_streams", "streams")
CLICKS = ("views", "link_clicks", "streams", "followers", "new_listeners", "new_listener_streams")
TRACK = ("engagement_context", "engaged_spotify_track_id")
# Each mart: the export whose rows it adds up, by what of them, and what; listeners under the name they have over days.
SUMS: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "campaign_daily": (BREAKDOWN, ("campaign_id", "report_date", "currency"), named(*ADS, "listeners")),
    "country_daily": (BREAKDOWN, ("account_id", "country_code", "report_date", "currency"), named(*ADS, "listeners")),
    "campaign_summary": (
        BREAKDOWN,
        ("campaign_id", "currency"),
        named(*ADS, listener_days="listeners"),
    ),
    "country_summary": (BREAKDOWN, ("account_id", "country_code", "currency"), named(*ADS, listener_days="listeners")),
    "track_engagement_daily": (
        ENGAGEMENT,
        ("campaign_id", "report_date", *TRACK),
        named(*SPLITS, "new_listeners", "returning_listeners", "listeners"),
    ),
    "track_engagement_summary": (
        ENGAGEMENT,
        ("campaign_id", *TRACK),
        named(*SPLITS, unique_listeners="new_listeners"),
    ),
    "new_listeners_country_daily": (
        ENGAGEMENT,
        ("account_id", "country_code", "report_date"),
        named("new_listeners", "returning_listeners", "new_listener_streams", "returning_listener_streams"),
    ),
    "soundlink_daily": (
        SOUNDLINK_BREAKDOWN,
        ("soundlink_id", "report_date"),
        named(*CLICKS, "listeners", "returning_listeners"),
    ),
    "soundlink_summary": (SOUNDLINK_BREAKDOWN, ("soundlink_id",), named(*CLICKS, listener_days="listeners")),
    "soundlink_track_daily": (
        SOUNDLINK_ENGAGEMENT,
        ("soundlink_id", "report_date", *TRACK),
        named(*SPLITS, "new_listeners", "returning_listeners", "listeners"),
    ),
    "soundlink_track_summary": (
        SOUNDLINK_ENGAGEMENT,
        ("soundlink_id", *TRACK),
        named(*SPLITS, unique_listeners="new_listeners"),
    ),
}
# Summaries have the campaigns and soundlinks that only the other export has rows of, too.
OF_ITS_ROWS = {"campaign_summary": "currency is not null", "soundlink_summary": "days > 0"}
Row = dict[str, Any]
# Of each export, id in the rows and day the newest moment it was pulled at.
Held = dict[tuple[str, str, date], datetime]


@dataclass(frozen=True)
class Pull:
    """Of some campaigns and soundlinks, those of the same numbers, all exports."""

    moment: datetime
    numbers: tuple[int, ...]
    dates: DateRange

    def __str__(self) -> str:
        return f"campaigns and soundlinks {self.numbers}, {self.dates}, at {self.moment}"


def history(random: Random) -> list[Pull]:
    """Around the days on which the account moves, and around those on which campaign 3 is renewed; in order or not."""
    pulls = []
    for hour in random.sample(range(24 * 15), random.randint(3, 6)):
        moment = datetime(2026, 1, 25, 7, tzinfo=UTC) + timedelta(hours=hour)
        start = FIRST + timedelta(days=random.randint(0, 28))
        end = min(start + timedelta(days=random.randint(0, 14)), moment.date() - timedelta(days=random.randint(0, 2)))
        numbers = tuple(sorted(random.sample(range(4), random.randint(1, 4))))
        later = timedelta(days=60 * (random.random() < 0.3))
        pulls.append(Pull(moment + later, numbers, DateRange(min(start, end) + later, end + later)))
    return sorted(pulls, key=lambda pull: pull.moment) if random.random() < 0.3 else pulls


def answers(pull: Pull, folder: Path) -> list[HashedDelivery]:
    dates = pull.dates
    return [
        arrival(
            folder,
            ndjson(WORLD.rows(export.name, thing.row_id, dates.start, dates.end, pull.moment)),
            export=export,
            campaign=thing.path_id,
            dates=dates,
            pulled=pull.moment,
        )
        for export in EXPORTS
        for thing in (THINGS[export.subject.name][number] for number in pull.numbers)
    ]


@cache
def rows_of(export: str, row_id: str, day: date, moment: datetime) -> list[Row]:
    return WORLD.rows(export, row_id, day, day, moment)


def expected(held: Held, mart: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    export, grain, columns = SUMS[mart]
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for (of, row_id, day), moment in held.items():
        for row in rows_of(export, row_id, day, moment) if of == export else ():
            groups[tuple(row[name] for name in grain)].append(row)
    return {key: tuple(total(rows, name) for name in columns.values()) for key, rows in groups.items()}


def total(rows: list[Row], name: str) -> Any:
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) if known else None


def found(marts: Marts, mart: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    _, grain, columns = SUMS[mart]
    rows = marts.rows(f"marts.{mart}", ", ".join((*grain, *columns)), OF_ITS_ROWS.get(mart, "true"))
    return {row[: len(grain)]: row[len(grain) :] for row in rows}


def all_of(marts: Marts) -> dict[str, list[Any]]:
    return {name: marts.rows(f"marts.{name}", "*") for name in SUMS}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each history."""
    metafunc.parametrize("seed", range(metafunc.config.getoption("histories")))


def test_marts_add_up_to_what_would_be_answered_now(marts: Marts, tmp_path: Path, seed: int) -> None:
    random, held, batches = Random(seed), Held(), list[list[HashedDelivery]]()
    marts.clear()
    marts.build()
    for number, pull in enumerate(history(random)):
        told = f"history {seed}, pull {number}: {pull}"
        batches.append(answers(pull, tmp_path))
        result = load_batch(marts.connection, EXPORTS, batches[-1])
        assert not result.rejected, told
        standing = Standing(marts.connection)
        for model in marts.project.models.values():  # each after those that it is made of
            if model.name in {*SUMS, "stg_report_date_status"}:
                build_model(marts.connection, marts.project, model, pull.dates, standing)
        standing.save(marts.connection)
        for export in EXPORTS:
            for index in pull.numbers:
                for day in pull.dates.dates():
                    key = (export.name, THINGS[export.subject.name][index].row_id, day)
                    held[key] = max(held.get(key, pull.moment), pull.moment)
        for mart in SUMS:
            assert found(marts, mart) == expected(held, mart), f"{mart} after {told}"
    tables, models = snapshot(marts.connection), all_of(marts)
    marts.build()
    assert all_of(marts) == models, f"models of history {seed}, built in full"
    models = marts.everything()
    marts.clear()
    for batch in batches:
        load_batch(marts.connection, EXPORTS, batch)
    marts.build()
    assert snapshot(marts.connection) == tables, f"tables of history {seed}, loaded anew"
    assert marts.everything() == models, f"models of history {seed}, loaded anew"
    version_0_2.leave(marts.connection)
    migrate(marts.connection, EXPORTS)
    assert snapshot(marts.connection) == tables, f"tables of history {seed}, of an earlier version"
