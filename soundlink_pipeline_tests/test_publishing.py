"""The published file: the same content, whole at every moment, whoever has it open and whatever goes wrong."""

import os
import random
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pytest
from filelock import FileLock

from soundlink_pipeline import publishing
from soundlink_pipeline.exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.landing import Landing
from soundlink_pipeline.partitions import DateRange
from soundlink_pipeline.publishing import NotPublished, Published, publish, read_published
from soundlink_pipeline.warehouse import Warehouse, WarehouseLocked
from soundlink_pipeline_tests.deliveries import NOON, arrival, load, query, row

TABLE = CAMPAIGN_COUNTRY_DAILY.name
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse file with rows, a history, a campaign and models."""
    tmp_path = tmp_path_factory.mktemp("filled")
    warehouse = Warehouse(tmp_path)
    load(warehouse, arrival(tmp_path / "in", [row()]))
    load(warehouse, arrival(tmp_path / "in", [row(streams=9)], pulled=NOON + HOUR))
    load(warehouse, arrival(tmp_path / "in", [row(CAMPAIGN_ENGAGEMENT_DAILY)], export=CAMPAIGN_ENGAGEMENT_DAILY))
    warehouse.save_listing(Landing(tmp_path).land_listing([b'{"campaignId":"camp_1"}'], NOON, None, "r1"))
    with warehouse.write() as connection:
        connection.execute(
            """
            create table _model_state (model varchar);
            create schema staging;
            create schema marts;
            create view staging.stg_streams as select campaign_id, streams from main.campaign_country_daily;
            create table marts.totals as select sum(streams)::bigint as streams from staging.stg_streams;
            create view marts.summary as select streams, 'x' as x from marts.totals;
            comment on view marts.summary is 'All streams. Grain: one row.';
            comment on table marts.totals is 'It''s a table.';
            comment on column marts.totals.streams is 'Streams.';
            """
        )
    return warehouse.path


@pytest.fixture
def warehouse(filled: Path, tmp_path: Path) -> Warehouse:
    """A copy of it that does not wait for anybody."""
    shutil.copyfile(filled, tmp_path / filled.name)
    return Warehouse(tmp_path, wait_seconds=0)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "soundlink.duckdb"


def published(warehouse: Warehouse, run_id: str = "run-7") -> Published:
    return publish(warehouse, warehouse.path.with_name("soundlink.duckdb"), run_id=run_id, now=NOON)


def ask(path: Path, *queries: str) -> Any:
    """The rows of the last query, asked as an analyst asks: read-only."""
    with read_published(path) as connection:
        for sql in queries:
            connection.execute(sql)
        return connection.fetchall()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()} - {"warehouse.lock"}


BOTH = {"warehouse.duckdb", "soundlink.duckdb"}


@contextmanager
def child(code: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Another real process: it says a line when it has begun, and ends when its standard input does."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            answer(process)
            yield process
        finally:
            process.kill()


def answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the child ended: {process.wait()}"
    return line.strip()


def say(process: "subprocess.Popen[str]", line: str) -> str:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return answer(process)


def end(process: "subprocess.Popen[str]") -> str:
    out, _ = process.communicate()
    assert process.returncode == 0
    return out.strip()


# Opens the database argv[1], read-only if argv[2] says so, runs argv[3], and answers queries with their first value.
CLIENT = """
    import sys
    import duckdb
    connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "True")
    connection.execute(sys.argv[3])
    print("open", flush=True)
    for line in sys.stdin:
        print(connection.execute(line).fetchone()[0], flush=True)
    connection.close()
