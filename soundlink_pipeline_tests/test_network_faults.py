"""Whole runs of pulls against every fault of the network: all rows are right in the end, or the run names what is not.

What is true is told by the simulated world alone (`Account.check`); each fault's expected fate stands in `TROUBLES`.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundlink_pipeline import answers
from soundlink_pipeline import client as client_module
from soundlink_pipeline.api_errors import AskedToWait, SoundlinkError, TruncatedDelivery, Unreachable
from soundlink_pipeline.client import TRIES, SoundlinkClient
from soundlink_pipeline.exports import CAMPAIGN_COUNTRY_DAILY, EXPORTS
from soundlink_pipeline.pacing import Pacer
from soundlink_pipeline.partitions import DateRange
from soundlink_pipeline.pull import FailedPull, Pull, Summary, plan, wanted
from soundlink_pipeline.resources import Soundlink
from soundlink_pipeline.settings import Settings
from soundlink_pipeline.simulator import (
    BREAKDOWN,
    Fault,
    KeyInfo,
    SimClock,
    Simulator,
    World,
    ndjson,
    running_simulator,
)
from soundlink_pipeline.simulator import EXPORTS as EXPORT_NAMES
from soundlink_pipeline.simulator.faults import KINDS
from soundlink_pipeline_tests.conftest import WaitingClock
from soundlink_pipeline_tests.project import KEY, day, each_day, failure_of, project, puller, truth, utc
from soundlink_pipeline_tests.wire import Answer, fall_silent, head, reset, serving

BEFORE, NOW = utc("2026-02-26T06:00"), utc("2026-03-12T06:00")  # the days below are revised in between
DATES = DateRange(day("2026-02-23"), day("2026-02-24"))
OTHER_DATES = DateRange(day("2026-02-25"), day("2026-02-26"))  # not in the warehouse
PATIENT = httpx.Timeout(20, pool=None)  # only a server that hangs may fail in time
QUICK = httpx.Timeout(20, read=0.3, pool=None)
TLS = ssl.create_default_context()  # costly to make anew for every client
Place = tuple[str, str]  # an export's name and a campaign's uuid: one request of a run
LISTING: Place = ("listing", "")


# What each fault must lead to


@dataclass(frozen=True)
class Trouble:
    """A fault and its fate: `taken` as if nothing were, `repeated`, `failed`, `refused` by the load, or `fatal`.

    An answer without rows, and the listing, may meet another fate than an answer with rows.
    """

    kind: str
    params: Mapping[str, Any]
    fate: str
    reason: str = ""
    without_rows: str = ""
    of_listing: str = ""

    def __str__(self) -> str:
        return "-".join([self.kind, *(f"{name}={value!r:.30}" for name, value in self.params.items())])

    def at(self, place: Place, times: int | None = 1) -> Fault:
        if place == LISTING:
            return Fault(self.kind, match="/v1/campaigns?", times=times, **self.params)
        return Fault(self.kind, export=place[0], campaign=place[1], times=times, **self.params)

    def fate_at(self, place: Place, empty: set[Place]) -> str:
        if place == LISTING:
            return self.of_listing or self.fate
        return self.without_rows or self.fate if place in empty else self.fate


def replacing(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body.replace(old, new)


def trouble(kind: str, fate: str, reason: str = "", *, empty: str = "", listing: str = "", **params: Any) -> Trouble:
    return Trouble(kind, params, fate, reason, empty, listing)


BROKE, NO_ROWS, NOT_JSON = "broke before the answer was whole", "where NDJSON was due", "where JSON was due"
TROUBLES = [
    trouble("slow", "taken", chunk=97, pause=0.0005),
    trouble("hang", "taken", seconds=0.02),
    trouble("wrong_type", "taken"),
    trouble("wrong_type", "taken", content_type="text/plain"),
    trouble("no_row_count", "taken"),
    trouble("no_row_count", "taken", chunked=True),
    trouble("no_date", "taken"),
    trouble("set_date", "taken", value="yesterday"),
    trouble("extra_field", "taken"),
    trouble("crlf", "taken"),
    trouble("bom", "taken"),
    trouble("blank_lines", "taken"),
    trouble("no_final_newline", "taken"),
    trouble("gzip", "taken"),
    trouble("gzip", "taken", chunked=True),
    trouble("chunked", "taken"),
    trouble("close", "taken"),
    trouble("status", "repeated", r"HTTP 500: Simulated\. \(code internal_error, requestId "),
    trouble("status", "repeated", "HTTP 502", status=502, body="<h1>Bad Gateway</h1>"),
    trouble("status", "repeated", "HTTP 503", status=503, retry_after=90),
    trouble("status", "repeated", "rate limited.*code slow_down", status=429, code="slow_down"),
    trouble("status", "repeated", "rate limited", status=429, retry_after="Thu, 01 Jan 2026 06:02:00 GMT"),
    trouble("cut", "repeated", BROKE),
    trouble("cut", "repeated", BROKE, after=0),
    trouble("cut", "repeated", BROKE, after=1, chunked=True),
    trouble("cut", "repeated", BROKE, after=1 << 30),  # all but the last byte
    trouble("cut", "repeated", BROKE, reset=True, chunked=True),
    trouble("disconnect", "repeated", BROKE),
    trouble("disconnect", "repeated", BROKE, reset=True),
    trouble("short", "repeated", "rows of the", empty="taken", listing="failed"),
    trouble("short", "repeated", "rows of the", empty="taken", listing="failed", rows=1 << 30, chunked=True),
    trouble("html", "failed", "text/html where"),
    trouble("html", "failed", "text/html where", chunked=True),
    trouble("json", "failed", f"{NO_ROWS}|not what the API documents"),
    trouble("wrong_type", "failed", NO_ROWS, content_type="text/html", listing="taken"),
    trouble("body", "failed", f"{NO_ROWS}|{NOT_JSON}", body=b"PK\x03\x04", content_type="application/zip"),
    trouble("status", "failed", "HTTP 400: .*code invalid_date_range", status=400, code="invalid_date_range"),
    trouble("status", "failed", "HTTP 404", status=404, body=""),
    trouble("status", "failed", "HTTP 403: .*code access_denied", status=403, code="access_denied"),
    trouble("redirect", "failed", f"{NO_ROWS}|not what the API documents", location="/v1/ping"),
    trouble("long", "refused", "more than X-Row-Count's", empty="taken", listing="taken"),
    trouble("body", "refused", "line 1: provider must be", listing="failed", body=b'{"x":1}\n'),
    trouble("body", "refused", "line 1: not valid JSON", listing="failed", body=b'{"x":\n'),
    trouble("edit", "refused", "not UTF-8", empty="taken", listing="taken", edit=replacing(b'"sound', b'"\xff')),
    trouble("edit", "refused", "not valid JSON", empty="taken", listing="taken", edit=replacing(b"}\n", b"}}\n")),
    trouble(
        "edit", "refused", "the range asked", empty="taken", listing="taken", edit=replacing(b'e":"2026', b'e":"2025')
    ),
    trouble("status", "fatal", "was revoked", status=401, code="api_key_revoked"),
    trouble("status", "fatal", "lacks a scope", status=403, code="insufficient_scope"),
    trouble("redirect", "fatal", "redirects to https://elsewhere.invalid: refused"),
]
HANGS = [
    trouble("hang", "repeated", "fell silent"),
    trouble("hang", "repeated", "fell silent", empty="taken", after=10),
]
COMMON = [one for one in TROUBLES if one.fate != "fatal"]


def test_every_fault_the_simulator_has_is_expected_here() -> None:
    assert {one.kind for one in TROUBLES} == set(KINDS)


# A run, and what must be true after it

COLUMNS = {export.name: export.column_names for export in EXPORTS}


@cache
def rows_in_truth(world: World, name: str, dates: DateRange, moment: datetime) -> list[tuple[Any, ...]]:
    (export,) = (export for export in EXPORTS if export.name == name)
    return truth(world, export, each_day(str(dates.start), str(dates.end), moment))


@dataclass
class Account:
    """A data folder, the API it is filled from, and the days to pull; `before`: when they had been pulled already."""

    api: Simulator
    folder: Path
    dates: DateRange = DATES
    now: datetime = NOW
    before: datetime | None = None
    listed_by: str = ""  # an earlier run whose listing will do
    clock: WaitingClock = field(default_factory=WaitingClock)
    log: list[str] = field(default_factory=list)

    @property
    def soundlink(self) -> Soundlink:
        return Soundlink(Settings(base_url=self.api.base_url, data_dir=self.folder), lambda: KEY)

    @cached_property
    def places(self) -> list[Place]:
        """Every request of a run but the listing, in the order of the run."""
        listing = self.api.world.listing(NOW)
        pulls = [pull for export in EXPORTS for pull in plan(export, listing, self.dates)]
        return [(pull.export.name, self.uuid(pull.campaign_id)) for pull in pulls]

    @cached_property
    def empty(self) -> set[Place]:
        return {place for place in self.places if not self.truth(place, self.now)}

    def uuid(self, campaign_id: str) -> str:
        return self.api.world.campaign(campaign_id).uuid

    def path_id(self, uuid: str) -> str:
        return self.api.world.campaign(uuid).path_id

    def truth(self, place: Place, moment: datetime | None) -> list[tuple[Any, ...]]:
        """What the table must hold of a place when it was last pulled at that moment."""
        if moment is None:
            return []
        known = rows_in_truth(self.api.world, place[0], self.dates, moment)
        return [row for row in known if row[COLUMNS[place[0]].index("campaign_id")] == place[1]]

    def client(self, **options: Any) -> tuple[SoundlinkClient, Pacer]:
        pacer = Pacer(self.folder / "requests.sqlite", 10_000, 100_000, cancelled=self.clock, now=self.clock)
        options = {"timeout": PATIENT, "transport": httpx.HTTPTransport(verify=TLS), "log": self.log.append, **options}
        return SoundlinkClient(self.api.base_url, KEY, pacer, **options), pacer

    def run(self, run_id: str, *resumed: str, **options: Any) -> Summary:
        """One run: list, see what is missing, pull and load. Nothing waits but for a server that hangs."""
        self.clock.clear()
        self.api.clock.set(self.now)
        client, pacer = self.client(**options)
        with pacer, client:
            lineage = [run_id, *resumed]
            listed = self.soundlink.campaigns(client, run_id, [*lineage, self.listed_by])
            pulls = [pull for export in EXPORTS for pull in plan(export, listed, self.dates)]
            missing = wanted(pulls, self.soundlink.warehouse.done_days(self.dates, lineage, settled=False))
            return puller(self.soundlink, client, pacer, run_id).run(missing)

    def check(self, summary: Summary, run_id: str, *resumed: str) -> dict[Place, FailedPull]:
        """All that must hold after a run, whatever went wrong; returns what failed by its place."""
        failed = {(item.export, self.uuid(item.campaign_id)): item for item in summary.failed}
        loaded = [(item.delivery.export, self.uuid(item.delivery.campaign_id)) for item in summary.loaded]
        assert len(failed) == len(summary.failed)
        assert {item.dates for item in summary.failed} <= {self.dates}
        if not resumed:  # each place is in one of the two lists: not in both, not in none
            assert sorted([*failed, *loaded]) == sorted(self.places)
        warehouse = self.soundlink.warehouse
        with warehouse.read() as connection:
            for export in EXPORTS:
                rows = connection.execute(
                    f"select {', '.join(export.column_names)} from {export.name}"
                    f" where report_date between ? and ? order by {', '.join(export.primary_key)}",
                    [self.dates.start, self.dates.end],
                ).fetchall()
                at = export.column_names.index("campaign_id")
                for place in ((export.name, campaign.uuid) for campaign in self.api.world.campaigns):
                    held = self.truth(place, self.before if place in failed else self.now)
                    assert [row for row in rows if row[at] == place[1]] == held, place
                assert {row[at] for row in rows} <= {campaign.uuid for campaign in self.api.world.campaigns}
            ledger = connection.execute(
                "select export, campaign_id, start_date, end_date, rows from deliveries where run_id = ?", [run_id]
            ).fetchall()
        assert sorted(ledger) == sorted(
            (export, self.path_id(uuid), self.dates.start, self.dates.end, len(self.truth((export, uuid), self.now)))
            for export, uuid in loaded
        )
        # What the next run would ask for is what this one names.
        done = warehouse.done_days(self.dates, [run_id, *resumed], settled=False)
        missing = {(export, uuid) for export, uuid in self.places if (export, self.path_id(uuid)) not in done}
        assert missing == set(failed)
        self._check_files(failed, run_id, len(loaded))
        assert KEY not in "\n".join([*self.log, *(item.reason for item in summary.failed)])
        return failed

    def _check_files(self, failed: dict[Place, FailedPull], run_id: str, loaded: int) -> None:
        landing = self.soundlink.landing
        files = [path for path in landing.root.rglob("*") if path.is_file()]
        assert all(path.name.endswith(".ndjson.zst") for path in files), files
        assert sum(f"_run-{run_id}_loaded-" in path.name for path in files) == loaded
        refused = [item for item in failed.values() if item.reason.startswith("refused: ")]
        kept = [path for path in landing.quarantine.rglob(f"*_run-{run_id}.ndjson*") if path.is_file()]
        assert len(kept) == 2 * len(refused)
        for item in refused:
            _, reason = sorted(path for path in kept if path.parts[-3:-1] == (item.export, item.campaign_id))
            assert f"refused: {reason.read_text().strip()}; kept in {reason.parent}" == item.reason

    def heal(self, run_id: str, *resumed: str) -> Summary:
        """A second run, without faults: it asks for what is missing, and then everything is there."""
        self.api.faults.clear()
        summary = self.run(run_id, *resumed)
        assert self.check(summary, run_id, *resumed) == {}
        return summary


@pytest.fixture(scope="module")
def api() -> Iterator[Simulator]:
    """Four campaigns: one whose id in the rows is another, one that has no rows any more in the first export."""
    world = World(campaigns=6, countries_per_campaign=2, tracks_per_campaign=1)
    world.campaigns = [world.campaigns[index] for index in (0, 1, 2, 5)]
    with running_simulator(world, SimClock(NOW), keys={KEY: KeyInfo()}, per_minute=None, per_hour=None) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def as_new(api: Simulator) -> Iterator[None]:
    api.clock.set(NOW)
    yield
    api.faults.clear()
    api.stats.reset()


@pytest.fixture(scope="module")
def filled(api: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Account:
    """A data folder that holds the days as they were some days ago; to be copied."""
    account = Account(api, tmp_path_factory.mktemp("filled") / "data", before=BEFORE, listed_by="run-0")
    assert replace(account, now=BEFORE).run("run-0").failed == []
    return account


@pytest.fixture(scope="module")
def shared(filled: Account, tmp_path_factory: pytest.TempPathFactory) -> Account:
    """A copy for tests that use days of their own: making a warehouse takes longer than a run does."""
    folder = tmp_path_factory.mktemp("shared") / "data"
    shutil.copytree(filled.folder, folder)
    return replace(filled, folder=folder)


@pytest.fixture
def account(filled: Account, tmp_path: Path) -> Account:
    """A copy of one's own: the days are there as they were some days ago."""
    shutil.copytree(filled.folder, tmp_path / "data")
    return replace(filled, folder=tmp_path / "data")


