"""Whole runs of pulls against every fault of the network: all rows are right in the end, or the run names what is not.

The simulated world alone decides what is true (`Account.check`); each fault's expected fate stands in `TROUBLES`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundlink_pipeline.api.errors import SoundlinkError
from soundlink_pipeline.api.retrying import TRIES
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.pulling.outcome import FailedPull
from soundlink_pipeline.simulator import BREAKDOWN, Simulator
from soundlink_pipeline.simulator.faults import KINDS
from soundlink_pipeline_tests.support.project import day, listed, utc
from soundlink_pipeline_tests.trials.network.account import BEFORE, DATES, NOW, PATIENT, QUICK, Account
from soundlink_pipeline_tests.trials.network.troubles import COMMON, HANGS, LISTING, NOT_JSON, TROUBLES, Place, Trouble

OTHER_DATES = DateRange(day("2026-03-05"), day("2026-03-06"))  # not in the warehouse


def test_every_fault_the_simulator_has_is_expected_here() -> None:
    assert {one.kind for one in TROUBLES} == set(KINDS)


def requests_at(api: Simulator, place: Place) -> int:
    kind = "breakdown_export" if place[0] == BREAKDOWN else "engagement_export"
    return api.stats.count(path_contains=f"/{api.world.campaign(place[1]).path_id}/", kind=kind)


# Every fault, alone at a request of its own. A run has eight: seven meet faults, one meets none.

_AT_ONCE = 7
_COUNT = -(-len(COMMON) // _AT_ONCE)
# Dealt out so that no two faults which an answer without rows meets otherwise are in one group.
_DEALT = sorted(COMMON, key=lambda one: not one.without_rows)
GROUPS = [_DEALT[number::_COUNT] for number in range(_COUNT)]
FIRST_DAY = DATES.start - timedelta(_COUNT)  # a day for each group: not in the warehouse, and one request has no rows


@dataclass(frozen=True)
class Meeting:
    """A fault at one request of a run: so often (None: for ever), what its fate must be, and what it was."""

    one: Trouble
    times: int | None
    has_rows: bool
    fate: str
    failed: FailedPull | None
    requests: int

    def check(self) -> None:
        """The fate is the right one, with a reason that fits, and cost no needless request."""
        if self.fate == "taken" or (self.fate == "repeated" and self.times == 1):
            assert self.failed is None
            assert self.requests == (1 if self.fate == "taken" else 2)
            return
        assert self.failed is not None
        assert re.search(self.one.reason, self.failed.reason), self.failed.reason
        assert self.failed.reason.startswith("refused: ") == (self.fate == "refused")
        if self.one.kind != "redirect":
            # Not all tries where three requests before have failed for good: the API counts as down then.
            assert self.requests in (range(1, TRIES + 1) if self.fate == "repeated" else [1])


def meet(account: Account, run_id: str, met: dict[Place, Trouble], times: int | None) -> list[Meeting]:
    """One run in which each of these places meets its fault, and then one without faults, which heals it."""
    api = account.api
    api.stats.reset()
    for place, one in met.items():
        api.faults.add(one.at(place, times))
    failed = account.check(account.run(run_id), run_id)
    requests = {place: requests_at(api, place) for place in account.places}
    assert set(failed) <= met.keys()
    assert {requests[place] for place in account.places if place not in met} == {1}
    api.stats.reset()
    assert account.heal(f"{run_id}-again", run_id).requests == len(api.stats.records) == len(failed)
    return [
        Meeting(
            one,
            times,
            place not in account.empty,
            one.fate_at(place, account.empty),
            failed.get(place),
            requests[place],
        )
        for place, one in met.items()
    ]


@pytest.fixture(scope="module")
def meetings_of(
    api: Simulator, shared: Account, pytestconfig: pytest.Config
) -> Callable[[list[Trouble]], list[Meeting]]:
    """The meetings with the faults of a group: each once; then, when rows were revised, each until the run ends.

    With many --sequences each at every request of a run.
    """
    everywhere = pytestconfig.getoption("--sequences") >= 1000
    begun = dict[int, list[Meeting] | None]()

    def meetings(group: list[Trouble]) -> list[Meeting]:
        number = GROUPS.index(group)
        if number not in begun:
            begun[number] = None
            begun[number] = begin(number, group)
        return begun[number] or pytest.fail("the runs of its group failed with another fault's test")

    def begin(number: int, group: list[Trouble]) -> list[Meeting]:
        date = FIRST_DAY + timedelta(number)
        first = replace(shared, dates=DateRange(date, date), now=utc(f"{date + timedelta(2)}T06:00"), before=None)
        later = replace(first, before=first.now, now=NOW)
        found = list[Meeting]()
        # From 6 on the first of the group is at the request without rows, from 2 on it is at one with rows, which it
        # has met already if it is requested but once; from 7 on none is at the one without rows.
        starts_later = [7] if not group[0].without_rows else [6, 2] if group[0].fate == "repeated" else [6]
        for account, times, starts in ((first, 1, [0]), (later, None, starts_later)):
            for start in range(len(account.places)) if everywhere else starts:
                met = {account.places[(start + at) % len(account.places)]: one for at, one in enumerate(group)}
                found += meet(account, f"{number}-{times or 'all'}-{start}", met, times)
                account.before = account.now
        return found

    return meetings


@pytest.mark.parametrize(("group", "one"), [pytest.param(group, one, id=str(one)) for group in GROUPS for one in group])
def test_every_fault_at_every_request_costs_that_request_at_most(
    meetings_of: Callable[[list[Trouble]], list[Meeting]], group: list[Trouble], one: Trouble
) -> None:
    own = [meeting for meeting in meetings_of(group) if meeting.one is one]
    assert {meeting.times for meeting in own} == {1, None}
    assert {meeting.has_rows for meeting in own} >= ({True, False} if one.without_rows else {True})
    for meeting in own:
        meeting.check()


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
                campaigns = listed(shared.soundlink, client, run_id, [run_id])
                assert campaigns == json.loads(json.dumps(api.world.listing(NOW)))
            else:
                with pytest.raises(SoundlinkError, match=f"{one.reason}|{NOT_JSON}|not what the API documents"):
                    listed(shared.soundlink, client, run_id, [run_id])
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
        assert all(not item.attempted or item is failed[place] for item in failed.values())
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
    if summary is None:  # nothing was requested, nothing was loaded
        assert hangs or re.search(f"{reason}|{NOT_JSON}|not what the API documents", error)
        account.heal("run-2")
        return
    failed = account.check(summary, "run-1")
    for place in account.places:
        fate, reason = expected[place]
        if place not in failed:
            assert hangs or fate == "taken"
        elif failed[place].attempted:
            one_try = is_down and any(re.search(one.reason, failed[place].reason) for at, one, _ in met if at == place)
            assert hangs or one_try or (fate != "taken" and re.search(reason, failed[place].reason))
        else:
            assert fatal
    assert not fatal or is_down or any(re.search("|".join(fatal), item.reason) for item in failed.values())
    account.heal("run-2", "run-1")
