"""Analysts' own files are in the published file of all accounts, in no other; and none stops a publication."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import SqlProject, read_project
from soundlink_pipeline.publishing.file_copy import Published, read_published
from soundlink_pipeline.publishing.gate import publish_tested
from soundlink_pipeline.publishing.one_account import publish_account
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.publishing.processes import ask
from soundlink_pipeline_tests.support.deliveries import Row, arrival, load, row
from soundlink_pipeline_tests.support.project import REPOSITORY

NOW = datetime(2026, 5, 24, tzinfo=UTC)
STATEMENT = (
    "isrc,store,sale_month,country_code,streams,revenue,currency\nDEXW62500001,Spotify,2026-04,US,178,3.56,USD\n"
)
CAMPAIGN: Row = {"campaign_id": "c1", "account_id": "org-1", "campaign_target_type": "playlist"}


@pytest.fixture(scope="module")
def project() -> SqlProject:
    """What campaign_return_summary is made of, and no more: each publication of a statement builds all there is."""
    project = read_project(REPOSITORY / "dbt_like_sql")
    needed = {"campaign_return_summary"}
    for model in reversed(project.models.values()):
        needed |= set(model.refs) if model.name in needed else set()
    project.models = {name: model for name, model in project.models.items() if name in needed}
    project.tests = [test for test in project.tests if test.model in needed]
    return project


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, project: SqlProject) -> Path:
    """A warehouse of one campaign with its listening, models built."""
    warehouse = NativeFile(tmp_path_factory.mktemp("built"))
    incoming = warehouse.path.parent / "in"
    load(warehouse, arrival(incoming, [row(**CAMPAIGN)], account="acme"))
    playlist: Row = CAMPAIGN | {"engagement_context": "playlist", "report_date": "2026-04-01", "playlist_position": 3}
    listening = [row(CAMPAIGN_ENGAGEMENT_DAILY, **playlist)]
    load(warehouse, arrival(incoming, listening, export=CAMPAIGN_ENGAGEMENT_DAILY, account="acme"))
    with warehouse.write() as connection:
        build_models(connection, project)
    return warehouse.path


@pytest.fixture
def warehouse(built: Path, tmp_path: Path) -> NativeFile:
    shutil.copyfile(built, tmp_path / built.name)
    (tmp_path / "own").mkdir()
    return NativeFile(tmp_path, wait_seconds=0)


@pytest.fixture
def publish(warehouse: NativeFile, project: SqlProject) -> Publish:
    return Publish(warehouse, project)


class Publish:
    """Publishes as a run does; `said` is what its log has."""

    def __init__(self, warehouse: NativeFile, project: SqlProject) -> None:
        self.warehouse, self.project, self.said = warehouse, project, list[str]()
        self.target = warehouse.path.with_name("soundlink.duckdb")
        self.own = warehouse.path.with_name("own")

    def __call__(self) -> Published:
        self.said.clear()
        return publish_tested(self.warehouse, self.project, self.target, run_id="run-1", now=NOW, log=self.said.append)


def test_files_are_tables_of_the_next_publication_and_of_every_one_after(publish: Publish) -> None:
    (publish.own / "plan.csv").write_text("campaign_id,budget\nc1,100.50\n")
    for _ in range(2):
        published = publish()
        assert published.rows["own.plan"] == 1
        assert (published.differences, published.own_files[0].problem) == ([], None)
        joined = "select sum(budget) from own.plan join marts.campaign_daily using (campaign_id)"
        assert ask(publish.target, joined) == [(Decimal("100.50"),)]
        assert publish.said == [], "no model reads it"
    (publish.own / "plan.csv").unlink()
    publish()
    assert ask(publish.target, "select count(*) from duckdb_tables() where schema_name = 'own'") == [(0,)]


def test_a_statement_is_in_the_marts_of_the_same_publication(publish: Publish) -> None:
    (publish.own / "distributor_statements.csv").write_text(STATEMENT)
    publish()
    query = "select attributed_share, attributed_revenue_estimate from marts.campaign_return"
    assert ask(publish.target, query) == [(0.5, Decimal("1.78"))]
    assert any(line.endswith("models built") for line in publish.said)
    publish()
    assert publish.said == [], "nothing has changed"
    (publish.own / "distributor_statements.csv").unlink()
    publish()
    assert ask(publish.target, query) == []


def test_a_file_that_cannot_be_read_stops_no_publication_and_the_last_good_state_stays(publish: Publish) -> None:
    file = publish.own / "distributor_statements.csv"
    file.write_text(STATEMENT)
    publish()
    file.write_text(STATEMENT + "cut off here")
    published = publish()
    problem = "line 3: it has 1 columns, and the first line names 7"
    assert [(found.file, found.rows, found.problem) for found in published.own_files] == [(file.name, 1, problem)]
    assert publish.said == [f"own file not read: {file.name}: {problem}"]
    assert ask(publish.target, "select count(*) from marts.campaign_return") == [(1,)]
    assert ask(publish.target, "select problem, rows from own_files") == [(problem, 1)]


def test_a_file_that_would_leave_no_room_to_publish_with_is_left_out(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = publish.own / "plan.csv"
    file.write_text(
        "x\n" + "".join(f"{hashlib.sha256(bytes([n % 256, n // 256])).hexdigest()}\n" for n in range(50_000))
    )
    publish.warehouse.path.parent.joinpath("tmp").mkdir(exist_ok=True)

    def used() -> int:
        return sum(path.stat().st_size for path in publish.target.parent.rglob("*") if path.is_file())

    # Enough for a copy of the warehouse as it is, and for four times the file.
    disk = used() + publish.warehouse.path.stat().st_size + (18 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=disk - used()))
    published = publish()
    assert [(found.table, (found.problem or "")[:24]) for found in published.own_files] == [
        (None, "there is no room for it:")
    ]
    monkeypatch.undo()
    assert publish().rows["own.plan"] == 50_000


def test_a_file_of_one_account_has_nothing_of_them(publish: Publish, project: SqlProject) -> None:
    (publish.own / "plan.csv").write_text("note\nnobody-else-may-see-this\n")
    (publish.own / "distributor_statements.csv").write_text(STATEMENT)
    publish()
    one = publish.target.parent / "published" / "acme.duckdb"
    publish_account(publish.target, one, "acme", exports=EXPORTS, project=project, run_id="r", now=NOW)
    with read_published(one) as connection:
        schemas = connection.execute("select distinct schema_name from duckdb_tables()").fetchall()
        for table in ("own_files", "distributor_statements", "distributor_monthly", "marts.campaign_return"):
            assert connection.execute(f"from {table}").fetchall() == [], table
        assert connection.execute("select count(*) from marts.campaign_daily").fetchall() == [(1,)]
    assert ("own",) not in schemas
    content = one.read_bytes()
    assert b"nobody-else-may-see-this" not in content
    assert b"nobody-else-may-see-this" in publish.target.read_bytes()


def test_a_rebuilt_warehouse_has_them_again(publish: Publish) -> None:
    (publish.own / "plan.csv").write_text("x\n1\n")
    publish()
    with publish.warehouse.write() as connection:
        connection.execute("drop schema own cascade; delete from own_files")
    assert publish().rows["own.plan"] == 1


def test_an_own_file_can_be_attached_beside_the_published_one(publish: Publish, tmp_path: Path) -> None:
    publish()
    with duckdb.connect(str(tmp_path / "mine.duckdb")) as mine:
        mine.execute(f"attach '{publish.target}' as soundlink (read_only)")
        mine.execute("create table plan as select 'c1' as campaign_id, 7 as budget")
        query = "select budget from plan join soundlink.marts.campaign_daily using (campaign_id)"
        assert mine.execute(query).fetchall() == [(7,)]
