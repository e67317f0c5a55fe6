"""Runs whose process has gone without a word (kill -9, a power cut): ended, and their place in the pool given back.

Dagster's daemon looks after the runs that it has launched itself. A run from a shell that was killed would keep the
pool's one place, and every run after it would wait. So whoever is about to start one looks first: `make backfill`,
`make rebuild`, and the schedule at its tick.
"""

from __future__ import annotations

import os

import dagster as dg

_SAYS = "the process of this run has gone: it was killed, or the machine went down; what had arrived whole is kept"


def end_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """The runs that were lost, by id; they have failed now. With a storage that machines share, none is looked for.

    A process is looked for by its number, in the numbers that this process sees: containers that share one SQLite
    storage must share their processes, too.
    """
    # Half a second, which loading the definitions should not pay.
    from dagster._core.storage.event_log import SqliteEventLogStorage  # noqa: PLC0415

    log = instance.event_log_storage
    if not isinstance(log, SqliteEventLogStorage):
        return []  # a process of another machine cannot be looked for
    lost = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        processes = _processes(instance, run.run_id)
        if processes and not any(_lives(process) for process in processes):
            instance.report_run_failed(run, _SAYS)
            lost.append(run.run_id)
    # Also the place of a run that has ended while nobody was there to free it.
    for run_id in log.get_concurrency_run_ids():
        holder = instance.get_run_by_id(run_id)
        if holder is None or holder.is_finished:
            log.free_concurrency_slots_for_run(run_id)
    return lost


def _processes(instance: dg.DagsterInstance, run_id: str) -> set[int]:
    """The processes that have executed steps of a run, as its log tells."""
    told = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    entries = [entry.dagster_event.engine_event_data.metadata.get("pid") for entry in told if entry.dagster_event]
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
    return True


def main() -> None:
    """For commands that make starts; without DAGSTER_HOME there is no instance to look at."""
    if os.environ.get("DAGSTER_HOME"):
        with dg.DagsterInstance.get() as instance:
            for run_id in end_lost_runs(instance):
                print(f"run {run_id} has failed: {_SAYS}")


if __name__ == "__main__":
    main()