def requests_at(api: Simulator, place: Place) -> int:
    uuid_or_alias = "" if place == LISTING else f"/{api.world.campaign(place[1]).path_id}/"
    kind = {BREAKDOWN: "breakdown_export", LISTING[0]: "campaigns"}.get(place[0], "engagement_export")
    return api.stats.count(path_contains=uuid_or_alias, kind=kind)


def expect(account: Account, failed: dict[Place, FailedPull], place: Place, one: Trouble, times: int | None) -> None:
    """The fault at a place had the fate it must have, with a reason that fits, and cost no needless request."""
    fate = one.fate_at(place, account.empty)
    if fate == "taken" or (fate == "repeated" and times == 1):
        assert place not in failed
        assert requests_at(account.api, place) == (1 if fate == "taken" else 2)
        return
    assert re.search(one.reason, failed[place].reason), failed[place].reason
    assert failed[place].reason.startswith("refused: ") == (fate == "refused")
    if one.kind != "redirect":
        # Not all tries where three requests before have failed for good: the API counts as down then.
        assert requests_at(account.api, place) in (range(1, TRIES + 1) if fate == "repeated" else [1])


# Every fault, at every request of a run

FIRST_DAY = DATES.start - timedelta(len(COMMON))


@pytest.mark.parametrize("index", range(len(COMMON)), ids=[str(one) for one in COMMON])
def test_every_fault_at_every_request_costs_that_request_at_most(
    api: Simulator, shared: Account, index: int, pytestconfig: pytest.Config
) -> None:
    """Alone at one request of a run (at each, with many --sequences); then each request with another, that stays."""
    date = FIRST_DAY + timedelta(index)
    first = replace(shared, dates=DateRange(date, date), now=utc(f"{date + timedelta(2)}T06:00"), before=None)
    places = first.places
    everywhere = pytestconfig.getoption("--sequences") >= 1000
    for number, place in enumerate(places if everywhere else [places[index % len(places)]]):
        run_id = f"single-{index}-{number}"
        api.stats.reset()
        api.faults.add(COMMON[index].at(place))
        failed = first.check(first.run(run_id), run_id)
        assert set(failed) <= {place}
        expect(first, failed, place, COMMON[index], 1)
        api.stats.reset()
        if failed:
            assert first.heal(f"{run_id}-again", run_id).requests == len(api.stats.records) == 1
        first.before = first.now

    later = replace(first, now=NOW)  # its rows have been revised since
    api.stats.reset()
    met = {place: COMMON[(index + number) % len(COMMON)] for number, place in enumerate(later.places)}
    for place, one in met.items():
        api.faults.add(one.at(place, times=None))
    failed = later.check(later.run(f"all-{index}"), f"all-{index}")
    for place, one in met.items():
        expect(later, failed, place, one, None)
    later.heal(f"all-{index}-again", f"all-{index}")


