"""The limits hold for all processes of a data directory, and no request waits longer than they demand."""

import math
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.pacing import Cancelled, Pacer
from soundlink_pipeline.simulator import running_simulator
from soundlink_pipeline_tests.conftest import WaitingClock

MINUTE, HOUR = 60, 3600


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "requests.sqlite"


def counted(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("select count(*) from requests").fetchone()[0])


def moments_of(pacer: Pacer, clock: WaitingClock, requests: int) -> Iterator[float]:
    for _ in range(requests):
        pacer.acquire()
        yield clock()


def most_within(moments: list[float], window: float) -> int:
    return max(sum(start <= moment < start + window for moment in moments) for start in moments)


# The limits


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=12)
@given(per_minute=st.integers(1, 12), per_hour=st.integers(4, 60), gaps=st.lists(st.floats(0, 90), max_size=8))
def test_no_minute_and_no_hour_holds_more_requests_than_allowed(
    tmp_path_factory: pytest.TempPathFactory, per_minute: int, per_hour: int, gaps: list[float]
) -> None:
    clock, moments = WaitingClock(), []
    with Pacer(
        tmp_path_factory.mktemp("data") / "requests.sqlite", per_minute, per_hour, cancelled=clock, now=clock
    ) as pacer:
        for number in range(3 * max(per_minute, 6)):
            clock.seconds += gaps[number % len(gaps)] if gaps else 0
            pacer.acquire()
            moments.append(clock())
    assert most_within(moments, MINUTE) <= per_minute
    assert most_within(moments, HOUR) <= per_hour


@pytest.mark.parametrize(
    ("per_minute", "per_hour"),
    [
        (60, 600),
        (10, 10),  # the hour is the only limit
        (60, 10),
        (10, 595),  # a little less than sixty minutes allow
        (10, 600),
        (2, 5000),  # the minute is
        (1, 1),
    ],
)
def test_any_pair_of_limits_is_kept_and_used_up(
    file: Path, clock: WaitingClock, per_minute: int, per_hour: int
) -> None:
    requests = min(per_hour, 60 * per_minute) + 2 * per_minute + 1
    with Pacer(file, per_minute, per_hour, cancelled=clock, now=clock) as pacer:
        moments = list(moments_of(pacer, clock, requests))
    assert most_within(moments, MINUTE) == min(per_minute, per_hour)
    assert most_within(moments, HOUR) <= per_hour
    # No slower than windows of 61 and 3603 seconds demand.
    assert moments[-1] - moments[0] <= max(
        math.ceil(requests / per_minute) * 61.1, math.ceil(requests / per_hour) * 3603.1
    )


@pytest.mark.parametrize(("per_minute", "per_hour"), [(0, 600), (60, 0), (-1, 600)])
def test_limits_that_allow_nothing_are_refused(file: Path, per_minute: int, per_hour: int) -> None:
    with pytest.raises(ValueError, match="at least one request"):
        Pacer(file, per_minute, per_hour)


def test_what_one_pacer_used_another_has_not(file: Path, clock: WaitingClock) -> None:
    with (
        Pacer(file, 4, 100, cancelled=clock, now=clock) as one,
        Pacer(file, 4, 100, cancelled=clock, now=clock) as other,
    ):
        moments = list[float]()
        for pacer in (one, other, one, other, other, one):
            moments += moments_of(pacer, clock, 1)
        assert most_within(moments, MINUTE) == 4
        assert [round(moment - moments[0]) for moment in moments] == [0, 0, 0, 0, 61, 61]
        assert one.left_this_hour() == other.left_this_hour() == 94


def test_what_an_earlier_run_used_is_remembered(file: Path, clock: WaitingClock) -> None:
    for _ in range(3):
        with Pacer(file, 1, 100, cancelled=clock, now=clock) as pacer:
            pacer.acquire()
    assert sum(clock.waits) == pytest.approx(2 * 61, abs=0.1)


def test_threads_of_one_pacer_are_counted_once_each(file: Path) -> None:
    with Pacer(file, 10_000, 100_000) as pacer, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: pacer.acquire(), range(60)))
        assert pacer.left_this_hour() == 100_000 - 60
    assert counted(file) == 60


