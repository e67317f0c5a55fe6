"""The report's sections: pacing, campaigns of one name, cohorts, what it earned, and what a day is expected to be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.report.__main__ import main
from soundlink_pipeline_tests.report.test_report import Page
from soundlink_pipeline_tests.support.report_database import LOUD_ID, QUIET, QUIET_ID, published_database


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published_database(tmp_path_factory.mktemp("published"))


@pytest.fixture
def text_after(made: Path, tmp_path: Path) -> Callable[..., str]:
    """The page's text after statements were run in a copy of the database."""

    def text(*statements: str, campaign: str = "") -> str:
        database = shutil.copyfile(made, tmp_path / "soundlink.duckdb")
        with duckdb.connect(str(database)) as connection:
            for statement in statements:
                connection.execute(statement)
        arguments = ["--database", str(database), "--output", str(tmp_path / "report.html")]
        assert main([*arguments, *(["--campaign", campaign] if campaign else [])]) == 0
        return Page(tmp_path / "report.html").text

    return text


def section(text: str, first: str, end: str) -> str:
    return text.split(first, 1)[1].split(end, 1)[0]


def pacing(text: str) -> str:
    return section(text, "Pacing", "Day by day")


def test_pacing_tells_state_shares_and_where_it_goes(text_after: Callable[..., str]) -> None:
    told = pacing(
        text_after(
            "update marts.campaign_pacing set state = 'over', time_share = 0.5, budget_share = 0.617,"
            " total_budget = 40000, projected_spend_total = 49380, run_end_date = date '2026-05-10'"
            f" where campaign_id = '{LOUD_ID}'"
        )
    )
    assert "2026-04-01 to 2026-05-10 \u25b2 over 50.0 % of time, 61.7 % of budget" in told
    assert "24,690.00 USD 40,000.00 USD 49,380.00 USD provisional" in told
    assert told.index("over") < told.index(QUIET), "what is off pace comes first"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ("days_not_pulled = 1", "not known: 1 day was not pulled"),
        ("days_not_pulled = 3", "not known: 3 days were not pulled"),
        ("total_budget = null", "not known: no budget listed"),
        ("total_budget = 5, run_start_date = null", "not begun: nothing spent yet"),
        ("total_budget = 5, run_end_date = null", "not known: no duration listed"),
        ("total_budget = 5, run_end_date = date '2026-04-10'", "goes on past its planned time"),
    ],
)
def test_a_campaign_without_a_pace_says_why(text_after: Callable[..., str], changes: str, why: str) -> None:
    told = pacing(
        text_after(f"update marts.campaign_pacing set state = null, {changes} where campaign_id = '{LOUD_ID}'")
    )
    assert why in told
    assert "not known: no budget in this currency" in told, "the other one spends EUR"


def test_what_ended_long_ago_has_no_pace_unless_asked_for_by_name(text_after: Callable[..., str]) -> None:
    ended = (
        f"delete from marts.campaign_pacing where campaign_id = '{QUIET_ID}' and report_date > date '2026-04-05'",
        f"update marts.campaign_pacing set state = 'ended' where campaign_id = '{QUIET_ID}'",
    )
    assert QUIET not in pacing(text_after(*ended))
    assert "\u25a0 ended" in pacing(text_after(*ended, campaign=QUIET_ID))


def test_campaigns_of_one_name_are_told_apart_by_their_ids(text_after: Callable[..., str]) -> None:
    assert QUIET_ID[:8] not in text_after()
    renamed = [
        f"update marts.{mart} set campaign_name = '{QUIET}'"
        for mart in ("campaign_summary", "campaign_pacing", "cohort")
    ]
    told = text_after(*renamed)
    for part in (pacing(told), section(told, "Listed as", "Countries")):
        assert f"{QUIET} {QUIET_ID[:8]}" in part
        assert f"{QUIET} {LOUD_ID[:8]}" in part


def test_no_sum_of_listeners_over_tracks_is_shown(text_after: Callable[..., str]) -> None:
    told = text_after()
    assert "Unique listeners" not in told
    # 2 tracks x 20 days x 5 first plays in each of two campaigns: only the promoted track's are people
    assert "400" not in section(told, "All campaigns", "Countries")
    assert "1,600 480 100 24,690.00 USD" in section(told, "Listed as", "Countries")


def test_a_provisional_day_stands_beside_what_it_is_expected_to_be(text_after: Callable[..., str]) -> None:
    assert "2026-04-20 provisional 1,234.50 USD 80 no estimate 24 provisional" in text_after()
    told = text_after(
        "update marts.settled_estimates set settled_estimate = value_now * 1.5, settled_low = 100, settled_high = 140"
        " where measure = 'streams'"
    )
    assert "2026-04-20 provisional 1,234.50 USD 80 120 (100 to 140) 24 provisional" in told
    assert "2026-04-14 final 1,234.50 USD 80 24 final" in told
    assert "Attributed streams 560 expected \u25b2 +42.9 % against 560" in told
    assert "of it final: 80; expected once settled: about 800" in told


def test_cohorts_tell_who_comes_back(text_after: Callable[..., str]) -> None:
    told = text_after(
        "update marts.cohort set returning_listener_streams = 1120, streams = new_listener_streams + 1120"
        " where week_since_start = 1",
        "update marts.cohort set week_since_start = -1 where week_since_start = 2",
    )
    weeks = section(told, "Do they come back?", "Week 0 begins")
    assert "0 final 2 2,240 0 0.0 % final" in weeks
    assert "1 final 2 2,240 2,240 50.0 % final" in weeks
    assert "incomplete" not in weeks, "weeks before the start are left out"


def test_what_it_earned_is_shown_where_there_is_a_statement(text_after: Callable[..., str]) -> None:
    assert "What it earned" not in text_after()
    told = text_after(
        "insert into marts.campaign_return_summary by name"
        f" select '{LOUD_ID}' as campaign_id, 'USD' as currency, 'acc' as account_id, 'Loud' as campaign_name,"
        " 2 as months_before, 1 as months_during, 0 as months_after, 24690 as spend_total,"
        " 1234.5 as attributed_revenue_estimate, 0.05 as recoup_estimate, 0.00321 as revenue_per_stream,"
        " 0.25 as attributed_share, false as is_settled"
    )
    earned = section(told, "What it earned", "An estimate:")
    assert "statement: 2 months before, 1 during, 0 after 24,690.00 USD 1,234.50 USD 5.0 % 0.00321" in earned
    assert "25.0 % provisional" in earned


def test_the_page_of_a_campaign_that_shares_its_name_shows_its_id(text_after: Callable[..., str]) -> None:
    assert QUIET_ID in text_after(campaign=QUIET_ID)


def test_a_file_of_models_before_0_8_has_a_page_without_what_it_lacks(text_after: Callable[..., str]) -> None:
    lacking = ("campaign_pacing", "campaign_return_summary", "cohort", "settled_estimates")
    shown = text_after(*(f"drop table marts.{table}" for table in lacking))
    for heading in ("The last 7 days", "Day by day", "All days", "Campaigns", "Countries"):
        assert heading in shown
    assert "no estimate" in shown
    for heading in ("Pacing", "Do they come back?", "What it earned"):
        assert heading not in shown
