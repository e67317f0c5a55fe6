"""The hand-written projects: dbt makes of them what they say, and so does the pipeline."""

from __future__ import annotations

from pathlib import Path
from random import Random
from shutil import copy

import pytest

from soundlink_pipeline_tests.models.same_as_dbt import by_dbt, by_us
from soundlink_pipeline_tests.models.same_as_dbt.example import Example
from soundlink_pipeline_tests.models.same_as_dbt.examples_of_models import OF_MODELS
from soundlink_pipeline_tests.models.same_as_dbt.examples_of_tests import OF_TESTS
from soundlink_pipeline_tests.models.same_as_dbt.not_honoured import FEATURES
from soundlink_pipeline_tests.models.same_as_dbt.outcome import NOT_HONOURED, Outcome
from soundlink_pipeline_tests.models.same_as_dbt.random_project import project_with
from soundlink_pipeline_tests.models.same_as_dbt.values import warehouse

EXAMPLES = OF_TESTS | OF_MODELS


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with rows."""
    return warehouse(tmp_path_factory.mktemp("given"), Random(0))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_pipeline_makes_of_it_what_dbt_does(name: str, given: Path, tmp_path: Path) -> None:
    example = EXAMPLES[name]
    (tmp_path / "ours").mkdir()
    file = Path(copy(given, tmp_path / "ours"))
    outcome = by_us.run(example.project.write(tmp_path / "project"), file)
    left_out = {name: outcome.tests.pop(key) for key in list(outcome.tests) if (name := key[1]) in example.left_out}
    assert {name: verdict.status for name, verdict in left_out.items()} == dict.fromkeys(example.left_out, "error")
    assert_is(example, outcome)


@pytest.mark.parametrize("word", FEATURES)
def test_what_is_not_honoured_is_told_and_costs_only_what_needs_it(word: str, given: Path, tmp_path: Path) -> None:
    project = project_with(FEATURES[word])
    (tmp_path / "ours").mkdir()
    outcome = by_us.run(project.write(tmp_path / "project"), Path(copy(given, tmp_path / "ours")))
    lost = {name: model.reason for name, model in outcome.models.items() if model.table is None}
    told = [*outcome.said, *lost.values(), *(verdict.reason for verdict in outcome.tests.values())]
    assert [text for text in told if word.lower() in text.lower() and NOT_HONOURED in text] != []
    assert lost.keys() <= project.refused_models
    assert "plain" in outcome.models.keys() - lost.keys() or "plain" in project.refused_models


@pytest.mark.dbt
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not by_dbt.DBT, reason="dbt is not installed: SOUNDLINK_DBT does not name its command")
def test_dbt_makes_of_them_what_they_say(given: Path, tmp_path: Path) -> None:
    jobs = []
    for number, example in enumerate(EXAMPLES.values()):
        folder = tmp_path / str(number)
        example.project.write(folder / "project")
        jobs.append(by_dbt.Job(folder / "project", Path(copy(given, folder))))
    for name, outcome in zip(EXAMPLES, by_dbt.run(jobs, tmp_path), strict=True):
        assert outcome.error is None, name
        assert_is(EXAMPLES[name], outcome)


def assert_is(example: Example, outcome: Outcome) -> None:
    verdicts = {
        name: verdict.status if verdict.failures is None else f"{verdict.status} {verdict.failures}"
        for (_, name), verdict in outcome.tests.items()
    }
    assert verdicts == example.verdicts, {key: str(verdict) for key, verdict in outcome.tests.items()}
    made = {}
    rows = {}
    for name, model in outcome.models.items():
        if model.table is not None:
            relation = outcome.relations[model.table]
            made[name] = f"{'.'.join(model.table)}, {relation.kind}, {' '.join(model.tags)}"
            rows[name] = [row[0] for row in relation.rows]
    if example.tables is not None:
        assert made == example.tables, outcome.models
    for name, expected in example.rows.items():
        assert rows[name] == expected, name
