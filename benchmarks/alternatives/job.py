"""The job that every alternative is given, and the answer it prints. It imports nothing but the standard library."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Table:
    """One export: its table, its columns with their DuckDB types, its primary key, and where its answers are.

    `urls` are the requests to make, `files` the same bytes on disk, for the one that makes none.
    """

    name: str
    columns: dict[str, str]
    primary_key: list[str]
    urls: list[str]
    files: list[str]


@dataclass(frozen=True)
class Job:
    """`rows` is how many to load of each table, for ways that would take hours with all; None: all."""

    tables: list[Table]
    headers: dict[str, str]
    database: str
    rows: int | None

    @classmethod
    def read(cls) -> "Job":
        """The job that the process was started with: a JSON file, a new database's path, perhaps a number of rows."""
        told = json.loads(Path(sys.argv[1]).read_text())
        tables = [Table(**table) for table in told["tables"]]
        return cls(tables, told["headers"], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)


def measure(load: Callable[[Job], None]) -> None:
    """Run `load`, and print its seconds and the peak memory of the process, all imports included."""
    job = Job.read()
    started = time.perf_counter()
    load(job)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """Peak memory of this process. Not by `getrusage`: that begins with the memory of who started the process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def rows_of(body: bytes) -> Iterator[dict[str, Any]]:
    r"""The rows of an answer, which end in \n only."""
    return (json.loads(line) for line in body.split(b"\n") if line)
