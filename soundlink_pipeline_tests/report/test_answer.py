"""The answer: the newest seven days against the seven before, with what is provisional as it is expected to be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.report.answer import Answer, Value, read_answer
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.report_database import (
    LOUD_ID,
    QUIET_ID,
    build,
    load_second_account,
    warehouse_with_rows,
)

SPEND = Decimal("1234.5")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return warehouse_with_rows(tmp_path_factory.mktemp("answer")).path


@pytest.fixture
def database(made: Path, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A copy that a test may change: 1 to 20 April, of which 15 to 20 are provisional."""
    with duckdb.connect(str(shutil.copyfile(made, tmp_path / "copy.duckdb"))) as connection:
        yield connection


def answer(database: duckdb.DuckDBPyConnection, campaign: str | None = None) -> Answer:
    found = read_answer(database, campaign)
    assert found is not None
    return found


def estimate(database: duckdb.DuckDBPyConnection, measure: str, times: str, grain: str = "account") -> None:
    """Provisional values of this measure are expected to be so many times of what they are, once settled."""
    database.execute(
        "update marts.settled_estimates set settled_estimate = value_now * ?::decimal(9, 3)"
        " where measure = ? and grain = ?",
        [times, measure, grain],
    )


def test_it_is_about_the_newest_seven_days_and_the_seven_before(database: duckdb.DuckDBPyConnection) -> None:
    found = answer(database)
    assert (found.first, found.last) == (date(2026, 4, 14), date(2026, 4, 20))
    assert found.before == (date(2026, 4, 7), date(2026, 4, 13))
    assert [of.currency for of in found.currencies] == ["EUR", "USD"]
    for of in found.currencies:
        assert (of.spend.now, of.spend.before, of.spend.settled) == (7 * SPEND, 7 * SPEND, SPEND)
        assert (of.streams.now, of.streams.before, of.streams.settled) == (560, 560, 80)
        assert not of.spend.is_settled
        assert of.spend.expected is None, "there is no estimate yet"
        assert of.spend.change == 0
    assert not found.is_settled
    assert found.has_before
    assert found.lacking == 0