@pytest.mark.parametrize("one", TROUBLES, ids=str)
def test_a_listing_that_fails_is_told_before_anything_is_asked(api: Simulator, shared: Account, one: Trouble) -> None:
    for times in (1, None):
        api.faults.clear()
        api.stats.reset()
        api.faults.add(one.at(LISTING, times))
        run_id, fate = f"listing-{TROUBLES.index(one)}-{times}", one.fate_at(LISTING, set())
        client, pacer = shared.client()
        with pacer, client:
            if fate == "taken" or (fate == "repeated" and times == 1):
                listed = shared.soundlink.campaigns(client, run_id, [run_id])
                assert listed == json.loads(json.dumps(api.world.listing(NOW)))
            else:
                with pytest.raises(SoundlinkError, match=f"{one.reason}|{NOT_JSON}|not what the API documents"):
                    shared.soundlink.campaigns(client, run_id, [run_id])
                assert not [path for path in shared.folder.rglob("*") if run_id in path.name or ".part" in path.name]
        assert not [record for record in api.stats.records if record.kind != "campaigns" and one.kind != "redirect"]
        if one.kind != "redirect":
            assert len(api.stats.records) == {"taken": 1, "repeated": 2 if times else TRIES}.get(fate, 1)


@pytest.mark.parametrize("one", [one for one in TROUBLES if one.fate == "fatal"], ids=str)
def test_what_no_other_request_would_survive_ends_the_asking(api: Simulator, account: Account, one: Trouble) -> None:
    for number in (0, 3, 7):
        place, run_id = account.places[number], f"fatal-{number}"
        api.faults.add(one.at(place, times=None))
        failed = account.check(account.run(run_id), run_id)
        assert re.search(one.reason, failed[place].reason)
        assert all(not item.asked or item is failed[place] for item in failed.values())
        account.heal(f"{run_id}-again", run_id)
        account.before = NOW


