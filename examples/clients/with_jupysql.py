"""JupySQL's magic in an IPython shell, over a DuckDB connection."""

import duckdb
from asked import FILE, answer
from IPython.core.interactiveshell import InteractiveShell

_SHELL = InteractiveShell.instance()
_SHELL.run_line_magic("load_ext", "sql")
_SHELL.run_line_magic("config", "SqlMagic.displaycon = False")


def ask(sql: str) -> object:
    with duckdb.connect(FILE, read_only=True) as connection:
        _SHELL.user_ns["connection"] = connection
        _SHELL.run_line_magic("sql", "connection --alias soundlink")
        try:
            return _SHELL.run_line_magic("sql", sql).dict()["answer"][0]
        finally:
            _SHELL.run_line_magic("sql", "--close soundlink")


answer(ask)
