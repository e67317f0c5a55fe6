"""Publishing needs no more of the warehouse than its interface: any home that can be copied will do."""

from __future__ import annotations

from pathlib import Path

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.publishing.file_copy import publish, read_published
from soundlink_pipeline.pulling.landed import load_leftovers
from soundlink_pipeline.warehouse.home import Publishable
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, row
from soundlink_pipeline_tests.support.memory_home import MemoryHome


def test_a_home_without_a_file_is_published(tmp_path: Path) -> None:
    home: Publishable = MemoryHome()
    landing, target = Landing(tmp_path / "data"), tmp_path / "data" / "soundlink.duckdb"
    landing.land(arrival(tmp_path / "in", [row(), row(country_code="DE")], declared=2).delivery)
    assert load_leftovers(home, landing, lambda _: None).rows == 2
    published = publish(home, target, run_id="run-1", now=NOON)
    assert (published.rows[EXPORTS[0].name], published.differences) == (2, [])
    assert target.stat().st_mode & 0o777 == 0o440
    with read_published(target) as connection:
        streams = connection.execute(f"select country_code, streams from {EXPORTS[0].name} order by all").fetchall()
        days = connection.execute("select count(*) from report_date_status").fetchall()
    assert streams == [("DE", 203), ("US", 203)]
    assert days == [(30,)]
