"""`make totals`: the job compare_totals for all live campaigns, from a shell and without a daemon.

`python -m soundlink_pipeline.commands.totals` in a project folder.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from soundlink_pipeline.commands.execution import execute_job, loaded_settings
from soundlink_pipeline.orchestration.totals_check import COMPARE_TOTALS


def main(arguments: list[str] | None = None) -> NoReturn:
    argparse.ArgumentParser(prog="python -m soundlink_pipeline.commands.totals", description=__doc__).parse_args(
        arguments
    )
    loaded_settings()
    execute_job(COMPARE_TOTALS)


if __name__ == "__main__":
    main()
