"""Models over several accounts: what is expected of each, and nothing of two that is mixed."""

from soundlink_pipeline_tests.marts.shared import COUNTRY, RUNNING, Marts

COLUMNS = "report_date, subjects_expected, subjects_pulled, is_complete"


def test_a_day_waits_for_every_account_that_the_settings_name(marts: Marts) -> None:
    for account, listed_at in (("acme", "2026-05-01 10:00"), ("bolt", "2026-05-01 10:05")):
        marts.listed("c1", listed_at=listed_at, account=account, **RUNNING)
    marts.pulled(COUNTRY, "2026-04-10", account="acme")
    marts.build()
    assert marts.rows("marts.data_status", COLUMNS) == [("2026-04-10", 2, 1, False)]
    marts.put("expected_accounts", {"account": "acme"})
    marts.build()
    assert marts.rows("marts.data_status", COLUMNS) == [("2026-04-10", 1, 1, True)]


def test_a_day_before_an_accounts_own_first_one_does_not_wait_for_it(marts: Marts) -> None:
    for account in ("acme", "bolt"):
        marts.listed("c1", account=account, **RUNNING)
    marts.put("expected_accounts", {"account": "acme"})
    marts.put("expected_accounts", {"account": "bolt", "start_date": "2026-04-11"})
    for day in ("2026-04-10", "2026-04-11"):
        marts.pulled(COUNTRY, day, account="acme")
    marts.build()
    assert marts.rows("marts.data_status", COLUMNS) == [("2026-04-10", 1, 1, True), ("2026-04-11", 2, 1, False)]


def test_what_an_account_listed_first_is_still_listed(marts: Marts) -> None:
    marts.listed("c1", listed_at="2026-05-01 10:00", account="acme", **RUNNING)
    marts.listed("c2", listed_at="2026-05-01 10:05", account="bolt", **RUNNING)
    marts.listed("c3", listed_at="2026-04-30", account="bolt", **RUNNING)
    marts.build()
    listed = marts.rows("staging.stg_campaigns", "account, campaign_id, is_listed")
    assert listed == [("acme", "c1", True), ("bolt", "c2", True), ("bolt", "c3", False)]
