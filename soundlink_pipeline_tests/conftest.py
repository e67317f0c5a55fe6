"""What several test files share."""

import gc
import os
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.nodeid import NodeId


def pytest_addoption(parser: pytest.Parser) -> None:
    """How hard the tests try that can always try harder; the make targets chaos and fuzz ask for more."""
    group = parser.getgroup("soundlink")
    group.addoption("--kills", type=int, default=2, help="moments at which test_crashes kills a run")
    group.addoption("--sequences", type=int, default=6, help="random sequences of faults in network/test_faults")
    group.addoption("--histories", type=int, default=1, help="random histories of pulls in marts and models")
    group.addoption("--inputs", type=int, default=600, help="damaged deliveries in fuzzing, fewer in loading")
    group.addoption("--folders", type=int, default=30, help="mutated folders of SQL models in models/test_any_folder")
    group.addoption("--folders-from", type=int, default=0, help="the seed of the first of them")
    group.addoption("--projects", type=int, default=60, help="random dbt projects in models/same_as_dbt")
    group.addoption("--projects-from", type=int, default=0, help="the seed of the first of them")


# Side by side, the last to begin holds up the end: what takes long begins first.
_FIRST = (
    "processes",
    "architecture",
    "trials",
    "documents",
    "orchestration",
    "models",
    "marts",
    "publishing",
    "loading",
    "alerts",
)
# A test that takes longer says so with a marker, and stands aside of what is run at every change.
_LONGEST_SECONDS = 20.0
_MAY_TAKE_LONG = ("daemon", "slow", "browser", "dbt")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Who asks for the tests of one marker alone need not import every other file, which takes as long as some tests.

    A file that has such a test says the marker's name. (The marker `daemon` is its folder's.)
    """
    only = config.getoption("markexpr")
    if only not in ("slow", "browser", "dbt") or not collection_path.match("test_*.py"):
        return None
    return f"mark.{only}" not in collection_path.read_text(encoding="utf-8") or None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what its folder says, and keep together what shares a fixture."""
    if _room(item) == "processes" and not item.get_closest_marker("browser"):
        item.add_marker("daemon")
    group = _shared_fixture(item)
    if group:
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_sessionstart() -> None:
    """What imports make stays until the end: looking for garbage in it, again and again, finds none."""
    gc.disable()


def pytest_collection_finish() -> None:
    from soundlink_pipeline_tests.support import made_once  # noqa: PLC0415  # only who collects pays for its imports

    made_once.share()
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    for item in items if getattr(config.option, "loadgroup", False) else ():
        group = item.get_closest_marker("xdist_group")
        if group and "@" not in item.nodeid.rpartition("]")[2]:
            # xdist 3.8 writes a test's group where pytest 9.2 no longer reads it.
            item._id = NodeId.parse(f"{item.nodeid}@{group.args[0]}")
    items.sort(key=lambda item: _FIRST.index(_room(item)) if _room(item) in _FIRST else len(_FIRST))


def _room(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


def _shared_fixture(item: pytest.Item) -> str | None:
    """A name for the tests that share a fixture with this one, and so belong on one worker; None if there is none."""
    if not isinstance(item, pytest.Function):
        return None
    used = [
        found[-1] for found in item._fixtureinfo.name2fixturedefs.values() if found[-1].baseid
    ]  # pytest's own apart
    for_all = [str(fixture.baseid) for fixture in used if fixture.scope in ("package", "session")]
    if for_all:
        return min(for_all)
    return item.nodeid.partition("::")[0] if any(fixture.scope != "function" for fixture in used) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a test that takes too long, so that none becomes slow unseen. A slow machine is no fault of a test."""
    report = yield
    # Where more wants to run than there are processors, each takes the longer.
    seconds = call.duration / max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    # Who gives a --timeout has asked for many kills, faults or inputs.
    limited = item.config.getoption("timeout") is None
    too_long = limited and call.when == "call" and report.passed and seconds > _LONGEST_SECONDS
    if too_long and not any(item.get_closest_marker(name) for name in _MAY_TAKE_LONG):
        report.user_properties.append(("took too long", f"{call.duration:.0f} s"))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    slow = [
        f"{report.nodeid}: {took}"
        for report in terminalreporter.stats.get("passed", [])
        for name, took in report.user_properties
        if name == "took too long" and report.when == "call"
    ]
    if slow:
        markers = ", ".join(_MAY_TAKE_LONG)
        terminalreporter.section(f"over {_LONGEST_SECONDS:.0f} s and without a marker that says so ({markers})")
        terminalreporter.write_line("\n".join(slow))


class WaitingClock(threading.Event):
    """A clock that moves only when somebody waits: a pacer's `now` and `cancelled` in one, so that nothing sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1_772_000_000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.seconds

    def wait(self, timeout: float | None = None) -> bool:
        if timeout:
            self.waits.append(timeout)
            self.seconds += timeout
        return self.is_set()


@pytest.fixture
def clock() -> WaitingClock:
    return WaitingClock()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, which asks nothing of the network on its own account."""
    from soundlink_pipeline_tests.support.chromium import chromium, launched  # noqa: PLC0415

    pytest.importorskip("playwright.sync_api", reason="needs playwright: make browser installs it")
    executable = chromium()
    if executable is None:
        pytest.skip("needs Chromium: install your system's package, such as apt-get install chromium")
    with launched(executable) as made:
        yield made
