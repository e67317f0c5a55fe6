"""A run's pulls, over real HTTP into a real DuckDB file: whatever goes wrong, what has arrived is loaded, and once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.pulling.landed import load_leftovers, rebuild
from soundlink_pipeline.pulling.planning import PullRequest, duration, expected_seconds, plan, without_done
from soundlink_pipeline.settings.settings import Settings, settings_from
from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Fault, KeyInfo, SimClock, Simulator, running_simulator
from soundlink_pipeline.warehouse.home import WarehouseLocked
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import ledger
from soundlink_pipeline_tests.support.project import KEY, asked, environment, listed, pull, puller, small_world, utc

DATES = DateRange(date(2026, 2, 9), date(2026, 2, 13))  # rows of every campaign are expected then


@pytest.fixture
def api() -> Iterator[Simulator]:
    with running_simulator(
        small_world(6), SimClock(utc("2026-03-02T06:00")), keys={KEY: KeyInfo()}, per_minute=None, per_hour=None
    ) as simulator:
        yield simulator


@pytest.fixture
def soundlink(api: Simulator, tmp_path: Path) -> Soundlink:
    limits = {"requests_per_minute": 100_000, "requests_per_hour": 100_000}
    return Soundlink(Settings(base_url=api.base_url, data_dir=tmp_path, **limits), lambda _: KEY)  # type: ignore[arg-type]


def counts(soundlink: Soundlink) -> tuple[int, int]:
    """Deliveries in the ledger, rows in the first export's table."""
    with soundlink.warehouse.read() as connection:
        return connection.execute(
            f"select (select count(*) from deliveries), (select count(*) from {BREAKDOWN})"
        ).fetchall()[0]


def rows_of_first_export(api: Simulator, *, without: str = "") -> int:
    return sum(
        len(api.world.rows(BREAKDOWN, campaign.uuid, DATES.start, DATES.end, api.clock.now()))
        for campaign in api.world.campaigns
        if campaign.uuid != without
    )


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# What is asked for


def test_a_plan_has_one_pull_per_campaign_and_ninety_days_oldest_first() -> None:
    campaigns = [{"campaignId": "a"}, {"campaignId": "b", "createdAt": "2026-04-05T00:00:00Z"}]
    year = DateRange(date(2026, 1, 1), date(2026, 6, 30))
    assert [(p.subject_id, str(p.dates)) for p in plan(CAMPAIGN_COUNTRY_DAILY, campaigns, year)] == [
        ("a", "2026-01-01 to 2026-03-31"),
        ("a", "2026-04-01 to 2026-06-29"),
        ("b", "2026-04-01 to 2026-06-29"),
        ("a", "2026-06-30 to 2026-06-30"),
        ("b", "2026-06-30 to 2026-06-30"),
    ]


def test_no_pulls_are_no_work(soundlink: Soundlink) -> None:
    with soundlink.connect(lambda _: None) as (client, pacer):
        summary = puller(soundlink, client, pacer).run([])
    assert (summary.requests, summary.loaded, summary.failed) == (0, [], [])
    assert not soundlink.warehouse.exists()


def test_a_campaign_twice_in_one_run_loses_no_version(api: Simulator, soundlink: Soundlink) -> None:
    campaign = api.world.campaigns[0]
    with soundlink.connect(lambda _: None) as (client, pacer):
        pulls = [
            PullRequest(CAMPAIGN_COUNTRY_DAILY, campaign.path_id, DateRange(date(2026, 1, first), date(2026, 1, 20)))
            for first in range(1, 16)
        ]
        summary = puller(soundlink, client, pacer).run(pulls)
    assert len(summary.loaded) == 15
    expected = api.world.rows(BREAKDOWN, campaign.uuid, date(2026, 1, 1), date(2026, 1, 20), api.clock.now())
    assert counts(soundlink) == (15, len(expected))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (91, "2 min"), (3600, "60 min"), (12_600, "3.5 h")]
)
def test_durations_are_told_in_a_unit_people_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("requests", "left", "seconds"), [(30, 600, 0), (90, 600, 30), (600, 600, 540), (1200, 600, 3600), (10, 0, 60)]
)
def test_the_expected_time_knows_both_limits(requests: int, left: int, seconds: float) -> None:
    assert expected_seconds(requests, 60, 600, left) == pytest.approx(seconds)


