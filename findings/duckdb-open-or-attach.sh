#!/usr/bin/env bash
# Question: a process opens the same small DuckDB file again and again, for a moment each time. What does an open cost?
# Guess: it is reading the file's header and catalog that costs; `duckdb.connect(file)` and `attach` to an instance that
#   is already there cost about the same.
# What happens: the file costs next to nothing. `connect` makes a whole database instance, even for `:memory:`, and that
#   is more than nine tenths of an open. Attaching the file to an instance that is kept, and detaching it, takes about a
#   tenth of the processor time.
# Seen with duckdb 2.0.1, Python 3.11, Linux x86_64:
#   connect to a file: 13.0 ms, connect to :memory: 12.3 to 12.9 ms, attach and detach: 0.8 to 1.2 ms of
#   processor time each
# Fails if attaching is no longer at least three times as cheap, or if an instance without a file becomes cheap.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check duckdb==2.0.1
"$folder/venv/bin/python" - "$folder/small.duckdb" <<'PYTHON'
import sys
import time

import duckdb

FILE, ROUNDS = sys.argv[1], 60
with duckdb.connect(FILE) as connection:
    connection.execute("create table t as select i, i::varchar as s from range(1000) as r(i)")


def milliseconds(once):
    once()
    started = time.process_time()
    for _ in range(ROUNDS):
        once()
    return (time.process_time() - started) / ROUNDS * 1000


def connect(file):
    duckdb.connect(file).close()


kept = duckdb.connect(":memory:")


def attach():
    cursor = kept.cursor()
    cursor.execute(f"attach '{FILE}' as small")
    cursor.execute("use small")
    assert cursor.execute("select count(*) from t").fetchall() == [(1000,)]
    cursor.execute("use memory")
    cursor.execute("detach small")
    cursor.close()


file, memory, attached = milliseconds(lambda: connect(FILE)), milliseconds(lambda: connect(":memory:")), milliseconds(attach)
print(f"connect to a file: {file:.1f} ms, connect to :memory: {memory:.1f} ms, attach and detach: {attached:.1f} ms")
if file < 3 * attached:
    sys.exit("changed: attaching is no longer three times as cheap as connecting")
if memory < file / 2:
    sys.exit("changed: an instance without a file is cheap now; the file is what costs")
PYTHON
