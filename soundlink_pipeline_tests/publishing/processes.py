"""Publishing and reading as others do it: in this process, and in real ones beside it."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from soundlink_pipeline.publishing.file_copy import Published, publish, read_published
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import NOON


def published(warehouse: NativeFile, run_id: str = "run-7") -> Published:
    return publish(warehouse, warehouse.path.with_name("soundlink.duckdb"), run_id=run_id, now=NOON)


def ask(path: Path, *queries: str) -> Any:
    """The rows of the last query, asked as an analyst asks: read-only."""
    with read_published(path) as connection:
        for sql in queries:
            connection.execute(sql)
        return connection.fetchall()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()} - {"warehouse.lock", "warehouse.contract"}


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
