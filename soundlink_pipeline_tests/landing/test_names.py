"""What is known of a delivery is in its name, and whatever its campaign is called, in a folder of its own."""

import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.landing.deliveries import content, folder_name
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline_tests.landing.downloads import ASKED, BODY, arrived, files

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
    landed = landing.land(arrived(landing, subject_id=campaign_id, dates=dates, **known))
    assert landing.deliveries() == landing.not_archived() == [landed]
    archived = landing.archive(landed, load_order)
    assert landing.deliveries() == [archived]
    assert landing.not_archived() == []
    assert replace(archived, path=landed.path, loaded=None) == landed
    assert archived.delivery_id == landed.delivery_id
    assert content(archived) == (len(BODY), hashlib.sha256(BODY).hexdigest())


@pytest.mark.parametrize("campaign_id", HOSTILE_IDS)
def test_a_hostile_campaign_id_stays_one_folder_below_its_export(landing: Landing, campaign_id: str) -> None:
    landed = landing.land(arrived(landing, subject_id=campaign_id))
    assert landed.path.resolve().parent.parent == (landing.root / "campaign_country_daily").resolve()
    assert not landed.path.parent.name.startswith(".")
    assert landed.path.parent.name.isascii()
    [found] = landing.deliveries()
    assert found.subject_id == campaign_id
    where = landing.refuse(found, "no good")
    assert where.resolve().parent.parent == (landing.quarantine / "campaign_country_daily").resolve()


@given(texts)
def test_two_campaigns_never_share_a_folder(campaign_id: str) -> None:
    assert unquote(folder_name(campaign_id)) == campaign_id


@pytest.mark.parametrize("campaign_id", ["", "x" * 121, "🎧" * 11, "\ud800"])
def test_an_id_that_can_be_no_folder_is_refused_and_nothing_lands(landing: Landing, campaign_id: str) -> None:
    with pytest.raises(ValueError, match=r"listed id|surrogates"):
        landing.land(arrived(landing, subject_id=campaign_id))
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
        {"subject_id": "camp_2"},
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
    assert landing.listings(CAMPAIGN) == []
    assert landing.sweep(ASKED + timedelta(days=9999), retention_days=1) == 0
    assert foreign.exists()
