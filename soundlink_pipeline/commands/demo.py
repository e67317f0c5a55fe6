"""`soundlink demo`: the pipeline against a local Soundlink API, without a key or any input.

It makes the folder `demo/`, a project folder of its own with settings, warehouse and Dagster instance: it backfills 60
days in one run, lets 8 days pass with the daily refresh of each, and prints what an analyst would look at. An earlier
demo is replaced only then; if this one fails or is interrupted, the earlier one is there as it was.
`soundlink dev` opens the Dagster UI on it, with the API running.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

import dagster as dg
import httpx

from soundlink_pipeline.api.key import DEMO_KEY
from soundlink_pipeline.commands import cli
from soundlink_pipeline.commands.demo_tour import say, show_checks, show_requests, show_tables
from soundlink_pipeline.commands.dev import check_port
from soundlink_pipeline.commands.execution import checked_settings, ended_run, opened_instance
from soundlink_pipeline.commands.outcome import CommandFailed
from soundlink_pipeline.commands.project_folder import DEMO, ENV_FILE, INSTANCE_FILE, WORKSPACE_FILE, alone
from soundlink_pipeline.commands.signals import ended_by_signals
from soundlink_pipeline.contracts.days import SETTLED_AFTER_DAYS
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.doctor.demo import DEMO_REQUESTS, demo_settings
from soundlink_pipeline.doctor.demo import is_demo as is_demos
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.orchestration.run_origin import Result, execute_here
from soundlink_pipeline.orchestration.run_tags import DEMO as BY_DEMO
from soundlink_pipeline.settings.env_file import read_env_file
from soundlink_pipeline.settings.settings import Settings, settings_from
from soundlink_pipeline.typed import typed

FOLDER = DEMO
BACKFILL_DAYS = 60
DAYS_THAT_PASS = SETTLED_AFTER_DAYS  # so that the backfilled days become final
CAMPAIGNS, SOUNDLINKS = 12, 6
_TICK_HOUR = 7  # of the schedule, UTC
_COMMAND = "soundlink demo"
_PORT, _PORTS = 8765, 50
# What the demo consists of, its settings first; and where an earlier one waits for the new one to be made.
_OF_DEMO = (ENV_FILE, INSTANCE_FILE, WORKSPACE_FILE, "data", ".dagster")
_BEFORE = ".before"
_OWN = Path("data", "own")
_TEMPLATES = Path(__file__).with_name("project")
_NEXT = {
    "dev": "the Dagster UI on this demo: every partition, run and number above",
    "sql": "ask the analysts' database: docs/analysts.md has questions to begin with",
    "status": "what is loaded, settled and published, on one screen",
    "report": "one page: last week, pacing, campaigns, countries, tracks, and what of it is final",
}
# What real accounts bring, so that the demo shows what becomes of it. All but rows that vanish for no reason, which
# would hide how figures grow.
_ODDITIES = (
    *("--changing-targets", "--null-metrics", "--currencies", "--anonymous-networks"),
    *("--moving-account", "--reattributed-countries", "--relinked-tracks"),
    *("--long-tails", "--late-rows", "--all-statuses", "--renewals"),
)


def make_demo(port: int | None) -> None:
    """Make the demo and show it; its API will be at `port`, or else at the first free one.

    Raises CommandFailed, Interrupted; then what was there before is there again.
    """
    checked_settings(os.environ)  # the demo has its own settings, but in `make dev` on it the shell's come first
    if port is not None:
        check_port("127.0.0.1", port, f"{_COMMAND} --port {port + 1} takes another")
    with ended_by_signals("Interrupted: no demo was made, and what was there before is as it was."):
        home = FOLDER.absolute()
        with _new_folder(home):
            _demo(home, port or _free_port())


def is_demo(folder: Path) -> bool:
    """Whether the folder is a demo's, which needs its API."""
    return is_demos(read_env_file(folder / ENV_FILE))


@contextmanager
def api_of_demo(folder: Path) -> Iterator[None]:
    """The API that the demo was filled from, for the block. Raises CommandFailed."""
    settings = read_env_file(folder / ENV_FILE)
    port = httpx.URL(settings["SOUNDLINK_BASE_URL"]).port or _PORT
    check_port("127.0.0.1", port, f"{_COMMAND} --port {port + 1} makes the demo anew with its API at another")
    with _simulator(date.fromisoformat(settings["SOUNDLINK_START_DATE"]), port):
        yield


