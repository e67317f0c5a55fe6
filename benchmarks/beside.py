"""A refresh beside that of a recorded commit: `python -m benchmarks.beside [--rounds …] [--commit …] [--without …]`.

The commit is checked out as a git worktree with an environment of its own. Both pull the two campaign exports of 30
campaigns from one simulator, 90 days first and then 8 days a round, turn and turn about, with the models that the
commit has; what came since is measured once more with all models, and with `--without NAME,…` with all but these and
what reads them. Each runs in a process of its own, as Dagster runs a
job, and tells its processor time. A last round counts calls of DuckDB.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from benchmarks.serving import say, verdict
from soundlink_pipeline.simulator import SimClock, World, running_simulator

_COMMIT = "f89b957"
_SAME = "now, the same models"
_NOW = datetime(2026, 4, 1, 7, tzinfo=UTC)
_ROOT = Path(__file__).parents[1]
_CHILD = Path(__file__).parent / "beside_child.py"
_MODELS = _ROOT / "dbt_like_sql"
_REF = re.compile(r"\bref\('(\w+)'\)")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of refreshes; the table shows medians")
    parser.add_argument("--commit", default=_COMMIT)
    parser.add_argument("--without", help="models, with commas between them")
    given = parser.parse_args()
    then = _worktree(given.commit)
    world = World(
        campaigns=30,
        soundlinks=0,
        first_day=date(2026, 1, 1),
        duration_days=120,
        countries_per_campaign=30,
        tracks_per_campaign=4,
    )
    clock = SimClock(_NOW)
    with (
        tempfile.TemporaryDirectory(prefix="soundlink-bench-") as scratch,
        running_simulator(world, clock, per_minute=None, per_hour=None, prepare=True) as simulator,
    ):
        folder = Path(scratch)
        pruned = _models_of(then, folder / "models")
        sides = [
            Side(given.commit, then, then / ".venv/bin/python", then / "dbt_like_sql"),
            Side(_SAME, _ROOT, Path(sys.executable), pruned),
            Side("now, all models", _ROOT, Path(sys.executable), _MODELS),
        ]
        if given.without:
            fewer = _all_but(given.without.split(","), folder / "fewer")
            sides.insert(2, Side(f"now, without {given.without}", _ROOT, Path(sys.executable), fewer))
        for number, side in enumerate(sides):
            side.start(folder / str(number), simulator.base_url)
            side.refresh(_NOW.date() - timedelta(days=90), _NOW.date() - timedelta(days=1))
        for number in range(given.rounds + 1):
            day = _NOW + timedelta(days=1 + number)
            clock.set(day)
            for side in sides:
                said = side.refresh(
                    day.date() - timedelta(days=8), day.date() - timedelta(days=1), count=number == given.rounds
                )
                say(f"{side.name}: {said}")
        for side in sides:
            side.end()
    _print(sides)


@dataclass
class Side:
    """A tree that refreshes a project of its own."""

    name: str
    tree: Path
    python: Path
    models: Path
    said: list[dict[str, Any]] = field(default_factory=list)

    def start(self, folder: Path, base_url: str) -> None:
        folder.mkdir()
        shutil.copy(self.tree / "dagster.yaml", folder)
        command = [self.python, "-W", "ignore", _CHILD, folder, base_url, self.models]
        self._child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.tree,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(self.tree)},
        )

    def refresh(self, start: date, end: date, *, count: bool = False) -> dict[str, Any]:
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(json.dumps([start.isoformat(), end.isoformat(), count]) + "\n")
        self._child.stdin.flush()
        said: dict[str, Any] = json.loads(self._child.stdout.readline())
        self.said.append(said)
        return said

    def end(self) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait()

    def median(self, name: str) -> float:
        return float(statistics.median(said[name] for said in self.said[1:-1]))


def _print(sides: list[Side]) -> None:
    then = sides[0]
    print(f"## A refresh beside {then.name}\n\n8 days of 30 campaigns, two exports.\n")
    print("| | CPU, s | wall, s | CPU to then | wall to then | calls of DuckDB |")
    print("|---|--:|--:|--:|--:|--:|")
    for side in sides:
        cpu, wall = side.median("cpu"), side.median("wall")
        ratios = f"{cpu / then.median('cpu'):.2f} | {wall / then.median('wall'):.2f}"
        print(f"| {side.name} | {cpu:.2f} | {wall:.2f} | {ratios} | {side.said[-1]['calls']} |")
    same = next(side for side in sides if side.name == _SAME)
    calls, ratio = same.said[-1]["calls"], same.median("cpu") / then.median("cpu")
    print(
        f"\nMedians of {len(same.said) - 2} rounds. "
        + verdict(f"a refresh at most 0.5 x the CPU of {then.name}'s", ratio <= 0.5, f"{ratio:.2f} x")
        + " "
        + verdict("a refresh in fewer than 300 calls of DuckDB", calls < 300, str(calls))
    )


def _worktree(commit: str) -> Path:
    """The commit's tree, with what it locked installed beside it. It is kept for the next time."""
    tree = Path(tempfile.gettempdir()) / f"soundlink-bench-tree-{commit}"
    if not (tree / ".venv" / ".installed").exists():
        say(f"checking out {commit} and installing what it locked")
        shutil.rmtree(tree, ignore_errors=True)
        for command in (
            ["git", "-C", _ROOT, "worktree", "prune"],
            ["git", "-C", _ROOT, "worktree", "add", "--force", "--detach", tree, commit],
            [sys.executable, "-m", "venv", tree / ".venv"],
            [tree / ".venv/bin/pip", "install", "--quiet", "--no-deps", "-r", tree / "requirements.txt"],
            [tree / ".venv/bin/pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", tree],
        ):
            subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr)
        (tree / ".venv" / ".installed").touch()
    return tree


