"""`make rebuild`: the job rebuild_from_landing, from a shell and without a daemon.

`python -m soundlink_pipeline.commands.rebuild` in a project folder.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NoReturn

from dotenv import load_dotenv

from soundlink_pipeline.commands.execution import checked_settings, execute_job
from soundlink_pipeline.orchestration.jobs import REBUILD


def main(arguments: list[str] | None = None) -> NoReturn:
    argparse.ArgumentParser(prog="python -m soundlink_pipeline.commands.rebuild", description=__doc__).parse_args(
        arguments
    )
    load_dotenv(Path(".env"))  # as Dagster does
    checked_settings(os.environ)
    execute_job(REBUILD)


if __name__ == "__main__":
    main()
