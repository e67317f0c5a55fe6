"""`make dashboard`: serves the dashboard on the published file, to this machine alone.

`python serve.py FILE PORT`. Its state is in the folder `state` of Superset's environment, and is made anew at each
start from pages.py and sql/: what is changed in the browser does not stay.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

_HERE = Path(__file__).parent
_STATE = Path(sys.prefix) / "state"
_BIN = Path(sys.executable).parent


def main() -> None:
    file, port = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    if not file.is_file():
        raise SystemExit(f"{file} is not there: make demo, or a first run, makes it.")
    _STATE.mkdir(mode=0o700, exist_ok=True)
    key = _STATE / "secret_key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(secrets.token_urlsafe(42), encoding="ascii")
    database = _STATE / f"superset-{port}.db"
    os.environ["SUPERSET_HOME"] = str(_STATE)
    os.environ["SUPERSET_CONFIG_PATH"] = str(_HERE / "superset_config.py")
    os.environ["SUPERSET_DATABASE"] = str(database)
    os.environ["FLASK_APP"] = "superset.app:create_app()"
    _start_from_nothing(database)
    _run([sys.executable, _HERE / "load.py", file])
    print(f"The dashboard: http://127.0.0.1:{port}/superset/dashboard/soundlink/ (Ctrl+C ends it)", flush=True)
    # One process: DuckDB's readers within it share one instance of the file. A dashboard needs no more.
    command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "8"]
    os.execv(_BIN / "gunicorn", [*command, "--timeout", "120", "--log-level", "warning", "superset.app:create_app()"])


def _start_from_nothing(database: Path) -> None:
    """Superset's own tables, empty. They are made once for each of its versions, since that takes a minute."""
    empty = _STATE / f"empty-{version('apache-superset')}.db"
    if not empty.exists():
        print("Preparing Superset, once: a minute or two", flush=True)
        database.unlink(missing_ok=True)
        _run([_BIN / "superset", "db", "upgrade"])
        _run([_BIN / "superset", "init"])
        database.replace(empty)
    shutil.copyfile(empty, database)


def _run(command: list[str | Path]) -> None:
    """Says what it printed only if it failed: Superset is talkative."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} {command[1]} failed:\n{done.stdout}")


if __name__ == "__main__":
    main()
