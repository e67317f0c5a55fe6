"""`soundlink totals`: the job compare_totals for all live campaigns, without a daemon.

`python -m soundlink_pipeline.commands.totals` is its old name, for one release.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from soundlink_pipeline.commands import cli
from soundlink_pipeline.commands.execution import EndedRun, loaded_settings, require_api_of_demo, run_and_tell
from soundlink_pipeline.commands.project_folder import enter_project, in_use, require_project
from soundlink_pipeline.orchestration.totals_check import COMPARE_TOTALS, COMPARED, lines_of
from soundlink_pipeline.typed import typed
from soundlink_pipeline.wording import counted


def compare_all(*, verbose: bool) -> None:
    """Compare, and say all that was found. A difference is a warning. Raises CommandFailed, Interrupted."""
    folder = enter_project()
    settings = loaded_settings()
    require_project(folder)
    require_api_of_demo(settings)
    with in_use(folder, "soundlink totals"):
        run_and_tell(COMPARE_TOTALS, "Interrupted: nothing was changed.", verbose=verbose, of_checks=_found)


def _found(ended: EndedRun) -> Iterator[str]:
    for check in ended.checks:
        if check.passed:
            campaigns = counted(int(str(check.metadata[COMPARED].value)), "campaign")
            yield f"The rows of {campaigns} add up to Soundlink's own totals."
            continue
        yield "warning: the rows differ from Soundlink's own totals"
        yield from (f"  {line}" for line in lines_of(check))
        yield (
            f"Nothing else is affected. {typed('pull --from=… --to=… --refetch')} over these days brings what has come"
            " since they were settled; if a difference stays, ask Soundlink which of both numbers is right."
        )


def main(arguments: list[str] | None = None) -> int:
    return cli.main(["totals", *(arguments or [])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
