#!/usr/bin/env bash
# Question: `config(where=…)` filters the rows that a generic test looks at. What does it do in a singular test, a file in
#   tests/, where dbt accepts it and the other settings of a test (severity, warn_if, error_if, limit) work?
# Guess: the rows that fail are filtered, or dbt says that there is nothing to filter.
# What happens: nothing at all. Every failing row counts, and no warning is printed. Likewise a model's `tags:` beside its
#   name in YAML: gone without a word, while `meta:` in the same place is taken.
# Seen with dbt-core 1.11.16, dbt-duckdb 1.11.1, Python 3.11, Linux x86_64:
#   generic test, where id < 5: 1 failure
#   singular test, where id < 5: 3 failures
#   warnings that name where: 0
#   model: tags [], meta {'kept': 'yes'}
# Fails if a singular test honours `where`, or if `tags` beside a model's name is taken.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check dbt-core==1.11.16 dbt-duckdb==1.11.1
mkdir -p "$folder/project/models" "$folder/project/tests"
cd "$folder/project"
cat > dbt_project.yml <<'YAML'
name: shop
version: "1.0"
config-version: 2
profile: shop
YAML
cat > profiles.yml <<'YAML'
shop:
  target: dev
  outputs:
    dev: {type: duckdb, path: shop.duckdb}
YAML
echo "select unnest([4, 6, 7]) as id, null as note" > models/orders.sql
cat > models/orders.yml <<'YAML'
models:
  - name: orders
    tags: [nightly]
    meta: {kept: "yes"}
    columns:
      - name: note
        data_tests:
          - not_null: {config: {where: "id < 5"}}
YAML
echo "{{ config(where='id < 5') }} select * from {{ ref('orders') }} where note is null" > tests/every_order_has_a_note.sql
"$folder/venv/bin/dbt" --no-use-colors build --profiles-dir . > build.log 2>&1 || true
"$folder/venv/bin/python" - <<'PYTHON'
import json
from pathlib import Path

results = json.loads(Path("target/run_results.json").read_text())["results"]
failures = {result["unique_id"].split(".")[2]: result["failures"] for result in results}
generic, singular = failures["not_null_orders_note"], failures["every_order_has_a_note"]
warnings = sum("where" in line.lower() and "warn" in line.lower() for line in Path("build.log").read_text().splitlines())
config = json.loads(Path("target/manifest.json").read_text())["nodes"]["model.shop.orders"]["config"]
print(f"generic test, where id < 5: {generic} failure")
print(f"singular test, where id < 5: {singular} failures")
print(f"warnings that name where: {warnings}")
print(f"model: tags {config['tags']}, meta {config['meta']}")
assert (generic, singular, warnings) == (1, 3, 0)
assert (config["tags"], config["meta"]) == ([], {"kept": "yes"})
PYTHON
