"""Settings for commands, and jobs that they run.

Dagster answers a bad setting with a traceback, so the settings are checked here first.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
from dotenv import load_dotenv
from sqlalchemy.exc import SQLAlchemyError

from soundlink_pipeline.alerts.message import read_alert
from soundlink_pipeline.commands.checks import check_lines, evaluated_checks
from soundlink_pipeline.commands.display import shown
from soundlink_pipeline.commands.outcome import CommandFailed, Interrupted
from soundlink_pipeline.definitions import defs
from soundlink_pipeline.doctor.demo import demo_is_stopped, is_demo
from soundlink_pipeline.doctor.finding import first_line
from soundlink_pipeline.orchestration import orphaned_runs
from soundlink_pipeline.orchestration.resource import READER, Soundlink
from soundlink_pipeline.orchestration.run_origin import execute_here, instance_for_this_process
from soundlink_pipeline.orchestration.schedules import check_cron
from soundlink_pipeline.settings.env_file import read_env_file
from soundlink_pipeline.settings.settings import Settings, settings_from


def loaded_settings() -> Settings:
    """The settings of the environment and of `.env`, checked; loads that file into the environment, as Dagster does."""
    checked_env_file()
    load_dotenv(Path(".env"))
    return checked_settings(os.environ)


def checked_env_file() -> dict[str, str]:
    """The variables of `.env`; for a file that cannot be read it ends the process as `checked_settings` does."""
    try:
        return read_env_file()
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def checked_settings(environment: Mapping[str, str]) -> Settings:
    """The settings, with the checks that loading the definitions makes.

    For a bad one it prints one sentence that names it, and ends the process with status 2.
    """
    try:
        settings = settings_from(environment)
        check_cron(settings.schedule)
        check_project_folder(Path.cwd())
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    return settings


def check_project_folder(folder: Path) -> None:
    """Dagster writes the folder it is started in into a URL: a ? ends the path there, and %41 is an A.

    Bytes of a name that are not UTF-8 are surrogates in Python: no URL and no database takes them.
    """
    if re.search(r"\?|%[0-9A-Fa-f]{2}|[\udc80-\udcff]", str(folder)):
        raise ValueError(
            f"Dagster keeps no storage in the folder {folder}, since it has a ?, a % code or bytes that are not UTF-8"
            " in it: rename the folder"
        )


def require_api_of_demo(settings: Settings) -> None:
    """Raises CommandFailed where the project is the demo, and its API does not run."""
    url = httpx.URL(settings.base_url)
    if is_demo(os.environ) and not answers(url.host, url.port or 80):
        raise CommandFailed(f"{settings.base_url} does not answer: {demo_is_stopped()}")


def answers(host: str, port: int) -> bool:
    """Whether a program listens there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


_CANCELED = (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING)


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended: why it failed, in sentences; `interrupted` if it was told to end.

    `said` are the lines of its steps in the log, `warnings` those of them that warn, `checks` those evaluated.
    """

    run_id: str
    failures: list[str]
    said: list[str]
    warnings: list[str]
    checks: list[dg.AssetCheckEvaluation]
    interrupted: bool

    @property
    def succeeded(self) -> bool:
        return not self.failures and not self.interrupted

    def check_lines(self) -> list[str]:
        """The checks that failed, in words."""
        return list(check_lines(self.checks, failed=bool(self.failures)))


def run_job(
    name: str,
    *,
    tags: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    verbose: bool = False,
    watch: Callable[[Soundlink], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> EndedRun:
    """Run a job in this process and on the project's Dagster instance, where the UI shows it, without a daemon.

    It waits its turn as every run does. Only with `verbose` Dagster's own lines are on stderr; its log keeps them
    anyway. The context that `watch` makes, of the resource that the run uses, is around the run. Raises CommandFailed
    where Dagster cannot begin.
    """
    definitions = defs()
    soundlink = (definitions.resources or {})[READER]
    console = {"loggers": {"console": {"config": {"log_level": "DEBUG" if verbose else "CRITICAL"}}}}
    with opened_instance(Path(os.environ["DAGSTER_HOME"])) as instance:
        for run_id in orphaned_runs.fail_orphaned_runs(instance):
            print(f"run {run_id} is marked as failed: its process no longer exists; complete deliveries are kept")
        with watch(soundlink):
            result = execute_here(
                definitions.resolve_job_def(name), instance, tags=tags, run_config={**(config or {}), **console}
            )
        return ended_run(instance, result.dagster_run, soundlink.settings.ui_url)


def run_and_tell(
    name: str, interrupted: str, *, verbose: bool, of_checks: Callable[[EndedRun], Iterable[str]] = EndedRun.check_lines
) -> EndedRun:
    """Run a job, and print what it says: its steps' own lines, and what is to be said `of_checks`.

    Raises CommandFailed with why it failed; Interrupted with the line `interrupted`.
    """
    ended = run_job(name, verbose=verbose, watch=(lambda _: nullcontext()) if verbose else shown)
    for line in [*ended.said, *of_checks(ended)]:
        print(line)
    if ended.interrupted:
        raise Interrupted(interrupted)
    if ended.failures:
        raise CommandFailed("\n".join(ended.failures))
    return ended


@contextmanager
def opened_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance that `dagster.yaml` in `home` describes, for runs in this process.

    Its relative paths start in the working directory. Raises CommandFailed.
    """
    try:
        instance = instance_for_this_process(home)
    except (dg.DagsterError, OSError, SQLAlchemyError) as error:
        raise CommandFailed(f"Dagster's storage cannot be opened: {first_line(error)}") from None
    try:
        with instance:
            yield instance
    except SQLAlchemyError as error:  # its databases are opened at their first use
        raise CommandFailed(f"Dagster's storage cannot be used: {first_line(error)}") from None


def ended_run(instance: dg.DagsterInstance, run: dg.DagsterRun, ui_url: str) -> EndedRun:
    """What came of a run that was executed here."""
    ended = instance.get_run_by_id(run.run_id) or run
    alert = read_alert(instance, ended, ui_url)
    failures = [item.reason for item in alert.failures] if alert else []
    interrupted = ended.status in _CANCELED or _is_interrupted(instance, run.run_id)
    if not failures and not interrupted and not ended.is_success:
        failures = [f"the run {ended.run_id} has failed without a reason"]
    said = _said(instance, ended.run_id)
    warnings = [text for level, text in said if level >= logging.WARNING]
    checks = evaluated_checks(instance, ended.run_id)
    return EndedRun(ended.run_id, failures, [text for _, text in said], warnings, checks, interrupted)


def _is_interrupted(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a step was ended by a signal: Dagster calls such a run failed or canceled, as it comes."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    events = [entry.dagster_event for entry in entries if entry.dagster_event]
    return any(event.step_failure_data.error_source.name == "INTERRUPT" for event in events)


# Dagster's own line of each step after one that failed.
_SKIPPED_STEP = "Dependencies for step "


def _said(instance: dg.DagsterInstance, run_id: str) -> list[tuple[int, str]]:
    """The lines that the run's own code has put into its log, with their levels; each once."""
    lines = dict[tuple[int, str], None]()
    for entry in instance.all_logs(run_id):
        if entry.dagster_event is None and not entry.user_message.startswith(_SKIPPED_STEP):
            lines[int(entry.level), entry.user_message] = None
    return list(lines)
