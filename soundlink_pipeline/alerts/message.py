"""The content of an alert: read from the events of a run that ended badly, and made harmless to show."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import dagster as dg

from soundlink_pipeline.channels.harmless import clean, cut, for_slack, without_mentions
from soundlink_pipeline.channels.receiver import Message
from soundlink_pipeline.orchestration.run_context import BACKFILL, RANGE_END, RANGE_START
from soundlink_pipeline.wording import counted

_PARTITION = "dagster/partition"

# Slack refuses texts over 40,000 characters; nobody reads 3,000.
TEXT_LIMIT = 3000
_LINE_LIMIT = 300
_REASON_LIMIT = 1000
_MOST_LINES = 8
_MOST_LISTED = 20


@dataclass(frozen=True)
class FailedStep:
    step: str
    reason: str


@dataclass(frozen=True)
class FailedCheck:
    asset: str
    check: str
    reason: str


@dataclass(frozen=True)
class Alert:
    """The facts of a run that ended badly. Its texts may quote others: campaign names, answers of the API."""

    run_id: str
    job: str
    status: str
    days: tuple[str, str] | None
    failures: list[FailedStep]
    failed_checks: list[FailedCheck]
    to_do: str
    link: str


def read_alert(instance: dg.DagsterInstance, run: dg.DagsterRun, ui_url: str) -> Alert | None:
    """The alert for a run that has ended; None if it ended well or was cancelled."""
    events = list(_events(instance, run.run_id))
    run_failures = [event for event in events if event.event_type is dg.DagsterEventType.RUN_FAILURE]
    succeeded = run.status is dg.DagsterRunStatus.SUCCESS
    checks = _failed_checks(events)
    # By the events, not the status: a run that exceeds its time is marked as failed first, and then as cancelled.
    if not run_failures and not (succeeded and checks):
        return None
    failures = [] if succeeded else _failed_steps(events)
    if not succeeded and not failures:
        error = getattr(run_failures[-1].event_specific_data, "error", None)
        failures = [FailedStep("", _innermost(error) or run_failures[-1].message or "the run failed without a reason")]
    begun = any(event.event_type is dg.DagsterEventType.STEP_START for event in events)
    return Alert(
        run_id=run.run_id,
        job=_job(run),
        status="SUCCESS" if succeeded else "FAILURE",
        days=_days(run),
        failures=failures,
        failed_checks=checks,
        to_do=_to_do(succeeded=succeeded, begun=begun),
        link=f"{ui_url}/runs/{quote(run.run_id, safe='')}",
    )


def _events(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.DagsterEvent]:
    kinds = {
        dg.DagsterEventType.RUN_FAILURE,
        dg.DagsterEventType.STEP_START,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    }
    cursor, more = None, True
    while more:
        found = instance.get_records_for_run(run_id, cursor, of_type=kinds, limit=1000)
        cursor, more = found.cursor, found.has_more
        for record in found.records:
            if record.event_log_entry.dagster_event is not None:
                yield record.event_log_entry.dagster_event


def _failed_steps(events: Sequence[dg.DagsterEvent]) -> list[FailedStep]:
    failures = {}
    for event in events:
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            reason = data.user_failure_data.description if data.user_failure_data else None
            if data.error_source.name == "INTERRUPT":
                reason = "interrupted: its process received a signal to end"
            failures[event.step_key or ""] = reason or _innermost(data.error) or "failed without a reason"
    return [FailedStep(step, reason) for step, reason in failures.items()]


class _Error(Protocol):
    """An error as Dagster stores it with an event."""

    @property
    def message(self) -> str: ...
    @property
    def cause(self) -> "_Error | None": ...


def _innermost(error: _Error | None) -> str:
    """The message of the exception itself, without the errors that Dagster wraps it in."""
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else ""


def _failed_checks(events: Sequence[dg.DagsterEvent]) -> list[FailedCheck]:
    """The checks whose last evaluation in the run failed with severity ERROR."""
    last: dict[Any, dg.AssetCheckEvaluation] = {}
    for event in events:
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            data = event.asset_check_evaluation_data
            last[data.asset_check_key, data.partition] = data
    return [
        FailedCheck(data.asset_key.to_user_string(), data.check_name, _check_reason(data))
        for data in last.values()
        if not data.passed and data.severity is dg.AssetCheckSeverity.ERROR
    ]


def _check_reason(data: dg.AssetCheckEvaluation) -> str:
    rows = data.metadata.get("bad rows")
    count = counted(rows.value, "bad row") if rows and isinstance(rows.value, int) else ""
    day = f"partition {data.partition}" if data.partition else ""
    return ", ".join(part for part in (count, day, data.description) if part) or "failed"


def _job(run: dg.DagsterRun) -> str:
    if not run.job_name.startswith("__"):
        return run.job_name
    backfill = run.tags.get(BACKFILL)
    return f"backfill {backfill}" if backfill else "materialization of selected assets"


def _days(run: dg.DagsterRun) -> tuple[str, str] | None:
    if RANGE_START in run.tags and RANGE_END in run.tags:
        return run.tags[RANGE_START], run.tags[RANGE_END]
    day = run.tags.get(_PARTITION)
    return (day, day) if day else None


def _to_do(*, succeeded: bool, begun: bool) -> str:
    if succeeded:
        return "The run succeeded. See the checks of these assets; fix the cause, then materialize the assets again."
    if begun:
        return 'Fix the cause, then press "Re-execute from failure" in the run: finished steps are not repeated.'
    return 'No step had begun. Press "Re-execute all" in the run.'


def message_of(alert: Alert) -> Message:
    """The alert as every receiver may take it."""
    title, _, text = text_of(alert, without_mentions).partition("\n")
    return Message(title=title, text=text, slack=text_of(alert, for_slack), facts=_facts(alert))


def _facts(alert: Alert) -> dict[str, Any]:
    """What a webhook's JSON says beside the text."""
    return {
        "run_id": alert.run_id,
        "job": _field(alert.job),
        "status": alert.status,
        "range": {"start": _field(alert.days[0]), "end": _field(alert.days[1])} if alert.days else None,
        "counts": {"failures": len(alert.failures), "failed_checks": len(alert.failed_checks)},
        "failures": [
            {"step": _field(item.step) or None, "reason": _field(item.reason)} for item in alert.failures[:_MOST_LISTED]
        ],
        "failed_checks": [
            {"asset": _field(item.asset), "check": _field(item.check), "reason": _field(item.reason)}
            for item in alert.failed_checks[:_MOST_LISTED]
        ],
        "to_do": alert.to_do,
        "link": alert.link,
    }


