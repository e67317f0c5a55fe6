"""Each rule over marts that are built from rows, with numbers a reader can check by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from soundlink_pipeline.marketing.findings import Finding
from soundlink_pipeline.marketing.rules import Limits, find_all, off_pace, silent, too_dear, unusual
from soundlink_pipeline_tests.marketing.shared import built, grew, provisional, settled
from soundlink_pipeline_tests.marts.shared import COUNTRY, OF_ROWS, Marts


def dear(marts: Marts, limit: str = "1.00", result: str = "follower", **of: str) -> list[Finding]:
    """`limit` is that of all currencies that are not in `of`."""
    limits = {currency: Decimal(price) for currency, price in {"": limit, **of}.items() if price}
    return list(too_dear(built(marts), result, limits))


def out_of_range(marts: Marts, result: str = "follower") -> list[Finding]:
    return list(unusual(built(marts), result))


# Above a limit


def test_a_follower_above_the_limit_is_told_with_the_cost_the_limit_and_that_it_is_final(marts: Marts) -> None:
    settled(marts, range(7), 10, followers=8)
    [found] = dear(marts)
    assert found.key == "cost_per_follower_above_limit/c1/USD"
    assert found.text == (
        "One: a follower costs 1.25 USD: 70.00 USD for 56 followers, 2026-03-01 to 2026-03-07."
        " The limit is 1.00 USD (final)."
    )
    assert found.facts["value"] == 1.25
    assert dear(marts, "1.25") == []  # at the limit is not above it


def test_a_listener_has_a_limit_of_its_own(marts: Marts) -> None:
    settled(marts, range(7), 10, listeners=100)
    [found] = dear(marts, "0.05", "listener")
    assert found.number.startswith("a listener costs 0.1000 USD: 70.00 USD for 700 listeners")
    assert dear(marts, "0.10", "listener") == []


def test_without_a_follower_the_limit_is_held_against_what_one_would_cost(marts: Marts) -> None:
    settled(marts, range(3), 0.33)
    assert dear(marts) == []  # 0.99 spent: the first follower may still be worth it
    settled(marts, range(3, 4), 0.02)
    [found] = dear(marts)
    assert found.number == "no follower was won: 1.01 USD for 0 followers, 2026-03-01 to 2026-03-04"


def test_only_the_newest_seven_days_count_and_two_days_are_too_few(marts: Marts) -> None:
    settled(marts, range(7), 10, followers=1)
    settled(marts, range(7, 14), 10, followers=100)
    settled(marts, range(12, 14), 10, followers=1, campaign_id="c2")
    assert dear(marts) == []


def test_a_campaign_that_spends_no_more_raises_no_alarm(marts: Marts) -> None:
    settled(marts, range(7), 10, followers=1)
    settled(marts, range(7, 12), 0, followers=1)
    assert dear(marts) == []


def test_young_days_without_estimate_are_not_judged(marts: Marts) -> None:
    provisional(marts, range(7), 10, followers=1)
    assert dear(marts) == []


def test_days_of_five_days_after_their_close_are_judged_as_they_are_and_may_still_change(marts: Marts) -> None:
    provisional(marts, range(3), 10, followers=2, age=5)
    [found] = dear(marts)
    assert found.text == (
        "One: a follower costs 5.00 USD: 30.00 USD for 6 followers expected at most, 2026-03-01 to 2026-03-03."
        " The limit is 1.00 USD (may still change until 2026-03-11)."
    )


def test_provisional_days_count_with_what_they_will_have_been_at_most(marts: Marts) -> None:
    # Followers of the day after become ten times as many.
    grew(marts, range(14), 1, 10, "followers")
    provisional(marts, range(20, 27), 10, followers=1)
    assert dear(marts, "1.00") == []
    [found] = dear(marts, "0.99")
    assert "70.00 USD for 70 followers expected at most" in found.number


def test_currencies_are_not_added_up(marts: Marts) -> None:
    settled(marts, range(7), 10, followers=5)
    for number in range(7):
        marts.country(f"2026-03-0{number + 1}", "JP", currency="JPY", spend_media=400, spend_total=500, followers=1)
    found = dear(marts, "2.00")
    assert [(item.key.rpartition("/")[2], item.facts["spend"]) for item in found] == [("JPY", 3500)]
    assert "a follower costs 500 JPY" in found[0].number
    assert dear(marts, "2.00", JPY="500") == []
    assert [item.currency for item in dear(marts, "", USD="1.99")] == ["USD"]


# Out of the usual range


def past_weeks(marts: Marts, days: int = 42, **of: Any) -> None:
    """Days of 10 USD and 9, 10 or 11 followers: a week of them costs about 1 USD per follower."""
    for number in range(days):
        settled(marts, range(number, number + 1), 10, followers=9 + number % 3, **of)


def test_a_cost_beyond_the_usual_range_is_told_with_the_range(marts: Marts) -> None:
    past_weeks(marts)
    settled(marts, range(42, 49), 10, followers=5)
    [found] = out_of_range(marts)
    assert found.rule == "cost_per_follower_unusual"
    assert found.number == "a follower costs 2.00 USD: 70.00 USD for 35 followers, 2026-04-12 to 2026-04-18"
    # Weeks hardly differ, so that a quarter off the median is what counts.
    assert found.usual == "Usual is 0.7500 USD to 1.25 USD, by weeks that ended in the eight weeks before"
    assert (found.facts["usual_low"], found.facts["usual_high"]) == pytest.approx((0.75, 1.25))


def test_a_cost_below_the_usual_range_is_told_too(marts: Marts) -> None:
    past_weeks(marts)
    settled(marts, range(42, 49), 10, followers=20)
    [found] = out_of_range(marts)
    assert "a follower costs 0.5000 USD" in found.number


def test_a_cost_within_the_usual_range_is_not_told(marts: Marts) -> None:
    past_weeks(marts)
    settled(marts, range(42, 49), 10, followers=8)
    assert out_of_range(marts) == []


def test_weeks_that_always_differed_make_a_wide_range(marts: Marts) -> None:
    for number in range(42):
        settled(marts, range(number, number + 1), 10, followers=20 if number % 14 < 7 else 5)
    settled(marts, range(42, 49), 10, followers=4)
    assert out_of_range(marts) == []


def test_under_four_weeks_of_settled_past_nothing_is_usual(marts: Marts) -> None:
    past_weeks(marts, 33)  # windows of seven days end on 27 of them
    settled(marts, range(33, 40), 10, followers=1)
    assert out_of_range(marts) == []
    marts.clear()
    past_weeks(marts, 34)
    settled(marts, range(34, 41), 10, followers=1)
    assert len(out_of_range(marts)) == 1


def test_a_past_of_another_campaign_says_nothing(marts: Marts) -> None:
    past_weeks(marts, campaign_id="c2")
    settled(marts, range(42, 49), 10, followers=1)
    assert out_of_range(marts) == []


def test_a_provisional_week_that_looks_cheap_or_dear_is_judged_by_its_range(marts: Marts) -> None:
    past_weeks(marts)
    grew(marts, range(42, 56), 1, 10, "followers", spend_total=10)
    provisional(marts, range(56, 63), 10, followers=1)  # looks ten times as dear as usual, and will not be
    assert out_of_range(marts) == []


# Spend without streams


def test_three_settled_days_with_spend_and_no_stream_are_told_with_the_usual_number(marts: Marts) -> None:
    settled(marts, range(10), 12, streams=40)
    settled(marts, range(10, 13), 12)
    [found] = silent(built(marts))
    assert found.text == (
        "One: no stream for 36.00 USD on 3 days with spend, 2026-03-11 to 2026-03-13."
        " Usual is 40 streams a day, by 10 settled days before (final)."
    )


def test_one_stream_or_two_days_are_no_alarm(marts: Marts) -> None:
    settled(marts, range(2), 12)
    settled(marts, range(2), 12, campaign_id="c2")
    settled(marts, range(2, 3), 12, streams=1, campaign_id="c2")
    assert list(silent(built(marts))) == []


def test_no_streams_on_days_that_have_just_closed_is_no_alarm(marts: Marts) -> None:
    settled(marts, range(10), 12, streams=40)
    provisional(marts, range(10, 14), 12)
    assert list(silent(built(marts))) == []


def test_provisional_days_are_told_where_none_has_ever_come_after_nothing(marts: Marts) -> None:
    for number in range(14):
        grew(marts, range(number, number + 1), 0, 0, campaign_id="c2", spend_total=1)
    provisional(marts, range(20, 23), 12)
    [found] = silent(built(marts))
    assert found.campaign_id == "c1"
    assert found.usual == "No settled day with spend before them tells what is usual"
    assert found.text.endswith(" (may still change until 2026-03-31).")


def test_provisional_days_are_not_told_where_streams_came_later(marts: Marts) -> None:
    grew(marts, range(14), 0, 5, campaign_id="c2", spend_total=1)
    provisional(marts, range(20, 23), 12)
    assert [item.campaign_id for item in silent(built(marts))] == []


# Off pace


LISTED: dict[str, Any] = {
    "status": "active",
    "created_at": "2026-03-01",
    "updated_at": "2026-03-01",
    "campaign_duration": 10,
    "daily_budget": 10,
    "total_budget": 100,
}


def spend(marts: Marts, days: int, each: float) -> list[Finding]:
    for number in range(days):
        marts.country(f"2026-03-{number + 1:02}", spend_media=each * 0.8, spend_total=each, fees=each * 0.2)
    marts.pulled(COUNTRY, "2026-03-01", f"2026-03-{days:02}", delivery=OF_ROWS)
    marts.listed("c1", **LISTED)
    return list(off_pace(built(marts)))


def test_a_budget_that_goes_too_fast_is_told_with_where_it_goes(marts: Marts) -> None:
    [found] = spend(marts, 4, 15)
    assert found.key == "budget_over_pace/c1/USD"
    assert found.text == (
        "One: 60% of the budget of 100.00 USD is spent after 40% of the time, by 2026-03-04; at this rate 150.00 USD by"
        " 2026-03-10. On pace, both shares are within a tenth of each other (final)."
    )


def test_a_budget_that_is_hardly_spent_is_told(marts: Marts) -> None:
    [found] = spend(marts, 3, 2)
    assert found.rule == "budget_under_pace"
    assert (found.facts["value"], found.facts["projected_spend"]) == (0.2, 20)


@pytest.mark.parametrize(("days", "each"), [(2, 20), (5, 10)])
def test_the_first_two_days_and_a_pace_within_a_tenth_are_no_alarm(marts: Marts, days: int, each: float) -> None:
    assert spend(marts, days, each) == []


# All of them


def test_all_rules_together_and_limits_only_where_they_are_set(marts: Marts) -> None:
    settled(marts, range(7), 10)
    limits = Limits(follower={"": Decimal("1")}, listener={"USD": Decimal("1")})
    assert [item.rule for item in find_all(built(marts), limits)] == [
        "cost_per_follower_above_limit",
        "cost_per_listener_above_limit",
        "spend_without_streams",
    ]
    assert [item.rule for item in find_all(built(marts), Limits())] == ["spend_without_streams"]


def test_an_empty_file_breaks_no_rule(marts: Marts) -> None:
    assert find_all(built(marts), Limits({"": Decimal(1)}, {"": Decimal(1)})) == []


def test_a_name_from_outside_is_made_harmless(marts: Marts) -> None:
    settled(marts, range(3), 10, campaign_name="evil\n\u202ename\x1b[31m" + "x" * 200)
    [found] = silent(built(marts))
    assert found.text.startswith("evil name[31mxxx")
    assert found.text.isprintable()
    assert len(found.text) < 300
