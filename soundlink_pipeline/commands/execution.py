"""Runs Dagster's own commands for `make dev`, `make backfill`, `make rebuild` and `make totals`.

Dagster answers a bad setting with a traceback, so the settings are checked here first.
"""

from __future__ import annotations

import os
import re
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from dotenv import load_dotenv

from soundlink_pipeline.orchestration import orphaned_runs
from soundlink_pipeline.orchestration.schedules import check_cron
from soundlink_pipeline.settings.env_file import read_env_file
from soundlink_pipeline.settings.settings import Settings, settings_from


def loaded_settings() -> Settings:
    """The settings of the environment and of `.env`, checked; loads that file into the environment, as Dagster does."""
    checked_env_file()
    load_dotenv(Path(".env"))
    return checked_settings(os.environ)


def checked_env_file() -> dict[str, str]:
    """The variables of `.env`; for a file that cannot be read it ends the process as `checked_settings` does."""
    try:
        return read_env_file()
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def checked_settings(environment: Mapping[str, str]) -> Settings:
    """The settings, with the checks that loading the definitions makes.

    For a bad one it prints one sentence that names it, and ends the process with status 2.
    """
    try:
        settings = settings_from(environment)
        check_cron(settings.schedule)
        _check_project_folder(Path.cwd())
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    return settings


def _check_project_folder(folder: Path) -> None:
    """Dagster writes the folder it is started in into a URL: a ? ends the path there, and %41 is an A."""
    if re.search(r"\?|%[0-9A-Fa-f]{2}", str(folder)):
        raise ValueError(
            f"Dagster keeps no storage in the folder {folder}, since it has a ? or a % code in it: rename the folder"
        )


def execute_job(name: str, *options: str) -> NoReturn:
    """Run a job without a daemon, then end the process; `options` are those of `dagster job execute`."""
    orphaned_runs.main()
    execute("job", "execute", "-m", "soundlink_pipeline.definitions", "-j", name, *options)


def execute(*arguments: str) -> NoReturn:
    """Run a command of Dagster as `python -m dagster` does, then end the process with its status.

    In this process, which has imported Dagster already: in a new one that takes another second.
    """
    sys.argv[1:] = arguments
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)
    raise SystemExit
