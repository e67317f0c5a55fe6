"""What the tests of damaged deliveries share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.landing.deliveries import HashedDelivery
from soundlink_pipeline.loading import direct_insert, read_sql
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.trials.fuzzing.loader import Loader


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    folder = tmp_path_factory.mktemp("fuzzing")
    with NativeFile(folder / "data").write() as connection, pytest.MonkeyPatch.context() as patch:
        connection.execute("set threads = 1")  # the files are tiny: a second thread costs more than it brings
        made = Loader(connection, folder / "landed")
        insert, stage = direct_insert.insert, read_sql.stage

        def counted_insert(
            connection: Any, export: Export, arrivals: Sequence[HashedDelivery], organizations: Mapping[str, str]
        ) -> Any:
            inserted = insert(connection, export, arrivals, organizations)
            made.ways["straight into the table"] += len(arrivals)
            return inserted

        def counted_stage(
            export: Export, table: str, files: list[str], longest: int, *, exact: bool, unknown: bool
        ) -> str:
            made.ways["staged, exact reading" if exact else "staged, quick reading"] += len(files)
            return stage(export, table, files, longest, exact=exact, unknown=unknown)

        patch.setattr(direct_insert, "insert", counted_insert)
        patch.setattr(read_sql, "stage", counted_stage)
        tables = connection.execute("select table_name, sql from duckdb_tables() order by all").fetchall()
        yield made
        assert (
            connection.execute(
                "select table_name, sql from duckdb_tables() where not temporary order by all"
            ).fetchall()
            == tables
        )


@pytest.fixture(scope="module")
def shares(loader: Loader, request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Counts what was tried, and shows the shares at the end."""
    counted: Counter[str] = Counter()
    yield counted
    total = counted["inputs"]
    lines = [f"{count / total:7.1%} {what}" for what, count in counted.most_common() if what != "inputs"]
    lines += [f"{count:7} deliveries read {way}" for way, count in loader.ways.most_common()]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{total} damaged deliveries", *lines, sep="\n")
