"""Details are asked for once, newest first, and never cost a run more than they may; they outlive the warehouse."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.api.pacing import Cancelled
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.soundlinks import SOUNDLINK
from soundlink_pipeline.contracts.subject import Item, Subject
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.pulling import details as pulling_details
from soundlink_pipeline.pulling.details import Details, keep_details, keep_landed_details, lacking_details, places
from soundlink_pipeline.pulling.landed import rebuild
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.simulator import Fault, KeyInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline_tests.support.project import KEY, listed, utc

SUBJECTS = (CAMPAIGN, SOUNDLINK)
KINDS = ("campaign", "soundlink")


@dataclass
class Account:
    """An account whose listings and details are asked for as a run does, without its exports."""

    api: Simulator
    soundlink: Soundlink
    said: list[str] = field(default_factory=list)
    runs: int = 0

    def run(self, *, saves: bool = True, most: int = 50) -> list[str]:
        """The ids whose details were asked for, in their order."""
        self.runs += 1
        run_id, soundlink = f"run-{self.runs}", self.soundlink
        with soundlink.connect(self.said.append) as (client, _):
            items: dict[Subject, Sequence[Item]] = {s: listed(soundlink, client, run_id, [run_id], s) for s in SUBJECTS}
        keep_landed_details(soundlink.warehouse, soundlink.landing, SUBJECTS, self.said.append)
        with soundlink.warehouse.read() as connection:
            lacking = lacking_details(Ledger(connection), items, "default")
        self.api.stats.reset()
        with soundlink.quick_client_of(soundlink.settings.accounts[0]) as (client, pacer):
            asking = Details(client, pacer, soundlink.landing, account="default", run_id=run_id, log=self.said.append)
            landed = asking.ask(lacking, most)
        if saves:
            keep_details(soundlink.warehouse, soundlink.landing, landed, self.said.append)
        assert {record.kind for record in self.api.stats.records} <= set(KINDS)
        return [record.path.rpartition("/")[2] for record in self.api.stats.records]

    @property
    def newest_campaign(self) -> str:
        campaigns = {one.path_id for one in self.api.world.campaigns}
        return next(name for name in newest_first(self.api) if name in campaigns)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.soundlink.warehouse.read() as connection:
            return connection.execute(sql).fetchall()

    def tables(self) -> list[list[tuple[Any, ...]]]:
        return [self.query(f"from {subject.table} order by all") for subject in SUBJECTS]


@contextmanager
def simulated(campaigns: int, soundlinks: int) -> Iterator[Simulator]:
    with running_simulator(
        World(campaigns=campaigns, soundlinks=soundlinks, countries_per_campaign=3, tracks_per_campaign=2),
        SimClock(utc("2026-03-02T06:00")),
        keys={KEY: KeyInfo()},
        per_minute=None,
        per_hour=None,
    ) as simulator:
        yield simulator


@pytest.fixture
def api() -> Iterator[Simulator]:
    with simulated(campaigns=3, soundlinks=4) as simulator:
        yield simulator


@pytest.fixture
def account(api: Simulator, tmp_path: Path) -> Account:
    return Account(api, with_settings(api, tmp_path))


def with_settings(api: Simulator, folder: Path, **more: Any) -> Soundlink:
    plenty = {"requests_per_minute": 10_000, "requests_per_hour": 10_000}
    return Soundlink(Settings(base_url=api.base_url, data_dir=folder, **plenty | more), lambda _: KEY)


def newest_first(api: Simulator) -> list[str]:
    """Ids by the day of creation, of one day as the API lists them: campaigns, then soundlinks."""
    things = [
        thing
        for of_subject in api.world.things.values()
        for thing in sorted(of_subject, key=lambda thing: thing.created_at, reverse=True)
    ]
    return [thing.path_id for thing in sorted(things, key=lambda thing: thing.created_at.date(), reverse=True)]


def test_details_are_asked_for_once_newest_first_and_become_columns(account: Account) -> None:
    world = account.api.world
    assert account.run() == newest_first(account.api)
    assert account.run() == []
    assert account.query("select campaign_id, strategy_type, auto_renew from campaigns order by 1") == sorted(
        (one.path_id, one.strategy, one.auto_renews) for one in world.campaigns
    )
    columns = "soundlink_id, auto_follow, artist_id_follow, meta_pixel_id, tiktok_pixel_id"
    assert account.query(f"select {columns} from soundlinks order by 1") == sorted(
        (one.path_id, one.artist_id is not None, one.artist_id, one.pixel_id, None) for one in world.soundlinks
    )
    assert account.query("select count(apple_music_url), count(youtube_music_url) from soundlinks") != [(0, 0)]
    # All that was answered is kept, also what has no column.
    now = account.api.clock.now()
    kept = account.query("select campaign_id, _detail_json, _detail_at from campaigns order by 1")
    assert [(name, json.loads(detail)) for name, detail, _ in kept] == sorted(
        (one.path_id, one.detail(now)) for one in world.campaigns
    )
    assert {at for *_, at in kept} == {now.replace(tzinfo=None)}


def test_an_account_with_many_is_filled_over_several_runs(account: Account) -> None:
    everyone = newest_first(account.api)
    found = list[str]()
    while of_run := account.run(most=4):
        assert len(of_run) <= 4
        assert of_run[:3] == [name for name in everyone if name not in found][:3]
        found += of_run
    assert sorted(found) == sorted(everyone)
    assert account.said[0] == f"details: 4 of {len(everyone)} came, {len(everyone) - 4} are left to the next runs"


@pytest.mark.parametrize("most", [5, 1])
def test_new_ones_that_fail_in_every_run_keep_no_older_one_from_its_turn(account: Account, most: int) -> None:
    everyone = newest_first(account.api)
    failing, waiting = everyone[:most], {*everyone[most:]}
    assert len(waiting) >= 2
    for listed_id in failing:
        account.api.faults.add(Fault("status", match=f"/{listed_id}", times=None, status=404, code="not_found"))
    for _ in range(100 // most):
        waiting -= {*account.run(most=most)}
        if not waiting:
            break
    assert waiting == set()


@pytest.mark.parametrize(
    ("lacking", "given"),
    [
        ([], []),
        ([7], [7]),
        ([2_000], [50]),
        ([2_000, 1], [50, 1]),
        ([2_000] * 5, [40] * 5),
        ([2_000, 10, 2_000, 10, 2_000, 2_000], [45, 10, 45, 10, 45, 45]),
        ([38] * 40, [5] * 40),
        ([1, 38] * 20, [1, 9] * 20),
        ([3] * 201, [1] * 201),
    ],
)
def test_the_places_of_a_run_are_shared_among_accounts(lacking: list[int], given: list[int]) -> None:
    assert places(lacking) == given


def test_what_has_changed_is_asked_for_again_and_a_touch_is_not(account: Account) -> None:
    account.run()
    changing = next(
        one for one in account.api.world.campaigns if one.status_on(account.api.clock.now().date()) == "active"
    )
    account.api.clock.set(utc(f"{changing.last_day + timedelta(days=1)}T06:00"))
    assert changing.path_id in account.run()
    assert changing.path_id not in account.run()


def test_a_run_does_not_wait_for_the_limits_and_goes_on_with_the_next(api: Simulator, tmp_path: Path) -> None:
    few = Account(api, with_settings(api, tmp_path, requests_per_minute=5))  # listing takes two of them
    assert few.run() == newest_first(api)[:3]
    assert Account(api, with_settings(api, tmp_path), runs=1).run() == newest_first(api)[3:]


FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 404, "code": "campaign_not_found"},
    {"kind": "status", "status": 403, "code": "forbidden"},
    {"kind": "status", "status": 503, "code": "internal_error"},
    {"kind": "html"},
    {"kind": "edit", "edit": lambda body: body[:-20]},
    {"kind": "edit", "edit": lambda body: body.replace(b'"generation":', b'"more":NaN,"generation":')},
    {"kind": "edit", "edit": lambda body: body.replace(b'"strategyType":"', b'"strategyType":"\\ud800')},
    {"kind": "edit", "edit": lambda _: b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"},
    # Python reads this one here, and where a run saves it, further down its stack, no more.
    {"kind": "edit", "edit": lambda _: b'{"data":{"x":' + b"[" * 800 + b"]" * 800 + b"}}"},
    {"kind": "edit", "edit": lambda _: b'{"data":[]}'},
]


def test_what_fails_costs_itself_alone_and_is_asked_for_again(tmp_path: Path) -> None:
    with simulated(campaigns=len(FAULTS) + 1, soundlinks=1) as api:
        account = Account(api, with_settings(api, tmp_path))
        everyone, (soundlink,) = newest_first(api), [one.path_id for one in api.world.soundlinks]
        *bad, good = [one.path_id for one in api.world.campaigns]
        for listed_id, fault in zip(bad, FAULTS, strict=True):
            api.faults.add(Fault(match=f"/v1/campaigns/{listed_id}", **fault))
        assert account.run() == everyone
        (said,) = account.said
        assert said.startswith(
            "details: 2 of 12 came, 10 are left to the next runs; 10 requests failed, the first of campaign "
        )
        assert account.query("select campaign_id from campaigns where strategy_type is not null") == [(good,)]
        assert soundlink not in (asked := account.run())
        assert sorted(asked) == sorted(bad)


def test_a_key_that_an_answer_says_back_is_not_kept(account: Account) -> None:
    said = b'"token":"%s","generation":' % KEY.encode()
    for match in ("/v1/campaigns", "/v1/soundlinks"):
        account.api.faults.add(
            Fault("edit", match=match, times=None, edit=lambda body: body.replace(b'"generation":', said))
        )
    account.run()
    kept = account.query("select _listed_json, _detail_json, _detail_listed_json from campaigns")
    assert all("[key]" in text and KEY not in text for texts in kept for text in texts)


def test_a_scope_that_is_missing_is_found_out_with_one_request_and_costs_the_others_nothing(account: Account) -> None:
    account.api.faults.add(Fault("status", match="/v1/campaigns/", times=None, status=403, code="insufficient_scope"))
    campaigns = {one.path_id for one in account.api.world.campaigns}
    asked = account.run()
    assert len(campaigns & set(asked)) == 1
    assert len(asked) == 1 + len(account.api.world.soundlinks)


@pytest.mark.parametrize(("status", "code"), [(403, "access_denied"), (401, "api_key_revoked")])
def test_an_error_that_concerns_all_ends_the_details_of_the_run(account: Account, status: int, code: str) -> None:
    account.api.faults.add(Fault("status", match="/v1/campaigns/", times=None, status=status, code=code))
    first = newest_first(account.api).index(account.newest_campaign)
    assert account.run() == newest_first(account.api)[: first + 1]


def test_a_retry_after_is_honoured_by_who_comes_next(account: Account) -> None:
    account.api.faults.add(Fault("status", match="/v1/campaigns/", times=1, status=429, retry_after=30))
    asked = account.run()
    assert asked == newest_first(account.api)[: newest_first(account.api).index(account.newest_campaign) + 1]
    first = account.soundlink.settings.accounts[0]
    with account.soundlink.quick_client_of(first) as (_, pacer), pytest.raises(Cancelled):
        pacer.acquire()


def test_those_that_the_settings_name_are_asked_for_once(api: Simulator, tmp_path: Path) -> None:
    named = api.world.campaigns[1]
    account = Account(api, with_settings(api, tmp_path, campaign_ids=(named.path_id,)))
    assert named.path_id in account.run()
    api.clock.set(utc("2026-06-02T06:00"))
    assert named.path_id not in account.run()
    ((strategy,),) = account.query("select strategy_type from campaigns")
    assert strategy == named.strategy


def test_an_id_that_fits_no_address_costs_itself_alone(api: Simulator, tmp_path: Path) -> None:
    campaign = api.world.campaigns[0].path_id
    account = Account(api, with_settings(api, tmp_path, campaign_ids=("x" * 70_000, campaign)))
    assert sorted(account.run()) == sorted([campaign, *(one.path_id for one in api.world.soundlinks)])
    assert "an id is too long for the address of a request" in account.said[0]


def test_a_rebuild_gives_the_same_campaigns_however_long_ago_their_details_were_asked_for(
    account: Account, tmp_path: Path
) -> None:
    account.run()
    landing = account.soundlink.landing
    landing.sweep(utc("2030-01-01T00:00"), 400)
    account.api.clock.set(utc("2026-03-02T07:00"))
    account.run()
    before = account.tables()
    account.soundlink.warehouse.path.unlink()
    account.soundlink.warehouse.prepare()
    assert rebuild(account.soundlink.warehouse, landing, account.said.append).lost == []
    assert account.tables() == before
    assert account.run() == []


def test_details_that_landed_and_were_not_saved_are_saved_by_the_next_run(account: Account) -> None:
    assert account.run(saves=False) == newest_first(account.api)
    assert account.query("select count(strategy_type) from campaigns") == [(0,)]
    assert account.run() == []
    assert account.query("select count(strategy_type) from campaigns") == [(3,)]
    assert all(landed.archived for landed in account.soundlink.landing.details(CAMPAIGN))


def test_damaged_details_are_set_aside_and_asked_for_again(account: Account) -> None:
    account.run(saves=False)
    (landed,) = account.soundlink.landing.details(CAMPAIGN)
    landed.path.write_bytes(landed.path.read_bytes()[:-5])
    assert set(account.run()) == {one.path_id for one in account.api.world.campaigns}
    assert any("is damaged" in line and "asked for again" in line for line in account.said)


def test_details_hold_a_run_up_for_a_while_and_no_longer(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling_details, "_LONGEST_SECONDS", 0.2)
    account.api.faults.add(Fault("hang", match="/v1/soundlinks/", times=None, seconds=60))
    asked = account.run()
    assert sum(name in {one.path_id for one in account.api.world.soundlinks} for name in asked) == 1
    assert "1 request failed" in account.said[0]
