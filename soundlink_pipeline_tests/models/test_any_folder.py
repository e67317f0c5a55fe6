"""Whatever lies in the folder of SQL models: the code location loads, and what is sound is built."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pytest
from dagster._core.definitions.utils import DISALLOWED_NAMES

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.models.binding import check_models
from soundlink_pipeline.models.build import build_model, run_tests
from soundlink_pipeline.models.errors import ModelError
from soundlink_pipeline.models.project import SqlProject, read_project
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.instances import in_memory
from soundlink_pipeline.warehouse.sql import quote_name
from soundlink_pipeline.warehouse.tables import create, warehouse_tables
from soundlink_pipeline_tests.models.folders import base, mutated, write
from soundlink_pipeline_tests.support.sql_folder import sql_folder

REAL = Path(__file__).parents[2] / "dbt_like_sql"


def test_whatever_lies_there_the_location_loads_and_the_rest_is_built(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    real = {
        path.relative_to(REAL).as_posix(): path.read_bytes()
        for path in REAL.rglob("*")
        if path.suffix in (".sql", ".yml") and "target" not in path.parts
    }
    first = pytestconfig.getoption("--folders-from")
    with in_memory() as connection:
        connection.execute("set threads = 1")
        for table in warehouse_tables(EXPORTS):
            connection.execute(create(table))
        for seed in range(first, first + pytestconfig.getoption("--folders")):
            chance = random.Random(seed)
            sound = base(chance, real)
            files, wrong = mutated(sound, chance)
            folder = tmp_path / str(seed)
            folder.mkdir()
            write(folder, files, chance)
            try:
                project = _loads(folder)
                if files.get("dbt_project.yml") == sound["dbt_project.yml"]:
                    _healthy_models_are_built(connection, project)
                if seed % 3 == 0:
                    _the_rest_is_built_or_says_why(connection, project)
            except Exception as error:
                error.add_note(f"--folders-from {seed} --folders 1: {'; '.join(wrong)}")
                raise


def test_names_that_collide_cost_no_more_than_themselves(tmp_path: Path) -> None:
    # Dagster joins the names of a model and of its check; its own words can be no names at all.
    words = sorted(DISALLOWED_NAMES)
    names = ["a_b", "a", "models", "data_tests", "load_landed_deliveries", "broken__x", "daily_refresh"]
    changes: dict[str, str | None] = {f"models/n/{name}.sql": "select 1 as a" for name in [*words, *names]}
    changes |= {f"tests/{name}.sql": f"select 1 from {{{{ ref('{of}') }}}}" for name, of in (("b", "a"), ("c", "a_b"))}
    changes |= {f"tests/{name}.sql": "select 1 from {{ ref('a') }}" for name in ("b_c", "data_tests", "x y", "é")}
    changes |= {"models/broken.sql": "{{ config(schema='broken') }} select 1 as a", "models/a-b.sql": "select 1 as a"}
    project = _loads(sql_folder(tmp_path, changes))
    assert {*project.models} == {"stg_country", "daily", "total", "broken", *names}
    assert {*project.errors} == {*(f"n_{word}" for word in words), "a_b"}
    checks = {(test.model, test.name) for test in project.tests if test.singular}
    assert checks == {("a", "b_2"), ("a_b", "c_2"), ("a", "b_c"), ("a", "data_tests_2"), ("a", "x_y"), ("a", "_")}


def _loads(folder: Path) -> SqlProject:
    """The code location loads, and every file that could be a model is one, or is told of."""
    project = read_project(folder)
    assert {*check_models(project)} >= {*project.models}
    repository = build_definitions(Settings(sql_dir=folder), lambda _: None).get_repository_def()
    repository.load_all_definitions()
    assert {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()} >= {*project.models}
    for error in project.errors.values():
        assert error.file.is_relative_to(folder)
        assert error.reason
    for reason in project.not_built():
        reason.encode()
    told = {*project.errors} | {error.file.stem for error in project.errors.values()}
    for path in (folder / "models").rglob("*.sql"):
        off = ("", path.stem) in project.missing
        assert path.stem in {*project.models, *told} or off or path.name.startswith("."), path
    return project


def _healthy_models_are_built(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> None:
    if any("macros" in error.file.parts or "macro" in error.reason for error in project.errors.values()):
        return  # dbt asks a macro for the schema of every model
    if (
        any(project.library.has(name) for name in ("generate_schema_name", "generate_alias_name"))
        and not project.models
    ):
        return
    healthy = [model for model in project.models.values() if model.name.startswith("healthy_")]
    assert [model.name for model in healthy] == ["healthy_days", "healthy_total"]
    for model in healthy:
        assert build_model(connection, project, model).rows in (1, None)
        of_yaml = [result for result in run_tests(connection, project, model) if not result.test.singular]
        assert all(result.passed for result in of_yaml)


def _the_rest_is_built_or_says_why(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> None:
    for model in project.models.values():
        try:
            build_model(connection, project, model)
            run_tests(connection, project, model)
        except ModelError:
            continue
    for model in project.models.values():
        if model.schema != "main":
            connection.execute(f"drop schema if exists {quote_name(model.schema)} cascade")
    connection.execute("delete from _model_state")
