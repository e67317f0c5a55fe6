"""Loads the dashboard on FILE into the Superset that `serve.py` prepared, and lets all read it: `load.py FILE`."""

import secrets
import sys
from pathlib import Path

from bundle import bundle
from superset.app import create_app

_OWNER = "soundlink"


def main() -> None:
    file = Path(sys.argv[1])
    with create_app().app_context():
        _load(file)


def _load(file: Path) -> None:
    # These cannot be imported before there is an application.
    from superset import db, security_manager  # noqa: PLC0415
    from superset.commands.dashboard.importers.v1 import ImportDashboardsCommand  # noqa: PLC0415
    from superset.models.core import Database  # noqa: PLC0415
    from superset.utils.core import override_user  # noqa: PLC0415

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
