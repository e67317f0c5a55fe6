"""What a daily refresh asks of the API: `python -m benchmarks.request_counts`.

An account of 500 campaigns, most of them over, on the morning when 30 of them can have rows; and the bytes that cost.
"""

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.serving import ours, say, verdict
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.simulator import SimClock, Simulator, World, running_simulator

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
    print(f"| exports, 2 per live campaign | {exports} |")
    print(f"| the campaign listing, {_PAGE} a page | {listings} |")
    print(f"| asking each campaign for each of 8 days would be | {2 * _CAMPAIGNS * 8 + pages:,} |")
    print(f"\n{result['rows']:,} rows. ", end="")
    print(verdict("2 per live campaign and the listing", (exports, listings) == (2 * live, pages)))


def _asked(simulator: Simulator) -> tuple[int, int]:
    stats = simulator.stats
    exports, listings = stats.count(path_contains="/export"), stats.count(path_contains="/v1/campaigns?")
    if exports + listings != len(stats.records):
        raise SystemExit(f"other requests were made: {stats.records}")
    return exports, listings


def _live(world: World, today: date) -> int:
    """Campaigns that can have rows in the 8 days before: created, and not over for longer than the tail of 30 days."""
    first, last = today - timedelta(days=8), today - timedelta(days=1)
    return sum(
        campaign.created_at.date() <= last and _over(campaign.created_at, campaign.duration, campaign.ended_at) >= first
        for campaign in world.campaigns
    )


def _over(created_at: datetime, duration: int, ended_at: datetime) -> date:
    planned = (created_at + timedelta(days=duration)).date()
    return max(planned, ended_at.date()) + timedelta(days=30 + 8)


def _world(seed: int) -> World:
    return World(seed, _CAMPAIGNS, countries_per_campaign=3, tracks_per_campaign=1)


def _morning(world: World) -> tuple[World, date] | None:
    """The world and the day on which just so many campaigns are left, if there is such a day."""
    days = (world.first_day + timedelta(days=offset) for offset in range(60, 240))
    return next(((world, day) for day in days if _live(world, day) == _LIVE), None)


if __name__ == "__main__":
    main()
