"""`make dev`: the Dagster UI with its daemon, in the project folder.

`python -m soundlink_pipeline.commands.dev [OPTIONS]`; the options are those of `dagster dev`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from dotenv import dotenv_values

from soundlink_pipeline.commands.execution import checked_settings, execute


def main(arguments: Sequence[str]) -> NoReturn:
    # Not put into the environment: there it would hide later changes of the file from Dagster.
    in_file = {name: value or "" for name, value in dotenv_values(".env").items()}
    checked_settings({**in_file, **os.environ})
    execute("dev", *arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
