"""Runs many dbt projects in one process of dbt's own environment, and writes what became of each.

Usage: python dbt_side.py JOBS RESULTS. JOBS is a JSON list of {"folder", "environment", "vars"}; RESULTS gets a list of
what dbt said of each. It stands outside the package's environment, so it imports nothing of the package; and dbt needs
seconds to start, so all projects share the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # type: ignore[import-not-found]
from dbt.cli.main import dbtRunner  # type: ignore[import-not-found]
from dbt_common.tests import enable_test_caching  # type: ignore[import-not-found]

# Models are built before anything is tested, as the pipeline does; `dbt build` skips what is behind a failing test.
_NO_TESTS = ["--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"]
_STEPS = (["build", *_NO_TESTS], ["test", "--exclude-resource-type", "unit_test"])
_OF_RESULTS = ("LogTest", "LogModel", "RunResult", "EndOfRun")


def outcome(folder: Path, variables: dict[str, Any]) -> dict[str, Any]:
    """What `dbt` says to a project: an error of the whole, or nodes with status; and what it warns of."""
    said: list[str] = []
    nodes: dict[str, Any] = {}
    try:
        manifest = _invoke(["parse"], folder, variables, said, None)
        for step in _STEPS:
            for result in _invoke(step, folder, variables, said, manifest).results:
                nodes[result.node.unique_id] = _of_node(result.node) | {
                    "status": str(result.status),
                    "failures": result.failures,
                    "message": result.message,
                }
    except Exception as error:  # whatever dbt raises is its word on the project
        return {"error": "".join(traceback.format_exception_only(error)).strip(), "nodes": nodes, "said": said}
    finally:
        DuckDBConnectionManager.close_all_connections()  # and with them the database file
    return {"error": None, "nodes": nodes, "said": said}


def _invoke(command: list[str], folder: Path, variables: dict[str, Any], said: list[str], manifest: Any) -> Any:
    """One command, as on the command line but for its start; its result. Raises what stopped it as a whole."""

    def hear(event: Any) -> None:
        if event.info.level in ("warn", "error") and not event.info.name.startswith(_OF_RESULTS):
            said.append(f"{event.info.name}: {event.info.msg}")

    where = ["--project-dir", str(folder), "--profiles-dir", str(folder), "--target-path", str(folder / "target")]
    quiet = ["--quiet", "--no-use-colors", "--log-path", str(folder / "logs"), "--log-level-file", "none"]
    quiet += ["--no-send-anonymous-usage-stats", "--no-write-json", "--no-partial-parse", "--no-version-check"]
    os.chdir(folder)
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        done = dbtRunner(manifest=manifest, callbacks=[hear]).invoke(
            [*quiet, *command, *where, "--vars", json.dumps(variables)]
        )
    if done.exception is not None:
        raise done.exception
    return done.result


def _of_node(node: Any) -> dict[str, Any]:
    """The parts of a node by which the other side's is found, and that must equal it."""
    config = node.config.to_dict() if hasattr(node, "config") else {}
    found = {
        "kind": str(node.resource_type),
        "name": f"{node.name}_v{node.version}" if getattr(node, "version", None) else node.name,
        "schema": getattr(node, "schema", None),
        "alias": getattr(node, "alias", None),
        "tags": sorted(getattr(node, "tags", [])),
        "meta": config.get("meta") or {},
        "materialized": config.get("materialized"),
        "sql": getattr(node, "compiled_code", None),
    }
    if found["kind"] == "test":
        metadata = node.test_metadata if hasattr(node, "test_metadata") else None
        found["test"] = metadata.name if metadata else None
        found["column"] = getattr(node, "column_name", None)
        found["arguments"] = metadata.kwargs if metadata else {}
        found["attached"] = (getattr(node, "attached_node", None) or "").rpartition(".")[2]
        found["reads"] = [name.rpartition(".")[2] for name in node.depends_on.nodes]
    return found


def main(jobs: Path, results: Path) -> None:
    enable_test_caching()  # dbt's own, for its tests: what it reads of a text holds for all projects that have it
    found = []
    for job in json.loads(jobs.read_text(encoding="utf-8")):
        os.environ.update(job["environment"])
        found.append(outcome(Path(job["folder"]), job["vars"]))
    results.write_text(json.dumps(found, default=str), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
