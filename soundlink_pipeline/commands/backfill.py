"""`make backfill`: the job daily_refresh over a range, from a shell and without a daemon.

`python -m soundlink_pipeline.commands.backfill START END [--refetch] [--accept-smaller]` in a project folder. The
range is checked here, since Dagster answers a wrong one with a traceback.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from soundlink_pipeline.commands.execution import execute_job, loaded_settings
from soundlink_pipeline.contracts.days import checked_range
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START

# The same config as a file each, for Dagster's own command.
REFETCH = Path(__file__).with_name("refetch.yaml")
ACCEPT_SMALLER = Path(__file__).with_name("accept_smaller.yaml")


def main(arguments: list[str] | None = None) -> int:  # noqa: RET503  (execute_job does not return)
    """Returns 2, with one sentence on stderr, for a bad range; otherwise does not return."""
    parser = argparse.ArgumentParser(prog="python -m soundlink_pipeline.commands.backfill", description=__doc__)
    parser.add_argument("start", help="first report_date, YYYY-MM-DD")
    parser.add_argument("end", help="last report_date, YYYY-MM-DD")
    parser.add_argument("--refetch", action="store_true", help="pull settled days again, too")
    parser.add_argument("--accept-smaller", action="store_true", help="take answers however few rows they hold")
    given = parser.parse_args(arguments)
    settings = loaded_settings()
    try:
        checked_range(given.start, given.end, settings.start_date, datetime.now(UTC))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    tags = {RANGE_START: given.start, RANGE_END: given.end}
    wanted = {"refetch": given.refetch, "accept_smaller": given.accept_smaller}
    config = {name: True for name, is_wanted in wanted.items() if is_wanted}
    execute_job(DAILY_REFRESH, tags=tags, run_config={"ops": {"exports": {"config": config}}})


if __name__ == "__main__":
    sys.exit(main())