@pytest.mark.parametrize("one", HANGS, ids=str)
def test_a_server_that_hangs_is_asked_again_and_then_named(api: Simulator, account: Account, one: Trouble) -> None:
    for place in account.places:
        api.faults.add(one.at(place))
    assert account.check(account.run("run-1", timeout=QUICK), "run-1") == {}
    account.before = NOW
    for place in account.places:
        api.faults.add(one.at(place, times=None))
    failed = account.check(account.run("run-2", timeout=QUICK, tries=2), "run-2")
    assert set(failed) == {place for place in account.places if one.fate_at(place, account.empty) == "repeated"}
    assert all(re.search(one.reason, item.reason) for item in failed.values())
    account.heal("run-3", "run-2")


# Any sequence of them


def outcome(faults: Sequence[tuple[Trouble, int]], place: Place, empty: set[Place]) -> tuple[str, str]:
    """The fate of a request that meets these faults one after the other, each so many times."""
    tries = 0
    for one, times in faults:
        fate = one.fate_at(place, empty)
        if fate != "repeated":
            return fate, one.reason
        tries += times
        if tries >= TRIES:
            return "failed", one.reason
    return "taken", ""


def test_any_sequence_of_faults_is_survived_or_told(
    api: Simulator, filled: Account, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> None:
    places = [LISTING, *filled.places, *filled.places, *filled.places]
    troubles = st.sampled_from([*TROUBLES, *COMMON, *COMMON, HANGS[0]])

    @settings(
        max_examples=pytestconfig.getoption("--sequences"),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        met=st.lists(st.tuples(st.sampled_from(places), troubles, st.integers(1, TRIES + 1)), min_size=1, max_size=12),
        again=st.booleans(),
    )
    def sequence(met: list[tuple[Place, Trouble, int]], again: bool) -> None:
        folder = tmp_path_factory.mktemp("account")
        shutil.copytree(filled.folder, folder / "data")
        dates = DATES if again else OTHER_DATES
        survive(
            replace(filled, folder=folder / "data", dates=dates, before=BEFORE if again else None, listed_by=""), met
        )
        shutil.rmtree(folder)

    sequence()


def survive(account: Account, met: list[tuple[Place, Trouble, int]]) -> None:
    account.api.faults.clear()
    for place, one, times in met:
        account.api.faults.add(one.at(place, min(times, 2) if one in HANGS else times))
    hangs = any(one in HANGS for _, one, _ in met)
    expected = {
        place: outcome([(one, times) for at, one, times in met if at == place], place, account.empty)
        for place in (LISTING, *account.places)
    }
    fatal = [reason for fate, reason in expected.values() if fate == "fatal"]
    # Three requests in a row that all tries could not save, and what would have passed may not be tried again.
    is_down = [fate for fate, _ in expected.values()].count("failed") >= 3
    summary, error = None, ""
    try:
        summary = account.run("run-1", timeout=QUICK if hangs else PATIENT)
    except SoundlinkError as raised:
        error = str(raised)
    fate, reason = expected[LISTING]
    assert hangs or (summary is None) == (fate != "taken")
    if summary is None:  # nothing was asked for, nothing was loaded
        assert hangs or re.search(f"{reason}|{NOT_JSON}|not what the API documents", error)
        account.heal("run-2")
        return
    failed = account.check(summary, "run-1")
    for place in account.places:
        fate, reason = expected[place]
        if place not in failed:
            assert hangs or fate == "taken"
        elif failed[place].asked:
            one_try = is_down and any(re.search(one.reason, failed[place].reason) for at, one, _ in met if at == place)
            assert hangs or one_try or (fate != "taken" and re.search(reason, failed[place].reason))
        else:
            assert fatal
    assert not fatal or is_down or any(re.search("|".join(fatal), item.reason) for item in failed.values())
    account.heal("run-2", "run-1")


# Storms and outages, on a clock that only waiting moves


class Outage(Fault):
    """An API that fails for some seconds of the client's clock, however often it is asked."""

    def __init__(self, clock: WaitingClock, seconds: float, **params: Any) -> None:
        super().__init__("status", times=None, **params)
        self._clock, self._until = clock, clock() + seconds

    def concerns(self, path_and_query: str, export: str | None, campaign_ids: frozenset[str]) -> bool:
        return self._clock() < self._until


@pytest.mark.parametrize(
    ("seconds", "fault", "requests", "least", "most"),
    [
        (5, {"status": 500}, 5, 5, 15),  # an API that fails this long is waited for
        (5, {"status": 429}, 5, 5, 15),
        (60, {"status": 429, "retry_after": 60}, 2, 60, 62),
        (250, {"status": 429, "retry_after": "Thu, 12 Mar 2026 06:05:00 GMT"}, 2, 300, 302),  # it is 06:00 there
        (180, {"status": 503, "retry_after": 60}, 4, 180, 200),
        (3600, {"status": 500}, TRIES, 15, 31),  # and one that fails for an hour is given up after half a minute
        (3600, {"status": 429}, TRIES, 15, 31),
        (36_000, {"status": 429, "retry_after": 60}, TRIES, 5 * 60, 5 * 60 + 31),
    ],
)
def test_a_storm_ends_in_known_time_after_known_requests(
    api: Simulator, tmp_path: Path, seconds: float, fault: dict[str, Any], requests: int, least: float, most: float
) -> None:
    campaign, to = api.world.campaigns[0].uuid, tmp_path / "export"
    with asking(api.base_url, tmp_path, timeout=PATIENT) as ask, ExitStack() as given_up:
        api.faults.add(Outage(ask.clock, seconds, **fault))
        if seconds > 1000:
            given_up.enter_context(pytest.raises(AskedToWait))
        ask.client.download(CAMPAIGN_COUNTRY_DAILY, campaign, DATES, to)
    assert ask.client.requests <= requests
    assert ask.client.requests == TRIES or seconds < 1000
    assert least <= sum(ask.clock.waits) <= most


def test_an_outage_in_mid_run_costs_what_it_must_and_no_more(api: Simulator, account: Account) -> None:
    """Three requests at a time learn of a limit; the others wait for it to pass."""
    api.faults.add(Outage(account.clock, 60, status=429, retry_after=60))
    summary = account.run("run-1")
    assert account.check(summary, "run-1") == {}
    assert len(account.places) + 1 <= summary.requests <= len(account.places) + 3
    account.before = NOW
    api.faults.clear()
    api.faults.add(Outage(account.clock, 36_000, status=500))
    summary = account.run("run-2")
    assert len(account.check(summary, "run-2")) == len(account.places)
    # Three at a time fail for good, perhaps beside the next ones' first tries; from then on each is tried once.
    assert 3 * TRIES < summary.requests < (TRIES - 1) * len(account.places)
    account.heal("run-3", "run-2")


@pytest.mark.parametrize("asked", ["999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_of_years_ends_the_run_and_binds_no_other(api: Simulator, account: Account, asked: str) -> None:
    storm = api.faults.add("status", status=429, retry_after=asked, times=None, match="/export")
    account.clock = ImpatientClock()
    failed = account.check(account.run("run-1"), "run-1")
    assert set(failed) == set(account.places)
    assert storm.hits <= 3
    account.heal("run-2", "run-1")


class ImpatientClock(WaitingClock):
    """Ends a run that waits for half a day."""

    def wait(self, timeout: float | None = None) -> bool:
        if (timeout or 0.0) + self.seconds - WaitingClock().seconds > 43_200:
            raise TimeoutError("the run waits for more than half a day")
        return super().wait(timeout)


# Cut at every byte


ROWS = b'{"a":"\xc3\xbc\xe2\x80\xa8"}\n{"b":2}\n'
GZIP = gzip.compress(ROWS, mtime=0)
COUNT, ZIPPED, CHUNKED = "X-Row-Count: 2", "Content-Encoding: gzip", "Transfer-Encoding: chunked"


def chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


ANSWERS = {
    "length": (head(length(ROWS)), ROWS),
    "length, counted": (head(length(ROWS), COUNT), ROWS),
    "chunked": (head(CHUNKED), chunks(ROWS, 7)),
    "chunked, counted": (head(CHUNKED, COUNT), chunks(ROWS, 7)),
    "gzip": (head(length(GZIP), ZIPPED), GZIP),
    "gzip, chunked, counted": (head(CHUNKED, ZIPPED, COUNT), chunks(GZIP, 9)),
    "to the end, counted": (head(COUNT), ROWS),
    "gzip, to the end, counted": (head(COUNT, ZIPPED), GZIP),
    "to the end": (head(), ROWS),
}


@dataclass
class Asking:
    """A client that is answered raw bytes, and how long that took it by its own clock."""

    client: SoundlinkClient
    pacer: Pacer
    clock: WaitingClock
    to: Path
    log: list[str]

    def rows(self) -> bytes:
        self.client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, self.to)
        return self.to.read_bytes()


@contextmanager
def asking(url: str, folder: Path, **options: Any) -> Iterator[Asking]:
    clock, log = WaitingClock(), list[str]()
    options = {"timeout": QUICK, "transport": httpx.HTTPTransport(verify=TLS), "log": log.append, **options}
    with (
        Pacer(folder / "requests.sqlite", 10_000, 100_000, cancelled=clock, now=clock) as pacer,
        SoundlinkClient(url, KEY, pacer, **options) as client,
    ):
        yield Asking(client, pacer, clock, folder / "export", log)


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "to the end"])
def test_an_answer_cut_at_any_byte_is_asked_for_again(tmp_path: Path, name: str, ending: str) -> None:
    """The head is cut in one of the answers only: it is much the same in all."""
    start, body = ANSWERS[name]
    unbounded = "to the end" in name and ending == "close"
    for stop, tries, got in cut_everywhere(tmp_path, start + body, ending, 0 if name == "chunked" else len(start)):
        assert got == ROWS or (unbounded and got == ROWS.removesuffix(b"\n")), stop
        assert tries > 1 or unbounded, stop


