"""`make bench`: every measurement, one after the other, and the report they make: docs/benchmarks.md."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_DOCS = Path(__file__).parents[1] / "docs"
_CHART = "first-load.svg"
_PARTS = (
    ["first_load", "--chart", str(_DOCS / _CHART)],
    ["redelivery"],
    ["memory"],
    ["request_counts"],
    ["refresh"],
    ["soundlinks"],
    ["accounts"],
    ["models"],
    ["loading_models"],
    ["publishing"],
    ["exporting"],
    ["report"],
)


def main() -> None:
    sections: list[str] = []
    for part, *options in _PARTS:
        print(f"--- {part}", file=sys.stderr, flush=True)
        command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{part}", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, flush=True)
        sections.append(done.stdout.strip() if done.returncode == 0 else f"## {part}\n\nThis measurement failed.")
        if part == "first_load":
            sections[-1] += f"\n\n![First load, rows a second]({_CHART})"
        # After each, so that what was measured is kept whatever comes after.
        (_DOCS / "benchmarks.md").write_text("\n\n".join([_head(), *sections]) + "\n", encoding="utf-8")


def _head() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "dagster", "httpx"))
    return f"""# Benchmarks

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}; each part runs alone, too: `python -m benchmarks.first_load`.
Everything is measured side by side in one run, medians of several rounds, each round in processes of its own. The
machine: {platform.machine()}, {os.cpu_count()} processors, {platform.system()}, Python {platform.python_version()},
{versions}. Ratios count; seconds are this machine's."""


if __name__ == "__main__":
    main()
