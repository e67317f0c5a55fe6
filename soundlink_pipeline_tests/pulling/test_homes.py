"""Pulling, loading and checking need no more of the warehouse than its interface: any home will do."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.pulling.landed import load_leftovers, rebuild
from soundlink_pipeline.pulling.listing import save_and_ask
from soundlink_pipeline.pulling.planning import Plan
from soundlink_pipeline.quality.row_checks import run_checks
from soundlink_pipeline.warehouse.home import Home
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline_tests.support.deliveries import APRIL, NOON, arrival, row
from soundlink_pipeline_tests.support.memory_home import MemoryHome

BREAKDOWN = EXPORTS[0]


def test_a_home_without_a_file_is_listed_to_loaded_checked_and_rebuilt(tmp_path: Path) -> None:
    home: Home = MemoryHome()
    landing = Landing(tmp_path / "data")
    delivery = arrival(tmp_path / "in", [row(), row(country_code="DE")], declared=2).delivery
    landing.land(delivery)
    listing = landing.land_listing(
        CAMPAIGN, [b'{"campaignId":"camp_1"}', b'{"campaignId":"camp_2"}'], NOON, None, "run-1"
    )
    campaigns = listing.items(CAMPAIGN)
    first = DateRange(APRIL.start, date(2026, 4, 8))

    assert load_leftovers(home, landing, lambda _: None).rows == 2
    so_far = save_and_ask(
        home,
        landing,
        [(CAMPAIGN, listing)],
        lambda ledger: ledger.pulled_so_far([BREAKDOWN], first, ["run-1"], settled=True),
    )
    plan = Plan([BREAKDOWN], {CAMPAIGN: campaigns}, first, so_far, now=NOON)
    assert [(item.subject_id, item.dates) for item in plan.missing] == [("camp_2", first)]
    with home.read() as connection:
        ledger = Ledger(connection)
        assert ledger.row_count(BREAKDOWN) == 2
        assert [day.rows for day in ledger.date_status(BREAKDOWN, first)] == [2] + [0] * 7
        assert all(result.passed for result in run_checks(connection, BREAKDOWN, first))

    anew: Home = MemoryHome()
    assert rebuild(anew, landing, lambda _: None).rows == 2
    query = f"select * from {BREAKDOWN.name} order by all"
    with home.read() as ours, anew.read() as theirs:
        assert ours.execute(query).fetchall() == theirs.execute(query).fetchall()
