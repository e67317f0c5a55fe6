"""`dagster dev` with the project's own configuration and an API behind it: what tests of real processes share."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import KeyInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY, each_day, environment, truth

T = TypeVar("T")
# Partitions end yesterday by the real clock, so these worlds end there too.
TODAY = datetime.now(UTC).date()
FIRST_DAY = TODAY - timedelta(days=205)
NEVER = "0 0 29 2 1"
EXPORT_NAMES = tuple(export.name for export in EXPORTS)
BIN = Path(sys.executable).parent
# The project's own `dagster.yaml`, but that the queue is looked at every second, not every five.
QUICK_QUEUE = "\nrun_queue:\n  dequeue_interval_seconds: 1\n"


def until(answer: Callable[[], T | None], what: str, seconds: float = 120) -> T:
    """Ask until the answer is true, at most twice a second: what is waited for needs the processor too."""
    deadline = time.monotonic() + seconds
    while True:
        found = answer()
        if found:
            return found
        assert time.monotonic() < deadline, f"in {seconds:.0f} s it did not happen: {what}"
        time.sleep(0.5)


@dataclass
class Deployment:
    """`dagster dev` in a project folder, as `make dev` starts it."""

    home: Path
    sim: Simulator
    url: str
    environment: dict[str, str]
    leader: int  # the process that everything else belongs to
    # One for all questions: making a client reads the system's certificates, which costs more than a question.
    client: httpx.Client = field(
        default_factory=lambda: httpx.Client(timeout=120, limits=httpx.Limits(max_keepalive_connections=0))
    )

    @property
    def key(self) -> str:
        return self.environment["SOUNDLINK_API_KEY"]

    def graphql(self, query: str, **variables: Any) -> Any:
        answer = self.client.post(f"{self.url}/graphql", json={"query": query, "variables": variables})
        body = answer.json()
        assert "errors" not in body, body["errors"]
        assert self.key not in answer.text
        return body["data"]

    def runs(self) -> list[dict[str, Any]]:
        """Every run, oldest first."""
        found = self.graphql(
            "{runsOrError {... on Runs {results {id jobName status startTime endTime parentRunId"
            " stepKeysToExecute tags {key value}}}}}"
        )["runsOrError"]["results"]
        return sorted(
            ({**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found),
            key=lambda run: run["startTime"] or 1e12,
        )

    def status(self, run_id: str) -> str:
        return str(next(run["status"] for run in self.runs() if run["id"] == run_id))

    def worker(self, run_id: str) -> int:
        """The process of a run that has started."""
        (pid,) = {int(pid) for text in self.messages(run_id) for pid in re.findall(r"\(pid: (\d+)\)", text)}
        return pid

    def materialized(self, asset: str) -> set[str]:
        """The partitions that the UI shows in green."""
        ranges = self.graphql(
            "query($key: AssetKeyInput!){assetNodeOrError(assetKey: $key){... on AssetNode {assetPartitionStatuses"
            " {... on TimePartitionStatuses {ranges {startKey endKey status}}}}}}",
            key={"path": [asset]},
        )["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
        return {
            str(day)
            for found in ranges
            if found["status"] == "MATERIALIZED"
            for day, _ in each_day(found["startKey"], found["endKey"], datetime.now(UTC))
        }

    def until_all_runs_ended(self) -> None:
        until(lambda: all(run["endTime"] for run in self.runs()), "all runs end", 300)

    def until_only_one_is_missing(self, start: date, pulls: int) -> None:
        assert pulls > 4
        landed = self.home / "data" / "landing"
        until(lambda: len(list(landed.glob(f"*/*/{start}_*.ndjson*"))) == pulls - 1, "all others have landed")

    def messages(self, run_id: str) -> list[str]:
        return [message for _, message in self.log(run_id)]

    def log(self, run_id: str) -> list[tuple[float, str]]:
        """The moment (Unix seconds) and the message of each event of a run."""
        query = (
            "query($id: ID!){logsForRun(runId: $id)"
            " {... on EventConnection {events {... on MessageEvent {timestamp message}}}}}"
        )
        events = self.graphql(query, id=run_id)["logsForRun"]["events"]
        return [(float(event["timestamp"]) / 1000, event["message"]) for event in events]

    def _nodes(self, fields: str) -> dict[str, Any]:
        found = self.graphql(f"{{repositoriesOrError {{... on RepositoryConnection {{nodes {{{fields}}}}}}}}}")
        node: dict[str, Any] = found["repositoriesOrError"]["nodes"][0]
        return node

    def _repository(self) -> dict[str, str]:
        repository = self._nodes("name location {name}")
        return {"repositoryName": repository["name"], "repositoryLocationName": repository["location"]["name"]}

    def scheduled_runs(self, name: str) -> list[str]:
        """The ids of the runs that a schedule has launched, oldest first."""
        return [run["id"] for run in self.runs() if run["tags"].get("dagster/schedule_name") == name]

    def schedule_ticks(self, name: str) -> list[dict[str, Any]]:
        schedules = self._nodes("schedules {name scheduleState {ticks {status runIds}}}")["schedules"]
        (ticks,) = (made["scheduleState"]["ticks"] for made in schedules if made["name"] == name)
        return list(ticks)

    def start_schedule(self, name: str) -> None:
        started = self.graphql(
            "mutation($s: ScheduleSelector!){startSchedule(scheduleSelector: $s){__typename}}",
            s={**self._repository(), "scheduleName": name},
        )["startSchedule"]
        assert started["__typename"] == "ScheduleStateResult", started

    def stop_schedule(self, name: str) -> None:
        schedules = self._nodes("schedules {name scheduleState {id selectorId}}")["schedules"]
        (state,) = (made["scheduleState"] for made in schedules if made["name"] == name)
        stopped = self.graphql(
            "mutation($id: String!){stopRunningSchedule(id: $id)"
            " {__typename ... on ScheduleStateResult {scheduleState {status}}}}",
            id=state["id"],
        )["stopRunningSchedule"]
        assert stopped["scheduleState"]["status"] == "STOPPED", stopped

    def sensor_ticks(self, status: str, sensor: str = "alerts") -> list[dict[str, Any]]:
        sensors = self._nodes("sensors {name sensorState {ticks {status skipReason error {message}}}}")["sensors"]
        (ticks,) = (made["sensorState"]["ticks"] for made in sensors if made["name"] == sensor)
        return [tick for tick in ticks if tick["status"] == status]

    def launch(self, start: date, end: date, priority: int = 0, *, refetch: bool = False) -> str:
        """A run over a range, launched as the UI's launchpad does."""
        config = {"ops": {"exports": {"config": {"refetch": True}}}} if refetch else {}
        tags = {RANGE_START: str(start), RANGE_END: str(end), "dagster/priority": str(priority)}
        launched = self.graphql(
            "mutation($p: ExecutionParams!){launchRun(executionParams: $p)"
            " {__typename ... on LaunchRunSuccess {run {id}} ... on PythonError {message}}}",
            p={
                "selector": {**self._repository(), "pipelineName": "daily_refresh"},
                "runConfigData": config,
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            },
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["id"])

    def reexecute_from_failure(self, run_id: str) -> str:
        """The button of the run's page."""
        launched = self.graphql(
            "mutation($p: ReexecutionParams!){launchRunReexecution(reexecutionParams: $p)"
            " {__typename ... on LaunchRunSuccess {run {id}} ... on PythonError {message}}}",
            p={"parentRunId": run_id, "strategy": "FROM_FAILURE"},
        )["launchRunReexecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["id"])

    def launch_backfill(self, days: list[str], assets: Sequence[str] = EXPORT_NAMES) -> str:
        """A backfill of every export, or of other assets, launched as the UI's dialog does."""
        launched = self.graphql(
            "mutation($p: LaunchBackfillParams!){launchPartitionBackfill(backfillParams: $p)"
            " {__typename ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message stack}}}",
            p={"assetSelection": [{"path": [name]} for name in assets], "partitionNames": days},
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def cancel_backfill(self, backfill_id: str) -> None:
        self.graphql("mutation($id: String!){cancelPartitionBackfill(backfillId: $id){__typename}}", id=backfill_id)

    def backfill_status(self, backfill_id: str) -> str:
        query = "query($id: String!){partitionBackfillOrError(backfillId: $id){... on PartitionBackfill {status}}}"
        return str(self.graphql(query, id=backfill_id)["partitionBackfillOrError"]["status"])

    def runs_of_backfill(self, backfill_id: str) -> list[dict[str, Any]]:
        return [run for run in self.runs() if run["tags"].get("dagster/backfill") == backfill_id]

    @property
    def published_path(self) -> Path:
        return settings_from(self.environment).data_dir / "soundlink.duckdb"

    @property
    def warehouse(self) -> NativeFile:
        return NativeFile(settings_from(self.environment).data_dir)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.warehouse.read() as connection:
            return connection.execute(sql).fetchall()

    def assert_tables_are_true(self, first: date, last: date) -> None:
        for export in EXPORTS:
            key = ", ".join(export.primary_key)
            found = self.query(
                f"select {', '.join(export.column_names)} from {export.name}"
                f" where report_date between '{first}' and '{last}' order by {key}"
            )
            expected = truth(self.sim.world, export, each_day(str(first), str(last), self.sim.clock.now()))
            assert found == expected
            assert found or export.subject != CAMPAIGN

    def assert_key_is_nowhere(self, delivered_with_it: str | None = None) -> None:
        """In no file, but in what was delivered of the day `delivered_with_it` as it came."""
        for path in self.home.rglob("*"):
            if path.is_file() and not (delivered_with_it and path.name.startswith(delivered_with_it)):
                assert self.key.encode() not in path.read_bytes(), path


def pull_command(start: date, end: date) -> list[str]:
    """What `make backfill` runs; it needs no daemon."""
    return [f"{BIN}/soundlink", "pull", f"--from={start}", f"--to={end}"]


def plain_command(start: date, end: date) -> list[str]:
    """The same without a command of ours."""
    tags = json.dumps({RANGE_START: str(start), RANGE_END: str(end)})
    job = ("-m", "soundlink_pipeline.definitions", "-j", "daily_refresh")
    return [f"{BIN}/dagster", "job", "execute", *job, "--tags", tags]


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """What a living process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_environment(home: Path, settings: dict[str, str]) -> dict[str, str]:
    # A dozen processes import the package; where Python may not keep what it has compiled, each compiles all of it.
    left_out = ("SOUNDLINK", "DAGSTER", "PYTHONDONTWRITEBYTECODE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**inherited, **settings, "DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def simulated_api(key: str = KEY) -> Iterator[Simulator]:
    """The API of a deployment, whose days end yesterday by the real clock."""
    world = World(campaigns=6, first_day=FIRST_DAY, countries_per_campaign=2, tracks_per_campaign=1)
    clock = SimClock(datetime.now(UTC).replace(microsecond=0))
    with running_simulator(world, clock, keys={key: KeyInfo()}, per_minute=None, per_hour=None) as sim:
        yield sim


@contextmanager
def deployment(home: Path, sim: Simulator, **settings: str) -> Iterator[Deployment]:
    """`dagster dev` with an API, until the block ends; then no process is left. The schedule is off unless set."""
    home.mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "workspace.yaml", home)
    (home / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text() + QUICK_QUEUE)
    known = environment(sim.base_url, home / "data", SOUNDLINK_START_DATE=str(FIRST_DAY), SOUNDLINK_SCHEDULE=NEVER)
    known |= settings
    port = free_port()
    command = [str(BIN / "dagster"), "dev", "-h", "127.0.0.1", "-p", str(port)]
    with (home.parent / "dagster-dev.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=process_environment(home, known),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    here = Deployment(home, sim, f"http://127.0.0.1:{port}", known, process.pid)
    try:
        until(lambda: _is_up(here, process), "dagster dev comes up", 180)
        yield here
    finally:
        here.client.close()
        end_session(process)


def _is_up(here: Deployment, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, (here.home.parent / "dagster-dev.log").read_text()[-3000:]
    try:
        found = here.graphql("{repositoriesOrError {__typename ... on RepositoryConnection {nodes {name}}}}")
    except (httpx.TransportError, json.JSONDecodeError):
        return False
    return bool(found["repositoriesOrError"].get("nodes"))


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End everything that `dagster dev` has started: its session holds the process groups of its children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in session(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and len(session(process.pid)) > 0:
            process.poll()
            time.sleep(0.1)
    process.wait(10)
    assert session(process.pid) == []


def session(leader: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
