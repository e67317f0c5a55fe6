"""`make dashboard`: serves the dashboard on the published file, to this machine alone.

`python serve.py FILE PORT`. Its state is in .venv-dashboard/state and is made anew at each start from pages.py and sql/:
what is changed in the browser does not stay.
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
_OWNER = "soundlink"


def main() -> None:
    file, port = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    if not file.is_file():
        raise SystemExit(f"{file} is not there: make demo, or a first run, makes it.")
    _prepare_environment()
    empty = _empty_database()
    shutil.copyfile(empty, _STATE / "superset.db")
    _import(file)
    print(f"The dashboard: http://127.0.0.1:{port}/superset/dashboard/soundlink/ (Ctrl+C ends it)", flush=True)
    # One process: DuckDB's readers within it share one instance of the file. It needs no more.
    command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "8"]
    quiet = ["--timeout", "120", "--log-level", "warning", "superset.app:create_app()"]
    os.execv(_BIN / "gunicorn", [*command, *quiet])


def _prepare_environment() -> None:
    _STATE.mkdir(mode=0o700, exist_ok=True)
    key = _STATE / "secret_key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(secrets.token_urlsafe(42), encoding="ascii")
    os.environ["SUPERSET_HOME"] = str(_STATE)
    os.environ["SUPERSET_CONFIG_PATH"] = str(_HERE / "superset_config.py")
    os.environ["FLASK_APP"] = "superset.app:create_app()"


def _empty_database() -> Path:
    """Superset's own tables, made once for each of its versions: that takes a minute."""
    empty = _STATE / f"empty-{version('apache-superset')}.db"
    if empty.exists():
        return empty
    print("Preparing Superset, once: a minute or two", flush=True)
    database = _STATE / "superset.db"
    database.unlink(missing_ok=True)
    for arguments in (["db", "upgrade"], ["init"]):
        done = subprocess.run([_BIN / "superset", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"superset {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    database.replace(empty)
    return empty


def _import(file: Path) -> None:
    from bundle import bundle
    from superset.app import create_app

    with create_app().app_context():
        from superset import db, security_manager
        from superset.commands.dashboard.importers.v1 import ImportDashboardsCommand
        from superset.models.core import Database
        from superset.utils.core import override_user

        # Owns what is imported. Nobody knows its password, so nobody signs in as it.
        owner = security_manager.add_user(
            *(_OWNER, "Soundlink", "Pipeline", "nobody@localhost", security_manager.find_role("Admin")),
            password=secrets.token_urlsafe(32),
        )
        with override_user(owner):
            ImportDashboardsCommand(bundle(file), overwrite=True).run()
        database = db.session.query(Database).filter_by(database_name="Soundlink").one()
        granted = security_manager.add_permission_view_menu("database_access", database.perm)
        security_manager.add_permission_role(security_manager.find_role("Public"), granted)
        db.session.commit()


if __name__ == "__main__":
    main()
