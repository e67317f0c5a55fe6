"""What analysts are told is so: every query gives the answer shown, and the dictionary fits the published file."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.commands.data_dictionary import markdown, tables
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.table import Table
from soundlink_pipeline_tests.documents.analysts_docs import (
    DOCUMENT,
    README,
    SQL_FOLDER,
    STATEMENT,
    Shown,
    output_of,
    python_examples,
    shown_in,
    small_account,
)
from soundlink_pipeline_tests.support.sql_folder import sql_folder

DASHBOARD = DOCUMENT.parents[1] / "examples" / "dashboard"
DICTIONARY = DOCUMENT.with_name("data-dictionary.md")
AGAIN = "python -m soundlink_pipeline_tests.documents.analysts_docs writes the answers anew"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_account(tmp_path_factory.mktemp("account"))


@pytest.fixture
def connection(published: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(published), read_only=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def dictionary() -> list[Table]:
    return tables(SQL_FOLDER)


def test_dictionary_in_docs_is_what_is_generated(dictionary: list[Table]) -> None:
    assert DICTIONARY.read_text(encoding="utf-8") == markdown(dictionary), "make docs writes it"


def test_dictionary_has_every_table_and_column_of_the_published_file_with_its_type(
    dictionary: list[Table], connection: duckdb.DuckDBPyConnection
) -> None:
    found: dict[str, list[tuple[str, str]]] = {}
    for schema, table, column, kind in connection.execute(
        "select schema_name, table_name, column_name, data_type from duckdb_columns() where not internal"
        " and schema_name <> 'own' order by schema_name, table_name, column_index"
    ).fetchall():
        found.setdefault(table if schema == "main" else f"{schema}.{table}", []).append((column, kind))
    assert found == {table.name: [(c.name, c.type) for c in table.columns] for table in dictionary}


def test_dictionary_gives_every_table_and_column_a_meaning(dictionary: list[Table]) -> None:
    assert [table.name for table in dictionary if not table.meaning] == []
    assert [f"{table.name}.{c.name}" for table in dictionary for c in table.columns if not c.meaning] == []


def test_keys_and_nulls_of_the_dictionary_hold_in_the_data(
    dictionary: list[Table], connection: duckdb.DuckDBPyConnection
) -> None:
    for table in dictionary:
        never_null = [column.name for column in table.columns if column.nullable is False]
        missing = [f"count(*) - count({name})" for name in never_null]
        key = f"(select count(*) from (select distinct {', '.join(table.grain)} from {table.name}))"
        repeated = f"count(*) - {key}" if table.grain else "count(*) - 1"
        answer = connection.execute(f"select {', '.join([repeated, *missing])} from {table.name}").fetchone()
        assert answer is not None
        assert dict(zip(["key", *never_null], answer, strict=True)) == dict.fromkeys(["key", *never_null], 0), (
            table.name
        )


def test_dictionary_is_not_made_of_models_that_cannot_be_read(tmp_path: Path) -> None:
    folder = sql_folder(tmp_path, {"models/marts/total.sql": "select * from {{ ref('nowhere') }}"})
    with pytest.raises(ValueError, match="there is no model 'nowhere'"):
        tables(folder)


@pytest.mark.parametrize("shown", shown_in(DOCUMENT), ids=lambda shown: shown.name)
def test_query_gives_the_answer_shown(shown: Shown, connection: duckdb.DuckDBPyConnection) -> None:
    assert output_of(connection, shown.sql) == shown.output, AGAIN


@pytest.mark.parametrize("shown", shown_in(README), ids=lambda shown: shown.name)
def test_query_of_the_readme_answers_and_gives_what_is_shown(
    shown: Shown, connection: duckdb.DuckDBPyConnection
) -> None:
    output = output_of(connection, shown.sql)
    assert output.count("\n") > 2, "no rows"
    assert shown.output in ("", output), AGAIN


def test_answers_do_not_depend_on_the_readers_time_zone_and_threads(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("set TimeZone = 'America/Los_Angeles'; set threads = 1; set preserve_insertion_order = false")
    for shown in shown_in(DOCUMENT):
        assert output_of(connection, shown.sql) == shown.output, shown.name


def test_python_examples_run(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soundlink.duckdb").symlink_to(published)
    monkeypatch.chdir(tmp_path)
    ran = 0
    for example in python_examples(DOCUMENT):
        if ".pl()" in example and importlib.util.find_spec("polars") is None:
            continue  # the project does without polars
        exec(example, {})
        ran += 1
    assert ran >= 2


def contents(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, int]]:
    """Of every table and view of the current database how many rows it has, and what they add up to."""
    names = connection.execute(
        "select table_schema || '.' || table_name from information_schema.tables"
        " where table_catalog = current_database() order by all"
    ).fetchall()
    counted = {}
    for (name,) in names:
        answer = connection.execute(f"select count(*), coalesce(sum(hash(t::varchar)), 0) from {name} as t").fetchone()
        assert answer is not None
        counted[name] = answer
    return counted


@pytest.mark.parametrize("options", ["", "(format parquet)"])
def test_published_file_can_be_exported_and_imported_views_and_all(
    options: str, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    connection.execute(f"export database '{tmp_path / 'exported'}' {options}")
    with duckdb.connect(str(tmp_path / "new.duckdb")) as new:
        new.execute(f"import database '{tmp_path / 'exported'}'")
        found = contents(new)
    assert found == contents(connection)
    assert {"marts.revision_curve", "staging.stg_campaigns", "main.report_date_status"} <= found.keys()


def test_published_file_can_be_copied_into_another_database_views_and_all(
    connection: duckdb.DuckDBPyConnection, published: Path, tmp_path: Path
) -> None:
    with duckdb.connect(str(tmp_path / "new.duckdb")) as new:
        new.execute(f"attach '{published}' as soundlink (read_only)")
        new.execute("copy from database soundlink to new")
        assert contents(new) == contents(connection)


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_sql_written_for_the_vendors_connector_runs_unchanged(
    export: Export, connection: duckdb.DuckDBPyConnection
) -> None:
    answer = connection.execute(f"select {', '.join(export.column_names)} from {export.name}")
    assert [(name, str(kind)) for name, kind, *_ in answer.description or []] == [
        (column.name, column.type) for column in export.columns
    ]
    assert answer.fetchone() is not None
    described = connection.execute(f"describe {export.name}").fetchall()
    assert [name for name, *_ in described][: len(export.columns)] == list(export.column_names)


def test_sql_of_the_vendors_playlist_impact_example_runs_on_the_published_file_and_beside_it(
    published: Path, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    # The names, joins and functions of its three queries on distributor_monthly, in one.
    query = """
        with spend as (
            select min(report_date) as first_day, max(report_date) as last_day from campaign_country_daily
            where campaign_name = 'Fresh Finds 6' and spend_total > 0
        ),
        counted as (
            select e.engaged_track_isrc as isrc, date_trunc('month', e.report_date) as month, sum(e.streams) as streams
            from campaign_engagement_daily e cross join spend
            where e.campaign_name = 'Fresh Finds 6' and e.engagement_context = 'catalog'
                and e.report_date between spend.first_day and spend.last_day
            group by all
        ),
        paid as (
            select isrc, month, sum(streams) as streams, sum(revenue) / nullif(sum(streams), 0) as per_stream
            from distributor_monthly where currency = 'USD' group by all
        )
        select isrc, month, counted.streams, round(counted.streams / nullif(paid.streams, 0), 6), round(per_stream, 9)
        from paid join counted using (isrc, month) order by all
    """
    answer = connection.execute(query).fetchall()
    assert (
        answer
        == connection.execute(
            "select isrc, sale_month, campaign_streams_during, round(attributed_share, 6), round(revenue_per_stream, 9)"
            " from marts.campaign_return where campaign_streams_during > 0 order by all"
        ).fetchall()
    )
    assert len(answer) == 2
    with duckdb.connect(str(tmp_path / "mine.duckdb")) as mine:
        mine.execute(f"attach '{published}' as soundlink (read_only)")
        mine.execute("set search_path = 'mine.main,soundlink.main'")
        # It makes this table of the statement; there is a view of that name in the published file.
        mine.execute(
            "create or replace table distributor_monthly as select isrc, cast(sale_month || '-01' as date) as month,"
            f" streams, revenue, currency from read_csv_auto('{STATEMENT}') where store = 'Spotify'"
        )
        assert mine.execute(query).fetchall() == answer


def test_every_mart_and_every_table_for_analysts_is_used_or_told_of(dictionary: list[Table]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    spared = {"marts.country_summary"}  # country_daily answers the same question for settled days
    told = {table.name for table in dictionary if not table.name.startswith("staging.")} - spared
    assert {name for name in told if name not in text} == set()


def _dashboard(name: str, connection: duckdb.DuckDBPyConnection, columns: str = "*") -> duckdb.DuckDBPyConnection:
    sql = (DASHBOARD / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return connection.execute(f"select {columns} from ({sql})")


def test_every_chart_of_the_dashboard_finds_its_columns_and_rows(connection: duckdb.DuckDBPyConnection) -> None:
    spec = importlib.util.spec_from_file_location("pages", DASHBOARD / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["pages"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    del sys.modules["pages"]
    charts = [chart for page in module.PAGES for chart in page.charts]
    assert {chart.data for chart in charts} == {path.stem for path in (DASHBOARD / "sql").glob("*.sql")}
    for chart in charts:
        found = _dashboard(chart.data, connection)
        there = {column for column, *_ in found.description}
        drawn = chart.settings.get("all_columns", [])
        drawn = drawn or [chart.settings["x_axis"], *chart.settings["groupby"]]
        assert set(drawn) <= there, chart.title
        assert set(chart.settings.get("column_config", {})) <= set(drawn), chart.title
        assert found.fetchall(), chart.title
        measures = ", ".join(metric["sqlExpression"] for metric in chart.settings.get("metrics", [])) or "1"
        assert _dashboard(chart.data, connection, measures).fetchall(), chart.title


def test_week_of_the_dashboard_is_that_of_the_questions(connection: duckdb.DuckDBPyConnection) -> None:
    found = _dashboard("week", connection)
    names = [column for column, *_ in found.description]
    rows = {row["measure"]: row for row in (dict(zip(names, values, strict=True)) for values in found.fetchall())}
    # As the last query of question 20 has them.
    assert (rows["Followers"]["week_before"], rows["Followers"]["this_week"]) == ("273", "127")
    spend = rows["Spend with fees, USD"]
    assert (spend["week_before"], spend["was_it_final"]) == ("1,402.80", "final")
    assert (spend["this_week"], spend["is_it_final"], spend["change"]) == ("834.13", "provisional", "-41 %")
