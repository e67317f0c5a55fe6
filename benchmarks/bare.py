"""The floor: bare DuckDB reads the same bytes from local files into keyless tables, with the same declared columns.

Run as a process of its own: `python -m benchmarks.bare FOLDER DATABASE`; prints seconds and peak memory as JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path

import duckdb

from soundlink_pipeline.exports import EXPORTS


def main(folder: Path, database: Path) -> None:
    started = time.perf_counter()
    connection = duckdb.connect(str(database))
    rows = 0
    for export in EXPORTS:
        files = sorted(str(path) for path in (folder / export.name).glob("*.ndjson"))
        columns = ", ".join(f"{column.name}: '{column.sql_type}'" for column in export.columns)
        read = f"read_json({files!r}, format = 'newline_delimited', columns = {{{columns}}})"
        connection.execute(f"create table {export.name} as from {read}")
        rows += connection.execute(f"select count(*) from {export.name}").fetchall()[0][0]
    connection.close()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "rows": rows}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