"""


# Content


def test_published_file_holds_all_that_is_not_private(warehouse: Warehouse, target: Path) -> None:
    result = published(warehouse)
    catalog = {
        "tables": "select schema_name, table_name, comment from duckdb_tables()",
        "views": "select schema_name, view_name as table_name, sql, comment from duckdb_views() where not internal",
        "columns": "select schema_name, table_name, column_index, column_name, data_type, is_nullable, comment"
        " from duckdb_columns() where not internal",
    }
    public = "where not starts_with(table_name, '_') and table_name <> 'publication' order by all"
    for what, sql in catalog.items():
        found = ask(target, f"from ({sql}) {public}")
        assert found == query(warehouse, f"from ({sql}) {public}"), what
        assert found, what
    names = query(warehouse, f"select schema_name || '.' || table_name from duckdb_tables() {public}")
    names += query(warehouse, "select schema_name || '.' || view_name from duckdb_views() where not internal")
    for (name,) in names:
        assert ask(target, f"from {name} order by all") == query(warehouse, f"from {name} order by all"), name
    assert ask(target, "select table_name from duckdb_tables() where starts_with(table_name, '_')") == []
    assert result.rows == {
        "campaign_country_daily": 1,
        "campaign_country_daily_history": 1,
        "campaign_engagement_daily": 1,
        "campaign_engagement_daily_history": 0,
        "campaigns": 1,
        "deliveries": 3,
        "marts.totals": 1,
    }
    assert (result.path, result.bytes) == (target, target.stat().st_size)
    assert result.seconds > 0


def test_publication_tells_when_and_from_what(warehouse: Warehouse, target: Path) -> None:
    result = published(warehouse, "run-42")
    assert ask(target, "from publication") == [
        (
            NOON.replace(tzinfo=None),
            "run-42",
            date(2026, 4, 8),
            date(2026, 4, 30),  # pulled on May 23: settled, though no rows are that new
            version("soundlink-pipeline"),
            duckdb.__version__,
        )
    ]
    assert (result.newest_report_date, result.newest_settled_date) == (date(2026, 4, 8), date(2026, 4, 30))
    silent = "select column_name from duckdb_columns() where table_name = 'publication' and comment is null"
    assert ask(target, silent) == []
    assert ask(target, "select comment from duckdb_tables() where table_name = 'publication'")[0][0].endswith("row.")


def test_day_is_settled_only_once_every_export_and_campaign_is(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    settles = datetime.fromisoformat("2026-04-09T00:00:00+00:00")
    days = DateRange(date(2026, 4, 1), date(2026, 4, 2))

    def pulled(days_later: int, campaign: str, **options: Any) -> date | None:
        moment = settles + timedelta(days=days_later)
        load(warehouse, arrival(tmp_path / "in", b"", dates=days, campaign=campaign, pulled=moment, **options))
        return published(warehouse).newest_settled_date

    assert pulled(1, "camp_1") == date(2026, 4, 2)
    assert pulled(-1, "camp_2") is None
    assert pulled(0, "camp_2") == date(2026, 4, 1)
    assert pulled(1, "camp_2") == date(2026, 4, 2)
    assert pulled(0, "camp_1", export=CAMPAIGN_ENGAGEMENT_DAILY) == date(2026, 4, 1)


def test_empty_warehouse_is_published_empty(tmp_path: Path, target: Path) -> None:
    result = published(Warehouse(tmp_path))
    assert (set(result.rows.values()), result.newest_report_date, result.newest_settled_date) == ({0}, None, None)
    assert ask(target, f"from {TABLE}") == []


def test_dropping_private_tables_does_not_inflate_the_file(warehouse: Warehouse) -> None:
    with warehouse.write() as connection:
        connection.execute("create table big as select md5(range::varchar) as x from range(200000)")
        connection.execute("insert into _model_state select md5(range::varchar) from range(20000)")
    assert published(warehouse).bytes <= warehouse.path.stat().st_size + (2 << 20) < 20e6


def test_views_work_where_the_file_is_attached_under_another_name(warehouse: Warehouse, target: Path) -> None:
    published(warehouse)
    with duckdb.connect() as connection:
        connection.execute(f"attach '{target}' as other (read_only)")
        assert connection.execute("from other.marts.summary").fetchall() == [(9, "x")]
        assert connection.execute("select streams from other.staging.stg_streams").fetchall() == [(9,)]
        assert connection.execute("select bool_and(is_settled) from other.report_date_status").fetchall() == [(True,)]
        assert connection.execute("from other.vanished_rows").fetchall() == []


def test_published_file_cannot_be_written_but_read_by_clients_of_duckdb_1_5(warehouse: Warehouse, target: Path) -> None:
    warehouse.path.chmod(0o640)
    published(warehouse)
    assert stat.S_IMODE(target.stat().st_mode) == 0o440
    ((tags,),) = ask(target, "select tags from duckdb_databases() where database_name = 'soundlink'")
    assert tags["storage_version"].startswith("v1.5.0")
    if os.geteuid() != 0:
        with pytest.raises(duckdb.IOException, match="Permission denied"):
            duckdb.connect(str(target))


def test_committed_work_of_a_killed_writer_is_published(warehouse: Warehouse, tmp_path: Path, target: Path) -> None:
    with child(CLIENT, warehouse.path, False, f"update {TABLE} set streams = 1234"):
        pass  # killed
    assert "warehouse.duckdb.wal" in files(tmp_path)
    published(warehouse)
    assert ask(target, f"select streams from {TABLE}") == [(1234,)]
    assert files(tmp_path) == BOTH


# Whoever has it open


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "read-write"])
def test_long_lived_client_keeps_its_version_and_nobody_else_sees_it(
    warehouse: Warehouse, tmp_path: Path, target: Path, read_only: bool
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


def test_log_of_a_killed_client_does_not_shut_the_new_file(warehouse: Warehouse, tmp_path: Path, target: Path) -> None:
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
    from soundlink_pipeline.publishing import read_published
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
    seen = [-1]
    while not ended.wait(0.1) or seen[-1] < 8:
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
    warehouse = Warehouse(tmp_path)

    def next_version(number: int) -> None:
        arrivals = [
            arrival(tmp_path / "in", [row(export, streams=number)], export=export, pulled=NOON + number * HOUR)
            for export in (CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY)
        ]
        assert len(load(warehouse, *arrivals).loaded) == 2
        publish(warehouse, target, run_id=str(number), now=NOON)

    next_version(0)
    with child(READER, target) as one, child(READER, target) as two, child(READER, target) as three:
        for number in range(1, 9):
            next_version(number)
        assert all(int(end(reader)) >= 2 for reader in (one, two, three))
    assert files(tmp_path) == BOTH


OPEN = "import duckdb, sys; duckdb.connect(sys.argv[1], read_only=True)"


def test_who_opens_the_file_while_it_is_replaced_is_told_so_and_never_sees_half_of_each(
    warehouse: Warehouse, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB reads where the tables are before it locks the file: what was replaced meanwhile must be refused."""
    published(warehouse)
    said = []

    def opened_by_another(_: float) -> None:
        said.append(subprocess.run([sys.executable, "-c", OPEN, target], capture_output=True, text=True, check=False))

    with monkeypatch.context() as patch:
        patch.setattr(publishing.time, "sleep", opened_by_another)
        inode = target.stat().st_ino
        published(warehouse)
        assert target.stat().st_ino != inode
    (process,) = said
    assert "Could not set lock" in process.stderr
    assert subprocess.run([sys.executable, "-c", OPEN, target], check=False).returncode == 0


