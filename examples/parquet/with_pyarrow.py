"""pyarrow, by the manifest and by pattern."""

import json
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds

folder = Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_bytes())
table = next(table for table in manifest["tables"] if table["name"] == "raw.campaign_country_daily")
days = ds.dataset([str(folder / file["file"]) for file in table["files"]])
# Without `partitioning`: the day is in the files, as a date.
seen = ds.dataset(folder / "raw/campaign_country_daily")

for rows in (days.to_table(), seen.to_table()):
    print(len(rows), pc.sum(rows["streams"]), pc.sum(rows["spend_total"]))
