"""Files of several accounts in one landing: each in its account's folder, the first one's where they always were."""

from dataclasses import replace

import pytest

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline_tests.landing.downloads import ASKED, RUN, arrived

ITEM = b'{"campaignId":"camp_1"}'


def test_a_delivery_lands_in_the_folder_of_its_account_and_is_read_back_as_that_accounts(landing: Landing) -> None:
    first, other = landing.land(arrived(landing)), landing.land(arrived(landing, account="acme"))
    assert first.path.parent == landing.root / "campaign_country_daily" / "camp_1"
    assert other.path.parent == landing.root / "accounts" / "acme" / "campaign_country_daily" / "camp_1"
    assert first.delivery_id != other.delivery_id
    assert sorted(landing.not_archived(), key=lambda delivery: delivery.account) == [other, first]
    kept = [landing.archive(delivery, place) for place, delivery in enumerate((other, first), start=1)]
    assert landing.deliveries() == kept


def test_the_id_of_a_delivery_from_before_there_were_accounts_is_what_it_was(landing: Landing) -> None:
    assert arrived(landing).delivery_id == "20260301T060000.000000_20260301T060000.123456_442de092"


def test_a_listing_lands_in_the_folder_of_its_account(landing: Landing) -> None:
    first = landing.land_listing(CAMPAIGN, [ITEM], ASKED, None, RUN)
    other = landing.land_listing(CAMPAIGN, [ITEM], ASKED, None, RUN, account="acme")
    assert first.path.parent == landing.root / "campaigns"
    assert other.path.parent == landing.root / "accounts" / "acme" / "campaigns"
    assert sorted(landing.listings(CAMPAIGN), key=lambda listing: listing.account) == [other, first]


def test_what_is_refused_is_kept_in_the_quarantine_of_its_account(landing: Landing) -> None:
    delivery = landing.land(arrived(landing, account="acme"))
    listing = landing.land_listing(CAMPAIGN, [ITEM], ASKED, None, RUN, account="acme")
    own = landing.quarantine / "accounts" / "acme"
    assert landing.refuse(delivery, "why").parent == own / "campaign_country_daily" / "camp_1"
    assert landing.refuse_listing(listing, "why").parent == own / "campaigns"


def test_files_of_every_account_are_forgotten_when_their_time_has_come(landing: Landing) -> None:
    for account in ("default", "acme"):
        landing.archive(landing.land(arrived(landing, account=account)), 1)
        landing.archive_listing(landing.land_listing(CAMPAIGN, [ITEM], ASKED, None, RUN, account=account))
    assert landing.sweep(ASKED.replace(year=ASKED.year + 2), retention_days=400) == 4
    assert (landing.deliveries(), landing.listings(CAMPAIGN)) == ([], [])


def test_folders_of_an_account_that_cannot_be_seen_are_told(landing: Landing) -> None:
    hidden = landing.land(arrived(landing, account="acme")).path.parent
    hidden.chmod(0)
    try:
        if any(hidden.parent.glob("*/*.ndjson")):
            pytest.skip("this user may read everything")
        assert list(landing.unreadable_folders()) == [hidden]
    finally:
        hidden.chmod(0o755)


def test_the_same_delivery_of_two_accounts_is_not_taken_for_one(landing: Landing) -> None:
    one = landing.land(arrived(landing, account="one"))
    two = landing.land(replace(arrived(landing), account="two"))
    assert list(landing.other_files(one)) == list(landing.other_files(two)) == []
