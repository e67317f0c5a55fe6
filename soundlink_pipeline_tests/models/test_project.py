"""Reading a folder of SQL models: order, dependencies, documentation, tests, and what is wrong with which line."""

from datetime import date
from pathlib import Path

import pytest

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.models.binding import check_models
from soundlink_pipeline.models.project import SqlProject, read_project
from soundlink_pipeline_tests.support.sql_folder import DAILY, MODELS, sql_folder


def checked(folder: Path) -> SqlProject:
    project = read_project(folder)
    check_models(project)
    return project


def test_order_and_dependencies_come_from_the_sql(tmp_path: Path) -> None:
    project = checked(sql_folder(tmp_path))
    assert project.errors == {}
    assert list(project.models) == ["stg_country", "daily", "total"]
    daily, total = project.models["daily"], project.models["total"]
    assert (daily.refs, total.refs) == (("stg_country",), ("daily",))
    assert [s.assets for s in project.models["stg_country"].sources] == [("campaign_country_daily",)]
    assert (daily.table, daily.materialized, daily.has_days) == ("marts.daily", "incremental", True)
    assert (total.table, total.materialized, total.has_days) == ("marts.total", "table", False)
    assert daily.description == "Streams of a day. One row per campaign and day."
    assert daily.columns == {"campaign_id": "The campaign.", "streams": "Streams, may be summed."}
    assert [test.name for test in project.tests] == [
        "unique_grain",
        "unique_grain",
        "not_null_campaign_id",
        "unique_grain",
        "unique_campaign_id",
        "relationships_campaign_id",
    ]


def test_columns_and_types_are_known_without_a_warehouse(tmp_path: Path) -> None:
    project = read_project(sql_folder(tmp_path))
    files = sorted(tmp_path.rglob("*"))
    daily = check_models(project)["daily"]
    assert [(c.name, c.type) for c in daily.columns] == [
        ("campaign_id", "VARCHAR"),
        ("report_date", "DATE"),
        ("streams", "BIGINT"),
    ]
    assert sorted(tmp_path.rglob("*")) == files


def test_an_incremental_model_reads_the_days_it_is_told(tmp_path: Path) -> None:
    project = checked(sql_folder(tmp_path))
    daily = project.models["daily"]
    window = DateRange(date(2026, 4, 1), date(2026, 4, 8))
    assert "between" not in project.render(daily, incremental=False)
    sql = project.render(daily, incremental=True, dates=window)
    assert 'from "staging"."stg_country"' in sql
    assert "between date '2026-04-01' and date '2026-04-08'" in sql
    assert "between date '1900-01-01' and date '2999-12-31'" in project.render(daily, incremental=True)


def test_a_model_comes_after_what_its_tests_look_into(tmp_path: Path) -> None:
    relation = "{relationships: {arguments: {to: ref('zeta'), field: campaign_id}}}"
    changes = {
        "models/marts/_marts.yml": MODELS.replace("[not_null]", f"[{relation}]"),
        "models/marts/zeta.sql": "select 'a' as campaign_id",
    }
    project = checked(sql_folder(tmp_path, {**changes}))
    assert project.errors == {}
    order = list(project.models)
    assert order.index("zeta") < order.index("daily") < order.index("total")
    (tmp_path / "models/marts/zeta.sql").unlink()
    without = checked(tmp_path)
    (test,) = [test for test in without.tests if test.error]
    assert (test.name, test.model, {*without.models}) == (
        "relationships_campaign_id",
        "daily",
        {"stg_country", "daily", "total"},
    )
    assert "_marts.yml, line 14: column campaign_id: there is no model 'zeta' to ref" in str(test.error)


def test_a_test_waits_for_both_where_each_of_two_models_reads_the_other(tmp_path: Path) -> None:
    relation = "{relationships: {arguments: {to: ref('total'), field: campaign_id}}}"
    project = checked(sql_folder(tmp_path, {"models/marts/_marts.yml": MODELS.replace("[not_null]", f"[{relation}]")}))
    assert project.errors == {}
    assert [(test.of, test.model) for test in project.tests if test.name.startswith("relationships")] == [
        ("daily", "total"),
        ("total", "total"),
    ]


