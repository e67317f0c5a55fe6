"""`soundlink totals`: the job compare_totals for all live campaigns, without a daemon.

`python -m soundlink_pipeline.commands.totals` is its old name, for one release.
"""

from __future__ import annotations

import sys

from soundlink_pipeline.commands import cli
from soundlink_pipeline.commands.execution import loaded_settings, run_and_tell
from soundlink_pipeline.commands.project_folder import enter_project, in_use, require_project
from soundlink_pipeline.orchestration.totals_check import COMPARE_TOTALS


def compare_all(*, verbose: bool) -> None:
    """Compare, and say what was found. Raises CommandFailed, Interrupted."""
    folder = enter_project()
    loaded_settings()
    require_project(folder)
    with in_use(folder, "soundlink totals"):
        run_and_tell(COMPARE_TOTALS, "Interrupted: nothing was changed.", verbose=verbose)


def main(arguments: list[str] | None = None) -> int:
    return cli.main(["totals", *(arguments or [])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
