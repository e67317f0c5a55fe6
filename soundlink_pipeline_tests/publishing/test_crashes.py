"""A publisher that is killed leaves the last file or the new one."""

import random
import subprocess
from pathlib import Path

import pytest

from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.publishing.processes import BOTH, answer, ask, child, files, published
from soundlink_pipeline_tests.support.deliveries import query

# Makes version after version, in two tables, and publishes each; argv[2] is the first. `fatal` may end it on the way.
PUBLISHER = """
    import itertools, os, shutil, signal, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from soundlink_pipeline.publishing import file_copy as publishing
    from soundlink_pipeline.warehouse.native_file import ClosedFile, NativeFile

    folder, first, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    steps = {name: publishing for name in ("finish", "put_in_place", "sync_path")} | {"copy_to": ClosedFile}
    real = {name: getattr(holder, name) for name, holder in steps.items()}

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def half(source, copy):
        copy.write_bytes(source.read_bytes()[:100_000])
        die()

    def dies_after(name):
        setattr(steps[name], name, lambda *a: (real[name](*a), die()))

    print("begun", flush=True)
    for number in itertools.count(first):
        with NativeFile(folder).write() as connection:
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
            NativeFile(folder), folder / "soundlink.duckdb", run_id=str(number), now=datetime.now(UTC)
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
    [("half copied", 1), ("copy_to", 1), ("unfinished", 1), ("finish", 1), ("sync_path", 2), ("put_in_place", 2)],
)
def test_kill_at_any_step_leaves_the_old_or_the_new_file(tmp_path: Path, target: Path, moment: str, there: int) -> None:
    with child(PUBLISHER, tmp_path, 1, moment) as publisher:
        assert answer(publisher) == "1"
        assert publisher.wait() < 0
    leftovers = files(tmp_path) - BOTH
    assert bool(leftovers) is (there == 1), leftovers
    assert published_version(target) == there
    published(NativeFile(tmp_path), "2")
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
    ((kept,),) = query(NativeFile(tmp_path), "select distinct version from marts.one")
    published(NativeFile(tmp_path), str(kept))
    assert published_version(target) == kept
    assert files(tmp_path) == BOTH