def test_nobody_counts_while_another_counts(file: Path) -> None:
    """Two that both saw the last free place would both take it."""
    counting, within, go_on = threading.Event(), threading.Event(), threading.Event()

    def slow_clock() -> float:
        if counting.is_set():
            within.set()
            go_on.wait(10)
        return time.time()

    with Pacer(file, 60, 600, now=slow_clock) as one, Pacer(file, 60, 600) as other, ThreadPoolExecutor(2) as threads:
        counting.set()
        first = threads.submit(one.acquire)
        assert within.wait(10)
        second = threads.submit(other.acquire)
        time.sleep(0.2)
        assert not first.done()
        assert not second.done()
        go_on.set()
    assert first.exception() is second.exception() is None
    assert counted(file) == 2


# Says how many requests were allowed before one would have had to wait for more than a second.
ACQUIRE = """
    import sys, threading
    from pathlib import Path
    from soundlink_pipeline.api.pacing import Cancelled, Pacer
    file, per_minute = Path(sys.argv[1]), int(sys.argv[2])
    cancelled, allowed = threading.Event(), 0
    with Pacer(file, per_minute, 10_000, cancelled=cancelled, on_wait=lambda _: cancelled.set()) as pacer:
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            for _ in range(20):
                pacer.acquire()
                allowed += 1
        except Cancelled:
            pass
    print(allowed)
"""


