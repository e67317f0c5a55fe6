"""Apache Superset: its own object of a database, set as its form would set it, which charts and SQL Lab ask."""

import json
import logging
import os
import tempfile

import pandas as pd
from asked import FILE, answer

_HOME = tempfile.TemporaryDirectory(prefix="soundlink-superset-")
os.environ |= {"SUPERSET_HOME": _HOME.name, "SUPERSET_SECRET_KEY": "of a Superset that nobody signs in to"}

from superset.app import create_app  # noqa: E402

create_app().app_context().push()
logging.disable()  # its log is a table of the database that this Superset does not have

from superset.models.core import Database  # noqa: E402
from superset.sql.parse import Table  # noqa: E402

_EXTRA = json.dumps({"engine_params": {"connect_args": {"read_only": True}}})
_DATABASE = Database(database_name="Soundlink", sqlalchemy_uri=f"duckdb:///{FILE}", extra=_EXTRA)


def ask(sql: str) -> object:
    value = _DATABASE.get_df(sql)["answer"][0]
    return None if pd.isna(value) else value


def columns() -> object:
    return len(_DATABASE.get_columns(Table("country_daily", "marts"))) > 0


answer(ask, columns=columns)
