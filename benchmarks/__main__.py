"""`make bench`: every measurement, one after the other, and the report they make: docs/benchmarks.md.

`make bench-quick` (`--quick`): first load, redelivery and refresh in a few rounds, on the screen alone.
"""

import argparse
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.serving import verdicts_in

_DOCS = Path(__file__).parents[1] / "docs"
_CHART = "first-load.svg"
_PARTS = (
    ["first_load", "--chart", str(_DOCS / _CHART)],
    ["redelivery"],
    ["memory"],
    ["request_counts"],
    ["refresh"],
    ["beside"],
    ["soundlinks"],
    ["accounts"],
    ["models"],
    ["loading_models"],
    ["publishing"],
    ["exporting"],
    ["report"],
)

_QUICK = (["first_load", "--rounds", "2"], ["redelivery", "--rows", "1000000"], ["beside", "--rounds", "3"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick: bool = parser.parse_args().quick
    sections: list[str] = []
    for part, *options in _QUICK if quick else _PARTS:
        print(f"--- {part}", file=sys.stderr, flush=True)
        command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{part}", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, flush=True)
        sections.append(done.stdout.strip() if done.returncode == 0 else f"## {part}\n\nThis measurement failed.")
        if quick:
            continue
        if part == "first_load":
            sections[-1] += f"\n\n![First load, rows a second]({_CHART})"
        # After each, so that what was measured is kept whatever comes after.
        whole = "\n\n".join([_head(), *sections, _targets(sections)])
        (_DOCS / "benchmarks.md").write_text(whole + "\n", encoding="utf-8")
    print(_targets(sections))


def _targets(sections: list[str]) -> str:
    """The last table: every target of these sections, with what was found."""
    rows = [
        f"| {section.splitlines()[0].strip('# ')} | {target} | {'reached' if reached else '**not reached**'} |"
        for section in sections
        for target, reached in verdicts_in(section)
    ]
    return "\n".join(["## Targets\n", "| measurement | target (found) | |", "|---|---|---|", *rows])


def _head() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "dagster", "httpx"))
    return f"""# Benchmarks

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}; each part runs alone, too: `python -m benchmarks.first_load`.
Everything is measured side by side in one run, medians of several rounds, each round in processes of its own. The
machine: {platform.machine()}, {os.cpu_count()} processors, {platform.system()}, Python {platform.python_version()},
{versions}. Ratios count; seconds are this machine's."""


if __name__ == "__main__":
    main()
