"""Whatever lies in the folder of SQL models costs only itself, and is told of with file, line and reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from soundlink_pipeline.models.binding import check_models
from soundlink_pipeline.models.project import SqlProject, read_project
from soundlink_pipeline_tests.support.sql_folder import FILES, MODELS, SETTINGS, sql_folder

SOUND = {"stg_country", "daily", "total"}

# A new file below models/: its bytes, the asset that stands for it, and what that says (or None: it is built).
NEW: dict[str, tuple[bytes, str, str | None]] = {
    "empty.sql": (b"", "empty", "empty.sql: is empty: there is no query in it"),
    "blank.sql": (b" \n\n", "blank", "blank.sql: is empty"),
    "comment.sql": (b"-- nothing\n/* yet */", "comment", "comment.sql: holds no query"),
    "no_text.sql": (b"select\n\xff", "no_text", "no_text.sql, line 2: cannot be read: invalid start byte"),
    "zero.sql": (b"select 1 as a\0 b", "zero", "zero.sql, line 1: Parser Error"),
    "mark.sql": (b"\xef\xbb\xbfselect 1 as a", "mark", None),
    "two.sql": (b"select 1 as a\n;\nselect 2 as b", "two", "two.sql, line 2: holds 2 statements"),
    "end.sql": (
        b"select 1 as a\n;\n",
        "end",
        'end.sql, line 2: Parser Error: a query here, as in dbt, must not end in ";"',
    ),
    "dashes.sql": (b"select 1 as a --", "dashes", None),
    "ddl.sql": (b"create table main.x as select 1 as a", "ddl", "ddl.sql: is a statement CREATE"),
    "copy.sql": (b"copy (select 1) to '/tmp/never'", "copy", "copy.sql: is a statement COPY"),
    "attach.sql": (b"attach ':memory:' as other", "attach", "attach.sql: is a statement ATTACH"),
    "install.sql": (b"install httpfs", "install", "install.sql: is a statement LOAD"),
    "escape.sql": (b"select 1 as a); drop table campaigns; select (1", "escape", "escape.sql: is not one query"),
    "url.sql": (b"\nfrom 'https://127.0.0.1:1/x.parquet'", "url", "requires the extension httpfs"),
    "parameter.sql": (b"select ? as a", "parameter", "parameter.sql: Invalid Input Error"),
    "deep.sql": (b"select " + b"(" * 3000 + b"1", "deep", "deep.sql: has parentheses within parentheses"),
    "large.sql": (b"select 1 as a " + b"-" * 4_000_000, "large", "large.sql: is larger than 4 MB"),
    "loop.sql": (
        b"\n{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
        "loop",
        "loop.sql, line 2: the template takes more than 200,000 steps",
    ),
    "memory.sql": (b"{{ 'x' * 10 ** 12 }}", "memory", "memory.sql, line 1: the template makes more than 4,000,000"),
    "itself.sql": (b"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "itself", "the template does not end"),
    "raises.sql": (b"\n\n{{ 1 / 0 }}", "raises", "raises.sql, line 3: division by zero"),
    "inside.sql": (b"{{ ''.__class__.__mro__ }}", "inside", "inside.sql, line 1: access to attribute '__class__'"),
    "same_names.sql": (b"select 1 as a, 2 as A, null as b", "same_names", None),
    "order.sql": (b'select 1 as "a b", 2 as "c""d"', "order", None),
    "quoted.sql": (b"{{ config(schema='a\"b', alias='c d') }} select 1 as a", "quoted", None),
    "number.sql": (
        b"-- x\n{{ config(schema=5) }} select 1 as a",
        "number",
        "number.sql, line 2: schema must be text, not 5",
    ),
    "catalog.sql": (
        b"{{ config(schema='information_schema') }} select 1 as a",
        "catalog",
        "catalog.sql, line 1: the schema",
    ),
    "ledger.sql": (b"{{ config(schema='main', alias='deliveries') }} select 1 as a", "ledger", "is the pipeline's own"),
    "plan.sql": (b"{{ config(schema='own') }} select 1 as a", "plan", "is for the tables of analysts' own files"),
    "main_table.sql": (b"{{ config(schema='main') }} select 1 as a", "main_table", None),
    "campaigns.sql": (
        b"select 1 as a",
        "new_campaigns",
        "campaigns.sql: an asset of the pipeline has this name: campaigns",
    ),
    "campaign_country_daily.sql": (b"select 1 as a", "new_campaign_country_daily", "an asset of the pipeline has this"),
    "published_database.sql": (b"select 1 as a", "new_published_database", "an asset of the pipeline has this name"),
    "models.sql": (b"select 1 as a", "models", None),
    "my model.sql": (b"select 1 as a", "new_my_model", "my model.sql: the file's name is the model's and its asset's"),
    "é.sql": ("select 'é' as a".encode(), "new", "é.sql: the file's name is the model's and its asset's"),
    "2026.sql": (b"select 1 as a", "2026", None),
    "daily.sql": (b"select 1 as a", "new_daily", "new/daily.sql: another model has this name: "),
    "TOTAL.sql": (
        b"{{ config(schema='marts') }} select 1 as a",
        "TOTAL",
        "another model makes the table marts.total: ",
    ),
    "python.py": (b"def model(dbt, session): ...", "python", "python.py: not honoured by soundlink: Python models"),
    "reads_python.sql": (
        b"select 1\nfrom {{ ref('python') }}",
        "reads_python",
        "reads_python.sql, line 2: needs python: ",
    ),
    "tab.yml": (b"models:\n\t- name: x\n", "tab.yml", "tab.yml, line 2: is not YAML: "),
    "list.yml": (b"[1]", "list.yml", "list.yml, line 1: is not a YAML mapping"),
    "nothing.yml": (b"# nothing\n", "nothing.yml", None),
    "deep.yml": (b"[" * 5000, "deep.yml", "deep.yml, line 1: is not YAML: exceeded maximum nesting depth"),
    "day.yml": (b"a: 2026-13-45", "day.yml", "day.yml: is not YAML: month must be in 1..12"),
    "knot.yml": (b"models: &a [*a]", "knot.yml", "knot.yml, line 1: models: an entry must be a mapping"),
    "scalar.yml": (b"models: 5", "scalar.yml", "scalar.yml, line 1: models must be a list, not 5"),
    "unnamed.yml": (
        b"models:\n - name: 5",
        "unnamed.yml",
        "unnamed.yml, line 2: models: an entry needs a name that is",
    ),
    "text.md": (b"\xff", "text.md", None),
    "rows.csv": (b"\xff\0", "rows.csv", None),
}


def checked(folder: Path) -> SqlProject:
    project = read_project(folder)
    check_models(project)
    return project


def test_each_file_costs_only_itself(tmp_path: Path) -> None:
    folder = sql_folder(tmp_path)
    (folder / "models/new").mkdir()
    for name, (content, _, _) in NEW.items():
        (folder / "models/new" / name).write_bytes(content)
    project = checked(folder)
    wrong = {}
    for name, (_, asset, reason) in NEW.items():
        error = project.errors.get(asset)
        if reason is None:
            if error is not None or (name.endswith(".sql") and asset not in project.models):
                wrong[name] = str(error)
        elif error is None or reason not in str(error) or f"new/{name}" not in str(error):
            wrong[name] = str(error)
    assert wrong == {}
    assert {*project.models} >= SOUND
    assert {*project.errors} == {asset for _, asset, reason in NEW.values() if reason}


def test_what_is_no_file_costs_only_itself(tmp_path: Path) -> None:
    models = sql_folder(tmp_path) / "models"
    (models / "a_folder.sql").mkdir()
    (models / "nowhere.sql").symlink_to(models / "nothing")
    (models / "itself.sql").symlink_to(models / "itself.sql")
    (models / "around").symlink_to(models)
    os.mkfifo(models / "pipe.sql")
    os.mkfifo(models / "described.yml")
    Path(os.fsdecode(os.fsencode(models) + b"/\xff.sql")).write_text("select 1 as a")
    project = checked(tmp_path)
    assert {*project.models} == SOUND
    assert {name: error.reason for name, error in project.errors.items()} == {
        "a_folder": "is a folder",
        "nowhere": "is not a file that can be read",
        "itself": "is not a file that can be read",
        "pipe": "is not a file that can be read",
        "described.yml": "is not a file that can be read",
        "file": "the file's name is the model's and its asset's: letters, digits and _ only",
    }
    assert "?.sql" in str(project.errors["file"])


ENTRIES = [
    ("columns: 5", "daily", "line 18: columns must be a list, not 5"),
    ("columns: [5]", "daily", "line 18: columns: an entry must be a mapping with a name, not 5"),
    ("columns: [{name: 2026-01-01}]", "daily", "line 18: columns: an entry needs a name that is text, not datetime"),
    ("columns: [{name: a, quote: 5}]", "daily", "line 18: quote must be true or false, not 5"),
    ("description: [a]", "daily", "line 18: description must be text, not ['a']"),
    ("description: \"{{ doc('x') }}\"", "daily", "line 18: there is no docs block 'x'"),
    ("config: 5", "daily", "line 18: config must be a mapping, not 5"),
    ("config: {meta: 5}", "daily", "line 18: meta must be a mapping, not 5"),
    ("config: {tags: [[a]]}", "daily", "line 18: tags must be a text or a list of texts, not ['a']"),
    ("config: {enabled: 'false'}", "daily", "line 18: enabled must be true or false, not 'false'"),
    ("config: {meta: {grain: {a: 1}}}", "daily", "line 18: grain must be a list of column names"),
    ("config: {meta: {grain: [none]}}", "daily", "line 17: the grain of daily names none, which it does not have"),
    ("config: {meta: {chart: [a]}}", "daily", "line 18: chart must be a mapping of columns to titles"),
    ("config: {materialized: [view]}", "daily", "line 18: not honoured by soundlink: materialized=['view']"),
    ("config: {schema: main_, alias: [a]}", "daily", "line 18: alias must be text, not ['a']"),
    ("config: {pre_hook: select 1}", "daily", "line 18: not honoured by soundlink: pre_hook"),
    ("config: {post-hook: [select 1]}", "daily", "line 18: not honoured by soundlink: post_hook"),
    ("versions: [{v: 1}]", "daily", "line 18: not honoured by soundlink: versions of a model"),
    ("meta: {a: 1}\n      config: {meta: {b: 1}}", "daily", "line 18: meta stands both in the entry and in its config"),
]


@pytest.mark.parametrize(("entry", "name", "reason"), ENTRIES)
def test_an_entry_of_any_shape_costs_its_model(tmp_path: Path, entry: str, name: str, reason: str) -> None:
    text = MODELS.replace("    - name: daily\n", "    - name: was_daily\n")
    folder = sql_folder(
        tmp_path,
        {
            "models/marts/_marts.yml": text[: text.index("    - name: was_daily")]
            + f"    - name: daily\n      {entry}\n",
            "models/marts/daily.sql": "select 1 as a",
            "models/marts/total.sql": None,
            "models/marts/beside.sql": "select 1 as a",
        },
    )
    # The entry's lines, wherever the file's head has them.
    lines = (folder / "models/marts/_marts.yml").read_text().splitlines()
    at = next(number for number, line in enumerate(lines, 1) if line.strip() == "- name: daily")
    project = checked(folder)
    assert {*project.errors} == {name}
    expected = reason.replace("line 18", f"line {at + 1}").replace("line 17", f"line {at}")
    assert expected in str(project.errors[name])
    assert {*project.models} == {"stg_country", "beside"}


TESTS = [
    ("[5]", "a test must be a name, or a mapping with one name, not 5"),
    ("[{unique: 5}]", "the test unique must have a mapping of arguments, not 5"),
    ("[{unique: {}, not_null: {}}]", "a test must be a name, or a mapping with one name, not "),
    ("[not_nul]", "unknown test 'not_nul'; known are unique, not_null, accepted_values, relationships"),
    ("[dbt_utils.recency]", "not honoured by soundlink: packages (dbt_utils.recency)"),
    ("[{unique: {config: 5}}]", "config of the test unique must be a mapping, not 5"),
    ("[{unique: {severity: warn, config: {severity: error}}}]", "has severity both in its config and beside it"),
    ("[{unique: {config: {severity: 5}}}]", "severity must be error or warn, not 5"),
    ("[{unique: {config: {limit: many}}}]", "limit must be a whole number, not 'many'"),
    ("[{unique: {config: {store_failures: true}}}]", "not honoured by soundlink: store_failures"),
    ("[{unique: {config: {where: 'nothing > 1'}}}]", 'Binder Error: Referenced column "nothing" not found'),
    (
        "[{unique: {config: {where: '1=1) ; drop table campaigns; --'}}}]",
        "holds 2 statements: a model or a test is one query",
    ),
    ("[{unique: {config: {error_if: nonsense}}}]", "Parser Error"),
    ("[{accepted_values: {values: 5}}]", "the test accepted_values needs values, a list, not 5"),
    ("[{accepted_values: {values: [a], more: 1}}]", "the test accepted_values has no argument 'more'"),
    ("[{relationships: {to: ref('none'), field: a}}]", "there is no model 'none' to ref"),
    ("[{relationships: {to: ref('total')}}]", "the test relationships needs field, not None"),
    ('[{relationships: {to: "{{ 1 / 0 }}", field: a}}]', "division by zero"),
    ("5", "data_tests must be a list, not 5"),
]


def test_a_broken_test_costs_only_itself(tmp_path: Path) -> None:
    columns = "".join(f"          - {{name: campaign_id, data_tests: {tests}}}\n" for tests, _ in TESTS)
    start = MODELS.index("          - name: campaign_id")
    text = MODELS[:start] + columns + MODELS[MODELS.index("          - name: streams") :]
    project = checked(sql_folder(tmp_path, {"models/marts/_marts.yml": text}))
    assert project.errors == {}
    assert {*project.models} == SOUND
    broken = sorted((test for test in project.tests if test.error), key=lambda test: test.line or 0)
    line = (tmp_path / "models/marts/_marts.yml").read_text().splitlines().index("      columns:") + 1
    for test, (_, reason) in zip(broken, TESTS, strict=True):
        line += 1
        assert f"_marts.yml, line {line}: " in str(test.error)
        assert reason in str(test.error)
        assert test.of == "daily"
    assert len({(test.model, test.name) for test in broken}) == len(TESTS)


SINGULAR = {
    "missing.sql": ("select 1 from {{ ref('none') }}", "missing.sql, line 1: there is no model 'none' to ref"),
    "wrong.sql": ("-- x\nselect nothing from {{ ref('daily') }}", "wrong.sql, line 2: Binder Error: Referenced column"),
    "nothing.sql": ("", "nothing.sql: is empty: there is no query in it"),
    "end.sql": ("select 1;", "end.sql, line 1: Parser Error"),
    "call.sql": ("{{ adapter.get_relation() }}", "call.sql, line 1: not honoured by soundlink: adapter.get_relation"),
    "severe.sql": (
        "{{ config(severity='fatal') }}select 1",
        "severe.sql, line 1: severity must be error or warn, not 'fatal'",
    ),
    "data_tests.sql": ("select * from {{ ref('daily') }} where false", None),
    "sources.sql": ("select * from {{ source('soundlink', 'campaigns') }} where false", None),
}


def test_a_broken_singular_test_costs_only_itself(tmp_path: Path) -> None:
    project = checked(sql_folder(tmp_path, {f"tests/{name}": text for name, (text, _) in SINGULAR.items()}))
    assert project.errors == {}
    assert {*project.models} == SOUND
    found = {test.path.name: test for test in project.tests if test.singular}
    assert {name: found[name].error is None for name in found} == {
        name: told is None for name, (_, told) in SINGULAR.items()
    }
    for name, (_, told) in SINGULAR.items():
        assert told is None or told in str(found[name].error)
    # One that refs no model is shown by the last; and a check of the tests in YAML has that name already.
    assert (found["sources.sql"].model, found["data_tests.sql"].name) == ("total", "data_tests_2")


@pytest.mark.parametrize(
    ("value", "kind"),
    [("'x'", "VARCHAR"), ("[1]", "INTEGER[]"), ("date '2026-01-01'", "DATE"), ("interval 1 day", "INTERVAL")],
)
def test_a_chart_of_what_is_no_number_is_told_before_anything_is_built(tmp_path: Path, value: str, kind: str) -> None:
    folder = sql_folder(tmp_path)
    new = folder / "models" / "drawn.sql"
    new.write_text(f"select date '2026-01-01' as report_date, true as is_settled, {value} as v, 1.5 as number")
    described = "models:\n  - name: drawn\n    config: {meta: {chart: {number: Number, v: V}}}\n"
    new.with_suffix(".yml").write_text(described)
    project = checked(tmp_path)
    assert project.errors["drawn"].reason == f"the chart of drawn names v, which is {kind}, not a number"
    assert {*project.models} == SOUND


def test_a_second_model_of_a_name_gives_up_neither_the_first_nor_what_needs_it(tmp_path: Path) -> None:
    # Its path comes first; the other one is described beside it.
    project = checked(sql_folder(tmp_path, {"models/a/daily.sql": "select 1 as a"}))
    assert {*project.models} == SOUND
    assert project.models["daily"].path == tmp_path / "models/marts/daily.sql"
    assert str(project.errors["a_daily"]) == (
        f"{tmp_path}/models/a/daily.sql: another model has this name: {tmp_path}/models/marts/daily.sql"
    )


def test_a_switched_off_model_leaves_its_name_to_another(tmp_path: Path) -> None:
    off = "{{ config(enabled=false) }}\n" + FILES["models/marts/total.sql"]
    project = checked(
        sql_folder(tmp_path, {"models/marts/total.sql": off, "models/other/total.sql": "select 'a' as campaign_id"})
    )
    assert (project.errors, project.models["total"].path.parent.name) == ({}, "other")


def test_what_a_broken_yaml_file_describes_is_not_built_without_its_tests(tmp_path: Path) -> None:
    project = checked(
        sql_folder(tmp_path, {"models/marts/_marts.yml": MODELS + "  - [", "models/new.sql": "select 1 as a"})
    )
    assert {*project.models} == {"new"}
    assert "daily.sql" not in str(project.errors["daily"])
    assert "_marts.yml, line 26: its YAML file cannot be used: is not YAML: " in str(project.errors["daily"])
    # Where another file describes it, the broken one costs nothing but itself.
    more = checked(sql_folder(tmp_path / "more", {"models/more.yml": "models:\n  - name: daily\n  - ["}))
    assert ({*more.models}, {*more.errors}) == (SOUND, {"more.yml"})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (None, "cannot be used"),
        ("[1]", "is not a YAML mapping"),
        ("name: 5", "name must be letters, digits and _, not 5"),
        (SETTINGS + "model-paths: [..]", "model-paths must be a list of folders below the one of dbt_project.yml"),
        (SETTINGS.replace("vars: {", "vars: [{").replace("least: 0}", "least: 0}]"), "vars must be a mapping"),
        ("name: soundlink\nmodels: 5", "models must be a mapping, not 5"),
    ],
)
def test_without_dbt_project_nothing_is_built_and_each_model_says_so(
    tmp_path: Path, settings: str | None, reason: str
) -> None:
    project = checked(sql_folder(tmp_path, {"dbt_project.yml": settings}))
    assert project.models == {}
    assert {*project.errors} == {"dbt_project.yml", *SOUND}
    assert "dbt_project.yml" in str(project.errors["daily"])
    assert reason in str(project.errors["daily"])


def test_a_broken_macro_costs_what_calls_it(tmp_path: Path) -> None:
    changes: dict[str, str | None] = {
        "macros/broken.sql": "{% macro one() %}\n{% if %}\n{% endmacro %}",
        "models/calls.sql": "--\nselect {{ one() }} as a",
        "macros/wrong.sql": "{% macro two() %}\n{{ three() }}{% endmacro %}",
        "models/calls_two.sql": "--\nselect {{ two() }} as a",
    }
    project = checked(sql_folder(tmp_path, changes))
    assert {*project.models} == SOUND
    assert "macros/broken.sql, line 2: is not a Jinja template: " in str(project.errors["calls"])
    assert "macros/broken.sql, line 2: is not a Jinja template: " in str(project.errors["macros_broken"])
    told = str(project.errors["calls_two"])
    assert "calls_two.sql, line 2: 'three' is undefined" in told
    assert "macros/wrong.sql, line 2)" in told


def test_a_cause_is_named_once_however_long_the_chain(tmp_path: Path) -> None:
    changes: dict[str, str | None] = {f"models/m{n}.sql": f"from {{{{ ref('m{n - 1}') }}}}" for n in range(1, 30)}
    project = checked(sql_folder(tmp_path, {**changes, "models/m0.sql": "select none"}))
    assert {*project.models} == SOUND
    told = str(project.errors["m29"])
    assert f"m29.sql, line 1: needs m28, which cannot be built: {tmp_path}/models/m0.sql, line 1: Binder Error" in told
    assert told.count("needs") == 1
