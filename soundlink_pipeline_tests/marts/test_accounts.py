"""Models over several accounts: what is expected of each, and nothing of two that is mixed."""

from datetime import date, timedelta

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline_tests.marts.shared import (
    COUNTRY,
    PROVISIONAL,
    RUNNING,
    SETTLED,
    Marts,
    one,
)

COLUMNS = "account, report_date, subjects_expected, subjects_pulled, is_complete"


def test_a_day_waits_for_every_account_that_the_settings_name(marts: Marts) -> None:
    for account, listed_at in (("acme", "2026-05-01 10:00"), ("bolt", "2026-05-01 10:05")):
        marts.listed("c1", listed_at=listed_at, account=account, **RUNNING)
    marts.pulled(COUNTRY, "2026-04-10", account="acme")
    marts.build()
    assert marts.rows("marts.data_status", COLUMNS) == [
        ("acme", "2026-04-10", 1, 1, True),
        ("bolt", "2026-04-10", 1, 0, False),
    ]
    marts.put("expected_accounts", {"account": "acme"})
    marts.build()
    assert marts.rows("marts.data_status", COLUMNS) == [("acme", "2026-04-10", 1, 1, True)]


def test_a_day_before_an_accounts_own_first_one_does_not_wait_for_it(marts: Marts) -> None:
    for account in ("acme", "bolt"):
        marts.listed("c1", account=account, **RUNNING)
    marts.put("expected_accounts", {"account": "acme"})
    marts.put("expected_accounts", {"account": "bolt", "start_date": "2026-04-11"})
    for day in ("2026-04-10", "2026-04-11"):
        marts.pulled(COUNTRY, day, account="acme")
    marts.build()
    assert marts.rows("marts.data_status", COLUMNS) == [
        ("acme", "2026-04-10", 1, 1, True),
        ("acme", "2026-04-11", 1, 1, True),
        ("bolt", "2026-04-11", 1, 0, False),
    ]


def test_what_an_account_listed_first_is_still_listed(marts: Marts) -> None:
    marts.listed("c1", listed_at="2026-05-01 10:00", account="acme", **RUNNING)
    marts.listed("c2", listed_at="2026-05-01 10:05", account="bolt", **RUNNING)
    marts.listed("c3", listed_at="2026-04-30", account="bolt", **RUNNING)
    marts.build()
    listed = marts.rows("staging.stg_campaigns", "account, campaign_id, is_listed")
    assert listed == [("acme", "c1", True), ("bolt", "c2", True), ("bolt", "c3", False)]


def test_data_status_names_the_account_that_lags(marts: Marts) -> None:
    for account, campaign in (("acme", "c1"), ("bolt", "c2")):
        marts.listed(campaign, account=account, **RUNNING)
    marts.pulled(COUNTRY, "2026-03-01", path="c1", account="acme")
    marts.pulled(COUNTRY, "2026-03-01", path="c2", account="bolt", at=PROVISIONAL)
    marts.pulled(COUNTRY, "2026-03-02", path="c1", account="acme")
    marts.build()
    columns = "account, report_date, subjects_expected, subjects_pulled, last_pulled_at, is_complete, is_settled"
    assert marts.rows("marts.data_status", columns) == [
        ("acme", "2026-03-01", 1, 1, f"{SETTLED}:00", True, True),
        ("acme", "2026-03-02", 1, 1, f"{SETTLED}:00", True, True),
        ("bolt", "2026-03-01", 1, 1, f"{PROVISIONAL}:00", True, False),
        ("bolt", "2026-03-02", 1, 0, None, False, False),
    ]
    assert marts.failing() == ["every_expected_campaign_was_pulled"]


def of_two_accounts(marts: Marts, day: str = "2026-03-01", campaign: str = "c{}") -> list[dict[str, str]]:
    """A day pulled by two accounts; what tells the rows of each from the other's."""
    accounts = []
    for number, account in enumerate(("acme", "bolt"), 1):
        marts.pulled(COUNTRY, day, path=campaign.format(number), account=account)
        ((delivery,),) = marts.rows("deliveries", "max(delivery_id)")
        names = {"account_id": f"org-{account}", "campaign_id": campaign.format(number)}
        accounts.append(names | {"_delivery_id": delivery})
    return accounts


def test_a_country_has_a_row_for_each_account_with_its_share_and_place_there(marts: Marts) -> None:
    acme, bolt = of_two_accounts(marts)
    marts.country("2026-03-01", "US", spend_total=30, listeners=10, followers=3, **acme)
    marts.country("2026-03-01", "DE", spend_total=10, listeners=30, **acme)
    marts.country("2026-03-01", "US", spend_total=1, spend_media=1, listeners=1, **bolt)
    marts.country("2026-03-01", "DE", spend_total=4, listeners=4, **bolt)
    marts.build()
    columns = "account_id, country_code, {}, followers, cpl, spend_share, spend_rank, listener_share, listener_rank"
    expected = [
        ("org-acme", "DE", 30, 0, 0, 0.25, 2, 0.75, 1),
        ("org-acme", "US", 10, 3, 0, 0.75, 1, 0.25, 2),
        ("org-bolt", "DE", 4, 0, 0, 0.8, 1, 0.8, 1),
        ("org-bolt", "US", 1, 0, 1, 0.2, 2, 0.2, 2),
    ]
    assert marts.rows("marts.country_daily", columns.format("listeners")) == expected
    assert marts.rows("marts.country_summary", columns.format("listener_days")) == expected
    assert "country_shares_sum_to_one" not in marts.failing(singular=True)


