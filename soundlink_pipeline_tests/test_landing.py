"""Landed files: whole or not there, told by their names, kept, replayed, never lost."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundlink_pipeline.landing import Delivery, Landing, content, folder_name
from soundlink_pipeline.partitions import DateRange

ASKED = datetime(2026, 3, 1, 6, 0, 0, 123456, tzinfo=UTC)
BODY = '{"campaign_name":"Sunrise\u2028Sunset 🎧"}\n'.encode() * 1000
RUN = "7c6f1f0e-4a53-4d4c-9d3a-6f1e4f0d2b11"
HOSTILE_IDS = [
    ".",
    "..",
    "...",
    "a/b",
    "/etc",
    "../../up",
    "ü",
    "%2F",
    "a b",
    " ",
    "~",
    "-",
    "a\\b",
    "a:b*?<>|",
    "A\x00B",
]
HOSTILE_IDS += ["🎧" * 10, "'; drop table x;--", "x" * 120, "con", "a\nb", ".hidden", "campaigns", "x.part", "a%", "+"]

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
moments = st.integers(0, 3 * 10**15).map(lambda micro: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=micro))


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "data")


def arrived(landing: Landing, body: bytes = BODY, **known: Any) -> Delivery:
    """A download that is complete but has not landed."""
    path = landing.temporary_file()
    path.write_bytes(body)
    told: dict[str, Any] = {
        "export": "campaign_country_daily",
        "campaign_id": "camp_1",
        "dates": DateRange(date(2026, 2, 1), date(2026, 2, 28)),
        "requested_at": ASKED,
        "received_at": ASKED + timedelta(seconds=2),
        "server_date": ASKED.replace(microsecond=0),
        "declared_rows": 1000,
        "run_id": RUN,
    }
    return Delivery(**{**told, **known}, path=path)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# Names


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    campaign_id=texts,
    start=st.dates(date(1000, 1, 1), date(9000, 1, 1)),
    length=st.integers(0, 89),
    requested_at=moments,
    server_date=st.none() | moments,
    declared_rows=st.none() | st.integers(0, 10**15),
    load_order=st.integers(1, 10**10),
)
def test_whatever_is_known_of_a_delivery_is_read_back_from_its_name(
    tmp_path_factory: pytest.TempPathFactory,
    campaign_id: str,
    start: date,
    length: int,
    load_order: int,
    **known: Any,
) -> None:
    landing = Landing(tmp_path_factory.mktemp("data"))
    dates = DateRange(start, start + timedelta(days=length))
    landed = landing.land(arrived(landing, campaign_id=campaign_id, dates=dates, **known))
    assert landing.deliveries() == landing.not_archived() == [landed]
    archived = landing.archive(landed, load_order)
    assert landing.deliveries() == [archived]
    assert landing.not_archived() == []
    assert replace(archived, path=landed.path, loaded=None) == landed
    assert archived.delivery_id == landed.delivery_id
    assert content(archived) == (len(BODY), hashlib.sha256(BODY).hexdigest())


@pytest.mark.parametrize("campaign_id", HOSTILE_IDS)
def test_a_hostile_campaign_id_stays_one_folder_below_its_export(landing: Landing, campaign_id: str) -> None:
    landed = landing.land(arrived(landing, campaign_id=campaign_id))
    assert landed.path.resolve().parent.parent == (landing.root / "campaign_country_daily").resolve()
    assert not landed.path.parent.name.startswith(".")
    assert landed.path.parent.name.isascii()
    [found] = landing.deliveries()
    assert found.campaign_id == campaign_id
    where = landing.refuse(found, "no good")
    assert where.resolve().parent.parent == (landing.quarantine / "campaign_country_daily").resolve()


@given(texts)
def test_two_campaigns_never_share_a_folder(campaign_id: str) -> None:
    assert unquote(folder_name(campaign_id)) == campaign_id


@pytest.mark.parametrize("campaign_id", ["", "x" * 121, "🎧" * 11, "\ud800"])
def test_an_id_that_can_be_no_folder_is_refused_and_nothing_lands(landing: Landing, campaign_id: str) -> None:
    with pytest.raises(ValueError, match=r"campaign id|surrogates"):
        landing.land(arrived(landing, campaign_id=campaign_id))
    assert landing.deliveries() == []


@pytest.mark.parametrize(
    "known",
    [
        {"run_id": "run_with_underscores"},
        {"run_id": ""},
        {"run_id": "a/b"},
        {"requested_at": ASKED.replace(tzinfo=None)},  # naive: another moment on another machine
        {"server_date": datetime(999, 1, 1, tzinfo=UTC)},
        {"declared_rows": -1},
        {"export": "a/b"},
    ],
    ids=str,
)
def test_what_could_not_be_read_back_does_not_land(landing: Landing, known: dict[str, Any]) -> None:
    """It would be a file that no run ever loads."""
    with pytest.raises(ValueError, match="the name does not say all of it"):
        landing.land(arrived(landing, **known))
    assert [name for name in files(landing.root) if not name.endswith(".part")] == []


def test_moments_are_written_in_utc(landing: Landing) -> None:
    elsewhere = timezone(timedelta(hours=-7))
    landed = landing.land(arrived(landing, requested_at=ASKED.astimezone(elsewhere)))
    assert "_asked-20260301T060000.123456_" in landed.path.name


def test_the_order_of_ids_is_the_order_of_pulls(landing: Landing) -> None:
    moments = [ASKED + timedelta(microseconds=n) for n in (0, 1, 999_999, 10**6, 10**11)]
    ids = [arrived(landing, server_date=None, requested_at=moment).delivery_id for moment in moments]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_deliveries_of_one_moment_differ_by_what_they_hold(landing: Landing) -> None:
    others: list[dict[str, Any]] = [
        {},
        {"export": "campaign_engagement_daily"},
        {"campaign_id": "camp_2"},
        {"dates": DateRange(date(2026, 2, 1), date(2026, 2, 27))},
    ]
    assert len({arrived(landing, **other).delivery_id for other in others}) == len(others)


def test_the_servers_clock_decides_about_the_moment_of_a_pull(landing: Landing) -> None:
    server = ASKED - timedelta(days=3)
    assert arrived(landing, server_date=server).pulled_at == server
    assert arrived(landing, server_date=None).pulled_at == ASKED


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "notes.ndjson",
        "2026-02-30_2026-03-01_asked-20260301T060000.000000_server-none_received-20260301T060000.000000"
        "_rows-1_run-a.ndjson",
        "2026-03-02_2026-03-01_asked-20260301T060000.000000_server-none_received-20260301T060000.000000"
        "_rows-1_run-a.ndjson",
        "2026-03-01_2026-03-01_asked-20261301T060000.000000_server-none_received-20260301T060000.000000"
        "_rows-1_run-a.ndjson",
    ],
)
def test_a_foreign_file_in_the_landing_does_not_stop_the_pipeline(landing: Landing, name: str) -> None:
    landed = landing.land(arrived(landing))
    foreign = landed.path.with_name(name)
    foreign.write_text("not ours")
    (landing.root / "campaigns").mkdir()
    (landing.root / "campaigns" / "asked-20261301T060000.000000_server-none_run-a.ndjson").write_text("not ours")
    assert landing.deliveries() == landing.not_archived() == [landed]
    assert landing.listings() == []
    assert landing.sweep(ASKED + timedelta(days=9999), retention_days=1) == 0
    assert foreign.exists()


# Landing whole


class Crash(BaseException):
    """The machine stops here."""


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int) -> list[tuple[str, Path]]:
    """Count what reaches the disk (fsync, rename, unlink), and stop before the given step; returns the steps done."""
    done: list[tuple[str, Path]] = []
    opened: dict[int, Path] = {}

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(target: Any, *arguments: Any, **settings: Any) -> Any:
            if len(done) == step:
                raise Crash
            if name == "fsync":
                inode = os.fstat(target).st_ino
                target_path = next(path for path in opened.values() if path.exists() and path.stat().st_ino == inode)
            else:
                target_path = Path(target)
            done.append((name, target_path))
            return function(target, *arguments, **settings)

        return run

    def noted(path: Any, *arguments: Any, **settings: Any) -> int:
        descriptor = os_open(path, *arguments, **settings)
        opened[descriptor] = Path(path)
        return descriptor

    def noted_path(self: Path, *arguments: Any, **settings: Any) -> Any:
        file = path_open(self, *arguments, **settings)
        opened[file.fileno()] = self
        return file

    os_open, path_open = os.open, Path.open
    monkeypatch.setattr(os, "open", noted)
    monkeypatch.setattr(Path, "open", noted_path)
    monkeypatch.setattr(os, "fsync", counted("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", counted("rename", Path.replace))
    monkeypatch.setattr(Path, "unlink", counted("unlink", Path.unlink))
    return done


def test_a_delivery_is_durable_before_it_counts_as_landed(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = arrived(landing)
    with monkeypatch.context() as patched:
        done = crash_at(patched, -1)
        landed = landing.land(waiting)
    folder = landed.path.parent
    assert done == [
        ("fsync", landing.root),  # each new folder, in the folder it was made in
        ("fsync", folder.parent),
        ("rename", waiting.path),
        ("fsync", folder),
    ]
    assert landed.path.read_bytes() == BODY


def test_a_listing_is_durable_before_it_counts_as_landed(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    (landing.root / "campaigns").mkdir(parents=True)
    with monkeypatch.context() as patched:
        done = crash_at(patched, -1)
        listing = landing.land_listing([b'{"campaignId":"a"}', b'{"campaignId":"b"}'], ASKED, None, RUN)
    assert [step for step, _ in done] == ["fsync", "rename", "fsync"]
    assert done[0][1] == done[1][1] != listing.path
    assert listing.path.read_bytes() == b'{"campaignId":"a"}\n{"campaignId":"b"}\n'


def test_a_download_in_progress_is_not_taken_for_a_delivery(landing: Landing) -> None:
    arrived(landing)
    assert landing.deliveries() == landing.not_archived() == []
    assert landing.listings() == []


def test_a_crash_at_any_step_of_archiving_loses_and_doubles_nothing(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(20):
        landed = landing.land(arrived(landing, requested_at=ASKED + timedelta(days=step)))
        known_before = len(landing.deliveries()) - 1
        with monkeypatch.context() as patched:
            done = crash_at(patched, step)
            try:
                landing.archive(landed, step + 1)
            except Crash:
                crashed = True
            else:
                crashed = False
        [kept] = [d for d in landing.deliveries() if d.delivery_id == landed.delivery_id]
        assert len(landing.deliveries()) == known_before + 1
        assert content(kept) == (len(BODY), hashlib.sha256(BODY).hexdigest())
        if not crashed:
            assert [name for name, _ in done] == ["fsync", "rename", "fsync", "unlink", "unlink"]
            assert done[0][1] == done[1][1] == done[3][1]  # the compressed file; last of all the plain one
            assert done[4][1] == landed.path
            break
        # The next run finishes what this one began.
        [unfinished] = landing.not_archived()
        assert unfinished == landed
        landing.archive(unfinished, step + 1)
        assert landing.not_archived() == []
        [archived] = [d for d in landing.deliveries() if d.delivery_id == landed.delivery_id]
        assert archived.loaded == step + 1
    else:
        raise AssertionError("archiving takes more steps than this test tries")


def test_a_full_disk_while_compressing_leaves_the_delivery_and_no_litter(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed = landing.land(arrived(landing))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            landing.archive(landed, 1)
    assert files(landing.root) == [landed.path.name]
    assert landing.not_archived() == [landed]


# Kept and replayed


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
        return landing.land(arrived(landing, campaign_id=campaign_id, requested_at=moment, server_date=moment))

    landing.archive(landed("second", 1), 2)
    landed("later", 9)
    landing.archive(landed("tenth", 2), 10)
    landed("earlier", 5)
    landing.archive(landed("first", 3), 1)
    assert [d.campaign_id for d in landing.deliveries()] == ["first", "second", "tenth", "earlier", "later"]
    assert {d.campaign_id for d in landing.not_archived()} == {"earlier", "later"}


def test_listings_come_back_oldest_first_compressed_or_not(landing: Landing) -> None:
    listings = [
        landing.land_listing([b'{"campaignId":"%d"}' % n], ASKED + timedelta(hours=n), None, RUN) for n in (2, 0, 1)
    ]
    landing.archive_listing(listings[1])
    found = landing.listings()
    assert [listing.listed_at for listing in found] == [ASKED + timedelta(hours=n) for n in range(3)]
    assert [listing.path.suffix for listing in found] == [".zst", ".ndjson", ".ndjson"]
    landing.archive_listing(found[0])  # once more changes nothing
    assert landing.listings() == found


def test_a_listing_whose_name_could_not_be_read_back_does_not_land(landing: Landing) -> None:
    with pytest.raises(ValueError, match="the name does not say all of it"):
        landing.land_listing([b"{}"], ASKED, None, "run_1")
    assert landing.listings() == []


# Refused


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


# Forgotten


def test_only_loaded_files_older_than_the_retention_are_deleted(landing: Landing) -> None:
    now = ASKED + timedelta(days=400)

    def pulled(campaign_id: str, moment: datetime) -> Delivery:
        return landing.land(arrived(landing, campaign_id=campaign_id, requested_at=moment, server_date=moment))

    oldest_kept = now - timedelta(days=30)
    expired = landing.archive(pulled("expired", oldest_kept - timedelta(microseconds=1)), 1)
    kept = [
        landing.archive(pulled("at-the-limit", oldest_kept), 2),
        landing.archive(pulled("new", now), 3),
        pulled("never-loaded", ASKED),
    ]
    refused = landing.refuse(landing.archive(pulled("refused", ASKED), 4), "no good")
    old_listing = landing.land_listing([b"{}"], ASKED, ASKED, "old")
    landing.archive_listing(old_listing)
    new_listing = landing.land_listing([b"{}"], now, now, "new")
    landing.archive_listing(new_listing)
    unread_listing = landing.land_listing([b"{}"], ASKED, ASKED, "unread")
    for path in landing.root.rglob("*"):
        os.utime(path, (0, 0))  # age is told by the name: a restored backup is neither young nor old

    assert landing.sweep(now, retention_days=30) == 2

    assert not expired.path.exists()
    assert landing.deliveries() == kept
    assert [listing.run_id for listing in landing.listings()] == ["unread", "new"]
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
    assert landing.listings() == []