def test_a_singular_test_is_asked_of_the_last_model_it_refers_to(tmp_path: Path) -> None:
    text = """
    -- The total is the sum
    -- of its days.
    {{ config(severity='warn') }}
    select * from {{ ref('total') }} where streams <> (select sum(streams) from {{ ref('daily') }})
    """
    project = checked(sql_folder(tmp_path, {"tests/total_is_sum.sql": text}))
    (test,) = [test for test in project.tests if test.singular]
    assert (test.name, test.model, test.severity) == ("total_is_sum", "total", "warn")
    assert test.description == "The total is the sum of its days."


MISSING_REF = "select 1 as a\nfrom {{ ref('nowhere') }}\n"
SYNTAX = "select campaign_id\nfrom {{ ref('daily') }}\nwhere where true\n"
TWO_LINED = "{{\n    config(\n        materialized='table',\n    )\n}}\nselect 1 as a\nfrom nowhere\n"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param(
            {"models/marts/new.sql": MISSING_REF},
            {"new": "new.sql, line 2: there is no model 'nowhere' to ref"},
            id="ref",
        ),
        pytest.param(
            {"models/marts/new.sql": "select 1 as a\nfrom {{ source('soundlink', 'x') }}\n"},
            {"new": "new.sql, line 2: there is no source ('soundlink', 'x') in the YAML files"},
            id="source",
        ),
        pytest.param(
            {"models/marts/a.sql": "from {{ ref('b') }}", "models/marts/b.sql": "-- b\nfrom {{ ref('a') }}"},
            {
                "a": "a.sql, line 1: is part of a circle of refs: ",
                "b": "b.sql, line 2: is part of a circle of refs: ",
            },
            id="circle",
        ),
        pytest.param(
            {"models/marts/new.sql": "select 1 as a\n{{ config(materialised='view') }}\n"},
            {"new": "new.sql, line 2: unknown config 'materialised': is materialized meant?"},
            id="config",
        ),
        pytest.param(
            {"models/marts/new.sql": "-- new\n{{ config(materialized='cube') }}\nselect 1 as a\n"},
            {"new": "new.sql, line 2: not honoured by soundlink: materialized='cube'; known are view, table, "},
            id="materialized",
        ),
        pytest.param(
            {"models/marts/new.sql": SYNTAX},
            {"new": "new.sql, line 3: Parser Error: syntax error at or near"},
            id="SQL",
        ),
        pytest.param(
            {"models/marts/new.sql": TWO_LINED},
            {"new": "new.sql, line 7: Catalog Error: Table with name nowhere does not exist!"},
            id="line behind a tag of several lines",
        ),
        pytest.param(
            {"models/marts/new.sql": "{% if %}\n"}, {"new": "new.sql, line 1: is not a Jinja template: "}, id="Jinja"
        ),
        pytest.param(
            {"models/marts/new.sql": "select 1 as a\n, {{ wrong() }}"},
            {"new": "new.sql, line 2: 'wrong' is undefined"},
            id="macro",
        ),
        pytest.param(
            {"models/marts/new.sql": "select '{{ var('none') }}' as a"},
            {"new": "new.sql, line 1: there is no var 'none' in dbt_project.yml, and no default"},
            id="var",
        ),
        pytest.param(
            {"models/marts/_marts.yml": MODELS + "    - name: ghost\n"},
            {"ghost": "_marts.yml, line 26: describes ghost, for which there is no SQL file"},
            id="no SQL",
        ),
        pytest.param(
            {"models/marts/_more.yml": "models: [\n"}, {"_more.yml": "_more.yml, line 2: is not YAML: "}, id="YAML"
        ),
        pytest.param(
            {"models/marts/new.sql": DAILY},
            {"new": "new.sql, line 3: not honoured by soundlink: incremental without days: an incremental model is"},
            id="incremental without days",
        ),
        pytest.param(
            {"models/other/total.sql": "select 1 as a"},
            {"other_total": "other/total.sql: another model has this name: "},
            id="name twice",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line_and_costs_nothing_else(
    tmp_path: Path, changes: dict[str, str | None], told: dict[str, str]
) -> None:
    project = checked(sql_folder(tmp_path, changes))
    assert {*project.errors} == {*told}
    for name, words in told.items():
        assert words in str(project.errors[name])
    assert {*project.models} == {"stg_country", "daily", "total"} - {*told}
