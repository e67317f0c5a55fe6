"""Several accounts in one warehouse: what the ledger knows of each, and which are expected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT, ListedId
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS, SUBJECTS
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.quality.completeness import missing, newest_complete_day
from soundlink_pipeline.warehouse.accounts import ExpectedAccount, MovedAccount, expect, moved_accounts
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline.warehouse.renamed import AccountRenamed, keep_accounts
from soundlink_pipeline_tests.support.deliveries import APRIL, NOON, arrival, ledger, load, query, refusal, row, save

TABLE = CAMPAIGN_COUNTRY_DAILY
DAY = date(2026, 5, 22)
OLD = {"createdAt": "2026-01-01T00:00:00Z"}


class Books:
    """A warehouse of several accounts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warehouse = NativeFile(folder / "data", wait_seconds=0)
        self.landing = Landing(folder / "data")
        with self.warehouse.write():
            pass

    def see(self, account: str, *campaigns: str, at: datetime = NOON, **fields: Any) -> None:
        lines = [json.dumps({"campaignId": name, **OLD, **fields}).encode() for name in campaigns]
        save(self.warehouse, self.landing.land_listing(CAMPAIGN, lines, at, None, f"run-{at:%d%H}", account=account))

    def pull(self, account: str, campaign: str = "camp_1", **changes: Any) -> None:
        changes = dict[str, Any](dates=DateRange(DAY, DAY), rows=[]) | changes
        load(self.warehouse, arrival(self.folder / "in", account=account, campaign=campaign, **changes))

    def expect(self, *accounts: str) -> None:
        with self.warehouse.write() as connection:
            expect(connection, [ExpectedAccount(name) for name in accounts])

    def lacking(self) -> list[ListedId]:
        with self.warehouse.read() as connection:
            return [item.listed_id for item in missing(connection, TABLE, DateRange(DAY, DAY))]

    def newest_complete(self) -> date | None:
        with self.warehouse.read() as connection:
            return newest_complete_day(connection, TABLE, NOON)

    def keep(self, account: str, listed: Sequence[dict[str, Any]], *expected: ExpectedAccount) -> None:
        with self.warehouse.write() as connection:
            keep_accounts(connection, [(account, CAMPAIGN, listed)], expected, SUBJECTS)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


def test_what_was_listed_first_does_not_count_as_gone(books: Books) -> None:
    books.see("first", "a", at=NOON)
    books.see("second", "b", at=NOON + timedelta(seconds=3))
    with ledger(books.warehouse) as asked:
        assert list(asked.listed(CAMPAIGN)) == [ListedId("first", "a"), ListedId("second", "b")]
    books.see("second", "c", at=NOON + timedelta(hours=1))
    with ledger(books.warehouse) as asked:
        assert list(asked.listed(CAMPAIGN)) == [ListedId("first", "a"), ListedId("second", "c")]


def test_a_campaign_of_one_id_is_another_in_another_account(books: Books) -> None:
    for account in ("first", "second"):
        books.see(account, "camp_1")
    books.pull("first")
    assert books.lacking() == [ListedId("second", "camp_1")]
    with ledger(books.warehouse) as asked:
        dates = DateRange(DAY, DAY)
        assert asked.done_days(dates, ["run-1"], settled=False, account="second") == {}
        so_far = asked.pulled_so_far(EXPORTS, dates, ["run-1"], settled=False, account="first")
    assert so_far.done == {(TABLE.name, "camp_1"): {DAY}}
    assert so_far.pulled_before == {TABLE.name}


def test_an_account_that_the_settings_no_longer_name_is_not_waited_for(books: Books) -> None:
    books.see("first", "a", at=NOON - timedelta(days=5))
    books.see("second", "b")
    for day in range(18, 23):
        books.pull("second", "b", dates=DateRange(date(2026, 5, day), date(2026, 5, day)))
    assert books.lacking() == [ListedId("first", "a")]
    assert books.newest_complete() is None
    books.expect("second")
    assert books.lacking() == []
    assert books.newest_complete() == DAY
    with ledger(books.warehouse) as asked:
        assert set(asked.listed_at(CAMPAIGN)) == {"second"}
    books.expect("first", "second")
    assert books.lacking() == [ListedId("first", "a")]


def test_the_oldest_unsettled_day_is_of_an_account_that_is_expected(books: Books) -> None:
    books.see("first", "a")
    books.see("second", "b")
    books.pull("first", "a", dates=DateRange(date(2026, 5, 19), date(2026, 5, 20)))
    books.pull("second", "b")
    with ledger(books.warehouse) as asked:
        assert asked.oldest_unsettled(EXPORTS, NOON, APRIL.start) == date(2026, 5, 19)
    books.expect("second")
    with ledger(books.warehouse) as asked:
        assert asked.oldest_unsettled(EXPORTS, NOON, APRIL.start) == DAY


def test_the_accounts_are_told_with_organizations_pulls_and_what_is_listed(books: Books) -> None:
    books.see("first", "a", "b")
    books.see("second", "c", at=NOON - timedelta(days=1))
    books.see("second", "d", at=NOON)
    books.pull("first", "a", rows=[row(account_id="org-1", campaign_id="a")], dates=APRIL)
    books.pull("first", "b", rows=[row(account_id="org-2", campaign_id="b")], dates=APRIL, pulled=NOON + timedelta(1))
    with books.warehouse.write() as connection:
        expect(connection, [ExpectedAccount("first"), ExpectedAccount("third", "org-3")])
    naive = NOON.replace(tzinfo=None)
    assert query(books.warehouse, "from accounts order by name") == [
        ("first", ["org-1", "org-2"], naive, naive + timedelta(days=1), 2, 0, True),
        ("second", [], None, None, 1, 0, False),
        ("third", ["org-3"], None, None, 0, 0, True),
    ]


