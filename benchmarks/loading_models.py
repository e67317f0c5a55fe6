"""What the folder of SQL models adds to loading Dagster's definitions: `python -m benchmarks.loading_models`.

Measured are reading, compiling and checking all models of `dbt_like_sql` and of a folder of 200 (copies of them under
other names), each round in a process of its own, imports not counted; side by side with `dbt parse` on the same
folders, as a process and without its memory of the last time, where `make dbt` has installed it. Processor time is
shown, too: it is what counts on a busy machine.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.serving import verdict
from soundlink_pipeline.settings.settings import Settings

_ROUNDS = 3
_OURS = """
import sys, time
from pathlib import Path
from soundlink_pipeline.models.build import check_models
from soundlink_pipeline.models.project import read_project
wall, cpu = time.perf_counter(), time.process_time()
project = read_project(Path(sys.argv[1]))
check_models(project)
assert not project.not_built(), project.not_built()
print(len(project.models), time.perf_counter() - wall, time.process_time() - cpu)
"""


def main() -> None:
    dbt = _dbt()
    print("## Loading the SQL models\n")
    print("| models | read and checked: s | of processor | dbt parse: s | of processor | ratio |")
    print("|---|---|---|---|---|---|")
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="soundlink-bench-") as name:
        many = copies(Settings().sql_dir, Path(name) / "many", 200)
        for folder, most in ((Settings().sql_dir, 0.3), (many, 1.5)):
            rounds = [_ours(folder) for _ in range(_ROUNDS)]
            models, wall, cpu = (statistics.median(values) for values in zip(*rounds, strict=True))
            parsed = [_parse(dbt, folder, Path(name)) for _ in range(_ROUNDS)] if dbt else []
            line = f"| {models:.0f} | {wall:.2f} | {cpu:.2f} |"
            if parsed:
                theirs, theirs_cpu = (statistics.median(values) for values in zip(*parsed, strict=True))
                line += f" {theirs:.2f} | {theirs_cpu:.2f} | {theirs / wall:.0f} |"
                verdicts.append(verdict(f"{models:.0f} models: at least 5 x as fast as dbt parse", theirs >= 5 * wall))
            print(line if parsed else f"{line} | | |")
            verdicts.append(verdict(f"{models:.0f} models: at most {most} s ({wall:.2f} s)", wall <= most))
    print("\n" + "\n".join(verdicts))


def copies(source: Path, folder: Path, models: int) -> Path:
    """A folder of so many models or some less: the models of `source`, again and again under other names."""
    names = sorted(path.stem for path in (source / "models").rglob("*.sql"))
    named = re.compile(rf"\b({'|'.join(names)})\b")
    for number in range(models // len(names)):
        for path in sorted([*source.rglob("*.sql"), *source.rglob("*.yml")]):
            inner = path.relative_to(source)
            if inner.parts[0] not in ("models", "tests") or path.name == "_sources.yml":
                if number == 0:
                    (folder / inner).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, folder / inner)
                continue
            text = named.sub(rf"\1_{number}", path.read_text(encoding="utf-8")) if number else path.read_text("utf-8")
            suffix = f"_{number}" if number else ""
            made = (folder / inner).with_name(f"{path.stem}{suffix}{path.suffix}")
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text(text, encoding="utf-8")
    return folder


def _ours(folder: Path) -> tuple[float, float, float]:
    done = subprocess.run([sys.executable, "-c", _OURS, str(folder)], stdout=subprocess.PIPE, text=True, check=True)
    models, wall, cpu = map(float, done.stdout.split())
    return models, wall, cpu


def _dbt() -> str | None:
    found = os.environ.get("SOUNDLINK_DBT") or str(Path(__file__).parents[1] / ".venv-dbt/bin/dbt")
    return found if Path(found).exists() else None


def _parse(dbt: str, folder: Path, work: Path) -> tuple[float, float]:
    """Seconds, and seconds of processor."""
    command = [dbt, "--no-partial-parse", "--log-path", str(work / "logs"), "parse"]
    command += ["--project-dir", str(folder), "--profiles-dir", str(folder), "--target-path", str(work / "target")]
    environment = os.environ | {
        "SOUNDLINK_WAREHOUSE": str(work / "w.duckdb"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, cpu


if __name__ == "__main__":
    main()