# Crashes

# Makes version after version, in two tables, and publishes each; argv[2] is the first. `fatal` may end it on the way.
PUBLISHER = """
    import itertools, os, shutil, signal, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from soundlink_pipeline import publishing
    from soundlink_pipeline.warehouse import Warehouse

    folder, first, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    real = {name: getattr(publishing, name) for name in ("_copy", "_finish", "_put_in_place", "_sync")}

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def half(source, copy):
        copy.write_bytes(source.read_bytes()[:100_000])
        die()

    def dies_after(name):
        setattr(publishing, name, lambda *a: (real[name](*a), die()))

    print("begun", flush=True)
    for number in itertools.count(first):
        with Warehouse(folder).write() as connection:
            connection.execute("begin; create schema if not exists marts")
            for table in ("one", "other"):
                rows = f"select {number} as version, hash(i) as h from range(30000) as r(i)"
                connection.execute(f"create or replace table marts.{table} as {rows}")
            connection.execute("commit")
        if number > first:
            if moment == "half copied":
                publishing.shutil.copyfile = half
            elif moment == "unfinished":
                publishing.version = die
            elif moment in real:
                dies_after(moment)
        publishing.publish(
            Warehouse(folder), folder / "soundlink.duckdb", run_id=str(number), now=datetime.now(UTC)
        )
        print(number, flush=True)
"""


def published_version(target: Path) -> int:
    """The version that is published: the same in every table, or this fails."""
    found = {run for (run,) in ask(target, "select run_id::int from publication")}
    for table in ("one", "other"):
        ((count, least, greatest, hashes),) = ask(
            target, f"select count(*), min(version), max(version), count(distinct h) from marts.{table}"
        )
        assert (count, hashes) == (30000, 30000)
        found |= {least, greatest}
    (only,) = found
    return int(only)


@pytest.mark.parametrize(
    ("moment", "there"),
    [("half copied", 1), ("_copy", 1), ("unfinished", 1), ("_finish", 1), ("_sync", 2), ("_put_in_place", 2)],
)
def test_kill_at_any_step_leaves_the_old_or_the_new_file(tmp_path: Path, target: Path, moment: str, there: int) -> None:
    with child(PUBLISHER, tmp_path, 1, moment) as publisher:
        assert answer(publisher) == "1"
        assert publisher.wait() < 0
    leftovers = files(tmp_path) - BOTH
    assert bool(leftovers) is (there == 1), leftovers
    assert published_version(target) == there
    published(Warehouse(tmp_path), "2")
    assert files(tmp_path) == BOTH
    assert published_version(target) == 2


