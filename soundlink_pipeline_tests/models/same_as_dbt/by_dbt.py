"""The side of dbt: `dbt_side.py` is run in dbt's environment, over all projects at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soundlink_pipeline_tests.models.same_as_dbt.outcome import ModelOutcome, Outcome, TestKey, Verdict, relations

DBT = os.environ.get("SOUNDLINK_DBT", "")


@dataclass(frozen=True)
class Job:
    """A project's folder and the warehouse to build it in."""

    folder: Path
    warehouse: Path
    environment: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


def run(jobs: Sequence[Job], scratch: Path) -> list[Outcome]:
    """Build and test them all. A start of dbt takes seconds, a project about one."""
    asked, answered = scratch / "jobs.json", scratch / "results.json"
    asked.write_text(
        json.dumps(
            [
                {
                    "folder": str(job.folder),
                    "environment": {**job.environment, "SOUNDLINK_WAREHOUSE": str(job.warehouse)},
                    "vars": job.variables,
                }
                for job in jobs
            ]
        ),
        encoding="utf-8",
    )
    command: list[str | Path] = [
        Path(DBT).with_name("python"),
        "-W",
        "ignore",
        Path(__file__).with_name("dbt_side.py"),
        asked,
        answered,
    ]
    subprocess.run(command, check=True, cwd=scratch)
    results = json.loads(answered.read_text(encoding="utf-8"))
    return [_outcome(job, result) for job, result in zip(jobs, results, strict=True)]


def _outcome(job: Job, result: dict[str, Any]) -> Outcome:
    models: dict[str, ModelOutcome] = {}
    tests: dict[TestKey, Verdict] = {}
    for node in result["nodes"].values():
        if node["kind"] == "model":
            models[node["name"]] = _model(node)
        elif node["kind"] == "test":
            model, name = _key(node)
            while (model, name) in tests:  # without names, of one kind on one column
                name = f"{name}_2"
            tests[model, name] = _verdict(node)
    made = {} if result["error"] else relations(job.warehouse)
    return Outcome(models, tests, made, result["error"], tuple(result["said"]))


def _model(node: dict[str, Any]) -> ModelOutcome:
    if node["status"] != "success":
        return ModelOutcome(None, reason=" ".join((node["message"] or node["status"]).split()))
    table = (node["schema"], node["alias"])
    return ModelOutcome(table, tuple(sorted(set(node["tags"]))), node["meta"])


def _key(node: dict[str, Any]) -> TestKey:
    """A test without a name of its own has a long one from dbt, with model and arguments in it."""
    if not node["test"]:
        return "", node["name"]
    model = node["attached"] or (node["reads"][-1] if node["reads"] else "")
    if not node["name"].startswith(f"{node['test']}_{model}"[:30]) and not node["name"].startswith("source_"):
        return model, node["name"]
    column = node["arguments"].get("column_name")
    return model, "_".join([node["test"], *([re.sub(r"\W+", "_", column, flags=re.ASCII)] if column else [])])


def _verdict(node: dict[str, Any]) -> Verdict:
    message = " ".join((node["message"] or "").split())
    return Verdict(node["status"], node["failures"] if node["status"] in ("warn", "fail") else None, message)
