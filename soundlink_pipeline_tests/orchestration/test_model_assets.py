"""SQL models as Dagster shows and runs them: lineage, partitions, metadata, checks, and what a bad one costs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.orchestration import model_assets
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH, REBUILD
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.orchestration.schedules import NOT_BUILT
from soundlink_pipeline_tests.support.project import Project, failure_of, failures_of, project, utc
from soundlink_pipeline_tests.support.sql_folder import DAILY, MODELS, TOTAL, sql_folder


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path, sql_dir=sql_folder(tmp_path / "models")) as here:
        yield here


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project after its first run."""
    folder = tmp_path_factory.mktemp("refreshed")
    with project(folder, sql_dir=sql_folder(folder / "models")) as made:
        assert made.refresh("2026-01-10", "2026-01-12").success
    return folder


@pytest.fixture
def loaded(tmp_path: Path, refreshed: Path) -> Iterator[Project]:
    """2026-01-10 to 12 have been pulled and built."""
    with project(tmp_path, sql_dir=sql_folder(tmp_path / "models"), like=refreshed) as here:
        yield here


REFETCH = {"ops": {"exports": {"config": {"refetch": True}}}}


def graph(here: Project) -> Any:
    return build_definitions(here.soundlink.settings, lambda _: None).resolve_asset_graph()


def change(here: Project, **files: str | None) -> None:
    sql_folder(Path(here.settings["SOUNDLINK_SQL_DIR"]), {f"models/marts/{name}": t for name, t in files.items()})
    # Dagster keeps what it has reconstructed of a job: another setting is another job.
    changes = int(here.settings.get("SOUNDLINK_LANDING_RETENTION_DAYS", "400"))
    here.settings["SOUNDLINK_LANDING_RETENTION_DAYS"] = str(changes + 1)


def metadata(result: dg.JobExecutionResult, asset: str) -> dict[str, Any]:
    """Of the last materialization that is not of a partition alone."""
    events = [event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in events[-1].materialization.metadata.items()}


def materialized(result: dg.JobExecutionResult) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}


def test_lineage_and_groups_come_from_the_folder(here: Project) -> None:
    nodes = {key.to_user_string(): graph(here).get(key) for key in graph(here).get_all_asset_keys()}
    assert {name: sorted(k.to_user_string() for k in nodes[name].parent_keys) for name in ("stg_country", "total")} == {
        "stg_country": ["campaign_country_daily"],
        "total": ["daily"],
    }
    assert [nodes[name].group_name for name in ("stg_country", "daily")] == ["staging", "marts"]
    # The ledger tells a model which days it lacks: it needs no partitions, and one build follows a whole backfill.
    assert {nodes[name].partitions_def for name in ("stg_country", "daily", "total")} == {None}
    assert nodes["daily"].description == "Streams of a day. One row per campaign and day."
    schema = nodes["daily"].metadata["columns"]
    assert [(c.name, c.type, c.description) for c in schema.columns] == [
        ("campaign_id", "VARCHAR", "The campaign."),
        ("report_date", "DATE", None),
        ("streams", "BIGINT", "Streams, may be summed."),
    ]
    (code,) = nodes["daily"].metadata["dagster/code_references"].code_references
    assert code.file_path.endswith("models/marts/daily.sql")
    assert nodes["daily"].metadata["dagster/table_name"] == "marts.daily"


def test_a_run_builds_the_models_behind_the_exports(here: Project) -> None:
    assert here.refresh("2026-01-10", "2026-01-20").success
    result = here.refresh("2026-01-14", "2026-01-16", run_config=REFETCH)
    assert result.success
    sums = "select sum(streams)::bigint from {}"
    assert here.query(sums.format("marts.total")) == here.query(sums.format("campaign_country_daily"))
    told = metadata(result, "daily")
    assert told["days built"] == "2026-01-14 to 2026-01-16"
    (counts,) = here.query(
        "select count(*), count(*) filter (report_date between '2026-01-14' and '2026-01-16') from marts.daily"
    )
    assert (told["dagster/row_count"], told["rows built"]) == counts
    assert told["rows built"] < told["dagster/row_count"]
    assert told["seconds"] > 0
    assert list(told)[:3] == ["rows built", "days built", "seconds"]
    assert list(told)[-1] == "compiled SQL"
    assert 'from "staging"."stg_country"' in told["compiled SQL"]
    found = result.get_asset_check_evaluations()
    checks = {(e.asset_key.to_user_string(), e.check_name): e.passed for e in found if e.check_name == "data_tests"}
    assert checks == {
        ("stg_country", "data_tests"): True,
        ("daily", "data_tests"): True,
        ("total", "data_tests"): True,
    }


def test_one_model_can_be_built_alone(loaded: Project) -> None:
    result = loaded.refresh("2026-01-11", "2026-01-11", asset_selection=[dg.AssetKey("daily")])
    assert result.success
    assert materialized(result) == {"daily"}