def text_of(alert: Alert, escape: Callable[[str], str]) -> str:
    """The message in plain text, at most TEXT_LIMIT characters after `escape`, which makes a line harmless."""
    days = ""
    if alert.days:
        days = f", {alert.days[0]}" + (f" to {alert.days[1]}" if alert.days[1] != alert.days[0] else "")
    failed = "failed" if alert.status == "FAILURE" else "succeeded, but checks failed"
    head = [_line(f"Soundlink Pipeline: {alert.job} {failed}{days}")]
    body: list[str] = []
    for failure in alert.failures[:_MOST_LISTED]:
        # Quoted text is indented, so that it cannot look like a line of ours.
        first, *lines = failure.reason.splitlines() or [""]
        body.append(_line(f"- {failure.step}: {first}" if failure.step else f"- {first}"))
        body += [f"    {_line(line)}" for line in lines[:_MOST_LINES]]
        if len(lines) > _MOST_LINES:
            body.append(f"    and {counted(len(lines) - _MOST_LINES, 'more line')}")
    if len(alert.failures) > _MOST_LISTED:
        body.append(f"and {counted(len(alert.failures) - _MOST_LISTED, 'more failed step')}")
    checks = [f"- {item.asset}, check {item.check}: {item.reason}" for item in alert.failed_checks]
    if checks:
        body += [f"Failed checks: {len(checks)}", *map(_line, checks[:_MOST_LINES])]
        if len(checks) > _MOST_LINES:
            body.append(f"and {counted(len(checks) - _MOST_LINES, 'more check')}")
    tail = [alert.to_do, alert.link]
    return _fitted(*([escape(line) for line in part] for part in (head, body, tail)))


def _fitted(head: list[str], body: list[str], tail: list[str]) -> str:
    room = TEXT_LIMIT - sum(len(line) + 1 for line in head + tail) - len("and 99,999 more lines\n")
    shown: list[str] = []
    for line in body:
        room -= len(line) + 1
        if room < 0:
            shown.append(f"and {counted(len(body) - len(shown), 'more line')}")
            break
        shown.append(line)
    return "\n".join(head + shown + tail)


def _line(text: str) -> str:
    return cut(clean(text), _LINE_LIMIT)


def _field(text: str) -> str:
    lines = (clean(line) for line in text.splitlines())
    return without_mentions(cut("\n".join(lines), _REASON_LIMIT))
