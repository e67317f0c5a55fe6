#!/usr/bin/env bash
# Question: one run covers a range of daily partitions of an asset that has one asset check, defined apart from it and
#   without partitions. How many executions does the history of that check gain?
# Guess: one, as the check is evaluated once: it is planned, and then succeeds.
# What happens: one for each partition of the range, which stay planned for good, and one more that succeeded. Whatever
#   counts executions, or asks whether one is still to come, sees a check that was never finished.
# Seen with dagster 1.13.28, Python 3.11, Linux x86_64:
#   1 days: {'SUCCEEDED': 1, 'PLANNED': 1}
#   30 days: {'SUCCEEDED': 1, 'PLANNED': 30}
# Fails if a range of days no longer leaves one planned execution for each of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check dagster==1.13.28
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging
from collections import Counter

import dagster as dg

logging.disable(logging.CRITICAL)
KEY = dg.AssetCheckKey(dg.AssetKey("daily"), "whole")


@dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-01-01"), backfill_policy=dg.BackfillPolicy.single_run())
def daily() -> None:
    pass


@dg.asset_check(asset=daily)
def whole() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


job = dg.define_asset_job("refresh", dg.AssetSelection.assets("daily"))
definitions = dg.Definitions(assets=[daily], asset_checks=[whole], jobs=[job])
found = {}
for days in (1, 30):
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {
            "dagster/asset_partition_range_start": "2026-01-01",
            "dagster/asset_partition_range_end": f"2026-01-{days:02}",
        }
        assert definitions.resolve_job_def("refresh").execute_in_process(instance=instance, tags=tags).success
        history = instance.event_log_storage.get_asset_check_execution_history
        found[days] = Counter(record.status.value for record in history(KEY, limit=1000))
        print(f"{days} days: {dict(found[days])}")
assert found[30] == {"SUCCEEDED": 1, "PLANNED": 30}, found
PYTHON
