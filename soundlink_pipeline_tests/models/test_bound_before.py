"""What binding found is believed for as long as nothing has changed, and never instead of a fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from soundlink_pipeline.models.binding import BoundModels, load_models
from soundlink_pipeline_tests.support.sql_folder import sql_folder

MODEL = "models/marts/given.sql"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sql_folder(tmp_path / "sql", {MODEL: 'select 1 as a, \'{{ env_var("SAID", "x") }}\' as b'})


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "bound_models.json"


def _types(bound: BoundModels, model: str = "given") -> dict[str, str]:
    return {column.name: column.type for column in bound.tables[model].columns}


def _change_what_is_remembered(memory: Path) -> None:
    kept = json.loads(memory.read_text())
    kept["types"]["given"]["a"] = "REMEMBERED"
    memory.write_text(json.dumps(kept))


def _is_believed(folder: Path, memory: Path, environment: dict[str, str] | None = None) -> bool:
    """Whether a load takes what the file says."""
    _change_what_is_remembered(memory)
    return _types(load_models(folder, environment, memory=memory))["a"] == "REMEMBERED"


def test_an_unchanged_folder_is_not_bound_again_and_makes_the_same_tables(folder: Path, memory: Path) -> None:
    first = load_models(folder, memory=memory)
    again = load_models(folder, memory=memory)
    assert again.tables == first.tables == load_models(folder).tables
    assert again.project.errors == {}
    assert _is_believed(folder, memory)


@pytest.mark.parametrize("changed", [MODEL, "models/marts/new.sql", "macros/new.sql", "dbt_project.yml"])
def test_any_change_of_a_file_is_seen(folder: Path, memory: Path, changed: str) -> None:
    load_models(folder, memory=memory)
    path = folder / changed
    path.parent.mkdir(exist_ok=True)
    before = (
        path.read_text()
        if path.exists()
        else "{% macro m() %}1{% endmacro %}"
        if "macros" in changed
        else "select 2 as c"
    )
    path.write_text(before + "\n")
    assert not _is_believed(folder, memory)
    assert _is_believed(folder, memory)  # and remembered in its turn


def test_a_variable_of_the_environment_counts_if_a_file_names_it(folder: Path, memory: Path) -> None:
    load_models(folder, {"SAID": "x", "OTHER": "1"}, memory=memory)
    assert _is_believed(folder, memory, {"SAID": "x", "OTHER": "2"})
    assert not _is_believed(folder, memory, {"SAID": "y", "OTHER": "2"})


def test_values_of_the_environment_are_not_in_the_file(folder: Path, memory: Path) -> None:
    load_models(folder, {"SAID": "a-secret-value"}, memory=memory)
    assert "a-secret-value" not in memory.read_text()


@pytest.mark.parametrize(
    "fault",
    [
        "select nothing from nowhere",
        "select {{ unclear",
        "select 1 as a; select 2 as b",
        "select * from {{ ref('not_there') }}",
    ],
)
def test_a_folder_with_a_fault_is_not_remembered_and_the_fault_is_told_each_time(
    folder: Path, memory: Path, fault: str
) -> None:
    (folder / MODEL).write_text(fault)
    for _ in range(2):
        assert "given" in load_models(folder, memory=memory).project.errors
    assert not memory.exists()


def test_a_test_that_cannot_be_run_is_told_each_time(folder: Path, memory: Path) -> None:
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / "broken.sql").write_text("select missing from {{ ref('given') }}")
    for _ in range(2):
        (broken,) = [test for test in load_models(folder, memory=memory).project.tests if test.name == "broken"]
        assert broken.error is not None
    assert not memory.exists()


def test_what_is_said_of_a_model_is_said_of_a_remembered_one(folder: Path, memory: Path) -> None:
    (folder / "models/marts/given.yml").write_text(
        "models:\n  - name: given\n    columns:\n      - name: none\n        description: There is no such column.\n"
    )
    first, again = (load_models(folder, memory=memory).project for _ in range(2))
    assert memory.exists()
    assert [str(notice) for notice in again.notices] == [str(notice) for notice in first.notices]
    assert any("describes the column none" in str(notice) for notice in again.notices)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"state": 1}', b'{"state": "x", "types": 5}', b"[" * 100_000]
)
def test_a_damaged_file_is_not_believed(folder: Path, memory: Path, content: bytes) -> None:
    memory.write_bytes(content)
    assert _types(load_models(folder, memory=memory))["a"] == "INTEGER"
    assert _is_believed(folder, memory)


def test_types_that_are_no_types_in_a_file_of_this_state_are_not_believed(folder: Path, memory: Path) -> None:
    load_models(folder, memory=memory)
    kept = json.loads(memory.read_text())
    wrong: list[object] = [[], {"given": 5}, {}, None]
    for types in wrong:
        memory.write_text(json.dumps({**kept, "types": types}))
        assert _types(load_models(folder, memory=memory))["a"] == "INTEGER"


def test_types_that_a_models_documentation_contradicts_are_not_believed(tmp_path: Path, memory: Path) -> None:
    folder = sql_folder(tmp_path / "sql")  # its models have grains
    first = load_models(folder, memory=memory)
    kept = json.loads(memory.read_text())
    memory.write_text(json.dumps({**kept, "types": {name: {"zz": "INTEGER"} for name in kept["types"]}}))
    assert load_models(folder, memory=memory).tables == first.tables


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('{}')",
        "select * from READ_CSV_AUTO('{}')",
        "select * from '{}'",
        'select * from "{}"',
        "select * from given.csv",
        "select * from query('from read' || '_csv(''{}'')')",
        "select * from (select 1) join '{}' on true",
        "select * from (pivot (select * from read_csv('{}')) on a)",
        "select * from parquet_scan('{}')",
        "select '{{{{ env_var('SA' ~ 'ID', 'x') }}}}' as b",
        "{{% set name = 'SAID' %}} select '{{{{ env_var(name, 'x') }}}}' as b",
    ],
)
def test_what_may_follow_from_outside_the_folder_is_bound_each_time(
    folder: Path, memory: Path, tmp_path: Path, sql: str
) -> None:
    (tmp_path / "given.csv").write_text("a\n1\n")
    (folder / MODEL).write_text(sql.format(tmp_path / "given.csv"))
    load_models(folder, {"SAID": "y"}, memory=memory)
    assert not memory.exists()


def test_a_folder_with_a_file_that_no_person_wrote_is_bound_each_time(folder: Path, memory: Path) -> None:
    with (folder / "seed.csv").open("wb") as file:
        file.truncate(5_000_000)
    load_models(folder, memory=memory)
    assert not memory.exists()


def test_without_a_place_to_write_it_is_bound_each_time(folder: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "not there" / "bound_models.json"
    assert _types(load_models(folder, memory=nowhere))["a"] == "INTEGER"
    assert not nowhere.parent.exists()
    (tmp_path / "a folder.json").mkdir()
    assert _types(load_models(folder, memory=tmp_path / "a folder.json"))["a"] == "INTEGER"
