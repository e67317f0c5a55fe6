#!/usr/bin/env bash
# Question: Evidence's connector @evidence-dev/duckdb 2.0.1 depends on @duckdb/node-api ^1.4.2-r.1. Does a fresh
#   `npm install` of it read a DuckDB file that DuckDB 1.5 wrote with its own storage version?
# Guess: yes: ^1.4.2 takes the newest 1.x, and 1.5.6 is out.
# What happens: no. Each version of @duckdb/node-api ends with -r.N, which npm takes for a pre-release, and a range takes
#   pre-releases of the very version that it names alone. So ^1.4.2-r.1 is 1.4.2 for ever, and "Trying to read a
#   database file with version number 68". An override in package.json, "@duckdb/node-api": "1.5.6-r.1", reads it.
# Seen with @evidence-dev/duckdb 2.0.1, npm 11.19 and Node 20, Linux x86_64:
#   as installed 1.4.2-r.1: IO Error; with the override 1.5.6-r.1: [["42"]]
# Fails if the range takes a newer version, or if one of these outcomes changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/python -m pip install --quiet --disable-pip-version-check duckdb==1.5.6 2> /dev/null
python/bin/python -c '
import duckdb
with duckdb.connect(config={"storage_compatibility_version": "v1.5.0"}) as connection:
    connection.execute("attach $$new.duckdb$$ as new; create table new.answer as select 42 as value")'
cat > ask.mjs <<'JS'
import { readFileSync } from "node:fs";
import { DuckDBInstance } from "@duckdb/node-api";

const { version } = JSON.parse(readFileSync("node_modules/@duckdb/node-api/package.json"));
try {
  const connection = await (await DuckDBInstance.create("new.duckdb", { access_mode: "READ_ONLY" })).connect();
  const reader = await connection.runAndReadAll("select value::varchar from answer");
  console.log(`${version}: ${JSON.stringify(reader.getRowsJson())}`);
} catch (error) {
  console.log(`${version}: ${error.message.split(":")[0]}`);
}
JS
depends='"dependencies": {"@evidence-dev/duckdb": "2.0.1"}'
for overrides in '{}' '{"@duckdb/node-api": "1.5.6-r.1"}'; do
	rm -rf node_modules package-lock.json
	printf '{"private": true, %s, "overrides": %s}' "$depends" "$overrides" > package.json
	npm install --silent --no-audit --no-fund > /dev/null
	node ask.mjs | tee -a seen
done
diff - seen <<'SEEN' || { echo 'changed: other outcomes than were seen'; exit 1; }
1.4.2-r.1: IO Error
1.5.6-r.1: [["42"]]
SEEN
