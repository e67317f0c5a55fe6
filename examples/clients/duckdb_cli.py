"""The command line, one process a question."""

import json
import subprocess
import sys
from pathlib import Path

from asked import FILE, answer

_COMMAND = str(Path(sys.executable).parent / "duckdb")


def ask(sql: str) -> object:
    done = subprocess.run([_COMMAND, "-readonly", "-json", str(FILE), sql], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    (row,) = json.loads(done.stdout)
    return row["answer"]


def nulls_in_csv() -> str:
    sql = "select null as answer"
    done = subprocess.run([_COMMAND, "-readonly", "-csv", str(FILE), sql], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[1]


answer(ask, **{"nulls in CSV": nulls_in_csv})
