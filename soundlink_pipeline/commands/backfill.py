"""The old name of `soundlink pull`, for one release: `python -m soundlink_pipeline.commands.backfill START END`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from soundlink_pipeline.commands import cli

# What its options put into a run's config, as a file each for Dagster's own command.
REFETCH = Path(__file__).with_name("refetch.yaml")
ACCEPT_SMALLER = Path(__file__).with_name("accept_smaller.yaml")


def main(arguments: list[str] | None = None) -> int:
    """The exit code of `soundlink pull`."""
    parser = argparse.ArgumentParser(prog="python -m soundlink_pipeline.commands.backfill", description=__doc__)
    parser.add_argument("start", help="first report_date, YYYY-MM-DD")
    parser.add_argument("end", help="last report_date, YYYY-MM-DD")
    parser.add_argument("--refetch", action="store_true", help="pull settled days again, too")
    parser.add_argument("--accept-smaller", action="store_true", help="take answers however few rows they hold")
    given = parser.parse_args(arguments)
    wanted = {"--refetch": given.refetch, "--accept-smaller": given.accept_smaller}
    options = [option for option, is_wanted in wanted.items() if is_wanted]
    return cli.main(["pull", f"--from={given.start}", f"--to={given.end}", *options])


if __name__ == "__main__":
    sys.exit(main())
