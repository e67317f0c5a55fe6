"""`soundlink rebuild`: the job rebuild_from_landing, without a daemon.

`python -m soundlink_pipeline.commands.rebuild` is its old name, for one release.
"""

from __future__ import annotations

import sys

from soundlink_pipeline.commands import cli
from soundlink_pipeline.commands.execution import loaded_settings, run_and_tell
from soundlink_pipeline.commands.project_folder import enter_project, in_use, require_project
from soundlink_pipeline.orchestration.jobs import REBUILD


def rebuild_warehouse(*, verbose: bool) -> None:
    """Load every landed delivery that the warehouse lacks, build and publish. Raises CommandFailed, Interrupted."""
    folder = enter_project()
    settings = loaded_settings()
    require_project(folder)
    with in_use(folder, "soundlink rebuild"):
        run_and_tell(
            REBUILD, "Interrupted: what is loaded stays; the same command goes on from there.", verbose=verbose
        )
    print(f"Published: {settings.data_dir / 'soundlink.duckdb'}")


def main(arguments: list[str] | None = None) -> int:
    return cli.main(["rebuild", *(arguments or [])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