def test_nothing_is_a_share_of_corrections_below_zero(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("update marts.campaign_daily set spend_total = -100 where report_date < date '2026-04-14'")
    for of in answer(database).currencies:
        assert of.spend.before == -700
        assert of.spend.change is None
        assert of.cost_per_follower.change is None
        assert of.streams.change == 0


def test_days_without_a_row_so_far_are_not_final(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("delete from marts.campaign_daily where report_date >= date '2026-04-14' and currency = 'EUR'")
    [of, _] = answer(database).currencies
    assert (of.spend.now, of.spend.is_settled, of.streams.is_settled) == (0, False, False)
    database.execute("update marts.data_status set is_settled = true")
    [of, _] = answer(database).currencies
    assert of.spend.is_settled


def test_seven_days_may_be_requested(database: duckdb.DuckDBPyConnection) -> None:
    found = read_answer(database, None, date(2026, 4, 19))
    assert found is not None
    assert (found.first, found.last) == (date(2026, 4, 13), date(2026, 4, 19))
    assert [of.spend.settled for of in found.currencies] == [2 * SPEND] * 2


def test_cost_per_follower_is_of_the_seven_days_sums(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("update marts.campaign_daily set followers = 3")
    for of in answer(database).currencies:
        assert of.cost_per_follower.now == pytest.approx(1234.5 / 3)
        assert of.media_cost_per_follower.now == pytest.approx(80 / 3)
    database.execute("update marts.campaign_daily set followers = 0 where report_date >= date '2026-04-14'")
    for of in answer(database).currencies:
        assert of.cost_per_follower.now is None
        assert of.cost_per_follower.before == pytest.approx(1234.5 / 3)
        assert of.cost_per_follower.change is None


def test_expected_is_settled_days_as_they_are_and_estimates_of_the_others(database: duckdb.DuckDBPyConnection) -> None:
    estimate(database, "streams", "1.5")
    for of in answer(database).currencies:
        assert of.streams.expected == 80 + 6 * 120
        assert of.streams.change == pytest.approx(800 / 560 - 1)
        assert of.spend.expected is None


def test_without_an_estimate_of_one_day_nothing_is_expected(database: duckdb.DuckDBPyConnection) -> None:
    estimate(database, "streams", "1.5")
    database.execute("update marts.settled_estimates set settled_estimate = null where report_date = date '2026-04-20'")
    for of in answer(database).currencies:
        assert of.streams.expected is None
        assert of.streams.change == 0, "of what it is now"


def test_a_campaign_has_its_own_estimates(database: duckdb.DuckDBPyConnection) -> None:
    estimate(database, "streams", "9", grain="account")
    estimate(database, "streams", "2", grain="subject")
    found = answer(database, LOUD_ID)
    (of,) = found.currencies
    assert of.currency == "USD"
    assert of.streams.expected == 80 + 6 * 160


def test_new_listeners_are_those_of_promoted_tracks_and_fill_up_as_all_do(database: duckdb.DuckDBPyConnection) -> None:
    found = answer(database).new_listeners
    assert found == Value(now=35, before=35, expected=None, settled=5, is_settled=False)
    estimate(database, "new_listeners", "1.2")
    found = answer(database).new_listeners
    assert found is not None
    assert found.expected == 5 + 6 * 6
    assert answer(database, QUIET_ID).new_listeners is None, "a playlist's tracks have listeners in common"


def test_settled_days_are_as_they_are(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("update marts.campaign_daily set is_settled = true")
    database.execute("update marts.track_engagement_daily set is_settled = true")
    estimate(database, "streams", "3")
    found = answer(database)
    assert found.is_settled
    assert [of.streams.expected for of in found.currencies] == [None, None]


def test_days_before_that_were_not_all_pulled_are_not_compared(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("delete from marts.data_status where report_date = date '2026-04-09'")
    found = answer(database)
    assert not found.has_before
    assert found.new_listeners is not None
    for value in (found.new_listeners, *(of.spend for of in found.currencies)):
        assert value.before is None
        assert value.change is None


def test_what_began_in_the_days_before_is_not_compared(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(
        "delete from marts.campaign_daily where campaign_id = ? and report_date < date '2026-04-09'", [LOUD_ID]
    )
    assert not answer(database, LOUD_ID).has_before
    assert answer(database).has_before


def test_days_that_lack_rows_are_counted(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(
        "update marts.data_status set is_complete = false where report_date in (date '2026-04-01', date '2026-04-12')"
    )
    assert answer(database).lacking == 1


def test_a_campaign_that_is_over_is_told_of_its_own_last_days(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(
        "delete from marts.campaign_daily where campaign_id = ? and report_date > date '2026-04-16'", [LOUD_ID]
    )
    assert answer(database, LOUD_ID).last == date(2026, 4, 16)
    assert answer(database).last == date(2026, 4, 20)


def test_a_week_in_which_nothing_happened_says_so(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("delete from marts.campaign_daily where report_date > date '2026-04-06'")
    found = answer(database)
    assert (found.first, found.currencies) == (date(2026, 4, 14), [])


def test_accounts_are_added_up_each_by_its_own_estimate(tmp_path: Path) -> None:
    warehouse = warehouse_with_rows(tmp_path)
    load_second_account(warehouse)
    build(warehouse)
    with duckdb.connect(str(warehouse.path)) as database:
        database.execute("update marts.campaign_daily set report_date = report_date + 10 where account_id = 'org-bolt'")
        estimate(database, "streams", "1.5")
        (usd,) = (of for of in answer(database).currencies if of.currency == "USD")
        assert usd.streams.now == 1120
        assert usd.streams.expected == 560 + 80 + 6 * 120, "the second account's days are settled"


def test_a_database_without_ads_has_no_answer(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path)
    build(warehouse)
    with duckdb.connect(str(warehouse.path)) as database:
        assert read_answer(database, None) is None
