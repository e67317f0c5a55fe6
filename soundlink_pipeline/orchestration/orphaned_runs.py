"""Marks runs as failed whose process no longer exists (kill -9, a power cut).

Dagster's daemon does this for the runs that it has launched. A killed run from a shell would count as running for
hours, and the queue would launch no other. So whoever comes across it marks it: the next run in the same data folder
(`turn.py`), the commands, the sensor `upkeep` and each tick of the daily schedule.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import dagster as dg

from soundlink_pipeline.orchestration.unevaluated_checks import report_unevaluated

# The tag of a run that names the machine which executes it; with this beginning the UI hides it.
_HOST = ".dagster/soundlink_host"
_REASON = "the run's process no longer exists (killed, or the machine restarted); complete deliveries are kept"


def fail_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark orphaned runs as failed; returns their ids."""
    orphaned = find_orphaned_runs(instance)
    for run_id in orphaned:
        fail_orphan(instance, run_id)
    return orphaned


def find_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """The ids of runs that count as started, though their process is gone.

    Of a storage that machines share: those of this machine. A process is looked up by its number among those that this
    process sees: containers that share one SQLite storage must share their process ids, too.
    """
    # Half a second, which loading the definitions should not pay.
    from soundlink_pipeline.orchestration.event_log import is_sqlite  # noqa: PLC0415

    on_this_machine = host_tag().items()
    all_here = is_sqlite(instance.event_log_storage)
    orphaned = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        if not all_here and not on_this_machine <= run.tags.items():
            continue
        processes = _processes(instance, run.run_id)
        if processes and not any(_lives(process) for process in processes):
            orphaned.append(run.run_id)
    return orphaned


def host_tag() -> dict[str, str]:
    """The tag of a run that this machine executes. A container has a name of its own, as a machine has."""
    return {_HOST: socket.gethostname()}


def fail_orphan(instance: dg.DagsterInstance, run_id: str) -> None:
    """Mark a run as failed whose process is known to be gone; nothing if the instance knows it as ended, or not."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, _REASON)
        report_unevaluated(instance, run, _REASON)


def _processes(instance: dg.DagsterInstance, run_id: str) -> set[int]:
    """The process ids that executed steps of a run, from its log."""
    events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    entries = [entry.dagster_event.engine_event_data.metadata.get("pid") for entry in events if entry.dagster_event]
    return {int(str(pid.value)) for pid in entries if pid is not None}


def _lives(process: int) -> bool:
    if process == os.getpid():  # a container that was started again counts from one again
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not has_ended(process)


def has_ended(process: int) -> bool:
    """Whether only a process's number is left, until its parent asks: in a container perhaps for ever."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:  # no Linux; or it is gone by now
        return False
    return state == "Z"


def main() -> None:
    """For commands; without DAGSTER_HOME there is no instance to check."""
    if os.environ.get("DAGSTER_HOME"):
        with dg.DagsterInstance.get() as instance:
            for run_id in fail_orphaned_runs(instance):
                print(f"run {run_id} is marked as failed: {_REASON}")


if __name__ == "__main__":
    main()
