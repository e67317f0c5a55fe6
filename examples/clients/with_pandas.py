"""pandas, by DuckDB's own package."""

import duckdb
import pandas as pd
from asked import FILE, answer


def ask(sql: str) -> object:
    with duckdb.connect(FILE, read_only=True) as connection:
        value = connection.sql(sql).df()["answer"][0]
    return None if pd.isna(value) else value


def exact_money() -> object:
    with duckdb.connect(FILE, read_only=True) as connection:
        table = connection.sql("select spend_total from marts.campaign_daily").to_arrow_table()
    return table.to_pandas(types_mapper=pd.ArrowDtype)["spend_total"].sum()


answer(ask, **{"money as Arrow": exact_money})