def test_an_empty_delivery_speaks_for_what_the_same_account_has_delivered(books: Books) -> None:
    listed: dict[str, Any] = {"campaign": "camp_1", "dates": APRIL}
    books.pull("first", **listed, rows=[row(campaign_id="of first")])
    books.pull("second", **listed, rows=[row(campaign_id="of second")], pulled=NOON + timedelta(hours=1))
    books.pull("first", **listed, rows=[], pulled=NOON + timedelta(hours=2))
    assert query(books.warehouse, f"select campaign_id from {TABLE.name}") == [("of second",)]
    assert query(books.warehouse, "select subject_id from vanished_rows") == [("of first",)]
    with ledger(books.warehouse) as asked:
        assert asked.row_subject_ids("first") == {(TABLE.name, "camp_1"): "of first"}


def test_one_account_under_another_name_is_refused(books: Books) -> None:
    books.see(DEFAULT_ACCOUNT, "a", "b", organizationId="org-1")
    books.pull(DEFAULT_ACCOUNT, "a", rows=[row(account_id="org-1", campaign_id="a")], dates=APRIL)
    acme = ExpectedAccount("acme")
    renamed = r"account acme is new, and lists the campaigns of account default, .* call it default again"
    with pytest.raises(AccountRenamed, match=renamed):
        books.keep("acme", [{"campaignId": "b"}], acme)
    with pytest.raises(AccountRenamed, match=renamed):
        books.keep("acme", [{"campaignId": "c", "organizationId": "org-1"}], acme)
    with pytest.raises(AccountRenamed, match=renamed):
        books.keep("acme", [], ExpectedAccount("acme", "org-1"))
    # Also where it was expected before, and nothing of it listed: in a run of another account, or while it failed.
    books.keep("other", [], acme, ExpectedAccount("other"))
    with pytest.raises(AccountRenamed, match=renamed):
        books.keep("acme", [{"campaignId": "b"}], acme, ExpectedAccount("other"))
    # Beside the old one it is another account, and so is one of other campaigns in its place.
    books.keep("acme", [{"campaignId": "b"}], ExpectedAccount(DEFAULT_ACCOUNT), acme)
    books.keep("acme", [{"campaignId": "c", "organizationId": "org-2"}], ExpectedAccount("acme", "org-2"))
    assert query(books.warehouse, "from expected_accounts") == [("acme", "org-2", None)]


def test_days_before_an_accounts_own_first_day_are_not_missing(books: Books) -> None:
    for account in ("first", "second"):
        books.see(account, "camp_1")
    with books.warehouse.write() as connection:
        expect(connection, [ExpectedAccount("first"), ExpectedAccount("second", start_date=DAY + timedelta(days=1))])
    assert books.lacking() == [ListedId("first", "camp_1")]


def test_an_account_whose_rows_name_another_organization_is_told(books: Books) -> None:
    def pull(organization: str, day: int) -> list[MovedAccount]:
        dates = DateRange(date(2026, 4, day), date(2026, 4, day))
        rows = [row(account_id=organization, report_date=f"2026-04-0{day}")]
        arrived = arrival(books.folder / "in", rows, account="acme", dates=dates, pulled=NOON + timedelta(hours=day))
        load(books.warehouse, arrived)
        with books.warehouse.read() as connection:
            return moved_accounts(connection, EXPORTS, {arrived.delivery.delivery_id})

    assert pull("org-1", 1) == []
    books.pull("acme", "camp_2", rows=[row(account_id="org-1", campaign_id="b")], dates=APRIL)
    assert pull("org-2", 2) == [MovedAccount("acme", "org-2", ("org-1",))]
    assert pull("org-2", 3) == []


@pytest.mark.parametrize("again", [False, True], ids=["first load", "days that are there"])
def test_rows_of_another_organization_than_the_settings_say_are_refused(books: Books, again: bool) -> None:
    with books.warehouse.write() as connection:
        expect(connection, [ExpectedAccount("acme", "aaaa"), ExpectedAccount("bolt")])
    rows = [row(account_id="AAAA"), row(account_id="AAAA", country_code="NA")]
    if again:
        books.pull("acme", rows=rows, dates=APRIL)
    other = arrival(
        books.folder / "in", [row(account_id="bbbb")], account="acme", campaign="x", pulled=NOON + timedelta(1)
    )
    why = refusal(load(books.warehouse, other))
    assert why.startswith("line 1: account_id must be aaaa, the organization of account acme (provider ")
    books.pull("bolt", "camp_2", rows=[row(account_id="bbbb", campaign_id="b")], dates=APRIL)
    if not again:
        books.pull("acme", rows=rows, dates=APRIL)
    found = query(books.warehouse, f"select account_id, count(*) from {TABLE.name} group by 1 order by 1")
    assert found == [("AAAA", 2), ("bbbb", 1)]
    # What was loaded before the settings said so is replayed as it was.
    replayed = arrival(books.folder / "in", [row(account_id="cccc", campaign_id="c")], account="acme", loaded=9)
    assert load(books.warehouse, replayed).rejected == []
