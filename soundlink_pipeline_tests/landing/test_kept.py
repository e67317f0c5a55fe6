"""What has landed is read as delivered, in the order of its loading; what is refused is kept with its reason."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.landing.deliveries import Delivery, content
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline_tests.landing.downloads import ASKED, BODY, RUN, Crash, arrived, files


def test_an_archived_delivery_is_compressed_and_reads_as_delivered(landing: Landing) -> None:
    landed = landing.land(arrived(landing))
    archived = landing.archive(landed, 7)
    assert archived.path.name == landed.path.name.replace(".ndjson", "_loaded-00000007.ndjson.zst")
    assert archived.path.stat().st_size < len(BODY) / 10
    assert files(landing.root) == [archived.path.name]
    with archived.open() as file:
        assert file.read() == BODY


def test_an_empty_delivery_can_be_kept_and_read(landing: Landing) -> None:
    archived = landing.archive(landing.land(arrived(landing, b"", declared_rows=0)), 1)
    assert content(archived) == (0, hashlib.sha256(b"").hexdigest())


def test_replay_is_in_the_order_of_loading_then_in_the_order_of_pulls(landing: Landing) -> None:
    def landed(campaign_id: str, minutes: int) -> Delivery:
        moment = ASKED + timedelta(minutes=minutes)
        return landing.land(arrived(landing, subject_id=campaign_id, requested_at=moment, server_date=moment))

    landing.archive(landed("second", 1), 2)
    landed("later", 9)
    landing.archive(landed("tenth", 2), 10)
    landed("earlier", 5)
    landing.archive(landed("first", 3), 1)
    assert [d.subject_id for d in landing.deliveries()] == ["first", "second", "tenth", "earlier", "later"]
    assert {d.subject_id for d in landing.not_archived()} == {"earlier", "later"}


def test_listings_come_back_oldest_first_compressed_or_not(landing: Landing) -> None:
    listings = [
        landing.land_listing(CAMPAIGN, [b'{"campaignId":"%d"}' % n], ASKED + timedelta(hours=n), None, RUN)
        for n in (2, 0, 1)
    ]
    landing.archive_listing(listings[1])
    found = landing.listings(CAMPAIGN)
    assert [listing.listed_at for listing in found] == [ASKED + timedelta(hours=n) for n in range(3)]
    assert [listing.path.suffix for listing in found] == [".zst", ".ndjson", ".ndjson"]
    landing.archive_listing(found[0])  # once more changes nothing
    assert landing.listings(CAMPAIGN) == found


def test_a_listing_whose_name_could_not_be_read_back_does_not_land(landing: Landing) -> None:
    with pytest.raises(ValueError, match="the name does not say all of it"):
        landing.land_listing(CAMPAIGN, [b"{}"], ASKED, None, "run_1")
    assert landing.listings(CAMPAIGN) == []


@pytest.mark.parametrize("compressed", [False, True])
def test_a_refused_delivery_is_kept_with_its_reason_and_not_loaded_again(landing: Landing, compressed: bool) -> None:
    delivery = landing.land(arrived(landing))
    if compressed:
        delivery = landing.archive(delivery, 1)
    where = landing.refuse(delivery, "line 3: „listeners“ must not be null 🎧")
    assert landing.deliveries() == landing.not_archived() == []
    assert where.name == delivery.path.name
    reason = where.with_name(where.name + ".reason.txt")
    assert reason.read_text("utf-8") == "line 3: „listeners“ must not be null 🎧\n"
    with replace(delivery, path=where).open() as file:
        assert file.read() == BODY


def test_a_reason_that_quotes_broken_text_is_still_written(landing: Landing) -> None:
    where = landing.refuse(landing.land(arrived(landing)), 'got "\ud800"')
    assert where.with_name(where.name + ".reason.txt").read_text("utf-8") == 'got "\\ud800"\n'


def test_the_reason_is_there_before_the_refused_file(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    landed = landing.land(arrived(landing))
    with monkeypatch.context() as patched:

        def crash(*_: object) -> None:
            raise Crash

        patched.setattr(Path, "replace", crash)
        with pytest.raises(Crash):
            landing.refuse(landed, "why")
    assert landing.deliveries() == [landed]  # will be refused again
    assert files(landing.quarantine) == [landed.path.name + ".reason.txt"]
    landing.refuse(landed, "why")
    assert files(landing.quarantine) == [landed.path.name, landed.path.name + ".reason.txt"]
