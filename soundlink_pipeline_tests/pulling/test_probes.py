"""What campaigns that are over cost: how many requests a refresh makes, and how probes are spread over days."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from itertools import pairwise
from typing import Any

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_ENGAGEMENT_DAILY as ENGAGEMENT
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange, refresh_range
from soundlink_pipeline.pulling.planning import Plan, PullRequest
from soundlink_pipeline.pulling.tails import Probe, probes_of_the_day
from soundlink_pipeline_tests.pulling.account import (
    START,
    Account,
    days,
    listed,
)
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS


def requests_before(campaigns: list[dict[str, Any]], today: date) -> int:
    """What was asked before there were probes: both exports, for all but those over for 38 days before the range."""
    over = ("ended", "stopped")
    return 2 * sum(
        item["status"] not in over or date.fromisoformat(item["updatedAt"][:10]) >= today - days(8 + 38)
        for item in campaigns
    )


@pytest.mark.parametrize(
    ("stuck", "ended_days_ago", "counts"),
    [
        # Past the attribution of their last clicks: 400 for those that run, 100 for listening, a turn in 21 for 200.
        (0, (16, 37), {509, 510}),
        # Spread over the days on which they were asked for; of the 200 ten never began, or failed to run again.
        (10, (1, 46), {508, 509, 510}),
    ],
    ids=["past attribution", "evenly spread, and some stuck"],
)
def test_a_refresh_of_500_campaigns_makes_at_most_85_percent_of_the_requests_it_made(
    stuck: int, ended_days_ago: tuple[int, int], counts: set[int]
) -> None:
    today, (first, last) = date(2026, 9, 1), ended_days_ago
    campaigns = [listed(f"live-{number:03}", today - days(20)) for number in range(200 - stuck)]
    campaigns += [
        listed(f"stuck-{number}", today - days(150), today - days(150), ("creating", "restart_failed")[number % 2])
        for number in range(stuck)
    ]
    campaigns += [
        listed(f"lately-{number:03}", today - days(90), today - days(first + number * (last - first + 1) // 100))
        for number in range(100)
    ]
    campaigns += [
        listed(f"long-{number:03}", today - days(400 - number // 2), today - days(200)) for number in range(200)
    ]
    account = Account(lambda *_: False)
    account.refreshed(campaigns, today - days(23), START)
    account.refreshed(campaigns, today - days(1))
    asked = account.refreshed(campaigns, today)
    assert len(asked) == len({request.place for request in asked})
    assert requests_before(campaigns, today) == 600
    assert len(asked) in counts
    assert len(asked) <= 0.85 * 600


def ended_long_ago(number: int, today: date) -> list[dict[str, Any]]:
    return [listed(f"long-{n:03}", today - days(700 - n), today - days(300)) for n in range(number)]


def probes_of(account: Account, campaigns: list[dict[str, Any]], today: date) -> list[str]:
    asked = account.refreshed(campaigns, today)
    return [request.subject_id for request in asked if request.dates.end == today - days(9)]


def pulled_without_probes(campaigns: list[dict[str, Any]], first: date, last: date) -> Account:
    """An account whose live campaign was refreshed from one day to another by a version that probed nobody."""
    account = Account(lambda *_: False)
    for number in range(0, (last - first).days + 1, 7):
        account.refreshed([listed("live", first)], first + days(number))
    return account


def test_after_an_upgrade_campaigns_that_nobody_has_probed_are_probed_over_21_days() -> None:
    upgrade = date(2026, 9, 1)
    long_ended = ended_long_ago(200, upgrade)
    campaigns = [listed("live", START), *long_ended]
    account = pulled_without_probes(campaigns, upgrade - days(200), upgrade - days(1))
    probed = [probes_of(account, campaigns, upgrade + days(number)) for number in range(42)]
    assert {len(names) for names in probed} == {9, 10}
    for first in (0, 21):
        in_a_round = {name for names in probed[first : first + 21] for name in names}
        assert in_a_round == {item["campaignId"] for item in long_ended}


@pytest.mark.parametrize(("outage", "on_the_first_day"), [(9, 6), (60, 126)])
def test_after_days_without_a_run_probes_are_spread_as_far_as_the_promise_holds(
    outage: int, on_the_first_day: int
) -> None:
    today = date(2026, 9, 1)
    campaigns = [listed("live", START), *ended_long_ago(126, today)]
    account = Account(lambda *_: False)
    for number in range(22):
        account.refreshed(campaigns, today + days(number))
    back = today + days(22 + outage)
    # A run that ended before its probes changes nothing.
    account.delivered(PullRequest(ENGAGEMENT, "live", DateRange(back - days(9), back - days(2))), "killed")
    counts = [len(probes_of(account, campaigns, back + days(number))) for number in range(43)]
    # After weeks every campaign has a day that would be late tomorrow.
    assert counts[0] == on_the_first_day
    assert max(counts[1:]) <= 6
    for campaign in campaigns[1:]:
        pulls = [item.now.date() for item in account.deliveries if item.request.subject_id == campaign["campaignId"]]
        # A day that is final on the day after a probe is known 30 days after that, or on the first day with a run.
        between = pairwise([*pulls, back + days(43)])
        assert all((after - before).days <= 30 or after == back for before, after in between)


def test_probes_that_a_run_did_not_come_to_after_weeks_without_one_are_made_the_next_day() -> None:
    today = date(2026, 9, 1)
    campaigns = [listed("live", START), *ended_long_ago(126, today)]
    account = Account(lambda *_: False)
    for number in range(22):
        account.refreshed(campaigns, today + days(number))
    back = today + days(22 + 60)
    account.now = datetime.combine(back, time(7), UTC)
    dates = DateRange(back - days(8), back - days(1))
    plan = Plan(
        CAMPAIGN_EXPORTS,
        {CAMPAIGN: campaigns},
        dates,
        account.so_far(dates, "killed"),
        now=account.now,
        first_day=START,
    )
    assert len(plan.probes) == 126
    for request in plan.missing[:20]:
        account.delivered(request, "killed")
    left = {request.subject_id for request in plan.missing[20:]}
    probed = probes_of(account, campaigns, back + days(1))
    assert set(probed) == left
    assert len(probed) == len(left) >= 100


def test_campaigns_that_ended_on_one_day_are_not_probed_on_one_day() -> None:
    end = START + days(60)
    campaigns = [listed(f"c{number:02}", START - days(100 - number), end) for number in range(42)]
    account = Account(lambda *_: False)
    counts = [len(probes_of(account, campaigns, end + days(38 + number))) for number in range(1, 120)]
    assert max(counts) == 42 / 7
    assert max(counts[40:]) <= 5


def test_probes_whose_turns_are_on_one_day_are_spread_while_the_promise_holds() -> None:
    dates = DateRange(START, START + days(89))

    def made(waited: int, before: int = 0, *, last_chance: bool = False) -> int:
        due = [Probe(ENGAGEMENT.name, f"c{number}", dates, waited, 0, last_chance) for number in range(42)]
        return len(probes_of_the_day(due, [21] * 210, before))

    assert [made(waited) for waited in (21, 27, 29, 30, 31, 90)] == [10, 10, 10, 10, 10, 10]
    assert [made(waited, last_chance=True) for waited in (30, 90)] == [42, 42]
    assert [made(21, before) for before in (4, 10, 11)] == [6, 0, 0]


def test_probes_that_fail_for_ever_bar_no_other() -> None:
    today = date(2026, 9, 1)
    campaigns = ended_long_ago(200, today)
    failing = {item["campaignId"] for item in campaigns[::10]}
    account = pulled_without_probes(campaigns, today - days(200), today - days(1))
    probed = set[str]()
    for number in range(31):
        moment = datetime.combine(today + days(number), time(7), UTC)
        dates = refresh_range(moment, START)
        assert dates is not None
        account.now = moment
        plan = Plan(
            CAMPAIGN_EXPORTS,
            {CAMPAIGN: campaigns},
            dates,
            account.so_far(dates, str(number)),
            now=moment,
            first_day=START,
        )
        assert len(plan.probes) <= 10
        for request in plan.missing:
            if request.subject_id not in failing:
                account.delivered(request, str(number))
                probed.add(request.subject_id)
    assert probed == {item["campaignId"] for item in campaigns} - failing
