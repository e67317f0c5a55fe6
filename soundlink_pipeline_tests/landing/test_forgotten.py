"""What is deleted: old loaded files and abandoned downloads, and nothing else."""

import os
from datetime import UTC, datetime, timedelta

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.landing.deliveries import Delivery
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline_tests.landing.downloads import ASKED, arrived


def test_only_loaded_files_older_than_the_retention_are_deleted(landing: Landing) -> None:
    now = ASKED + timedelta(days=400)

    def pulled(campaign_id: str, moment: datetime) -> Delivery:
        return landing.land(arrived(landing, subject_id=campaign_id, requested_at=moment, server_date=moment))

    oldest_kept = now - timedelta(days=30)
    expired = landing.archive(pulled("expired", oldest_kept - timedelta(microseconds=1)), 1)
    kept = [
        landing.archive(pulled("at-the-limit", oldest_kept), 2),
        landing.archive(pulled("new", now), 3),
        pulled("never-loaded", ASKED),
    ]
    refused = landing.refuse(landing.archive(pulled("refused", ASKED), 4), "no good")
    old_listing = landing.land_listing(CAMPAIGN, [b"{}"], ASKED, ASKED, "old")
    landing.archive_listing(old_listing)
    new_listing = landing.land_listing(CAMPAIGN, [b"{}"], now, now, "new")
    landing.archive_listing(new_listing)
    unread_listing = landing.land_listing(CAMPAIGN, [b"{}"], ASKED, ASKED, "unread")
    for path in landing.root.rglob("*"):
        os.utime(path, (0, 0))  # age is told by the name: a restored backup is neither young nor old

    assert landing.sweep(now, retention_days=30) == 2

    assert not expired.path.exists()
    assert landing.deliveries() == kept
    assert [listing.run_id for listing in landing.listings(CAMPAIGN)] == ["unread", "new"]
    assert unread_listing.path.exists()
    assert refused.exists()
    assert landing.sweep(now, retention_days=30) == 0


def test_an_abandoned_download_is_swept_and_a_living_one_is_not(landing: Landing) -> None:
    now = datetime(2026, 3, 2, 6, tzinfo=UTC)
    paths = {}
    for hours in (1, 23, 25):
        paths[hours] = landing.temporary_file()
        paths[hours].write_bytes(b"partial")
        os.utime(paths[hours], ((now - timedelta(hours=hours)).timestamp(),) * 2)
    in_a_folder = landing.land(arrived(landing)).path.with_name(".0123456789abcdef.part")  # of a crash in archiving
    in_a_folder.write_bytes(b"partial")
    os.utime(in_a_folder, (0, 0))
    assert landing.sweep(now, retention_days=400) == 2
    assert [hours for hours, path in paths.items() if path.exists()] == [1, 23]
    assert not in_a_folder.exists()


def test_sweeping_an_empty_data_directory_is_no_error(landing: Landing) -> None:
    assert landing.sweep(ASKED, 30) == 0
    assert landing.deliveries() == landing.not_archived() == []
    assert landing.listings(CAMPAIGN) == []


def test_a_retention_beyond_the_calendar_keeps_everything(landing: Landing) -> None:
    assert landing.sweep(ASKED, retention_days=10**12) == 0
