"""Whoever has the file open, or opens it just then, sees one publication whole."""

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.publishing.file_copy import publish
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.publishing.processes import BOTH, CLIENT, ask, child, end, files, published, say
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, row

TABLE = CAMPAIGN_COUNTRY_DAILY.name
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "read-write"])
def test_long_lived_client_keeps_its_version_and_nobody_else_sees_it(
    warehouse: NativeFile, tmp_path: Path, target: Path, read_only: bool
) -> None:
    published(warehouse)
    if not read_only:  # the mistake of somebody whom no mode keeps out
        target.chmod(0o644)
    writes = "select 1" if read_only else f"update {TABLE} set streams = 666; create table mine as select 1 as x"
    streams = f"select streams from {TABLE}"
    kept = "9" if read_only else "666"
    with child(CLIENT, target, read_only, writes) as client:
        assert ("soundlink.duckdb.wal" in files(tmp_path)) is not read_only
        # Of an unchanged warehouse the copy has the checkpoint number that the client's log is for.
        published(warehouse, "unchanged")
        assert ask(target, streams) == [(9,)]
        assert ask(target, "select run_id from publication") == [("unchanged",)]
        assert say(client, streams) == kept
        load(warehouse, arrival(tmp_path / "in", [row(streams=10)], pulled=NOON + 2 * HOUR))
        published(warehouse)
        assert ask(target, streams) == [(10,)]
        if not read_only:
            say(client, "create or replace table mine as select 2 as x")
        assert say(client, streams) == kept
        end(client)
    assert files(tmp_path) == BOTH
    assert ask(target, streams) == [(10,)]
    assert ask(target, "select * from duckdb_tables() where table_name = 'mine'") == []


def test_log_of_a_killed_client_does_not_shut_the_new_file(warehouse: NativeFile, tmp_path: Path, target: Path) -> None:
    published(warehouse)
    target.chmod(0o644)
    with child(CLIENT, target, False, f"delete from {TABLE}"):
        pass  # killed
    (tmp_path / "soundlink.duckdb.wal.recovery").touch()
    published(warehouse)
    assert files(tmp_path) == BOTH
    assert ask(target, f"select streams from {TABLE}") == [(9,)]


# Opens, asks and closes until told to end; prints how many versions it saw. Each must be whole, and none older.
READER = f"""
    import sys, threading
    from pathlib import Path
    from soundlink_pipeline.publishing.file_copy import read_published
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
    seen = [-1]
    while not ended.wait(0.1) or seen[-1] < 5:
        with read_published(Path(sys.argv[1])) as connection:
            versions = connection.execute('''
                select (select sum(streams) from {CAMPAIGN_COUNTRY_DAILY.name}),
                    (select sum(streams) from {CAMPAIGN_ENGAGEMENT_DAILY.name}), run_id::int from publication
            ''').fetchone()
        assert len(set(versions)) == 1 and versions[0] >= seen[-1], (versions, seen)
        if seen == [-1]:
            print("reading", flush=True)
        seen += [versions[0]] if versions[0] != seen[-1] else []
    print(len(seen) - 1)
"""


def test_readers_see_whole_versions_while_new_ones_are_loaded_and_published(tmp_path: Path, target: Path) -> None:
    warehouse = NativeFile(tmp_path)

    def next_version(number: int) -> None:
        arrivals = [
            arrival(tmp_path / "in", [row(export, streams=number)], export=export, pulled=NOON + number * HOUR)
            for export in (CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY)
        ]
        assert len(load(warehouse, *arrivals).loaded) == 2
        publish(warehouse, target, run_id=str(number), now=NOON)

    next_version(0)
    with child(READER, target) as one, child(READER, target) as two:
        for number in range(1, 6):
            next_version(number)
        assert all(int(end(reader)) >= 2 for reader in (one, two))
    assert files(tmp_path) == BOTH


OPEN = "import duckdb, sys; duckdb.connect(sys.argv[1], read_only=True)"


def test_who_opens_the_file_while_it_is_replaced_is_told_so_and_never_sees_half_of_each(
    warehouse: NativeFile, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB reads where the tables are before it locks the file: what was replaced meanwhile must be refused."""
    published(warehouse)
    said = []

    def opened_by_another(_: float) -> None:
        said.append(subprocess.run([sys.executable, "-c", OPEN, target], capture_output=True, text=True, check=False))

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", opened_by_another)
        inode = target.stat().st_ino
        published(warehouse)
        assert target.stat().st_ino != inode
    (process,) = said
    assert "Could not set lock" in process.stderr
    assert subprocess.run([sys.executable, "-c", OPEN, target], check=False).returncode == 0
