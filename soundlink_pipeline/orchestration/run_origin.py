"""Runs that a command executes in its own process, with an origin: the code location that `dagster dev` would serve.

A run that Dagster's own API executes in process has none. The UI's timeline leaves such a run out, and nobody can
execute it again there, nor does the daemon when it was killed.

Beside the event log this is the one module that uses Dagster's private names. Where they have moved, the run is
executed without an origin, and nothing else is different.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from soundlink_pipeline.orchestration.run_tags import SHELL, STARTED_BY, days_tags

if TYPE_CHECKING:
    from dagster._core.remote_origin import CodeLocationOrigin, RemoteJobOrigin

# Of either, `success`, `dagster_run` and the events are the same.
Result: TypeAlias = dg.JobExecutionResult | dg.ExecuteInProcessResult

_MODULE = "soundlink_pipeline.definitions"
_REPOSITORY = "__repository__"  # how Dagster calls what a module's definitions make


def execute_here(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    *,
    started_by: str = SHELL,
    tags: Mapping[str, str] | None = None,
    run_config: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Result:
    """Execute a job in this process, as `job.execute_in_process` does without raising what its steps raise.

    `folder` is the project folder, whose workspace.yaml or pyproject.toml says which code location it is; otherwise the
    working directory. Raises what Dagster raises for a run config or tags that it does not take.
    """
    all_tags = {**(tags or {}), **days_tags(tags or {}), STARTED_BY: started_by}
    config = dict(run_config or {})
    try:
        from dagster._core.definitions.job_base import InMemoryJob  # noqa: PLC0415
        from dagster._core.execution.api import execute_run  # noqa: PLC0415
        from dagster._utils.interrupts import capture_interrupts  # noqa: PLC0415

        origin = job_origin(folder or Path.cwd(), job.name)
    except ImportError:
        return job.execute_in_process(config, instance, tags=all_tags, raise_on_error=False)
    run = instance.create_run_for_job(job, run_config=config, tags=all_tags, remote_job_origin=origin)
    # Ctrl-C ends the run within a step or between two, never in the middle of writing what happened.
    with capture_interrupts():
        return execute_run(InMemoryJob(job), run, instance)


def instance_for_this_process(home: Path) -> dg.DagsterInstance:
    """The instance that `dagster.yaml` in `home` describes, without copies of what steps write to the terminal.

    For these Dagster starts two processes a step, which print a traceback each at Ctrl-C, and takes the terminal from
    whatever draws there. Relative paths start in the working directory. Raises dg.DagsterError, OSError.
    """
    try:
        from dagster._core.instance.ref import InstanceRef  # noqa: PLC0415
    except ImportError:
        return dg.DagsterInstance.from_config(str(home))
    none = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides={"compute_logs": none}))


def job_origin(folder: Path, job: str) -> RemoteJobOrigin:
    """The origin that a run of the job has if the UI launches it in this project folder."""
    from dagster._core.remote_origin import RemoteRepositoryOrigin  # noqa: PLC0415

    return RemoteRepositoryOrigin(_location(folder), _REPOSITORY).get_job_origin(job)


def _location(folder: Path) -> CodeLocationOrigin:
    """The code location that Dagster reads from the folder, as `dagster dev` does: its name is what the UI knows."""
    from dagster._cli.utils import has_pyproject_dagster_block  # noqa: PLC0415
    from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin  # noqa: PLC0415
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin  # noqa: PLC0415
    from dagster._core.workspace.load_target import PyProjectFileTarget, WorkspaceFileTarget  # noqa: PLC0415

    found: Sequence[CodeLocationOrigin] = []
    with chdir(folder):  # where Dagster looks for what the files name
        if has_pyproject_dagster_block("pyproject.toml"):
            found = PyProjectFileTarget("pyproject.toml").create_origins()
        elif Path("workspace.yaml").exists():
            found = WorkspaceFileTarget(["workspace.yaml"]).create_origins()
    module = LoadableTargetOrigin(executable_path=sys.executable, working_directory=str(folder), module_name=_MODULE)
    return next(iter(found), ManagedGrpcPythonEnvCodeLocationOrigin(module))
