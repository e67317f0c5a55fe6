#!/usr/bin/env bash
# Question: `pip install duckdb-engine` installs duckdb-engine 0.17.0, whose range allows every SQLAlchemy from 1.3.22 on.
#   Can a tool that reads a table's columns by SQLAlchemy's inspector, and reflects it as a `Table`, do so with each?
# Guess: with the newest SQLAlchemy it works best; reflecting a table is nothing but reading its columns.
# What happens: both work with SQLAlchemy 1.4 alone. With 2.0 the inspector's `get_columns` works, but a reflected `Table`
#   fails, since SQLAlchemy's PostgreSQL dialect, which the engine borrows, casts to `regclass`. With 2.1, which pip
#   installs, `get_columns` fails as well: it joins `pg_catalog.pg_collation`, which DuckDB does not have. Plain SQL by
#   `text()` works with all three.
# Seen with duckdb-engine 0.17.0, duckdb 2.0.1 (and alike with 1.5.6), Python 3.11, Linux x86_64:
#   sqlalchemy 1.4.54: text 6; columns ['i']; table 6
#   sqlalchemy 2.0.58: text 6; columns ['i']; table ProgrammingError
#   sqlalchemy 2.1.9: text 6; columns ProgrammingError; table ProgrammingError
# Fails if one of these outcomes changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/ask.py" <<'PYTHON'
import warnings

warnings.simplefilter("ignore")
import sqlalchemy as sa

engine = sa.create_engine("duckdb:///:memory:", poolclass=sa.pool.StaticPool)
with engine.begin() as connection:
    connection.execute(sa.text("create table t as select i from range(4) as r(i)"))


def outcome(question):
    try:
        return str(question())
    except Exception as error:
        return type(error).__name__


def value(statement):
    with engine.connect() as connection:
        return int(connection.execute(statement).scalar())


def table():
    reflected = sa.Table("t", sa.MetaData(), autoload_with=engine)
    return value(sa.select(sa.func.sum(reflected.c.i)))


text = outcome(lambda: value(sa.text("select sum(i) from t")))
columns = outcome(lambda: [column["name"] for column in sa.inspect(engine).get_columns("t")])
print(f"sqlalchemy {sa.__version__}: text {text}; columns {columns}; table {outcome(table)}")
PYTHON
for version in 1.4.54 2.0.58 2.1.9; do
	python3 -m venv "$folder/$version"
	"$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check duckdb-engine==0.17.0 duckdb==2.0.1 "sqlalchemy==$version" 2> /dev/null
	"$folder/$version/bin/python" "$folder/ask.py" | tee -a "$folder/seen"
done
diff - "$folder/seen" <<'SEEN' || { echo 'changed: other outcomes than were seen'; exit 1; }
sqlalchemy 1.4.54: text 6; columns ['i']; table 6
sqlalchemy 2.0.58: text 6; columns ['i']; table ProgrammingError
sqlalchemy 2.1.9: text 6; columns ProgrammingError; table ProgrammingError
SEEN
