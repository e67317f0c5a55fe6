"""`make dev`: the Dagster UI with its daemon, in the project folder.

`python -m soundlink_pipeline.commands.dev [OPTIONS]`; the options are those of `dagster dev`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from soundlink_pipeline.commands.execution import checked_env_file, checked_settings, execute


def main(arguments: Sequence[str]) -> NoReturn:
    # Not put into the environment: there it would hide later changes of the file from Dagster.
    checked_settings({**checked_env_file(), **os.environ})
    execute("dev", *arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