def test_an_answer_that_cannot_be_told_from_a_cut_one_is_not_taken(tmp_path: Path) -> None:
    start, body = ANSWERS["to the end"]
    between = body.index(b"\n") + 1
    with serving(sends(start, body[:between])) as wire, asking(wire.url, tmp_path, timeout=PATIENT, tries=2) as ask:
        with pytest.raises(TruncatedDelivery):
            ask.rows()
        assert ask.client.requests == 2


def cut_everywhere(folder: Path, whole: bytes, ending: str, first: int) -> Iterator[tuple[int, int, bytes]]:
    """For each byte from the first: where the answer was cut once, after how many tries there were rows, and which."""
    cut: list[int] = []

    def answer(connection: socket.socket, _: str) -> bool:
        if not cut:
            connection.sendall(whole)
            return False
        connection.sendall(whole[: cut.pop()])
        return reset(connection) if ending == "reset" else False

    with serving(answer) as wire, asking(wire.url, folder, timeout=PATIENT) as ask:
        for stop in range(first, len(whole)):
            cut.append(stop)
            before = len(wire.asked)
            got = ask.rows()
            yield stop, len(wire.asked) - before, got


def test_a_run_whose_every_answer_is_cut_elsewhere_loads_every_row(
    api: Simulator, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """A campaign for each byte of an answer's head and row (for one in seven, unless there are many --sequences)."""
    [row, *_] = api.world.rows(BREAKDOWN, api.world.campaigns[0].uuid, DATES.start, DATES.start, NOW)

    def whole(number: int) -> bytes:
        body = ndjson([{**row, "campaign_id": str(UUID(int=number))}])
        return head(length(body), "X-Row-Count: 1") + body

    numbers = range(0, len(whole(0)), 1 if pytestconfig.getoption("--sequences") >= 1000 else 7)
    met: set[int] = set()

    def answer(connection: socket.socket, path: str) -> bool:
        number = UUID(path.split("/")[3]).int
        connection.sendall(whole(number) if number in met else whole(number)[:number])
        met.symmetric_difference_update([number])
        return number not in met

    with serving(answer) as wire, asking(wire.url, tmp_path, timeout=PATIENT) as ask:
        soundlink = Soundlink(Settings(base_url=wire.url, data_dir=tmp_path), lambda: KEY)
        pulls = [Pull(CAMPAIGN_COUNTRY_DAILY, str(UUID(int=number)), DATES) for number in numbers]
        summary = puller(soundlink, ask.client, ask.pacer).run(pulls)
    assert (len(summary.loaded), summary.failed) == (len(numbers), [])
    with soundlink.warehouse.read() as connection:
        found = connection.execute(f"select campaign_id from {BREAKDOWN} order by 1").fetchall()
    assert found == sorted((str(UUID(int=number)),) for number in numbers)
    assert summary.requests >= 2 * len(numbers)


# What no HTTP library would send


def sends(*pieces: bytes, then: Callable[[socket.socket], bool] = lambda _: False) -> Answer:
    def answer(connection: socket.socket, _: str) -> bool:
        for piece in pieces:
            connection.sendall(piece)
        return then(connection)

    return answer


def keep_open(_: socket.socket) -> bool:
    return True


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (sends(then=fall_silent), "fell silent"),
        (sends(OK + b"Content-Ty"), BROKE),
        (sends(OK + b"Content-Ty", then=fall_silent), "fell silent"),
        (sends(OK + b"X-A: a\x00b\r\n\r\n"), BROKE),
        (sends(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), BROKE),
        (sends(ROWS), BROKE),
        (sends(head(f"Content-Length: {len(ROWS) + 1}"), ROWS), BROKE),
        (sends(head(f"Content-Length: {len(ROWS) + 1}"), ROWS, then=keep_open), "fell silent"),
        (sends(head(f"Content-Length: {len(ROWS) - 1}", "X-Row-Count: 3"), ROWS), "2 rows of the 3"),
        (sends(head(f"Content-Length: {len(ROWS) - 3}"), ROWS), "in the middle of row 2"),
        (sends(head("Content-Length: -1"), ROWS), BROKE),
        (sends(head("Content-Length: 1", "Content-Length: 2"), ROWS), BROKE),
        (sends(head(CHUNKED), b"zz\r\n", ROWS), BROKE),
        (sends(head(CHUNKED), chunks(ROWS, 7)[:-2], then=fall_silent), "fell silent"),
        (sends(head(length(ROWS), ZIPPED), ROWS), "content encoding is damaged"),
        (sends(head(length(GZIP), ZIPPED), GZIP[:-8] + bytes(8)), "content encoding is damaged"),
        (sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), BROKE),
        (sends(head("Content-Length: 0", status="204 No Content")), "HTTP 204"),
        (sends(head(length(ROWS), status="206 Partial Content"), ROWS), "HTTP 206"),
        (sends(OK + b"X-A: ", b"a" * (1 << 20)), BROKE),  # a header without an end
        (sends(OK, b"X-A: a\r\n" * (1 << 17)), BROKE),
    ],
    ids=range(21),
)
def test_an_answer_that_is_none_ends_in_one_clear_sentence(tmp_path: Path, answer: Answer, sentence: str) -> None:
    with serving(answer) as wire, asking(wire.url, tmp_path, tries=2) as ask:
        with pytest.raises(SoundlinkError, match=sentence) as raised:
            ask.rows()
        assert 1 <= ask.client.requests <= 2
    said = [str(raised.value), *ask.log]
    assert all("\n" not in text and "Traceback" not in text and KEY not in text for text in said)
    assert len(str(raised.value)) < 300
    assert raised.value.__cause__ is None