def test_a_model_that_is_built_before_what_it_reads_says_what_comes_first(here: Project) -> None:
    exports = [dg.AssetKey(name) for name in ("campaign_country_daily", "campaign_engagement_daily")]
    assert here.refresh("2026-01-10", "2026-01-12", asset_selection=exports).success
    result = here.refresh("2026-01-10", "2026-01-12", asset_selection=[dg.AssetKey("daily")])
    assert not result.success
    assert failure_of(result).endswith(
        "daily.sql: not built: it reads stg_country, which nobody has materialized yet. Materialize first what it"
        " reads, or all of it together (in the UI: select +daily)"
    )


def test_a_model_with_a_fault_that_nobody_foresaw_costs_only_itself(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unforeseen(*_: object) -> None:
        raise KeyError("nobody thought of that")

    chart = "  - name: daily\n    config: {meta: {grain: [campaign_id, report_date], chart: {streams: Streams}}}\n"
    settled = DAILY.replace("sum(streams)", "true as is_settled, sum(streams)")
    change(here, **{"charted.sql": settled, "_charted.yml": "models:\n" + chart.replace("daily", "charted")})
    monkeypatch.setattr(model_assets, "table_trend", unforeseen)
    result = here.refresh("2026-01-10", "2026-01-12")
    assert not result.success
    assert materialized(result) >= {"daily", "total", "stg_country"}
    assert "charted" not in materialized(result)
    assert "charted.sql: KeyError: 'nobody thought of that'" in failure_of(result)


def test_a_model_that_fails_costs_only_what_needs_it(loaded: Project) -> None:
    before = loaded.query("from marts.daily order by all")
    change(
        loaded,
        **{
            "daily.sql": DAILY.replace("sum(streams)", "sum(error('told')::bigint)"),
            "other.sql": "select count(*) as n from {{ ref('stg_country') }}",
        },
    )
    result = loaded.refresh("2026-01-11", "2026-01-11")
    assert not result.success
    assert re.search(r"daily: .*daily\.sql: Invalid Input Error: told", failure_of(result))
    assert {"stg_country", "other", "campaign_country_daily"} <= materialized(result)
    assert not {"daily", "total"} & materialized(result)
    assert loaded.query("from marts.daily order by all") == before


def test_wrong_data_is_shown_and_goes_no_further(loaded: Project) -> None:
    before = loaded.query("from marts.total order by all")
    wrong = DAILY.replace("select campaign_id", "select nullif(campaign_id, min(campaign_id) over ()) as campaign_id")
    wrong = wrong.replace("group by all", "group by campaign_id, report_date")
    change(loaded, **{"daily.sql": wrong})
    result = loaded.refresh("2026-01-10", "2026-01-12")
    assert not result.success
    assert "3 rows fail not_null_campaign_id (Is always there.)" in failure_of(result)
    (check,) = [e for e in result.get_asset_check_evaluations() if e.asset_key == dg.AssetKey("daily")]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.metadata["bad rows"].value == 3
    assert (check.description or "").startswith(
        "3 rows fail not_null_campaign_id (Is always there.); the first: campaign_id is null, report_date 2026-01-1"
    )
    assert "2026-01-11" in str(check.metadata["not_null_campaign_id"].value)
    assert "where campaign_id is null" in str(check.metadata["not_null_campaign_id, SQL"].value)
    assert "total" not in materialized(result)
    assert loaded.query("from marts.total order by all") == before


def test_a_rebuild_publishes_no_more_than_a_refresh_would(loaded: Project) -> None:
    published = loaded.soundlink.published_path
    before = published.stat().st_ino
    change(loaded, **{"daily.sql": NULLED})
    result = loaded.execute("rebuild_from_landing")
    assert not result.success
    said = failure_of(result)
    assert said.startswith("The models are built, but ")
    assert re.search(r"^daily: \d+ rows fail not_null_campaign_id \(Is always there\.\)$", said, re.MULTILINE)
    assert published.stat().st_ino == before
    change(loaded, **{"daily.sql": DAILY})
    assert loaded.execute("rebuild_from_landing").success
    assert published.stat().st_ino != before


def test_no_run_publishes_a_model_whose_tests_failed(loaded: Project) -> None:
    before = loaded.soundlink.published_path.stat().st_ino
    nulled = DAILY.replace(
        "select campaign_id", "select case when day(report_date) <> 10 then campaign_id end as campaign_id"
    )
    change(loaded, **{"daily.sql": nulled.replace("group by all", "group by campaign_id, report_date")})
    assert not loaded.refresh("2026-01-10", "2026-01-12").success
    alone: dict[str, Any] = {"asset_selection": [dg.AssetKey("published_database")]}
    for job, options in (
        (DAILY_REFRESH, {"tags": {RANGE_START: "2026-01-10", RANGE_END: "2026-01-10"}}),  # this day passes the tests
        (REBUILD, {}),
        (DAILY_REFRESH, alone),
        (DAILY_REFRESH, alone),
    ):
        result = loaded.execute(job, **options)
        assert not result.success
        assert "rows fail not_null_campaign_id (Is always there.)" in failure_of(result)
        assert loaded.soundlink.published_path.stat().st_ino == before


def test_a_model_may_name_who_answers_for_it(here: Project) -> None:
    owned = MODELS.replace("{meta: {grain: [campaign_id]}}", "{meta: {grain: [campaign_id], owner: 'team:marketing'}}")
    change(here, **{"_marts.yml": owned})
    assert graph(here).get(dg.AssetKey("total")).owners == ["team:marketing"]
    assert graph(here).get(dg.AssetKey("daily")).owners == ["team:data"]
    change(here, **{"_marts.yml": owned.replace("team:marketing", "somebody")})
    node = graph(here).get(dg.AssetKey("total"))
    assert node.group_name == "broken"
    assert "owner must be team:name or an email address, not 'somebody'" in (node.description or "")


def test_a_warning_stops_nothing(here: Project) -> None:
    warn = "{not_null: {config: {severity: warn}}}"
    change(here, **{"_marts.yml": MODELS.replace("[not_null]", f"[{warn}]"), "daily.sql": NULLED})
    result = here.refresh("2026-01-10", "2026-01-12")
    assert result.success, failures_of(result)
    (check,) = [e for e in result.get_asset_check_evaluations() if e.asset_key == dg.AssetKey("daily")]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)


