"""Building SQL models in a real warehouse: one transaction each, the days asked for only, with comments and tests."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.models.binding import load_models
from soundlink_pipeline.models.build import build_model, build_models, drop_removed_models, models_behind, run_tests
from soundlink_pipeline.models.errors import ModelError
from soundlink_pipeline.models.project import SqlProject, read_project
from soundlink_pipeline.models.standing import Standing
from soundlink_pipeline.warehouse.home import WarehouseUnusable
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import arrival, load, row
from soundlink_pipeline_tests.support.sql_folder import DAILY, MODELS, sql_folder

FIRST, SECOND = date(2026, 4, 1), date(2026, 4, 2)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with NativeFile(tmp_path / "data").write() as connection:
        put(connection, FIRST, "a", 1)
        put(connection, SECOND, "a", 10)
        yield connection


def put(connection: duckdb.DuckDBPyConnection, day: date, campaign: str, streams: int, country: str = "DE") -> None:
    connection.execute(
        "insert into campaign_country_daily (provider, account_id, report_date, campaign_id, country_code, streams)"
        " values ('soundlink', 'x', ?, ?, ?, ?)",
        [day, campaign, country, streams],
    )


def rows(connection: duckdb.DuckDBPyConnection, table: str) -> list[Any]:
    return connection.execute(f"from {table} order by all").fetchall()


def project(folder: Path, **changes: str | None) -> SqlProject:
    """As a run has it: read, and bound as far as that is possible."""
    files = sql_folder(folder, {f"models/marts/{k}": v for k, v in changes.items()})
    return load_models(files, memory=folder.parent / "bound_models.json").project


def describing(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> int:
    """How often a build asks DuckDB for a query's columns."""
    asked: list[str] = []

    class Noting:
        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

        def execute(self, query: Any, *given: Any) -> Any:
            asked.append(query if isinstance(query, str) else query.query)
            return connection.execute(query, *given)

    build_models(Noting(), project, DateRange(SECOND, SECOND))  # type: ignore[arg-type]
    return sum(query.startswith("describe") for query in asked)


