"""Which days there are and which a run asks for: midnight, month ends, leap days."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundlink_pipeline.contracts.days import (
    HEALING_DAYS,
    MAX_DAYS_PER_PULL,
    TRAILING_DAYS,
    DateRange,
    checked_range,
    last_closed_day,
    refresh_range,
    settled_at,
)

FIRST = date(2026, 1, 1)
MOMENTS = st.integers(0, 3_000_000_000).map(lambda second: datetime.fromtimestamp(978_307_200 + second, UTC))
DAYS = st.dates(date(2001, 1, 1), date(2099, 1, 1))


def days(start: str, end: str) -> DateRange:
    return DateRange(date.fromisoformat(start), date.fromisoformat(end))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "closed"),
    [
        ("2026-03-01T00:00:00", "2026-02-28"),
        ("2026-02-28T23:59:59.999999", "2026-02-27"),
        ("2028-03-01T00:00:00", "2028-02-29"),  # a leap day
        ("2100-03-01T00:00:00", "2100-02-28"),  # no leap year
        ("2026-01-01T00:00:00", "2025-12-31"),
        ("2026-05-01T12:00:00", "2026-04-30"),
    ],
)
def test_a_day_closes_at_the_next_midnight_utc_and_not_a_microsecond_earlier(now: str, closed: str) -> None:
    assert last_closed_day(at(now)) == date.fromisoformat(closed)


def test_a_clock_in_another_time_zone_closes_no_day_early_or_late() -> None:
    east, west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    for zone in (east, west):
        assert last_closed_day(midnight.astimezone(zone)) == date(2026, 2, 28)
        assert last_closed_day((midnight - timedelta(microseconds=1)).astimezone(zone)) == date(2026, 2, 27)


@pytest.mark.parametrize(
    ("report_date", "settled"),
    [
        ("2026-03-10", "2026-03-18"),
        ("2026-02-22", "2026-03-02"),
        ("2028-02-22", "2028-03-01"),  # over a leap day
        ("2026-12-31", "2027-01-08"),
    ],
)
def test_a_day_is_settled_eight_days_later_at_midnight_utc(report_date: str, settled: str) -> None:
    assert settled_at(date.fromisoformat(report_date)) == at(settled)


@given(now=MOMENTS)
def test_a_daily_run_reaches_exactly_the_days_not_yet_final_and_the_one_that_becomes_so(now: datetime) -> None:
    dates = refresh_range(now, date(2000, 1, 1))
    assert dates is not None
    assert dates.days == TRAILING_DAYS == 8
    assert dates.end == last_closed_day(now)
    assert settled_at(dates.start) <= now < settled_at(dates.start + timedelta(days=1))


@pytest.mark.parametrize(
    ("now", "unsettled", "expected"),
    [
        ("2026-03-11T07:00:00", None, ("2026-03-03", "2026-03-10")),
        ("2026-03-04T00:00:00", None, ("2026-02-24", "2026-03-03")),
        ("2028-03-04T00:00:00", None, ("2028-02-25", "2028-03-03")),
        ("2026-03-11T07:00:00", "2026-03-08", ("2026-03-03", "2026-03-10")),  # within the trailing days anyway
        ("2026-03-11T07:00:00", "2026-02-10", ("2026-02-10", "2026-03-10")),  # healed after an outage
        ("2026-03-11T07:00:00", "2025-12-01", ("2026-01-01", "2026-03-10")),  # not before the first partition
        ("2026-08-01T07:00:00", "2026-02-10", ("2026-05-03", "2026-07-31")),  # ninety days at most
        ("2026-01-04T07:00:00", None, ("2026-01-01", "2026-01-03")),
        ("2026-01-02T00:00:00", None, ("2026-01-01", "2026-01-01")),
    ],
)
def test_the_refresh_asks_for_the_wrong_days(now: str, unsettled: str | None, expected: tuple[str, str]) -> None:
    oldest = date.fromisoformat(unsettled) if unsettled else None
    assert refresh_range(at(now), FIRST, oldest) == days(*expected)


@pytest.mark.parametrize("now", ["2026-01-01T23:59:59", "2025-06-01T00:00:00"])
def test_there_is_nothing_to_refresh_before_the_first_day_has_closed(now: str) -> None:
    assert refresh_range(at(now), FIRST) is None
    assert refresh_range(at(now), FIRST, FIRST) is None


@given(now=MOMENTS, first=DAYS, unsettled=st.none() | DAYS)
def test_a_refresh_never_leaves_the_partitions_or_asks_for_more_than_one_request_allows(
    now: datetime, first: date, unsettled: date | None
) -> None:
    dates = refresh_range(now, first, unsettled)
    if first > last_closed_day(now):
        assert dates is None
    else:
        assert dates is not None
        assert first <= dates.start <= dates.end == last_closed_day(now)
        assert dates.days <= HEALING_DAYS == MAX_DAYS_PER_PULL


@given(start=DAYS, length=st.integers(1, 400), most=st.integers(1, 120))
def test_slices_lose_repeat_or_exceed_days(start: date, length: int, most: int) -> None:
    whole = DateRange(start, start + timedelta(days=length - 1))
    slices = whole.slices(most)
    assert [day for part in slices for day in part.dates()] == list(whole.dates())
    assert all(part.days == most for part in slices[:-1])
    assert 1 <= slices[-1].days <= most


def test_a_leap_year_is_five_slices_and_its_leap_day_is_in_one() -> None:
    slices = days("2028-01-01", "2028-12-31").slices()
    assert [part.days for part in slices] == [90, 90, 90, 90, 6]
    assert sum(date(2028, 2, 29) in set(part.dates()) for part in slices) == 1


def test_a_reversed_range_is_refused() -> None:
    with pytest.raises(ValueError, match="2026-02-02 to 2026-02-01 is reversed"):
        days("2026-02-02", "2026-02-01")


def test_a_range_that_was_asked_for_is_taken_as_it_is() -> None:
    now = at("2026-03-01T00:00:00")
    assert checked_range("2026-01-01", "2026-02-28", FIRST, now) == days("2026-01-01", "2026-02-28")


@pytest.mark.parametrize(
    ("start", "end", "problem"),
    [
        ("2026-02-02", "2026-02-01", "reversed"),
        ("2026-02-29", "2026-03-01", "YYYY-MM-DD"),  # no leap year
        ("2026-02-xx", "2026-03-01", "YYYY-MM-DD"),
        ("", "", "YYYY-MM-DD"),
        ("20260201", "2026-02-02", "YYYY-MM-DD"),
        ("2026-W06-1", "2026-02-20", "YYYY-MM-DD"),
        ("2026-02-01 ", "2026-02-20", "YYYY-MM-DD"),
        ("2025-12-31", "2026-01-02", "first partition is 2026-01-01 .*SOUNDLINK_START_DATE"),
        ("2026-02-01", "2026-03-01", "2026-03-01 has not closed yet; the newest day is 2026-02-28"),
    ],
)
def test_a_range_that_cannot_be_pulled_is_refused_with_its_reason(start: str, end: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        checked_range(start, end, FIRST, at("2026-03-01T23:59:59"))
    assert str(refused.value).startswith("cannot pull ")
