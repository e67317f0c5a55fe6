#!/usr/bin/env bash
# Question: amounts of money come as JSON numbers. To tell a number from a text, they are read as columns of type JSON,
#   whose text is then cast to DECIMAL(18,6). Is that exact?
# Guess: yes. A JSON column holds what was in the file, so its text has the digits that were delivered.
# What happens: the text of a JSON number has the digits of the nearest double. From 2^33 on a double does not hold six
#   decimals any more, and most amounts come out changed, without an error. The same file read with the column declared
#   as DECIMAL(18,6) is exact (but takes "12" in quotes for a number).
# Seen with duckdb 2.0.1, Python 3.11, Linux x86_64:
#   123456789012.123456 as JSON: 123456789012.123460, as DECIMAL: 123456789012.123456
#   of 1000 amounts of 10^9 to 8.5 * 10^9: 0 changed as JSON, 0 as DECIMAL
#   of 1000 amounts of 10^11 to 10^12: 972 changed as JSON, 0 as DECIMAL
# Fails if JSON keeps the digits, or a declared DECIMAL changes any.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check duckdb==2.0.1
"$folder/venv/bin/python" - "$folder/amounts.ndjson" <<'PYTHON'
import random
import sys
from decimal import Decimal

import duckdb

FILE, RANDOM = sys.argv[1], random.Random(1)


def read(amounts, kind):
    with open(FILE, "w") as file:
        file.writelines(f'{{"amount":{amount}}}\n' for amount in amounts)
    columns = f"columns = {{amount: '{kind}'}}, format = 'newline_delimited'"
    sql = f"select amount::varchar::decimal(18, 6) from read_json('{FILE}', {columns})"
    return [amount for (amount,) in duckdb.sql(sql).fetchall()]


def between(low, high):
    return [Decimal(RANDOM.randrange(low * 10**6, high * 10**6)).scaleb(-6) for _ in range(1000)]


one = [Decimal("123456789012.123456")]
print(f"{one[0]} as JSON: {read(one, 'JSON')[0]}, as DECIMAL: {read(one, 'DECIMAL(18,6)')[0]}")
changed = {}
for low, high, words in ((10**9, 85 * 10**8, "10^9 to 8.5 * 10^9"), (10**11, 10**12, "10^11 to 10^12")):
    amounts = between(low, high)
    for kind in ("JSON", "DECIMAL(18,6)"):
        changed[words, kind] = sum(a != b for a, b in zip(amounts, read(amounts, kind), strict=True))
    print(f"of 1000 amounts of {words}: {changed[words, 'JSON']} changed as JSON, "
          f"{changed[words, 'DECIMAL(18,6)']} as DECIMAL")
assert changed["10^11 to 10^12", "JSON"] > 500, changed
assert {count for (_, kind), count in changed.items() if kind != "JSON"} == {0}, changed
PYTHON
