"""`soundlink totals`: the job compare_totals for all live campaigns, without a daemon.

`python -m soundlink_pipeline.commands.totals` is its old name, for one release.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import dagster as dg

from soundlink_pipeline.commands import cli
from soundlink_pipeline.commands.execution import EndedRun, loaded_settings, require_api_of_demo, run_and_tell
from soundlink_pipeline.commands.outcome import CommandFailed
from soundlink_pipeline.commands.project_folder import enter_project, in_use, require_project
from soundlink_pipeline.orchestration.totals_check import (
    COMPARE_TOTALS,
    COMPARED,
    REFUSED,
    differences_of,
    why_not_compared,
)
from soundlink_pipeline.typed import typed
from soundlink_pipeline.wording import counted


def compare_all(*, verbose: bool) -> None:
    """Compare, and say all that was found; a difference is a warning.

    Raises CommandFailed where the key is missing, where the API refuses it, and where no campaign that is due could be
    compared; Interrupted. Where none is due no request is made, so that nobody refuses the key.
    """
    folder = enter_project()
    settings = loaded_settings()
    require_project(folder)
    require_api_of_demo(settings)
    with in_use(folder, "soundlink totals"):
        ended = run_and_tell(COMPARE_TOTALS, "Interrupted: nothing was changed.", verbose=verbose, of_checks=_found)
    if failures := [why for check in ended.checks if (why := _failure(check))]:
        raise CommandFailed("\n".join(failures))


def _found(ended: EndedRun) -> Iterator[str]:
    for check in ended.checks:
        differences, not_compared, compared = differences_of(check), why_not_compared(check), _compared(check)
        if differences:
            yield "warning: the rows differ from Soundlink's own totals"
            yield from (f"  {line}" for line in differences)
            yield (
                f"Nothing else is affected. {typed('pull --from=… --to=… --refetch')} over these days brings what has"
                " come since they were settled; if a difference stays, ask Soundlink which of both numbers is right."
            )
        elif compared:
            yield f"The rows of {counted(compared, 'campaign')} add up to Soundlink's own totals."
        elif not not_compared:
            yield (
                "Nothing was compared and no request made, so the key was not tried: no live campaign has a settled day"
                f" in the warehouse. {typed('pull --from=… --to=…')} pulls days; {typed('doctor')} tries the key."
            )
        if not_compared and not _failure(check):
            yield f"warning: {not_compared}"


def _failure(check: dg.AssetCheckEvaluation) -> str:
    """Why nothing, or nothing more, could be compared; empty where only single campaigns could not."""
    return why_not_compared(check) if REFUSED in check.metadata or not _compared(check) else ""


def _compared(check: dg.AssetCheckEvaluation) -> int:
    return int(str(check.metadata[COMPARED].value))


def main(arguments: list[str] | None = None) -> int:
    return cli.main(["totals", *(arguments or [])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
