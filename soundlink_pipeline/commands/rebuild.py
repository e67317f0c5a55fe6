"""`make rebuild`: the job rebuild_from_landing, from a shell and without a daemon.

`python -m soundlink_pipeline.commands.rebuild` in a project folder.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from soundlink_pipeline.commands.execution import execute_job, loaded_settings
from soundlink_pipeline.orchestration.jobs import REBUILD


def main(arguments: list[str] | None = None) -> NoReturn:
    argparse.ArgumentParser(prog="python -m soundlink_pipeline.commands.rebuild", description=__doc__).parse_args(
        arguments
    )
    loaded_settings()
    execute_job(REBUILD)


if __name__ == "__main__":
    main()