def _demo(home: Path, port: int) -> None:
    started = time.monotonic()
    logging.disable(logging.INFO)
    first_day, backfilled = _days(datetime.now(UTC))
    os.environ["DAGSTER_HOME"] = str(home)
    with _simulator(first_day, 0, "--now", _morning(backfilled).isoformat()) as base_url:
        environment = demo_settings(first_day.isoformat(), base_url)
        settings = settings_from({**environment, "SOUNDLINK_DATA_DIR": str(home / "data")}, with_accounts=False)
        definitions = build_definitions(settings, lambda _: DEMO_KEY)
        soundlink = Soundlink(settings, lambda _: DEMO_KEY)
        say(f"A Soundlink API runs at {base_url}; its date is {backfilled}. It needs no key and no network.")
        say("Its account is made up, with the oddities of real ones: the checks warn of them, as section 9 shows.")
        with _instance(home) as instance:
            say(f"\n1. Backfill of {BACKFILL_DAYS} days, {first_day} to {backfilled - timedelta(days=1)}, in one run")
            _run(definitions, instance, first_day, backfilled - timedelta(days=1))
            say(f"   {_requests(base_url)} requests")
            say(f"\n2. {DAYS_THAT_PASS} days pass; each morning the schedule requests one run")
            pulled_days = BACKFILL_DAYS
            for offset in range(1, DAYS_THAT_PASS + 1):
                day = backfilled + timedelta(days=offset)
                _set_clock(base_url, _morning(day))
                start, end = _tick(definitions, instance, soundlink, day)
                newest = _run(definitions, instance, start, end)
                pulled_days += (end - start).days + 1
                say(f"   {day}: pulled {start} to {end}; {_requests(base_url)} requests so far")
        show_tables(soundlink)
        show_checks(newest)
        show_requests(soundlink, _requests(base_url), pulled_days)
    # Last: what has no settings is no project, and no half demo is taken for one.
    lines = [
        f"{name}={value}" for name, value in demo_settings(first_day.isoformat(), f"http://127.0.0.1:{port}").items()
    ]
    (home / ENV_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    say(f"\nDone in {time.monotonic() - started:.0f} s. What next:")
    for name, what in _NEXT.items():
        say(f"   {typed(name):<16} {what}")
    say("   README.md      three lines from here to your own key")


@contextmanager
def _new_folder(home: Path) -> Iterator[None]:
    """A demo folder without a demo, for one to be made there; where none is, the earlier one is put back.

    So it is after a crash, too: what was there waits in `_BEFORE`. Other files that lie in the folder stay, and so does
    what people have added to an earlier demo: own files of the data folder, and settings.
    """
    is_new = not home.exists()
    home.mkdir(exist_ok=True)
    with alone(home, _COMMAND):
        before = home / _BEFORE
        if before.exists():
            _move(before, home)
        _move(home, before)
        try:
            for name in (INSTANCE_FILE, WORKSPACE_FILE):
                shutil.copyfile(_TEMPLATES / name, home / name)
            if (before / _OWN).is_symlink():
                (home / _OWN).parent.mkdir()
                (home / _OWN).symlink_to((before / _OWN).readlink())
            elif (before / _OWN).is_dir():
                shutil.copytree(before / _OWN, home / _OWN, symlinks=True)
            yield
            _keep_settings(before / ENV_FILE, home / ENV_FILE)
        except BaseException:
            _move(before, home)
            if is_new:
                shutil.rmtree(home)
            raise
        shutil.rmtree(before)


def _keep_settings(before: Path, env_file: Path) -> None:
    """Add what the earlier file sets beyond a demo's own settings, lines as they are."""
    if not before.is_file():
        return
    # Whatever bytes a comment has: they are written as they were.
    lines = before.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    made = read_env_file(env_file)
    added = [
        line
        for line in lines
        if line.startswith("#") or ("=" in line and line.partition("=")[0].removeprefix("export ").strip() not in made)
    ]
    if added:
        with env_file.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write("\n".join(added) + "\n")
        say(f"   Kept from the demo before: what else {FOLDER / ENV_FILE} had.")


def _move(source: Path, target: Path) -> None:
    """A demo from one folder to another, where it replaces what is there. Its settings go first and come last."""
    to_before = target.name == _BEFORE
    target.mkdir(exist_ok=True)
    for name in _OF_DEMO if to_before else reversed(_OF_DEMO):
        place = target / name
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        if (source / name).exists():
            (source / name).rename(place)
    if not to_before:
        source.rmdir()


def _free_port() -> int:
    for port in range(_PORT, _PORT + _PORTS):
        with contextlib.suppress(CommandFailed):
            check_port("127.0.0.1", port, "")
            return port
    raise CommandFailed(f"the ports {_PORT} to {_PORT + _PORTS - 1} are all in use: {_COMMAND} --port takes another")


@contextmanager
def _instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The demo folder's own Dagster instance; its relative paths are below that folder."""
    before = Path.cwd()
    os.chdir(home)
    try:
        with opened_instance(home) as instance:
            yield instance
    finally:
        os.chdir(before)


@contextmanager
def _simulator(first_day: date, port: int, *options: str) -> Iterator[str]:
    """A local Soundlink API in a process of its own, which ends with this one; yields its base URL."""
    command = [sys.executable, "-m", "soundlink_pipeline.simulator", "--quiet", "--port", str(port), *_ODDITIES]
    command += ["--until-input-ends"]  # a pipe from here, which is closed also where this process is killed
    command += ["--first-day", first_day.isoformat(), "--campaigns", str(CAMPAIGNS)]
    command += ["--soundlinks", str(SOUNDLINKS), *options]
    command += ["--per-minute", str(DEMO_REQUESTS), "--per-hour", str(DEMO_REQUESTS)]
    # In a process group of its own: Ctrl-C in the terminal is for the command, which ends the API.
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101  (it is a pipe)
            line = process.stdout.readline()
            if " at " not in line:
                raise CommandFailed(f"the local API did not start on port {port}; is the port taken?")
            yield line.split(" at ")[1].split()[0]
        finally:
            process.terminate()
            process.wait(10)


def _tick(
    definitions: dg.Definitions, instance: dg.DagsterInstance, soundlink: Soundlink, day: date
) -> tuple[date, date]:
    """The range that the real schedule requests on the morning of `day`."""
    schedule = definitions.resolve_schedule_def(f"{DAILY_REFRESH}_schedule")
    with dg.build_schedule_context(
        instance, scheduled_execution_time=_morning(day), resources={"soundlink": soundlink}
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    return date.fromisoformat(request.tags[RANGE_START]), date.fromisoformat(request.tags[RANGE_END])


def _run(definitions: dg.Definitions, instance: dg.DagsterInstance, start: date, end: date) -> Result:
    result = execute_here(
        definitions.resolve_job_def(DAILY_REFRESH),
        instance,
        started_by=BY_DEMO,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={RANGE_START: start.isoformat(), RANGE_END: end.isoformat()},
    )
    if not result.success:
        ended = ended_run(instance, result.dagster_run, Settings().ui_url)
        raise KeyboardInterrupt if ended.interrupted else CommandFailed("\n".join(ended.failures))
    return result


def _set_clock(base_url: str, moment: datetime) -> None:
    answer = httpx.post(f"{base_url}/_simulator/clock", json={"now": moment.isoformat()}, trust_env=False)
    answer.raise_for_status()


def _requests(base_url: str) -> int:
    totals = httpx.get(f"{base_url}/_simulator/stats", trust_env=False).raise_for_status().json()
    return int(totals["requests"])


def _days(now: datetime) -> tuple[date, date]:
    """The first report_date, and the day of the backfill: DAYS_THAT_PASS before the last morning that has been."""
    last_morning = (now - timedelta(hours=_TICK_HOUR)).date()
    backfilled = last_morning - timedelta(days=DAYS_THAT_PASS)
    return backfilled - timedelta(days=BACKFILL_DAYS), backfilled


def _morning(day: date) -> datetime:
    """The time of the schedule's tick."""
    return datetime.combine(day, time_of_day(_TICK_HOUR), UTC)


def main(arguments: list[str] | None = None) -> int:
    """The old name, for one release: `python -m soundlink_pipeline.commands.demo [--ui]`."""
    parser = argparse.ArgumentParser(prog="python -m soundlink_pipeline.commands.demo", description=main.__doc__)
    parser.add_argument("--ui", action="store_true", help="open the Dagster UI on what the demo left")
    if not parser.parse_args(arguments).ui:
        return cli.main(["demo"])
    checked_settings(os.environ)
    if not (FOLDER / ENV_FILE).exists():
        print(f"There is no demo yet: {typed('demo')}", file=sys.stderr)
        return 1
    os.chdir(FOLDER)
    return cli.main(["dev", *(["--port", os.environ["PORT"]] if "PORT" in os.environ else [])])


if __name__ == "__main__":
    sys.exit(main())
