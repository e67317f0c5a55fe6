"""What a run says of itself in the runs list: its days, how many, and who started it. As tags, which the UI shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import dagster as dg

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.orchestration.run_context import BACKFILL, ONE_DAY, RANGE_END, RANGE_START

DAYS = "soundlink/days"
DAY_COUNT = "soundlink/number_of_days"
STARTED_BY = "soundlink/started_by"

SCHEDULE, SHELL, DEMO, UI, UI_BACKFILL = "schedule", "shell", "demo", "UI", "UI backfill"
_RETRY, _AGAIN = "automatic retry", "re-execution"
# The job behind "Materialize" and backfills in the UI.
_ASSET_JOB = "__ASSET_JOB"


def days_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that tell a run's days, from those that Dagster reads; none for a run without days."""
    dates = dates_of(tags)
    if dates is None:
        return {}
    return {DAYS: _briefly(dates), DAY_COUNT: str(dates.days)}


def _briefly(dates: DateRange) -> str:
    """In a desk's window the runs list cuts a tag off after some 37 characters, its name among them."""
    start, end = dates.start, dates.end
    if start == end:
        return str(start)
    return f"{start} to {end:%m-%d}" if start.year == end.year else str(dates)


def own_tags(run: dg.DagsterRun) -> dict[str, str]:
    """The tags of ours that a run should have and has not, since Dagster made it: from the UI, or again."""
    wanted = {**days_tags(run.tags), STARTED_BY: _started_by(run)}
    return {name: value for name, value in wanted.items() if run.tags.get(name) != value}


def started_in_a_shell(run: dg.DagsterRun) -> bool:
    """Whether Ctrl-C ends the run: somebody started it in a shell, and sees it there."""
    return run.tags.get(STARTED_BY) in (SHELL, DEMO)


def described(run: dg.DagsterRun) -> str:
    """A run in a sentence's middle: `daily_refresh, 2026-11-12 to 2026-11-19, started by schedule`."""
    name = "materialization" if run.job_name == _ASSET_JOB else run.job_name
    dates = dates_of(run.tags)
    days = dates and str(dates if dates.days > 1 else dates.start)
    return ", ".join(part for part in (name, days, f"started by {_started_by(run)}") if part)


def dates_of(tags: Mapping[str, str]) -> DateRange | None:
    """The days that a run was launched for; None without any."""
    start = tags.get(RANGE_START) or tags.get(ONE_DAY)
    end = tags.get(RANGE_END) or tags.get(ONE_DAY)
    try:
        return DateRange(date.fromisoformat(start or ""), date.fromisoformat(end or ""))
    except ValueError:  # a run's tags may hold anything; the step refuses it
        return None


def _started_by(run: dg.DagsterRun) -> str:
    tags = run.tags
    if run.parent_run_id:  # which has its parent's tags, too
        return _RETRY if tags.get("dagster/retry_number") else _AGAIN
    if STARTED_BY in tags:
        return tags[STARTED_BY]
    if "dagster/schedule_name" in tags:
        return SCHEDULE
    if "dagster/sensor_name" in tags:
        return "sensor"
    if BACKFILL in tags:
        return UI_BACKFILL
    return UI if run.remote_job_origin else SHELL