def test_a_connection_closed_between_two_requests_costs_nothing(tmp_path: Path) -> None:
    with serving(sends(head(length(ROWS)), ROWS)) as wire, asking(wire.url, tmp_path, timeout=PATIENT) as ask:
        assert [ask.rows() for _ in range(5)] == [ROWS] * 5
        assert wire.connections == len(wire.asked)


def test_an_answer_sent_twice_is_not_taken_for_that_of_another_campaign(tmp_path: Path) -> None:
    def answer(connection: socket.socket, path: str) -> bool:
        body = b'{"of":"%s"}\n' % path.split("/")[3].encode()
        connection.sendall((head(length(body), "X-Row-Count: 1") + body) * 2)
        return True

    with serving(answer) as wire, asking(wire.url, tmp_path, timeout=PATIENT) as ask:
        for campaign in ("first", "second", "third"):
            ask.client.download(CAMPAIGN_COUNTRY_DAILY, campaign, DATES, ask.to)
            assert json.loads(ask.to.read_bytes()) == {"of": campaign}


ENDLESS = 48 << 20  # as far as these servers go
MOST = 16 << 20  # and as far as the client may follow them


@pytest.mark.parametrize(
    ("status", "headers", "piece", "what"),
    [
        ("200 OK", [], b" " * 65536, "listing"),
        ("500 Internal Server Error", [], b" " * 65536, "listing"),
        ("200 OK", ["X-Row-Count: 2"], ROWS * 4096, "export"),
        ("200 OK", [], b" " * 65536, "export"),
    ],
    ids=["listing", "error", "rows", "blanks"],
)
def test_a_body_without_an_end_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, headers: list[str], piece: bytes, what: str
) -> None:
    monkeypatch.setattr(answers, "LARGEST_JSON_BYTES", 1 << 20)
    monkeypatch.setattr(client_module, "LARGEST_EXPORT_BYTES", 1 << 20)
    sent: list[int] = []

    def answer(connection: socket.socket, _: str) -> bool:
        connection.sendall(head(*headers, status=status))
        while sum(sent) < ENDLESS:
            connection.sendall(piece)
            sent.append(len(piece))
        return False

    with (
        serving(answer) as wire,
        asking(wire.url, tmp_path, timeout=PATIENT, tries=1) as ask,
        pytest.raises(SoundlinkError),
    ):
        ask.client.campaigns() if what == "listing" else ask.rows()
    assert sum(sent) < MOST


