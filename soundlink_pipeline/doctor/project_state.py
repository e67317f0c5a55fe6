"""The project under test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import dagster as dg

from soundlink_pipeline.models.model import SqlProject
from soundlink_pipeline.settings.accounts import Account
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.home import Home
from soundlink_pipeline.warehouse.native_file import NativeFile

# Longer than any wait for the API's limits, which are per hour: a run that logs nothing for so long is stuck.
LONGEST_SILENCE = timedelta(minutes=70)
# A run opens the warehouse for moments only: a program that has it open for longer is not a run.
_WAREHOUSE_WAIT_SECONDS = 3.0


@dataclass(frozen=True)
class ProjectState:
    """A project. `repository` is what Dagster serves, `models` the SQL folder as read, `home` DAGSTER_HOME as set.

    `clock` returns aware moments.

    `environment` has all variables, secrets too; it is also what `env_var` of the SQL models reads.
    """

    settings: Settings
    repository: dg.RepositoryDefinition = field(repr=False)
    models: SqlProject = field(repr=False)
    home: str
    clock: Callable[[], datetime]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def secret_of(self, account: Account) -> str:
        """The key, or the client's secret, of an account; empty where it is missing."""
        return self.environment.get(account.secret_env, "").strip()

    @property
    def warehouse(self) -> Home:
        return NativeFile(self.settings.data_dir, wait_seconds=_WAREHOUSE_WAIT_SECONDS)