def test_kill_at_random_moments_leaves_a_whole_file(tmp_path: Path, target: Path) -> None:
    chance, number = random.Random(7), 1
    for _ in range(5):
        with child(PUBLISHER, tmp_path, number, "random") as publisher:
            last = int(answer(publisher))
            with pytest.raises(subprocess.TimeoutExpired):
                publisher.wait(timeout=chance.uniform(0, 0.5))
            publisher.kill()
            assert publisher.stdout is not None
            last = max([last, *map(int, publisher.stdout.read().split())])
        assert published_version(target) in (last, last + 1)
        number = last + 2
    ((kept,),) = query(Warehouse(tmp_path), "select distinct version from marts.one")
    published(Warehouse(tmp_path), str(kept))
    assert published_version(target) == kept
    assert files(tmp_path) == BOTH


# What stops it


@pytest.fixture
def earlier(warehouse: Warehouse, target: Path) -> Iterator[None]:
    """A publication that must survive the failure of the next, which leaves nothing behind."""
    published(warehouse, "earlier")
    yield
    assert ask(target, "select run_id from publication") == [("earlier",)]
    assert not {name for name in files(target.parent) if ".part" in name}


@pytest.mark.usefixtures("earlier")
def test_too_little_free_disk_is_told_before_anything_is_written(
    warehouse: Warehouse, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = warehouse.path.stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - free, free))
    monkeypatch.setattr(publishing, "_copy", pytest.fail)
    with pytest.raises(NotPublished, match=r"needs \d+ MB, and .* has \d+ MB free. Free 17 MB or more and run again"):
        published(warehouse)


@pytest.mark.usefixtures("earlier")
@pytest.mark.parametrize("room", [-50_000, 0], ids=["while copying", "while finishing"])
def test_disk_that_fills_up_on_the_way_is_told(warehouse: Warehouse, tmp_path: Path, room: int) -> None:
    code = f"""
        import resource, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from soundlink_pipeline.publishing import NotPublished, publish
        from soundlink_pipeline.warehouse import Warehouse
        warehouse = Warehouse(Path({str(tmp_path)!r}))
        with warehouse.write() as connection:
            connection.execute("checkpoint")
        limit = warehouse.path.stat().st_size + {room}
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            publish(warehouse, warehouse.path.with_name("soundlink.duckdb"), run_id="next", now=datetime.now(UTC))
        except NotPublished as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "was not published, is the disk full" in done.stdout, done
    assert "the file that was published last is unchanged" in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into any folder")
@pytest.mark.usefixtures("earlier")
def test_folder_that_cannot_be_written_is_told(warehouse: Warehouse, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(NotPublished, match="or the folder not writable"):
            published(warehouse)
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.usefixtures("earlier")
def test_another_publication_or_load_has_its_turn_first(warehouse: Warehouse, tmp_path: Path) -> None:
    of_the_other = tmp_path / ".soundlink.duckdb.part"
    of_the_other.touch()
    with (
        FileLock(warehouse.path.with_suffix(".lock")),
        pytest.raises(WarehouseLocked, match="being written by another run"),
    ):
        published(warehouse)
    assert of_the_other.exists(), "swept while a living process writes it"
    of_the_other.unlink()


@pytest.mark.usefixtures("earlier")
def test_warehouse_open_elsewhere_is_told(warehouse: Warehouse) -> None:
    with (
        child(CLIENT, warehouse.path, False, "select 1") as client,
        pytest.raises(WarehouseLocked, match=f"process {client.pid}"),
    ):
        published(warehouse)


@pytest.mark.usefixtures("earlier")
@pytest.mark.parametrize("killed", [False, True], ids=["still there", "left a log"])
def test_writer_that_slips_in_before_the_copy_is_noticed(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    with ExitStack() as stack:

        def slip_in(*_: Path) -> None:
            client = stack.enter_context(child(CLIENT, warehouse.path, False, f"update {TABLE} set streams = 3"))
            if killed:
                client.kill()
                client.wait()

        monkeypatch.setattr(publishing, "_check_room", slip_in)
        with pytest.raises(WarehouseLocked, match="just as it was to be published"):
            published(warehouse)


def test_nobody_can_write_while_the_file_is_copied_but_read(
    warehouse: Warehouse, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copyfile = shutil.copyfile

    def copy(source: Path, copy: Path) -> None:
        for read_only in (True, False):
            code = f"import duckdb; duckdb.connect({str(source)!r}, read_only={read_only})"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            assert (done.returncode == 0) is read_only, done
            assert ("Could not set lock" in done.stderr) is not read_only
        copyfile(source, copy)

    monkeypatch.setattr(shutil, "copyfile", copy)
    published(warehouse)
    assert ask(target, f"select streams from {TABLE}") == [(9,)]


def test_target_must_lie_beside_the_warehouse(warehouse: Warehouse, tmp_path: Path) -> None:
    for path in (tmp_path / "elsewhere" / "soundlink.duckdb", warehouse.path):
        with pytest.raises(ValueError, match="must lie beside"):
            publish(warehouse, path, run_id="run-1", now=NOON)