# Where nobody answers


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def unreachable(url: str, folder: Path) -> str:
    with asking(url, folder, timeout=PATIENT, transport=None) as ask:
        with pytest.raises(Unreachable) as raised:
            ask.rows()
        assert ask.client.requests == TRIES
        assert len(ask.log) == TRIES - 1
        assert KEY not in "\n".join([str(raised.value), *ask.log])
        assert 15 <= sum(ask.clock.waits) <= 31
    return str(raised.value)


@pytest.mark.usefixtures("no_proxy")
def test_a_name_that_nobody_knows_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's own answer, which may take long or need a network, is given here."""
    known = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        if host in ("api.soundlink.invalid", b"api.soundlink.invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    told = unreachable("https://api.soundlink.invalid", tmp_path)
    assert re.fullmatch(r"api\.soundlink\.invalid could not be reached: .*Name or service not known", told)


@pytest.mark.usefixtures("no_proxy")
def test_a_port_where_nobody_listens_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        told = unreachable(f"https://127.0.0.1:{taken.getsockname()[1]}", tmp_path)
    assert re.fullmatch(r"127\.0\.0\.1 could not be reached: .*refused", told)


@pytest.mark.usefixtures("no_proxy")
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", *subject, *files],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serving(sends(head(length(ROWS)), ROWS), tls) as wire:
        told = unreachable(wire.url, tmp_path)
        assert wire.asked == []  # and so the key never left
    assert re.search("127.0.0.1 could not be reached: .*certificate verify failed: self-signed", told)


@pytest.mark.usefixtures("no_proxy")
def test_a_server_without_tls_where_it_is_due_is_told(api: Simulator, tmp_path: Path) -> None:
    told = unreachable(api.base_url.replace("http:", "https:"), tmp_path)
    assert re.search(r"127\.0\.0\.1 could not be reached: .*(wrong version number|record layer failure)", told, re.I)
    assert api.stats.records == []


@pytest.mark.usefixtures("no_proxy")
def test_a_server_with_tls_that_agrees_on_nothing_is_told(tmp_path: Path) -> None:
    with serving(sends(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as wire:
        told = unreachable(wire.url, tmp_path)
    assert re.search(r"127\.0\.0\.1 could not be reached: .*handshake failure", told)


# What the operator reads


def test_the_operator_reads_exactly_what_is_missing_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One real run, in which six requests meet six different faults for good."""
    quick = {"tries": 2, "backoff": 0.001}
    defaults = SoundlinkClient.__init__.__kwdefaults__ or {}
    monkeypatch.setattr(SoundlinkClient.__init__, "__kwdefaults__", {**defaults, **quick})
    with project(tmp_path) as here:
        # As of March 2 the first four campaigns have rows of these days in both exports.
        names = [(export, here.sim.world.campaigns[number]) for export in EXPORT_NAMES for number in range(3)]
        kinds = [
            ("cut", {}),
            ("short", {}),
            ("html", {}),
            ("status", {"status": 503}),
            ("disconnect", {}),
            ("long", {}),
        ]
        reasons = [
            BROKE,
            "rows of the",
            "text/html where NDJSON was due",
            "HTTP 503",
            BROKE,
            "refused: the file",
        ]
        for (export, campaign), (kind, params) in zip(names, kinds, strict=True):
            here.sim.faults.add(Fault(kind, export=export, campaign=campaign.uuid, times=None, **params))
        failed = here.refresh("2026-02-24", "2026-02-26")
        told = failure_of(failed)
        pulls = len({record.path for record in here.sim.stats.records if record.kind.endswith("_export")})
        assert told.startswith(f"6 of {pulls} pulls failed; the other {pulls - 6} are loaded.")
        lines = told.splitlines()[1:]
        for (export, campaign), reason in zip(names, reasons, strict=True):
            (line,) = (line for line in lines if line.startswith(f"{export} of campaign ") and campaign.path_id in line)
            assert ", 2026-02-24 to 2026-02-26: " in line
            assert reason in line
        assert len(lines) == 6
        assert "Traceback" not in told
        assert KEY not in told
        without = {export: {campaign.uuid for name, campaign in names if name == export} for export in EXPORT_NAMES}
        days = each_day("2026-02-24", "2026-02-26", here.sim.clock.now())
        for export in EXPORTS:
            at = export.column_names.index("campaign_id")
            expected = truth(here.sim.world, export, days)
            assert here.table(export) == [row for row in expected if row[at] not in without[export.name]]
        here.sim.faults.clear()
        here.sim.stats.reset()
        assert here.resume(failed).success
        assert len(here.sim.stats.records) == 6
        for export in EXPORTS:
            assert here.table(export) == truth(here.sim.world, export, days)
        assert not any(KEY.encode() in content for _, content in here.texts())


def test_the_operator_reads_why_there_is_no_listing(tmp_path: Path) -> None:
    with project(tmp_path) as here:
        here.sim.faults.add(Fault("html", match="/v1/campaigns?", times=None))
        told = failure_of(here.refresh("2026-02-24", "2026-02-26"))
        assert told == "/v1/campaigns answered text/html where JSON was due"
        assert len(here.sim.stats.records) == 1
