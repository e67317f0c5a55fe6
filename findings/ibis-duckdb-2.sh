#!/usr/bin/env bash
# Question: `pip install 'ibis-framework[duckdb]'` installs ibis 12.0.0 and, as its extra allows, DuckDB 2.0.1. Does ibis
#   work with the DuckDB that it was installed with?
# Guess: yes, or nothing of it does; and a call that fails costs itself alone.
# What happens: a table's expression works. `list_tables()` and SQL as an expression fail, for a method of DuckDB's
#   connection that is no more (`fetch_arrow_table`); and after one such failure the connection refuses what had worked
#   before, because the query that failed half-way still has its result open.
# Seen with ibis-framework 12.0.0, duckdb 2.0.1, Python 3.11, Linux x86_64 (with duckdb 1.5.6 all four are answered):
#   duckdb 2.0.1: expression 6; list_tables AttributeError; sql AttributeError;
#   expression after the failure ResourceInUseException
#   duckdb 1.5.6: expression 6; list_tables ['t']; sql 6; expression after it 6
# Fails if ibis 12.0.0's extra no longer takes DuckDB 2, or if one of these outcomes changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/ask.py" <<'PYTHON'
import warnings

warnings.simplefilter("ignore")
import duckdb
import ibis


def outcome(question):
    try:
        return str(question())
    except Exception as error:
        return type(error).__name__


def new():
    connection = ibis.duckdb.connect()
    connection.raw_sql("create table t as select i from range(4) as r(i)")
    return connection


def total(connection):
    return connection.table("t").i.sum().execute()


one, two, three = new(), new(), new()
found = [
    outcome(lambda: total(one)),
    outcome(lambda: two.list_tables()),
    outcome(lambda: three.sql("select sum(i)::int as s from t").execute()["s"][0]),
    outcome(lambda: total(two)),
]
print(f"duckdb {duckdb.__version__}: " + "; ".join(found))
PYTHON
for version in 2.0.1 1.5.6; do
	python3 -m venv "$folder/$version"
	"$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check 'ibis-framework[duckdb]==12.0.0' "duckdb==$version" 2> /dev/null
	"$folder/$version/bin/python" "$folder/ask.py" | tee -a "$folder/seen"
done
diff - "$folder/seen" <<'SEEN' || { echo 'changed: other outcomes than were seen'; exit 1; }
duckdb 2.0.1: 6; AttributeError; AttributeError; ResourceInUseException
duckdb 1.5.6: 6; ['t']; 6; 6
SEEN
