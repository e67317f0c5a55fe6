"""docs/parquet.md: its examples are those that `make clients` runs; the one for DuckDB is run here."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from soundlink_pipeline.exporting.export import export
from soundlink_pipeline_tests.support.project import REPOSITORY
from soundlink_pipeline_tests.support.report_database import published_database

DOCUMENT = (REPOSITORY / "docs" / "parquet.md").read_text()
EXAMPLES = REPOSITORY / "examples" / "parquet"


def test_every_example_is_the_one_that_is_run() -> None:
    shown = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert sorted(shown) == sorted(path.read_text() for path in EXAMPLES.glob("with_*.py"))
    assert len(shown) == 4


def test_a_reader_by_the_manifest_and_one_by_pattern_find_the_sums_of_the_published_file(tmp_path: Path) -> None:
    published = published_database(tmp_path)
    export(published, str(tmp_path / "parquet"), timestamps="utc", now=datetime(2026, 4, 23, tzinfo=UTC))
    command = [sys.executable, str(EXAMPLES / "with_duckdb.py"), str(tmp_path / "parquet")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    with duckdb.connect(str(published), read_only=True) as connection:
        sums = "select count(*), sum(streams), sum(spend_total) from campaign_country_daily"
        right = " ".join(map(str, connection.execute(sums).fetchall()[0]))
    assert found == [right, right]