NULLED = DAILY.replace("select campaign_id", "select null::varchar as campaign_id")


def test_a_broken_model_stands_in_the_graph_with_its_reason(here: Project, caplog: pytest.LogCaptureFixture) -> None:
    change(here, **{"total.sql": TOTAL + "where where\n"})
    node = graph(here).get(dg.AssetKey("total"))
    reason = r"total\.sql, line 2: Parser Error: syntax error at or near"
    assert node.group_name == "broken"
    assert re.search(reason, node.description or "")
    assert re.search(reason, caplog.text)
    result = here.refresh("2026-01-10", "2026-01-12")
    assert not result.success
    assert re.search(reason, failure_of(result))
    assert {"campaign_country_daily", "campaign_engagement_daily", "stg_country", "daily"} <= materialized(result)


def test_a_broken_test_is_a_check_with_its_reason_and_stops_nothing(here: Project) -> None:
    wrong = MODELS.replace("[not_null]", "[not_nul, {accepted_values: {values: [x], config: {severity: warn}}}]")
    change(here, **{"_marts.yml": wrong})
    result = here.refresh("2026-01-10", "2026-01-12")
    assert result.success, failures_of(result)
    checks = {e.check_name: e for e in result.get_asset_check_evaluations() if e.asset_key == dg.AssetKey("daily")}
    assert {name: (check.passed, check.severity.value) for name, check in checks.items()} == {
        "data_tests": (False, "WARN"),
        "not_nul_campaign_id": (False, "WARN"),
    }
    told = checks["not_nul_campaign_id"].description or ""
    assert re.search(r"_marts\.yml, line \d+: column campaign_id: unknown test 'not_nul'", told)
    assert here.query("select count(*) > 0 from marts.total") == [(True,)]


def test_a_tick_names_file_line_and_reason_of_what_it_cannot_build(here: Project) -> None:
    change(here, **{"total.sql": TOTAL + "where where\n", "_marts.yml": MODELS.replace("[not_null]", "[not_nul]")})
    definitions = build_definitions(here.soundlink.settings, lambda _: None)
    schedule = definitions.resolve_schedule_def("daily_refresh_schedule")
    with dg.build_schedule_context(
        here.instance, utc("2026-03-10T07:00"), resources={"soundlink": here.soundlink}
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    total, test = request.tags[NOT_BUILT].splitlines()
    assert re.search(r"marts/total\.sql, line 2: Parser Error: syntax error", total)
    assert re.search(r"_marts\.yml, line 14: column campaign_id: unknown test 'not_nul'", test)


def test_a_schema_and_a_name_that_need_quotes_are_built_and_published(here: Project) -> None:
    odd = "{{ config(materialized='table', schema='a \"b', alias='c.d', tags=['x', 'y z']) }} select 1 as \"e f\""
    change(here, **{"odd.sql": odd})
    result = here.refresh("2026-01-10", "2026-01-12")
    assert result.success, failures_of(result)
    assert graph(here).get(dg.AssetKey("odd")).group_name == "a_b"
    assert here.query('select * from "a ""b"."c.d"') == [(1,)]


def test_a_model_dropped_into_the_folder_is_an_asset(here: Project) -> None:
    change(here, **{"new.sql": "select country_code, count(*) as n from {{ ref('stg_country') }} group by all"})
    result = here.refresh("2026-01-10", "2026-01-12")
    assert result.success
    assert "new" in materialized(result)
    assert here.query("select sum(n) from marts.new") == here.query("select count(*) from campaign_country_daily")
    (Path(here.settings["SOUNDLINK_SQL_DIR"]) / "models/marts/new.sql").unlink()
    change(here)
    assert here.refresh("2026-01-10", "2026-01-12").success
    assert here.query("select count(*) from duckdb_tables() where table_name = 'new'") == [(0,)]
