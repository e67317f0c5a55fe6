"""One side of `beside.py`: refreshes when told to, with the package of the tree it is started in.

`python beside_child.py FOLDER BASE_URL MODELS`. Reads lines of JSON, [first day, last day, count], and answers each
with the processor and wall seconds of that run, or if it is to count with its calls of DuckDB.
"""

import json
import os
import sys
import time
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

_CALLS = ("execute", "executemany", "sql", "cursor", "close")


def _job(settings: dict[str, str]) -> Any:
    """The job of a daily refresh, of either tree: in the older one the parts stand in other modules."""
    definitions = import_module("soundlink_pipeline.definitions")
    key = import_module("soundlink_pipeline.simulator").DEMO_KEY
    if find_spec("soundlink_pipeline.orchestration"):
        known = import_module("soundlink_pipeline.settings.settings").settings_from(settings)
        built = definitions.build_definitions(known, lambda _: key)
    else:
        built = definitions.build_definitions(definitions.settings_from(settings), lambda: key)
    return built.resolve_job_def("daily_refresh")


def _count(calls: Counter[str]) -> None:
    """From now on count the calls of DuckDB in this process, by name."""

    def counted(name: str, method: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            calls[name] += 1
            return method(*given, **named)

        return call

    for name in _CALLS:
        setattr(duckdb.DuckDBPyConnection, name, counted(name, getattr(duckdb.DuckDBPyConnection, name)))
    duckdb.connect = counted("connect", duckdb.connect)


def main() -> None:
    folder, base_url, models = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    settings = {"SOUNDLINK_BASE_URL": base_url, "SOUNDLINK_DATA_DIR": str(folder / "data"), "SOUNDLINK_SQL_DIR": models}
    settings |= {f"SOUNDLINK_REQUESTS_PER_{unit}": "1000000" for unit in ("MINUTE", "HOUR")}
    job = _job(settings)
    os.chdir(folder)  # the paths in dagster.yaml are relative
    os.environ["DAGSTER_HOME"] = str(folder)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with dg.DagsterInstance.get() as instance:
        for line in sys.stdin:
            start, end, count = json.loads(line)
            calls: Counter[str] = Counter()
            if count:
                _count(calls)
            cpu, wall = time.process_time(), time.perf_counter()
            result = job.execute_in_process(
                instance=instance,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                tags={"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end},
            )
            said = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
            assert result.success
            said["calls"] = calls.total()
            answers.write(json.dumps(said) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