def _models_of(then: Path, folder: Path) -> Path:
    """Our models and tests of those that the other tree has, and what these read; staging whole, for it is views."""
    reads = _reads()
    known = {path.stem for path in (then / "dbt_like_sql").rglob("*.sql")}
    kept: set[str] = set()
    found = known & reads.keys() | {name for name in reads if name.startswith("stg_")}
    while found:
        kept |= found
        found = set().union(*(reads[name] for name in found)) - kept
    return _copy_of(kept, folder, known)


def _all_but(names: list[str], folder: Path) -> Path:
    """Our models without these and what reads them."""
    reads, gone = _reads(), set[str]()
    found = set(names)
    if unknown := found - reads.keys():
        raise SystemExit(f"no such models: {', '.join(sorted(unknown))}")
    while found:
        gone |= found
        found = {name for name, of in reads.items() if of & gone} - gone
    tests = {path.stem: set(_REF.findall(path.read_text(encoding="utf-8"))) for path in _MODELS.glob("tests/*.sql")}
    return _copy_of(reads.keys() - gone, folder, {name for name, of in tests.items() if not of & gone})


def _reads() -> dict[str, set[str]]:
    """What each of our models refs."""
    files = (_MODELS / "models").rglob("*.sql")
    return {path.stem: set(_REF.findall(path.read_text(encoding="utf-8"))) for path in files}


def _copy_of(kept: Set[str], folder: Path, tests: Set[str]) -> Path:
    """A folder of our models that are `kept`, with the singular `tests`."""
    shutil.copytree(_MODELS, folder)
    for path in [*(folder / "models").rglob("*.sql"), *(folder / "tests").glob("*.sql")]:
        if path.stem not in (tests if path.parent.name == "tests" else kept):
            path.unlink()
    for path in (folder / "models").rglob("*.yml"):
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "models" in described:
            described["models"] = [model for model in described["models"] if model["name"] in kept]
        path.write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
