"""Checks that a run had planned and could not evaluate, since a step failed before them.

Dagster shows such a check as failed, as if its data were wrong. Here it gets a result of its own: a warning that says
that it was not evaluated, and why.
"""

from __future__ import annotations

import dagster as dg

NOT_EVALUATED = "not evaluated: "
_LONGEST_REASON = 300


def not_evaluated(key: dg.AssetCheckKey, reason: str) -> dg.AssetCheckResult:
    """A step's result for a check of its own that it cannot evaluate."""
    return dg.AssetCheckResult(
        check_name=key.name,
        asset_key=key.asset_key,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=NOT_EVALUATED + reason,
    )


def report_unevaluated(instance: dg.DagsterInstance, run: dg.DagsterRun, otherwise: str = "") -> int:
    """Give each check that the run planned and has not evaluated the result that it was not; returns how many.

    The reason is the run's first failed step, `otherwise` what is given; where there is neither, nothing is reported.
    """
    reason = _failure(instance, run.run_id) or otherwise
    if not reason:
        return 0
    planned, evaluated = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, dg.DagsterEventType.ASSET_CHECK_EVALUATION
    unevaluated: dict[dg.AssetCheckKey, None] = {}
    for entry in instance.all_logs(run.run_id, of_type={planned, evaluated}):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type is planned:
            unevaluated[event.asset_check_planned_data.asset_check_key] = None
        else:
            unevaluated.pop(event.asset_check_evaluation_data.asset_check_key, None)
    for key in unevaluated:
        evaluation = dg.AssetCheckEvaluation(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=False,
            metadata={},
            severity=dg.AssetCheckSeverity.WARN,
            description=NOT_EVALUATED + reason,
        )
        instance.report_dagster_event(
            dg.DagsterEvent(evaluated.value, run.job_name, event_specific_data=evaluation), run.run_id
        )
    return len(unevaluated)


def _failure(instance: dg.DagsterInstance, run_id: str) -> str:
    """The run's first failed step, and the first line of why; empty if none has failed."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        if entry.dagster_event is not None:
            failure = entry.dagster_event.step_failure_data
            said = failure.user_failure_data and failure.user_failure_data.description
            said = said or (failure.error.message if failure.error else "")
            first = said.strip().partition("\n")[0][:_LONGEST_REASON]
            return f"the step {entry.step_key} failed before it" + (f" ({first})" if first else "")
    return ""
