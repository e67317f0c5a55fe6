#!/usr/bin/env bash
# Question: tables are compared between two snapshots by sum(hash(row)), as people do to find what has changed. Does
#   DuckDB's hash() of a value follow from the value as it is shown?
# Guess: yes: equal hashes for equal values, and with a chance of 1 in 2^64 for different ones.
# What happens: it follows from how the value is stored. An ENUM is hashed by its place in the list of its type, so 'a' of
#   (a, b) and 'x' of (x, y) have one hash, and so have all rows of a column whose type was made anew with other words.
#   'a' of (a, b) and 'a' of (b, a) have two. A DECIMAL is hashed as its integer without the point: 1.00 as 100. One
#   moment has a hash for each precision of TIMESTAMP. Casting to text first gives what was guessed.
# Seen with duckdb 2.0.1 (and 1.5.6), Python 3.11, Linux x86_64: the lines below.
# Fails if one of them changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for version in 2.0.1 1.5.6; do
	rm -rf python
	python3 -m venv python
	python/bin/python -m pip install --quiet --disable-pip-version-check "duckdb==$version" 2> /dev/null
	python/bin/python - <<'PY' | tee "seen-$version"
import duckdb

for left, right in (
    ("'a'::enum('a', 'b')", "'x'::enum('x', 'y')"),
    ("'a'::enum('a', 'b')", "'a'::enum('b', 'a')"),
    ("['a']::enum('a', 'b')[]", "['x']::enum('x', 'y')[]"),
    ("1.00::decimal(5, 2)", "100"),
    ("timestamp_s '2026-01-01'", "timestamp '2026-01-01'"),
    ("'a'::enum('a', 'b')::varchar", "'a'::enum('b', 'a')::varchar"),
):
    ((alike,),) = duckdb.sql(f"select hash({left}) = hash({right})").fetchall()
    print(f"{left} and {right}: {'one hash' if alike else 'two'}")
PY
	diff - "seen-$version" <<'SEEN' || { echo 'changed: other outcomes than were seen'; exit 1; }
'a'::enum('a', 'b') and 'x'::enum('x', 'y'): one hash
'a'::enum('a', 'b') and 'a'::enum('b', 'a'): two
['a']::enum('a', 'b')[] and ['x']::enum('x', 'y')[]: one hash
1.00::decimal(5, 2) and 100: one hash
timestamp_s '2026-01-01' and timestamp '2026-01-01': two
'a'::enum('a', 'b')::varchar and 'a'::enum('b', 'a')::varchar: one hash
SEEN
done
