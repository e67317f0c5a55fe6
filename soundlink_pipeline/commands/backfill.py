"""`make backfill`: the job daily_refresh over a range, from a shell and without a daemon.

`python -m soundlink_pipeline.commands.backfill START END [--refetch]` in a project folder. The range is checked
here, since Dagster answers a wrong one with a traceback; then Dagster's own command runs the job, in this
process's place.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from dotenv import load_dotenv

from soundlink_pipeline.contracts.days import checked_range
from soundlink_pipeline.orchestration import orphaned_runs
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START

# A run's config: Dagster's command takes it as a file.
REFETCH = Path(__file__).with_name("refetch.yaml")


def main(arguments: list[str] | None = None) -> int:  # noqa: RET503
    """Returns 2 with a sentence for a range or a setting that will not do; else does not return."""
    parser = argparse.ArgumentParser(prog="python -m soundlink_pipeline.commands.backfill", description=__doc__)
    parser.add_argument("start", help="first report_date, YYYY-MM-DD")
    parser.add_argument("end", help="last report_date, YYYY-MM-DD")
    parser.add_argument("--refetch", action="store_true", help="ask for settled days too")
    given = parser.parse_args(arguments)
    load_dotenv(Path(".env"))  # as Dagster does
    try:
        # Not at the top: it reads the settings.
        from soundlink_pipeline.settings.settings import settings_from  # noqa: PLC0415

        checked_range(given.start, given.end, settings_from(os.environ).start_date, datetime.now(UTC))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    orphaned_runs.main()
    tags = {RANGE_START: given.start, RANGE_END: given.end}
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "soundlink_pipeline.definitions"]
    command += ["-j", DAILY_REFRESH, "--tags", json.dumps(tags)]
    if given.refetch:
        command += ["-c", str(REFETCH)]
    os.execv(sys.executable, command)  # noqa: S606  (our own interpreter)


if __name__ == "__main__":
    sys.exit(main())
