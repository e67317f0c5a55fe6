"""What a daily refresh asks of the API: `python -m benchmarks.request_counts`.

An account of 500 campaigns, most of them over, on the morning when 30 of them can have rows; and the bytes that cost.
"""

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.serving import ours, say, verdict
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.simulator import SimClock, Simulator, World, running_simulator
from soundlink_pipeline.simulator.campaigns import Campaign

_CAMPAIGNS, _LIVE, _PAGE = 500, 30, 100


def main() -> None:
    world, today = next(found for seed in range(1, 100) if (found := _morning(_world(seed))))
    say(f"{_live(world, today)} of {_CAMPAIGNS} campaigns are live on {today}")
    with (
        tempfile.TemporaryDirectory(prefix="soundlink-bench-") as scratch,
        running_simulator(world, SimClock(datetime(today.year, today.month, today.day, 7, tzinfo=UTC))) as simulator,
    ):
        simulator.access.per_minute = simulator.access.per_hour = None
        dates = DateRange(today - timedelta(days=8), today - timedelta(days=1))
        result = ours(simulator, Path(scratch), dates)
        exports, listings = _asked(simulator)
    live, pages = (
        _live(world, today),
        -(-len(world.listing(datetime(today.year, today.month, today.day, 7, tzinfo=UTC))) // _PAGE),
    )
    print(f"## Requests of a daily refresh: {_CAMPAIGNS} campaigns, {live} of them live\n")
    print("| | requests |\n|---|---|")
    print(f"| exports, 2 per campaign that runs or has just ended, 1 of listening for up to 30 days more | {exports} |")
    print(f"| the campaign listing, {_PAGE} a page | {listings} |")
    print(f"| asking each campaign for each of 8 days would be | {2 * _CAMPAIGNS * 8 + pages:,} |")
    print(f"\n{result['rows']:,} rows. ", end="")
    print(
        verdict(
            "requests for what is expected, and the listing",
            (exports, listings) == (live + _with_ads(world, today), pages),
        )
    )


def _asked(simulator: Simulator) -> tuple[int, int]:
    stats = simulator.stats
    exports, listings = stats.count(path_contains="/export"), stats.count(path_contains="/v1/campaigns?")
    if exports + listings != len(stats.records):
        raise SystemExit(f"other requests were made: {stats.records}")
    return exports, listings


def _live(world: World, today: date) -> int:
    """Campaigns whose listening is expected in the 8 days before: created, and not over for longer than 30 days."""
    return sum(_meets(campaign, campaign.created_at.date(), 30, today) for campaign in world.campaigns)


def _with_ads(world: World, today: date) -> int:
    """Those of which rows of ads are: begun, and not over for longer than 7 days of attribution."""
    begun = (campaign for campaign in world.campaigns if campaign.start <= today)
    return sum(_meets(campaign, campaign.created_at.date(), 7, today) for campaign in begun)


def _meets(campaign: Campaign, first: date, tail: int, today: date) -> bool:
    planned = (campaign.created_at + timedelta(days=campaign.duration)).date()
    # A campaign that has not ended has no end yet.
    last = max(planned, campaign.ended_at.date()) + timedelta(days=tail)
    return first < today and last >= today - timedelta(days=8)


def _world(seed: int) -> World:
    return World(seed, _CAMPAIGNS, countries_per_campaign=3, tracks_per_campaign=1)


def _morning(world: World) -> tuple[World, date] | None:
    """The world and the day on which just so many campaigns are left, if there is such a day."""
    days = (world.first_day + timedelta(days=offset) for offset in range(60, 240))
    return next(((world, day) for day in days if _live(world, day) == _LIVE), None)


if __name__ == "__main__":
    main()