def test_models_are_built_in_order_with_their_comments(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    built = build_models(connection, project(tmp_path))
    assert [(b.model.name, b.rows, b.dates) for b in built] == [
        ("stg_country", None, None),
        ("daily", 2, None),
        ("total", 1, None),
    ]
    assert rows(connection, "marts.total") == [("a", 11)]
    comments = "select comment from duckdb_{}() where {}_name = '{}' and schema_name = '{}'"
    told = [
        connection.execute(comments.format("tables", "table", "daily", "marts")).fetchall(),
        connection.execute(comments.format("views", "view", "stg_country", "staging")).fetchall(),
        connection.execute(comments.format("columns", "column", "streams", "marts") + " order by all").fetchall(),
    ]
    assert told == [
        [("Streams of a day. One row per campaign and day.",)],
        [("The export. One row per key.",)],
        [("Streams, may be summed.",), (None,)],
    ]


def described(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, tuple[str, str | None]]:
    """Type and comment of each column."""
    query = "select column_name, data_type, comment from duckdb_columns() where table_name = ? and not internal"
    return {name: (kind, comment) for name, kind, comment in connection.execute(query, [table]).fetchall()}


def test_comments_follow_the_descriptions_of_what_is_not_made_anew(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    days = DateRange(SECOND, SECOND)
    staging = "columns: [{name: streams, description: Played.}, {name: followers, description: Won.}]"
    grain = "config: {meta: {grain: [report_date, campaign_id, country_code]}}"
    for documented, of_streams, of_followers in ((staging, "Played.", "Won."), ("", None, None)):
        models = MODELS.replace(grain, f"{grain}\n      {documented}").replace(
            "Streams, may be summed.", f"Now {of_streams}"
        )
        build_models(connection, project(tmp_path, **{"_marts.yml": models}), days)
        assert described(connection, "daily")["streams"][1] == f"Now {of_streams}"
        view = described(connection, "stg_country")
        assert (view["streams"][1], view["followers"][1]) == (of_streams, of_followers)


def test_a_view_has_the_columns_of_the_table_below_it_as_that_is_now(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    build_models(connection, project(tmp_path))
    connection.execute("alter table campaign_country_daily add column more integer default 3")
    connection.execute("alter table campaign_country_daily alter column currency type blob")
    build_models(connection, project(tmp_path), DateRange(SECOND, SECOND))
    assert described(connection, "stg_country")["currency"][0] == "BLOB"
    assert connection.execute("select distinct more from staging.stg_country").fetchall() == [(3,)]


def test_a_model_is_bound_again_only_where_something_below_it_is_not_as_it_was_bound(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    copied = "{{ config(materialized='table') }} select * from {{ ref('daily') }}"
    sound = project(tmp_path / "sql", **{"copied.sql": copied})
    assert sound.bound
    build_models(connection, sound)
    assert describing(connection, sound) == 0
    connection.execute("alter table marts.daily add column more integer default 3")
    assert describing(connection, sound) > 0
    assert "more" in described(connection, "copied")
    unbound = read_project(tmp_path / "sql")
    assert not unbound.bound
    assert describing(connection, unbound) > 0


# Their SQL and the tables below them stay as they are.
@pytest.mark.parametrize("kind", ["table", "view"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a,b\n1.7,2\n", [(1.7, 2)]),
        ("a\n1\n", [(1,)]),
        ("a,b,c\n1,2,3\n", [(1, 2, 3)]),
        ("a,b\nword,2\n", [("word", 2)]),
    ],
)
def test_columns_that_follow_from_a_file_are_those_it_has_now(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, kind: str, content: str, expected: list[Any]
) -> None:
    file = tmp_path / "given.csv"
    file.write_text("a,b\n1,2\n")
    sql = f"{{{{ config(materialized='{kind}') }}}} select * from read_csv('{file}')"
    sound = project(tmp_path / "sql", **{"given.sql": sql})
    build_models(connection, sound)
    file.write_text(content)
    build_models(connection, sound)
    assert rows(connection, "marts.given") == expected
    described = connection.execute("select column_name from duckdb_columns() where table_name = 'given'").fetchall()
    assert [name for (name,) in described] == content.splitlines()[0].split(",")


def test_columns_that_follow_from_values_are_those_of_now(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    sql = (
        "{{ config(materialized='table') }}"
        " select * from (pivot (select country_code, streams from main.campaign_country_daily)"
        " on country_code using sum(streams))"
    )
    # A pivot of no rows has no columns: over the empty warehouse it cannot be bound.
    sound = read_project(sql_folder(tmp_path / "sql", {"models/marts/given.sql": sql}))
    build_models(connection, sound)
    put(connection, SECOND, "b", 5, country="US")
    build_models(connection, sound)
    assert rows(connection, "marts.given") == [(11, 5)]
    connection.execute("update campaign_country_daily set country_code = 'SE'")
    build_models(connection, sound)
    assert rows(connection, "marts.given") == [(16,)]


def test_a_refresh_rebuilds_its_days_alone(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    models = project(tmp_path)
    build_models(connection, models)
    put(connection, FIRST, "a", 500, "FR")
    put(connection, SECOND, "b", 7)
    built = build_models(connection, models, DateRange(SECOND, SECOND))
    assert [(b.rows, b.dates) for b in built] == [(None, None), (2, DateRange(SECOND, SECOND)), (2, None)]
    assert rows(connection, "marts.daily") == [("a", FIRST, 1), ("a", SECOND, 10), ("b", SECOND, 7)]
    connection.execute("delete from campaign_country_daily where campaign_id = 'b'")
    build_models(connection, models, DateRange(FIRST, SECOND))
    assert rows(connection, "marts.daily") == [("a", FIRST, 501), ("a", SECOND, 10)]


def test_damage_that_a_model_or_a_test_meets_is_told_as_the_files(tmp_path: Path) -> None:
    warehouse, models = NativeFile(tmp_path / "data"), project(tmp_path)
    with warehouse.write() as connection:
        connection.execute(
            "insert into campaign_country_daily (provider, account_id, report_date, campaign_id, country_code, streams)"
            " select 'soundlink', 'x', date '2026-04-01', md5(range::varchar), 'DE', range"
            " from range(60000)"
        )
        build_models(connection, models)
    with warehouse.read() as connection:
        blocks = connection.execute(
            "select distinct block_id from pragma_storage_info('campaign_country_daily') where block_id >= 0"
        ).fetchall()
    data = bytearray(warehouse.path.read_bytes())
    for (block,) in blocks:  # of 256 KiB, behind three headers of 4 KiB
        data[3 * 4096 + (block << 18) + 100_000] ^= 0xFF
    warehouse.path.write_bytes(data)
    what_to_do = "is damaged: .*Move it away, .* run make rebuild .in the UI: the job rebuild_from_landing"
    with pytest.raises(WarehouseUnusable, match=what_to_do), warehouse.write() as connection:
        build_models(connection, models, DateRange(FIRST, FIRST))
    with pytest.raises(WarehouseUnusable, match=what_to_do), warehouse.write() as connection:
        run_tests(connection, models, models.models["stg_country"])


def test_days_loaded_since_the_last_build_are_rebuilt_too(tmp_path: Path) -> None:
    warehouse, models = NativeFile(tmp_path / "data"), project(tmp_path)
    days = [FIRST + timedelta(days=offset) for offset in range(4)]

    def put_and_build(loaded: date, built: date) -> list[Any]:
        load(
            warehouse,
            arrival(tmp_path, [row(report_date=str(loaded))], dates=DateRange(loaded, loaded), campaign=str(loaded)),
        )
        with warehouse.write() as connection:
            (daily,) = [b for b in build_models(connection, models, DateRange(built, built)) if b.model.name == "daily"]
            return [daily.dates, [day for _, day, _ in rows(connection, "marts.daily")]]

    assert put_and_build(days[1], days[1]) == [None, [days[1]]]
    assert put_and_build(days[0], days[2]) == [DateRange(days[0], days[2]), [days[0], days[1]]]
    assert put_and_build(days[3], days[3]) == [DateRange(days[3], days[3]), [days[0], days[1], days[3]]]


def test_what_a_build_was_killed_before_it_wrote_down_is_built_again(tmp_path: Path) -> None:
    warehouse, models = NativeFile(tmp_path / "data"), project(tmp_path)

    def put_day(day: date) -> None:
        delivered = arrival(tmp_path, [row(report_date=str(day))], dates=DateRange(day, day), campaign=str(day))
        load(warehouse, delivered)

    put_day(FIRST)
    with warehouse.write() as connection:
        build_models(connection, models)
    put_day(SECOND)
    later = DateRange(SECOND + timedelta(days=1), SECOND + timedelta(days=1))
    with warehouse.write() as connection:
        standing = Standing(connection, models)
        for model in models.models.values():
            build_model(connection, models, model, later, standing)
        assert models_behind(connection, models)
    with warehouse.write() as connection:
        (daily,) = [built for built in build_models(connection, models, later) if built.model.name == "daily"]
        assert daily.dates == DateRange(SECOND, later.end)
        assert not models_behind(connection, models)
        assert len(rows(connection, "marts.daily")) == 2


@pytest.mark.parametrize(
    ("changed", "days"),
    [
        pytest.param(DAILY.replace("sum(streams)", "2 * sum(streams)"), [2, 20], id="SQL"),
        pytest.param(DAILY.replace("as streams", "as streams, 'x' as more"), [1, 10], id="column"),
        pytest.param(DAILY.replace("incremental", "table", 1), [1, 10], id="kind"),
        pytest.param(DAILY.replace("incremental", "view", 1), [1, 10], id="table to view"),
    ],
)
def test_a_model_that_was_changed_is_built_in_full(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, changed: str, days: list[int]
) -> None:
    build_models(connection, project(tmp_path))
    build_models(connection, project(tmp_path, **{"daily.sql": changed}), DateRange(SECOND, SECOND))
    assert [row[2] for row in rows(connection, "marts.daily")] == days
    build_models(connection, project(tmp_path), DateRange(SECOND, SECOND))
    assert [row[2] for row in rows(connection, "marts.daily")] == [1, 10]


def test_a_model_that_fails_leaves_what_was_there(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    build_models(connection, project(tmp_path))
    put(connection, SECOND, "b", 7)
    for materialized in ("incremental", "table"):
        sql = DAILY.replace("incremental", materialized, 1).replace("sum(streams)", "sum(error('told')::bigint)")
        broken = project(tmp_path, **{"daily.sql": sql})
        with pytest.raises(ModelError, match=r"daily\.sql: Invalid Input Error: told"):
            build_model(connection, broken, broken.models["daily"], DateRange(SECOND, SECOND))
        assert rows(connection, "marts.daily") == [("a", FIRST, 1), ("a", SECOND, 10)]
    # The connection is usable, and what the model was made from is still known.
    (built,) = [b for b in build_models(connection, project(tmp_path), DateRange(SECOND, SECOND)) if b.dates]
    assert built.rows == 2


def test_what_a_removed_model_left_goes_and_nothing_else(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    build_models(connection, project(tmp_path))
    connection.execute("create table marts.mine as select 1 as a")
    (tmp_path / "models/marts/total.sql").unlink()
    models = MODELS[: MODELS.index("    - name: total")]
    broken = project(tmp_path, **{"total.sql": None, "_marts.yml": models, "daily.sql": "select {{ nothing }}"})
    (tmp_path / "models/marts/total.sql").unlink(missing_ok=True)
    assert "daily" in broken.errors
    assert drop_removed_models(connection, broken) == ["marts.total"]
    left = connection.execute(
        "select table_name from information_schema.tables where table_schema = 'marts'"
    ).fetchall()
    assert {name for (name,) in left} == {"mine", "daily"}


def test_a_second_database_that_is_attached_is_not_mistaken_for_the_warehouse(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    connection.execute("attach ':memory:' as other; create schema other.marts")
    connection.execute("create view other.marts.daily as select 1 as x")
    models = project(tmp_path)
    build_models(connection, models)
    (daily,) = [b for b in build_models(connection, models, DateRange(SECOND, SECOND)) if b.model.name == "daily"]
    assert daily.dates == DateRange(SECOND, SECOND), "built in full, since the other one is a view"
    assert connection.execute("from other.marts.daily").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("test", "spoil", "bad_rows", "shown"),
    [
        ("unique_grain", "insert into marts.daily from marts.daily", 2, "2026-04-01"),
        ("not_null_campaign_id", "update marts.daily set campaign_id = null", 2, "2026-04-02"),
        ("not_null_campaign_id", "insert into marts.daily select null, '2026-04-02', x from range(30) t(x)", 30, "9"),
    ],
)
def test_a_test_counts_the_bad_rows_and_shows_the_first(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, test: str, spoil: str, bad_rows: int, shown: str
) -> None:
    models = project(tmp_path)
    build_models(connection, models)
    daily = models.models["daily"]
    assert all(found.passed for found in run_tests(connection, models, daily))
    connection.execute(spoil)
    (found,) = [found for found in run_tests(connection, models, daily) if found.test.name == test]
    assert (found.passed, found.bad_rows) == (False, bad_rows)
    assert shown in {str(value) for row in found.rows for value in row}
    assert {len(row) for row in found.rows} == {len(found.columns)}
    assert len(found.rows) == min(bad_rows, 10)
    other_day = DateRange(date(2026, 4, 3), date(2026, 4, 3))
    assert all(found.passed for found in run_tests(connection, models, daily, other_day))


def test_what_no_day_can_judge_alone_is_tested_on_all_days(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    tests = "[unique, {not_null: {name: limited, config: {error_if: '> 1'}}}, not_null]"
    models = project(tmp_path, **{"_marts.yml": MODELS.replace("[not_null]", tests)})
    build_models(connection, models)
    connection.execute("insert into marts.daily values (null, '2026-04-01', 1), (null, '2026-04-01', 2)")
    found = run_tests(connection, models, models.models["daily"], DateRange(SECOND, SECOND))
    outcomes = {result.test.name: (result.outcome, result.bad_rows) for result in found}
    assert outcomes == {
        "unique_grain": ("pass", 0),
        "unique_campaign_id": ("fail", 1),  # "a" is there on both days
        "limited": ("fail", 2),
        "not_null_campaign_id": ("pass", 0),
    }


@pytest.mark.parametrize(
    ("yaml", "name", "bad_rows"),
    [
        ("{accepted_values: {arguments: {values: [b, \"it''s\"]}}}", "accepted_values_campaign_id", 1),
        (
            "{relationships: {arguments: {to: \"source('soundlink', 'campaigns')\", field: campaign_id}}}",
            "relationships_campaign_id",
            2,
        ),
        ("unique", "unique_campaign_id", 1),
    ],
)
def test_each_kind_of_test_finds_what_it_is_for(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, yaml: str, name: str, bad_rows: int
) -> None:
    models = project(tmp_path, **{"_marts.yml": MODELS.replace("[not_null]", f"[{yaml}]")})
    assert models.errors == {}
    build_models(connection, models)
    daily = models.models["daily"]
    assert {found.test.name: found.bad_rows for found in run_tests(connection, models, daily)}[name] == bad_rows
    connection.execute("delete from marts.daily where report_date = '2026-04-01'")
    connection.execute("update marts.daily set campaign_id = 'b'")
    connection.execute("insert into campaigns (account, campaign_id) values ('default', 'b')")
    assert all(found.passed for found in run_tests(connection, models, daily))
