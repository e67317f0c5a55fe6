"""Folders of models as somebody who knows dbt writes them, built in a warehouse without data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb

from soundlink_pipeline.models import verdicts
from soundlink_pipeline.models.binding import check_models
from soundlink_pipeline.models.build import build_models, run_tests
from soundlink_pipeline.models.project import SqlProject, read_project

NAME = "name: p\n"
ROWS = """
    {{ config(materialized='table') }}
    select * from (values
        (1, 'a', true, date '2026-01-01', 0.2, 'x'),
        (2, 'b', false, date '2026-01-02', 0.5, 'x'),
        (2, 'b', true, date '2026-01-02', 0.5, null)
    ) as t (id, kind, open, day, share, "Full Name")
"""


@dataclass
class Built:
    """A folder that was read and built."""

    project: SqlProject
    connection: duckdb.DuckDBPyConnection

    def rows(self, table: str) -> list[Any]:
        return self.connection.execute(f"from {table} order by all").fetchall()

    def results(self) -> dict[str, verdicts.TestResult]:
        return {
            result.test.name: result
            for model in self.project.models.values()
            for result in run_tests(self.connection, self.project, model)
        }

    def outcomes(self) -> dict[str, tuple[str, int]]:
        return {name: (result.outcome, result.bad_rows) for name, result in self.results().items()}

    @property
    def told(self) -> str:
        return "\n".join(map(str, self.project.notices))


class Folder:
    """Makes folders of models, builds them, and clears away what was built."""

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.path, self.connection = path, connection
        self.built: list[SqlProject] = []

    def read(self, files: dict[str, str], **environment: str) -> SqlProject:
        for name, text in {"dbt_project.yml": NAME, **files}.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text).lstrip("\n"))
        project = read_project(self.path, environment)
        check_models(project)
        return project

    def __call__(self, files: dict[str, str], **environment: str) -> Built:
        project = self.read(files, **environment)
        assert {name: str(error) for name, error in project.errors.items()} == {}
        build_models(self.connection, project)
        self.built.append(project)
        return Built(project, self.connection)


def with_columns(columns: str) -> dict[str, str]:
    entry = "models:\n  - name: m\n    columns:\n" + "".join(
        f"      - {line}\n" for line in columns.strip().splitlines()
    )
    return {"models/m.sql": ROWS, "models/_m.yml": entry}
