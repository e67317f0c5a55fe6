"""pandas, by the manifest and by pattern. Money stays exact with pyarrow's types."""

import json
import sys
from pathlib import Path

import pandas as pd

folder = Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_bytes())
table = next(table for table in manifest["tables"] if table["name"] == "raw.campaign_country_daily")
days = pd.concat(pd.read_parquet(folder / file["file"], dtype_backend="pyarrow") for file in table["files"])
# The day is in the files, as a date; in the folders' names it would be a text.
seen = pd.read_parquet(folder / "raw/campaign_country_daily", dtype_backend="pyarrow", partitioning=None)

for rows in (days, seen):
    print(len(rows), rows["streams"].sum(), rows["spend_total"].sum())
