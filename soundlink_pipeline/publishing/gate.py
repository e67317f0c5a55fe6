"""What must hold before analysts get a new file: its models are built from every loaded delivery, and their tests pass.

A model that another run's deliveries have outdated, or whose tests failed when it was built, is built and tested first.
A failing test of severity error keeps the last published file in place. Analysts' own files are read before: none of
them prevents a publication.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb

from soundlink_pipeline.contracts.days import DateRange, last_closed_day
from soundlink_pipeline.models.build import (
    build_models,
    failed_tests,
    mark_failed,
    mark_readers_behind,
    models_behind,
)
from soundlink_pipeline.models.project import SqlProject
from soundlink_pipeline.own_data.folder import FOLDER
from soundlink_pipeline.own_data.loading import OwnFile, load_own_files
from soundlink_pipeline.publishing.file_copy import NotPublished, Published, publish
from soundlink_pipeline.warehouse.home import Publishable
from soundlink_pipeline.warehouse.own_tables import STATEMENTS
from soundlink_pipeline.wording import counted


def publish_tested(
    warehouse: Publishable,
    project: SqlProject,
    target: Path,
    *,
    run_id: str,
    now: datetime,
    log: Callable[[str], None],
    build_all: bool = False,
) -> Published:
    """Build and test what is needed, then publish; `build_all` builds every model in full. `now` is aware.

    Models that are not built here were built and tested before, by the step that calls this or an earlier one.
    No other run can load deliveries in between. Own files are those of the folder `own` beside `target`. Raises
    NotPublished, ModelError, WarehouseLocked, WarehouseUnusable.
    """

    own_files: list[OwnFile] = []

    def bring_up(connection: duckdb.DuckDBPyConnection) -> None:
        own_files[:] = load_own_files(
            connection,
            target.parent / FOLDER,
            target.parent / "tmp",
            now=now,
            statements_changed=lambda: mark_readers_behind(connection, project, STATEMENTS.name),
        )
        for file in own_files:
            if file.problem:
                log(f"own file not read: {file.file}: {file.problem}")
        bring_models_up(connection)

    def bring_models_up(connection: duckdb.DuckDBPyConnection) -> None:
        if not build_all:
            if not models_behind(connection, project):
                return
            log("rebuilding models first: data was loaded after they were built, or their tests failed")
        newest = last_closed_day(now)
        built = build_models(connection, project, None if build_all else DateRange(newest, newest))
        log(f"{counted(len(built), 'model')} built")
        if failed := failed_tests(connection, project):
            for result in failed:
                mark_failed(connection, project.models[result.test.model])
            reasons = "\n".join(f"{result.test.model}: {result}" for result in failed)
            raise NotPublished(
                f"The models are built, but {len(failed)} of their tests failed, so nothing was published; the last"
                f" published file is unchanged.\n{reasons}"
            )

    with warehouse.turn():  # until the published file is compared with the warehouse
        published = publish(warehouse, target, run_id=run_id, now=now, before=bring_up)
    if published.lost_group is not None:
        log(
            f"{target} belonged to group {published.lost_group}, which this user may not give to a file: its members"
            " cannot read the new one. Add the user that runs the pipeline to that group, then chgrp the file once more"
        )
    return replace(published, own_files=own_files)
