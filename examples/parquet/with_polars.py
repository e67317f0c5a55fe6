"""polars, by the manifest and by pattern."""

import json
import sys
from pathlib import Path

import polars as pl

folder = Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_bytes())
table = next(table for table in manifest["tables"] if table["name"] == "raw.campaign_country_daily")
days = pl.scan_parquet([folder / file["file"] for file in table["files"]])
seen = pl.scan_parquet(folder / "raw/campaign_country_daily/**/*.parquet", hive_partitioning=False)

for rows in (days, seen):
    print(*rows.select(pl.len(), pl.sum("streams"), pl.sum("spend_total")).collect().row(0))