def test_only_days_that_are_not_done_are_asked_for_in_one_request_from_the_first_to_the_last_of_them() -> None:
    january = DateRange(date(2026, 1, 1), date(2026, 1, 31))
    pulls = plan(CAMPAIGN_COUNTRY_DAILY, [{"campaignId": name} for name in "abcd"], january)
    days = list(january.dates())
    name = CAMPAIGN_COUNTRY_DAILY.name
    done = {
        (name, "a"): set(days),
        (name, "b"): {*days[:10], *days[20:25]},
        (name, "c"): {*days[5:], date(2025, 12, 31)},
        ("campaign_engagement_daily", "d"): set(days),
    }
    assert [(item.subject_id, str(item.dates)) for item in without_done(pulls, done)] == [
        ("b", "2026-01-11 to 2026-01-31"),
        ("c", "2026-01-01 to 2026-01-05"),
        ("d", "2026-01-01 to 2026-01-31"),
    ]


def test_a_data_folder_may_have_any_name_that_the_settings_take(api: Simulator, tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s a#b 100%25 "q" ]{x,y} ~ü;$ =1'
    told = environment(api.base_url, folder)
    assert pull(Soundlink(settings_from(told), lambda _: KEY), str(DATES.start), str(DATES.end)).failed == []
    lost = Soundlink(settings_from(told), lambda _: KEY)
    lost.warehouse.path.unlink()
    assert len(rebuild(lost.warehouse, lost.landing, lambda _: None).loaded) == 12
    assert counts(lost) == (12, rows_of_first_export(api))


# What goes wrong


def test_a_delivery_that_landed_but_was_not_loaded_is_loaded_once_by_the_next_run(
    api: Simulator, soundlink: Soundlink
) -> None:
    with soundlink.connect(lambda _: None) as (client, pacer):
        campaigns = listed(soundlink, client, "run-1", ["run-1"])
        killed = puller(soundlink, client, pacer, "run-1")
        for item in plan(CAMPAIGN_COUNTRY_DAILY, campaigns, DATES):
            killed._fetch(item)
    assert counts(soundlink) == (0, 0)
    with ledger(soundlink.warehouse) as asked:
        assert asked.done_days(DATES, ["run-1"], settled=False) == {}
    summary = load_leftovers(soundlink.warehouse, soundlink.landing, lambda _: None)
    assert summary.rows == rows_of_first_export(api)
    with ledger(soundlink.warehouse) as asked:
        assert asked.done_days(DATES, ["run-1"], settled=False) == {
            (CAMPAIGN_COUNTRY_DAILY.name, campaign.path_id): set(DATES.dates()) for campaign in api.world.campaigns
        }
    before = counts(soundlink)
    assert before == (len(api.world.campaigns), rows_of_first_export(api))
    assert soundlink.landing.not_archived() == []
    assert load_leftovers(soundlink.warehouse, soundlink.landing, lambda _: None).loaded == []
    assert counts(soundlink) == before


def test_a_crash_between_loading_and_archiving_loads_nothing_twice(api: Simulator, soundlink: Soundlink) -> None:
    (campaign, *_) = api.world.campaigns
    with soundlink.connect(lambda _: None) as (client, pacer):
        killed = puller(soundlink, client, pacer)
        arrival = killed._fetch(PullRequest(CAMPAIGN_COUNTRY_DAILY, campaign.path_id, DATES))
    plain = arrival.delivery.path.read_bytes()
    first = load_leftovers(soundlink.warehouse, soundlink.landing, lambda _: None)
    arrival.delivery.path.write_bytes(plain)  # as if it had not come to be compressed
    again = load_leftovers(soundlink.warehouse, soundlink.landing, lambda _: None)
    assert (len(first.loaded), len(again.loaded)) == (1, 0)
    assert soundlink.landing.not_archived() == []
    assert len(soundlink.landing.deliveries()) == 1


@pytest.fixture
def listens_to_sigint() -> Iterator[None]:
    """A process that was started in the background ignores SIGINT, and so would its tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens_to_sigint")
@pytest.mark.parametrize("after", [None, 10])
def test_a_cancel_loads_what_has_arrived_and_leaves_no_thread_behind(
    api: Simulator, soundlink: Soundlink, after: int | None
) -> None:
    hanging = api.world.campaigns[0]
    api.faults.add(Fault("hang", export=BREAKDOWN, campaign=hanging.uuid, seconds=600, after=after))
    others = len(api.world.campaigns) - 1
    threads = set(threading.enumerate())

    def interrupt() -> None:
        until(lambda: len(soundlink.landing.not_archived()) == others)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pull(soundlink, str(DATES.start), str(DATES.end), exports=EXPORTS[:1])
    assert time.monotonic() - started < 60  # the silence would have lasted for two minutes at least
    interrupter.join()
    assert set(threading.enumerate()) <= threads
    assert counts(soundlink) == (others, rows_of_first_export(api, without=hanging.uuid))
    assert soundlink.landing.not_archived() == []
    assert list(soundlink.landing.root.glob(".*.part")) == []


def test_a_key_revoked_in_mid_run_stops_the_asking_and_keeps_what_came(api: Simulator, soundlink: Soundlink) -> None:
    api.faults.add(Fault("status", export=BREAKDOWN, skip=2, times=None, status=401, code="api_key_revoked"))
    with soundlink.connect(lambda _: None) as (client, pacer):
        campaigns = listed(soundlink, client, "run-1", ["run-1"])
        pulls = plan(CAMPAIGN_COUNTRY_DAILY, campaigns * 20, DATES)
        summary = puller(soundlink, client, pacer).run(pulls)
    assert len(summary.loaded) <= 2  # the first two may be told to stop while they arrive
    if summary.loaded:
        assert counts(soundlink)[0] == len(summary.loaded)
    assert len(summary.loaded) + len(summary.failed) == len(pulls)
    told = [item.reason for item in summary.failed if item.attempted]
    assert 1 <= len(told) <= 4
    assert all("this API key was revoked" in reason for reason in told)
    assert len(asked(api)) <= 2 + 4


def test_a_locked_warehouse_leaves_the_deliveries_for_the_next_run(api: Simulator, soundlink: Soundlink) -> None:
    with soundlink.connect(lambda _: None) as (client, _):
        listed(soundlink, client, "run-1", ["run-1"])
    soundlink.warehouse = NativeFile(soundlink.settings.data_dir, wait_seconds=0.2)
    program = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(soundlink.warehouse.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "open\n"
            with pytest.raises(WarehouseLocked, match=f"is open in process {holder.pid}"):
                pull(soundlink, str(DATES.start), str(DATES.end), exports=EXPORTS[:1])
        finally:
            holder.kill()
    landed = len(soundlink.landing.not_archived())
    assert landed > 0
    assert len(load_leftovers(soundlink.warehouse, soundlink.landing, lambda _: None).loaded) == landed


def test_a_disk_that_takes_no_file_keeps_what_was_there_before(api: Simulator, soundlink: Soundlink) -> None:
    blocked = api.world.campaigns[0]
    folder = soundlink.landing.root / BREAKDOWN / blocked.uuid
    folder.parent.mkdir(parents=True)
    folder.write_text("not a folder")
    api.faults.add(Fault("hang", export=BREAKDOWN, campaign=blocked.uuid, seconds=1))
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        pull(soundlink, str(DATES.start), str(DATES.end), exports=EXPORTS[:1])
    landed, rows = counts(soundlink)
    assert landed == len(api.world.campaigns) - 1
    assert rows == rows_of_first_export(api, without=blocked.uuid)


def test_the_step_before_cannot_have_listed_for_another_run(api: Simulator, soundlink: Soundlink) -> None:
    with soundlink.connect(lambda _: None) as (client, _):
        first = listed(soundlink, client, "run-1", ["run-1"])
        # Another run lists one campaign less; a resumed run still goes by the list it began with.
        api.faults.add(Fault("json", match="/v1/campaigns", data=_listing(first[1:])))
        second = listed(soundlink, client, "run-2", ["run-2"])
        before = len(api.stats.records)
        assert [c["campaignId"] for c in listed(soundlink, client, "run-3", ["run-3", "run-1"])] == [
            c["campaignId"] for c in first
        ]
    assert len(second) == len(first) - 1
    assert len(api.stats.records) == before == 2


def test_a_listing_that_was_not_saved_is_saved_by_the_next_step(api: Simulator, soundlink: Soundlink) -> None:
    with soundlink.connect(lambda _: None) as (client, _):
        pages = client.listed(CAMPAIGN)
        soundlink.landing.land_listing(
            CAMPAIGN, [b'{"campaignId":"a","status":"active"}'], pages.requested_at, pages.server_date, "run-1"
        )
        assert listed(soundlink, client, "run-1", ["run-1"]) == [{"campaignId": "a", "status": "active"}]
    with soundlink.warehouse.read() as connection:
        assert connection.execute("select campaign_id from campaigns").fetchall() == [("a",)]


def test_both_exports_of_all_campaigns_are_each_asked_for_once(api: Simulator, soundlink: Soundlink) -> None:
    summary = pull(soundlink, str(DATES.start), str(DATES.end))
    assert summary.requests == len(asked(api)) == len(set(asked(api))) == 2 * len(api.world.campaigns)
    assert {item.delivery.export for item in summary.loaded} == {BREAKDOWN, ENGAGEMENT}


def _listing(items: list[dict[str, object]]) -> dict[str, object]:
    pagination = {"page": 1, "pageSize": 100, "totalCount": len(items), "totalPages": 1}
    return {"items": items, "pagination": pagination}
