"""What the one deployment does and says that `test_secrets.py` searches: its API says the key back in every answer.

It is begun with the deployment and looked at last, so that other tests go on while its alerts wait for the sensor.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from soundlink_pipeline.orchestration.run_context import RANGE_START
from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Fault
from soundlink_pipeline_tests.alerts.receiver import Receiver
from soundlink_pipeline_tests.support.deployment import BIN, FIRST_DAY, Deployment, process_environment, until
from soundlink_pipeline_tests.support.mail_server import mail_server
from soundlink_pipeline_tests.support.project import REPOSITORY

# With characters that are written differently in a URL, in JSON and in HTML.
KEY = "sk_test_Wq7+Zr2xY/pL9sKd4wT6uB8=="
# Of a mail server that does not know them, and says so with both.
MAIL_LOGIN, MAIL_PASSWORD = "report-Hk3vQz81", "pa/ss:Yt6+word@Rw94"
# Each is the day of a run that fails.
MIXED, UNKNOWN_KEY, NO_SCOPE, ELSEWHERE = DAYS = [FIRST_DAY + timedelta(days=100 + number) for number in range(4)]
# The days of the backfill from the UI, in three runs. After it this one alone fails, so its day is none of them.
BACKFILLED = [str(FIRST_DAY + timedelta(days=number)) for number in range(200)]
BY_HAND = FIRST_DAY + timedelta(days=202)
SCHEDULED = "the schedule's"


@dataclass
class Story:
    """The schedule's run, four that fail, one by hand, the doctor, a report; and the alerts of all that failed."""

    here: Deployment
    folder: Path  # holds every file that came of it
    receiver: Receiver
    watch: threading.Event  # once set, command lines are no longer looked at
    command_lines: set[bytes] = field(default_factory=set)
    statuses: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)  # by day, or `SCHEDULED`
    ui_backfill: str | None = None  # launched behind the story's runs: they fail as meant only while no day is settled

    def say(self, run_id: str) -> str:
        return "\n".join(self.here.messages(run_id))

    def begin(self) -> None:
        make_hostile(self.here)
        self.receiver.answer(400, body=self.receiver.url.encode())
        self.runs = {str(day): self.here.launch(day, day) for day in DAYS}

    def run_commands(self) -> None:
        """Once no run is left that a shell would have to wait for."""
        self.here.until_all_runs_ended()
        self._make("backfill", f"FROM={BY_HAND}", f"TO={BY_HAND}")
        self._make("report")
        with mail_server() as server:
            to = {"SOUNDLINK_REPORT_URL": f"mailto://{quote(MAIL_LOGIN)}:{quote(MAIL_PASSWORD, safe='')}@127.0.0.1"}
            to["SOUNDLINK_REPORT_URL"] += f":{server.port}/?from=a@example.com&to=b@example.com"
            self._make("doctor", **to)
            self._make("report", "SEND=1", log="send", **to)
        self.statuses = {day: self.here.status(run_id) for day, run_id in self.runs.items()}

    def _make(self, target: str, *variables: str, log: str = "", **environment: str) -> None:
        with (self.folder / f"{log or target}.log").open("wb") as file:
            subprocess.run(
                ["make", "--old-file=install", target, f"HOME_DIR={self.here.home}", f"BIN={BIN}", *variables],
                cwd=REPOSITORY,
                env=process_environment(self.here.home, {**self.here.environment, **environment}),
                stdout=file,
                stderr=file,
                timeout=300,
                check=False,
            )

    def wait_for_alerts(self) -> None:
        days = {str(day) for day in (*DAYS, BY_HAND)}

        def all_told() -> bool:
            told = {body["run_id"] for body in self.receiver.bodies}
            ended = [run for run in self.here.runs() if run["tags"].get(RANGE_START) in days]
            failed = {run["id"] for run in ended if run["status"] == "FAILURE"}
            return len(failed) == 5 and failed <= told

        until(all_told, "an alert for every run that failed", 200)


def make_hostile(here: Deployment) -> None:
    """The API says back what it must not, in every way an answer can; which, is told by the day asked for."""
    faults, world = here.sim.faults, here.sim.world
    echo, page = f"no: {KEY}", f"<title>{KEY}</title>"

    def add(kind: str, day: date, **more: Any) -> None:
        faults.add(Fault(kind, match=f"startDate={day}", **more))

    def spoil(rows: bytes) -> bytes:
        changed = [json.loads(line) | {"campaign_name": KEY, "country_code": "xx"} for line in rows.splitlines()]
        return b"".join(json.dumps(row).encode() + b"\n" for row in changed)

    first, second = (campaign.uuid for campaign in world.campaigns[:2])  # those that run for months
    add("status", MIXED, status=429, code="rate_limit_exceeded", message=echo, retry_after=0, campaign=first)
    add("status", MIXED, status=503, message=echo, campaign=second)
    add("status", MIXED, status=400, code=KEY, message=echo, campaign=first, export=BREAKDOWN)
    add("html", MIXED, body=page, campaign=second, export=BREAKDOWN)
    add("edit", MIXED, edit=spoil, campaign=first, export=ENGAGEMENT)
    add("extra_field", MIXED, fields={"token": KEY}, campaign=second, export=ENGAGEMENT)
    add("status", UNKNOWN_KEY, status=401, code="api_key_revoked", message=echo)
    add("status", NO_SCOPE, status=403, code="insufficient_scope", message=echo)
    away = f"https://elsewhere.invalid/{quote(KEY, safe='')}?key={quote(KEY, safe='')}"
    add("redirect", ELSEWHERE, location=away)
    add("html", BY_HAND, body=page)


@contextmanager
def watched_command_lines(seen: set[bytes]) -> Iterator[threading.Event]:
    """The arguments of every process there is, looked at all the time until the event is set."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(path.read_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield ended
    finally:
        ended.set()
        thread.join()
