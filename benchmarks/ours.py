"""Ours: the same exports fetched over HTTP, checked, landed, upserted with history and ledger, and compressed.

Run as a process of its own: `python -m benchmarks.ours BASE_URL DATA_DIR START END`; prints what it took as JSON.
Dagster is imported, as it is in a run, so that peak memory counts it; its start-up is not in the seconds.
"""

import json
import sys
import time
from datetime import date
from pathlib import Path

from benchmarks.alternatives.job import peak_mb
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_EXPORTS
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.pulling.fetcher import Source
from soundlink_pipeline.pulling.listing import list_subject, save_and_ask
from soundlink_pipeline.pulling.planning import plan
from soundlink_pipeline.pulling.puller import Puller
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import DEMO_KEY

_NO_LIMIT = "1000000"


def main(base_url: str, data_dir: Path, dates: DateRange) -> None:
    settings = settings_from(
        {
            "SOUNDLINK_BASE_URL": base_url,
            "SOUNDLINK_DATA_DIR": str(data_dir),
            "SOUNDLINK_REQUESTS_PER_MINUTE": _NO_LIMIT,
            "SOUNDLINK_REQUESTS_PER_HOUR": _NO_LIMIT,
        }
    )
    soundlink = Soundlink(settings, lambda _: DEMO_KEY)
    run_id = f"bench-{dates.end}"
    # When progress was told: at last right after the last row was committed. What follows is the archiving.
    told: list[float] = []
    started = time.perf_counter()
    with soundlink.connect(lambda _: None) as (client, pacer):
        listing = list_subject(client, CAMPAIGN, soundlink.landing, run_id=run_id, lineage=[run_id])
        campaigns = listing.items(CAMPAIGN)
        save_and_ask(soundlink.warehouse, soundlink.landing, [(CAMPAIGN, listing)], lambda _: None)
        puller = Puller(
            Source(client=client, pacer=pacer),
            landing=soundlink.landing,
            warehouse=soundlink.warehouse,
            run_id=run_id,
            log=lambda _: told.append(time.perf_counter()),
        )
        # All exports at once, as the step of a run does it.
        summary = puller.run([pull for export in CAMPAIGN_EXPORTS for pull in plan(export, campaigns, dates)])
        assert not summary.failed, summary
        requests = client.requests
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "seconds": told[-1] - started,
                "seconds_with_archive": seconds,
                "peak_mb": peak_mb(),
                "rows": summary.rows,
                "requests": requests,
                "inserted": summary.total("inserted"),
                "updated": summary.total("updated"),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), DateRange(date.fromisoformat(sys.argv[3]), date.fromisoformat(sys.argv[4])))
