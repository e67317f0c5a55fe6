"""`soundlink report --send`: the weekly report now, whoever has had it, so that settings can be tried."""

from __future__ import annotations

import os
import sys

from soundlink_pipeline.settings.env_file import read_env_file
from soundlink_pipeline.settings.receivers import REPORT_URL, receivers_of
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.weekly.sending import NotSent, send_now


def send_report() -> int:
    """0 once every receiver has it; 1 where one has not, and 2 for a bad setting. Both say why."""
    try:
        environment = {**read_env_file(), **os.environ}
        settings = settings_from(environment)
        receivers = receivers_of(REPORT_URL, environment.get(REPORT_URL))
    except ValueError as error:
        print(f"The report was not sent: {error}.", file=sys.stderr)
        return 2
    if not receivers:
        print(f"The report was not sent: {REPORT_URL} is not set. Name a receiver in .env.", file=sys.stderr)
        return 2
    try:
        send_now(settings.data_dir / "soundlink.duckdb", receivers, print)
    except NotSent as error:
        print(error, file=sys.stderr)
        return 1
    return 0
