"""SQLAlchemy with duckdb-engine: text, what a BI tool asks of a table's columns, and a reflected table."""

import sqlalchemy as sa
from asked import FILE, answer
from sqlalchemy.pool import NullPool

_URL, _READ_ONLY = f"duckdb:///{FILE}", {"read_only": True}
_ENGINE = sa.create_engine(_URL, connect_args=_READ_ONLY, poolclass=NullPool)


def ask(sql: str, engine: sa.engine.Engine = _ENGINE) -> object:
    with engine.connect() as connection:
        return connection.execute(sa.text(sql)).scalar()


def columns() -> object:
    return len(sa.inspect(_ENGINE).get_columns("country_daily", schema="marts")) > 0


def reflected() -> object:
    table = sa.Table("campaign_daily", sa.MetaData(), autoload_with=_ENGINE, schema="marts")
    with _ENGINE.connect() as connection:
        return connection.execute(sa.select(sa.func.sum(table.c.streams))).scalar()


answer(ask, columns=columns, **{"a reflected table": reflected})