@pytest.mark.parametrize(("per_minute", "allowed"), [(1000, 60), (10, 10)])
def test_processes_together_use_what_is_allowed_and_not_one_more(file: Path, per_minute: int, allowed: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(ACQUIRE), str(file), str(per_minute)]
    popen = partial(subprocess.Popen, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with ExitStack() as stack:
        processes = [stack.enter_context(popen()) for _ in range(3)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        with ThreadPoolExecutor(3) as threads:
            told = list(threads.map(lambda process: process.communicate("go\n", timeout=60), processes))
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(int(out) for out, _ in told) == counted(file) == allowed


def test_no_request_is_wasted_on_a_429_that_could_be_foreseen(
    file: Path, clock: WaitingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Client and simulator have the same limits, and the same clock."""
    monkeypatch.setattr("soundlink_pipeline.simulator.access.time", SimpleNamespace(monotonic=clock))
    with (
        running_simulator(per_minute=4, per_hour=10) as simulator,
        Pacer(file, 4, 10, cancelled=clock, now=clock) as pacer,
        SoundlinkClient(simulator.base_url, simulator.key, pacer) as client,
    ):
        started = clock()
        for _ in range(25):
            client.ping()
        assert simulator.stats.count(status=429) == 0
        assert len(simulator.stats.records) == client.requests == 25
        # 4 + 4 + 2 in each hour: two hours and one minute, and no more.
        assert 7200 + 60 <= clock() - started <= 7206 + 62


# Waiting


def test_cancelling_ends_a_wait_at_once(file: Path) -> None:
    cancelled, waiting = threading.Event(), threading.Event()
    with (
        Pacer(file, 1, 100, cancelled=cancelled, on_wait=lambda _: waiting.set()) as pacer,
        ThreadPoolExecutor(1) as thread,
    ):
        pacer.acquire()
        second = thread.submit(pacer.acquire)
        assert waiting.wait(10)
        started = time.monotonic()
        cancelled.set()
        with pytest.raises(Cancelled):
            second.result(timeout=10)
        assert time.monotonic() - started < 5
    assert counted(file) == 1


def test_a_cancelled_run_asks_no_more_even_where_there_is_room(file: Path) -> None:
    """A refused key cancels a run's other requests; they must not be sent all the same."""
    with Pacer(file, 60, 600) as pacer:
        pacer.cancelled.set()
        with pytest.raises(Cancelled):
            pacer.acquire()
    assert counted(file) == 0


def test_only_waits_worth_telling_are_told(file: Path, clock: WaitingClock) -> None:
    told: list[float] = []
    with Pacer(file, 1, 100, cancelled=clock, now=clock, on_wait=told.append) as pacer:
        pacer.sleep(0.9)
        assert told == []
        pacer.acquire()
        pacer.acquire()
    assert told
    assert sum(told) == pytest.approx(61, abs=1)


def test_a_pause_is_kept_by_every_pacer_and_by_those_to_come(file: Path, clock: WaitingClock) -> None:
    with (
        Pacer(file, 60, 600, cancelled=clock, now=clock) as one,
        Pacer(file, 60, 600, cancelled=clock, now=clock) as two,
    ):
        one.pause(100.5)
        one.pause(7)  # a shorter one does not shorten it
        started = clock()
        two.acquire()
        assert clock() - started == pytest.approx(100.5, abs=0.01)
        two.pause(7200)  # longer than any window of ours
    with Pacer(file, 60, 600, cancelled=clock, now=clock) as later:
        started = clock()
        later.acquire()
        assert clock() - started == pytest.approx(7200, abs=0.01)
        later.acquire()
        assert clock() - started == pytest.approx(7200, abs=0.01)  # over is over


# The clock


@pytest.mark.parametrize("back", [2, HOUR, 40 * 365 * 86400])
@pytest.mark.parametrize("reopened", [False, True])
def test_a_clock_that_is_set_back_blocks_nobody_until_it_catches_up(
    file: Path, clock: WaitingClock, back: int, reopened: bool
) -> None:
    with Pacer(file, 3, 10, cancelled=clock, now=clock) as pacer:
        for _ in range(3):
            pacer.acquire()
        pacer.pause(30)
        clock.seconds -= back
        with Pacer(file, 3, 10, cancelled=clock, now=clock) as other:
            chosen = other if reopened else pacer
            chosen.acquire()
            assert clock.waits == []
            assert chosen.left_this_hour() == 9  # and counts again from here


def test_a_clock_that_steps_back_a_little_forgets_no_request(file: Path, clock: WaitingClock) -> None:
    """Time synchronisation does so all the time."""
    with Pacer(file, 3, 10, cancelled=clock, now=clock) as pacer:
        for _ in range(3):
            pacer.acquire()
            clock.seconds -= 0.2
        assert pacer.left_this_hour() == 7
        started = clock()
        pacer.acquire()
        assert clock() - started > 60


def test_what_is_left_of_the_hour_comes_back_with_time(file: Path, clock: WaitingClock) -> None:
    with Pacer(file, 10, 10, cancelled=clock, now=clock) as pacer:
        assert pacer.left_this_hour() == 10
        for _ in range(4):
            pacer.acquire()
        assert pacer.left_this_hour() == 6
        clock.seconds += HOUR / 2
        pacer.acquire()
        assert pacer.left_this_hour() == 5
        clock.seconds += HOUR / 2 + 10
        assert pacer.left_this_hour() == 9


def test_the_file_does_not_grow_from_run_to_run(file: Path, clock: WaitingClock) -> None:
    for _ in range(5):
        with Pacer(file, 10, 10, cancelled=clock, now=clock) as pacer:
            pacer.acquire()
            pacer.pause(1)
        clock.seconds += 2 * HOUR
    with Pacer(file, 10, 10, cancelled=clock, now=clock), closing(sqlite3.connect(file)) as connection:
        assert connection.execute("select count(*) from requests").fetchone() == (0,)
        assert connection.execute("select count(*) from pauses").fetchone() == (0,)


def test_a_lower_limit_than_the_last_run_had_holds_at_once(file: Path, clock: WaitingClock) -> None:
    with Pacer(file, 10, 100, cancelled=clock, now=clock) as pacer:
        for _ in range(10):
            pacer.acquire()
    with Pacer(file, 2, 100, cancelled=clock, now=clock) as pacer:
        pacer.acquire()
    assert sum(clock.waits) == pytest.approx(61, abs=1)


def test_one_that_never_waits_ends_where_the_others_wait_and_counts_nothing_then(
    file: Path, clock: WaitingClock
) -> None:
    with (
        Pacer(file, 2, 100, cancelled=clock, now=clock) as patient,
        Pacer(file, 2, 100, cancelled=clock, now=clock, waits=False) as pacer,
    ):
        patient.acquire()
        pacer.acquire()
        with pytest.raises(Cancelled):
            pacer.acquire()
        assert (pacer.left_this_hour(), clock.waits) == (98, [])
        patient.acquire()
        assert sum(clock.waits) == pytest.approx(61, abs=1)
        clock.seconds += 61
        patient.pause(10)
        with pytest.raises(Cancelled):
            pacer.acquire()
