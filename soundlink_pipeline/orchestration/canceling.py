"""A run that is canceled says in one sentence what is kept and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from soundlink_pipeline.orchestration.run_tags import started_in_a_shell

_KEPT = (
    "deliveries that arrived whole are kept and are not requested again. To go on, re-execute the run from"
    " failure (from a shell: run the command again)."
)


def is_interruption(error: BaseException) -> bool:
    """Whether a signal ended the step: Dagster's own error, or what DuckDB makes of a signal during a statement."""
    if isinstance(error, dg.DagsterExecutionInterruptedError):
        return True
    return type(error) is RuntimeError and str(error) == "Query interrupted"


@contextmanager
def as_cancellation(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext, kept: str = _KEPT
) -> Iterator[None]:
    """If the run is canceled within the block, fail the step and say what is `kept`: the run then ends as canceled.

    A run whose process is stopped without anybody's wish (the machine shuts down) is told the same in its log, and
    fails as interrupted, so that the daemon retries it.
    """
    try:
        yield
    except (dg.DagsterExecutionInterruptedError, RuntimeError) as error:
        if not is_interruption(error):
            raise
        canceled = is_canceled(context.instance, context.run.run_id)
        said = f"{'Canceled' if canceled else 'Interrupted'}: {kept}"
        context.log.info(said)
        if canceled:
            raise dg.Failure(said, allow_retries=False) from None
        raise dg.DagsterExecutionInterruptedError from None


def is_canceled(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether an interrupted run is canceled: somebody asked for it in the UI, or pressed Ctrl-C in its shell.

    Of the latter Dagster knows nothing, and would call the run failed; here it learns of it.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        return False
    if run.status is dg.DagsterRunStatus.STARTED and started_in_a_shell(run):
        instance.report_run_canceling(run)
        return True
    return run.status is dg.DagsterRunStatus.CANCELING
