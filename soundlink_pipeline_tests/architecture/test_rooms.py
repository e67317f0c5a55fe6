"""The rooms: what each may import, and that a folder says what it is for."""

from __future__ import annotations

import ast

import pytest

from soundlink_pipeline_tests.architecture.rooms import PACKAGE, ROOMS, Import, imported, imports


@pytest.fixture(scope="module")
def made() -> list[Import]:
    """Every import of the rooms."""
    return [found for found in imports() if found.source != "__init__"]


def test_every_import_is_one_that_its_room_may_make(made: list[Import]) -> None:
    broken = {(found.file, found.module) for found in made if not found.is_allowed}
    assert broken == set()


def test_the_rules_allow_nothing_that_no_room_does(made: list[Import]) -> None:
    used = {(found.source, found.target or found.library) for found in made}
    unused = {(name, other) for name, room in ROOMS.items() for other in (*room.rooms, *room.libraries)} - used
    assert unused == set()


def test_rooms_import_each_other_in_one_direction_only() -> None:
    order = list(ROOMS)
    upwards = {
        (room, other) for room in ROOMS for other in ROOMS[room].rooms if order.index(other) >= order.index(room)
    }
    assert upwards == set()


def test_faces_for_people_are_imported_by_nobody(made: list[Import]) -> None:
    faces = [name for name, room in ROOMS.items() if room.anything]
    assert faces == ["doctor", "commands"]  # the command soundlink has the doctor among its own
    allowed = {("doctor", "doctor"), ("commands", "commands"), ("commands", "doctor")}
    assert {found for found in made if found.target in faces and (found.source, found.target) not in allowed} == set()


def test_only_rooms_stand_in_the_package() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or list(path.rglob("*.py"))}
    assert there - {"__init__"} == set(ROOMS)
    assert [found for found in imports() if found.source == "__init__"] == []


@pytest.mark.parametrize("room", [name for name in ROOMS if (PACKAGE / name).is_dir()])
def test_a_room_says_what_it_is_for(room: str) -> None:
    said = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert said.count(".") >= 2, f"{room}/__init__.py says in two or three sentences what the room is for"


def test_two_modules_use_private_names_of_dagster(made: list[Import]) -> None:
    private = {found.file for found in made if is_private_to_dagster(found.module)}
    assert private == {"orchestration/event_log.py", "orchestration/run_origin.py"}
    assert is_private_to_dagster("dagster._core.events")
    assert is_private_to_dagster("dagster_shared.error")
    assert not is_private_to_dagster("dagster")


def is_private_to_dagster(module: str) -> bool:
    library, *inner = module.split(".")
    return library == "dagster_shared" or (library == "dagster" and any(part.startswith("_") for part in inner))


def test_a_broken_rule_is_found() -> None:
    assert not Import("contracts/days.py", "duckdb").is_allowed
    assert not Import("api/client.py", "soundlink_pipeline.loading.batch").is_allowed
    assert Import("loading/batch.py", "soundlink_pipeline.warehouse.sql").is_allowed
    assert Import("api/client.py", "httpx").is_allowed
    assert Import("models/build.py", "json").is_allowed
    assert not Import("api/client.py", "importlib.import_module()").is_allowed
    assert not Import("api/client.py", "__import__()").is_allowed


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from soundlink_pipeline import loading", "soundlink_pipeline.loading"),
        ("from soundlink_pipeline.loading import batch", "soundlink_pipeline.loading.batch"),
        ("from . import pacing", "soundlink_pipeline.api.pacing"),
        ("from .. import loading", "soundlink_pipeline.loading"),
        ("from ..loading.batch import load_batch", "soundlink_pipeline.loading.batch.load_batch"),
        ("def f():\n    import duckdb", "duckdb"),
        ("from dagster import _core", "dagster._core"),
        ("x = dagster._core.events", "dagster._core"),
        ("importlib.import_module('duck' + 'db')", "importlib.import_module()"),
        ("__import__('duckdb')", "__import__()"),
    ],
)
def test_every_way_of_importing_is_seen(source: str, found: str) -> None:
    assert list(imported(source, "api/client.py")) == [found]