def test_what_was_shifted_from_one_account_to_another_is_found(marts: Marts) -> None:
    acme, bolt = of_two_accounts(marts)
    for of in (acme, bolt):
        marts.country("2026-03-01", "US", streams=5, **of)
    marts.build()
    change = "streams + case account_id when 'org-acme' then 1 else -1 end"
    marts.connection.execute(f"update marts.country_daily set streams = {change}")
    assert sorted(marts.failing(singular=True)) == [
        "country_daily_reconciles",
        "country_summary_is_the_sum_of_days",
        "country_weekly_is_the_sum_of_days",
    ]


def test_rows_of_a_day_are_counted_for_the_account_that_they_came_for(marts: Marts) -> None:
    acme, bolt = of_two_accounts(marts)
    for country in ("US", "DE"):
        marts.country("2026-03-01", country, **acme)
    marts.country("2026-03-01", "US", **bolt)
    marts.country("2026-03-01", "US", table=f"{COUNTRY}_history", _valid_until=SETTLED, **bolt)
    marts.vanished("2026-03-01", "FR", last_seen=acme["_delivery_id"], vanished=acme["_delivery_id"])
    # A campaign that has moved: of the account that it came for, with the organization of its rows.
    marts.country("2026-03-01", "US", **acme | {"account_id": "org-before"})
    columns = "rows, revised_keys, vanished_keys"
    for dates in (None, DateRange(date(2026, 3, 1), date(2026, 3, 1))):
        marts.build(dates)
        assert marts.rows("marts.data_status", f"account, {columns}") == [("acme", 3, 0, 1), ("bolt", 1, 1, 0)]
        assert marts.rows("marts.rows_by_day", f"account, account_id, {columns}", "vanished_keys = 0") == [
            ("acme", "org-acme", 2, 0, 0),
            ("acme", "org-before", 1, 0, 0),
            ("bolt", "org-bolt", 1, 1, 0),
        ]


def test_a_row_of_a_day_that_only_another_account_pulled_is_found(marts: Marts) -> None:
    marts.pulled(COUNTRY, "2026-03-02", account="acme")
    ((delivery,),) = marts.rows("deliveries", "delivery_id")
    marts.pulled(COUNTRY, "2026-03-01", account="bolt")
    marts.country("2026-03-01", _delivery_id=delivery)
    marts.build()
    assert marts.failing(singular=True) == ["rows_have_a_data_status"]


def test_revision_curve_does_not_mix_accounts(marts: Marts) -> None:
    for account, believed, settled in (("acme", 60, 100), ("bolt", 5, 10)):
        campaign, since = f"of-{account}", {"_valid_from": "2026-03-02 07:00"}
        names = {"account_id": f"org-{account}", "campaign_id": campaign}
        for pull in ("2026-03-02 07:00", "2026-03-09 07:00"):
            marts.pulled(COUNTRY, "2026-03-01", at=pull, path=campaign, account=account)
        ended = {"_valid_until": "2026-03-09 07:00"}
        marts.country("2026-03-01", table=f"{COUNTRY}_history", streams=believed, **names, **since, **ended)
        marts.country("2026-03-01", streams=settled, **names, _valid_from="2026-03-09 07:00")
    marts.build()
    columns = "account_id, report_dates, value_then, value_settled, shortfall_share, worst_shortfall_share"
    assert marts.rows("marts.revision_curve", columns, "measure = 'streams' and days_after_close = 0") == [
        ("org-acme", 1, 60, 100, 0.4, 0.4),
        ("org-bolt", 1, 5, 10, 0.5, 0.5),
    ]


def test_revision_curve_reaches_back_from_each_accounts_own_newest_settled_day(marts: Marts) -> None:
    # What bolt has settled lately does not push out the last days of acme, which ended before.
    for account, newest in (("acme", date(2026, 1, 31)), ("bolt", date(2026, 6, 30))):
        for back in (0, 89, 90):
            day, campaign = newest - timedelta(days=back), f"of-{account}"
            pulled = f"{day + timedelta(days=1)} 07:00"
            for at in (pulled, f"{day + timedelta(days=8)} 07:00"):
                marts.pulled(COUNTRY, str(day), at=at, path=campaign, account=account)
            names = {"account_id": f"org-{account}", "campaign_id": campaign}
            marts.country(str(day), streams=1, **names, _valid_from=pulled)
    marts.build()
    where = "measure = 'streams' and days_after_close = 0"
    assert marts.rows("marts.revision_curve", "account_id, report_dates", where) == [("org-acme", 2), ("org-bolt", 2)]


def test_a_subject_that_two_accounts_pull_counts_once(marts: Marts) -> None:
    for account in ("acme", "bolt"):
        for at in ("2026-03-02 07:00", "2026-03-09 07:00"):
            marts.pulled(COUNTRY, "2026-03-01", at=at, account=account)
    marts.country("2026-03-01", streams=7, _valid_from="2026-03-02 07:00")
    marts.build()
    where = "measure = 'streams' and days_after_close = 0"
    assert one(marts, "marts.revision_curve", "report_dates, value_then, value_settled", where) == (1, 7, 7)
