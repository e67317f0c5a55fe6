"""An export about a subject that no code knows is data alone: from the API to the published file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from soundlink_pipeline_tests.subjects.worker import FIRST, LAST
from soundlink_pipeline_tests.support.project import REPOSITORY

HERE = Path(__file__).parent
IMPORT = "from soundlink_pipeline.contracts.stations import STATION_DAILY\n"
LAST_EXPORTS = "*SOUNDLINK_EXPORTS)"


def test_a_fifth_export_about_a_third_subject_is_data_alone(tmp_path: Path) -> None:
    for name in ("soundlink_pipeline", "dbt_like_sql"):
        ignored = shutil.ignore_patterns("__pycache__", "target")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=ignored)
    contracts = tmp_path / "soundlink_pipeline" / "contracts"
    shutil.copy(HERE / "stations.py", contracts)
    exports = (contracts / "exports.py").read_text()
    assert LAST_EXPORTS in exports
    exports = exports.replace(LAST_EXPORTS, "*SOUNDLINK_EXPORTS, STATION_DAILY)")
    (contracts / "exports.py").write_text(exports.replace("\n\nEXPORTS", f"\n{IMPORT}\nEXPORTS", 1))
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}
    run = subprocess.run(
        [sys.executable, "-m", "soundlink_pipeline_tests.subjects.worker", str(tmp_path / "project")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    came = json.loads(run.stdout.splitlines()[-1])
    assert came.pop("package").startswith(str(tmp_path))
    checks = came.pop("checks")
    days = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1)]
    assert came == {
        "success": True,
        "rows": [[str(day), "row-1", day.day] for day in days],
        "listed": [["stat_1", 98.5]],
        "asked": [["station_daily", "stat_1", "row-1"]],
        "days": [str(day) for day in days],
        "landed": ["stat_1", "stations"],
    }
    assert checks["every_live_station_delivered"]
    assert checks["primary_key_unique"]
    assert checks["rows_as_delivered"]
