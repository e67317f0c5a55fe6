"""DuckDB for Python, by the manifest and by pattern."""

import json
import sys
from pathlib import Path

import duckdb

folder = Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_bytes())
table = next(table for table in manifest["tables"] if table["name"] == "raw.campaign_country_daily")
days = [str(folder / file["file"]) for file in table["files"]]
seen = [str(folder / "raw/campaign_country_daily/**/*.parquet")]

for files in (days, seen):
    query = "select count(*), sum(streams), sum(spend_total) from read_parquet(?)"
    print(*duckdb.execute(query, [files]).fetchone())
