"""A run of pulls against the simulator, and what must be true after it, by the simulated world alone."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import httpx

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.pulling.outcome import FailedPull, PullResult
from soundlink_pipeline.pulling.planning import plan, without_done
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.simulator import Simulator, World
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.pulled_so_far import DaysByRequest
from soundlink_pipeline_tests.conftest import WaitingClock
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import KEY, day, each_day, listed, puller, truth, utc
from soundlink_pipeline_tests.trials.network.troubles import Place

BEFORE, NOW = utc("2026-03-06T06:00"), utc("2026-03-20T06:00")  # the days below are revised in between
DATES = DateRange(day("2026-03-03"), day("2026-03-04"))
PATIENT = httpx.Timeout(20, pool=None)  # only a server that hangs may fail in time
QUICK = httpx.Timeout(20, read=0.3, pool=None)
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used; httpx would load certificates for every client

COLUMNS = {export.name: export.column_names for export in CAMPAIGN_EXPORTS}


@cache
def rows_in_truth(world: World, name: str, dates: DateRange, moment: datetime) -> list[tuple[Any, ...]]:
    (export,) = (export for export in CAMPAIGN_EXPORTS if export.name == name)
    return truth(world, export, each_day(str(dates.start), str(dates.end), moment))


@dataclass
class Account:
    """A data folder, the API it is filled from, and the days to pull; `before`: when they had been pulled already."""

    api: Simulator
    folder: Path
    dates: DateRange = DATES
    now: datetime = NOW
    before: datetime | None = None
    listed_by: str = ""  # an earlier run whose listing will do
    clock: WaitingClock = field(default_factory=WaitingClock)
    log: list[str] = field(default_factory=list)

    @property
    def soundlink(self) -> Soundlink:
        return Soundlink(Settings(base_url=self.api.base_url, data_dir=self.folder), lambda _: KEY)

    @cached_property
    def places(self) -> list[Place]:
        """Every request of a run but the listing, in the order of the run."""
        listing = self.api.world.listing(NOW)
        pulls = [pull for export in CAMPAIGN_EXPORTS for pull in plan(export, listing, self.dates)]
        return [(pull.export.name, self.uuid(pull.subject_id)) for pull in pulls]

    @cached_property
    def empty(self) -> set[Place]:
        return {place for place in self.places if not self.truth(place, self.now)}

    def uuid(self, campaign_id: str) -> str:
        return self.api.world.campaign(campaign_id).uuid

    def path_id(self, uuid: str) -> str:
        return self.api.world.campaign(uuid).path_id

    def truth(self, place: Place, moment: datetime | None) -> list[tuple[Any, ...]]:
        """What the table must hold of a place when it was last pulled at that moment."""
        if moment is None:
            return []
        known = rows_in_truth(self.api.world, place[0], self.dates, moment)
        return [row for row in known if row[COLUMNS[place[0]].index("campaign_id")] == place[1]]

    def client(self, **options: Any) -> tuple[SoundlinkClient, Pacer]:
        pacer = Pacer(self.folder / "requests.sqlite", 10_000, 100_000, cancelled=self.clock, now=self.clock)
        options = {"timeout": PATIENT, "transport": httpx.HTTPTransport(verify=TLS), "log": self.log.append, **options}
        return SoundlinkClient(self.api.base_url, KEY, pacer, **options), pacer

    def run(self, run_id: str, *resumed: str, **options: Any) -> PullResult:
        """One run: list, see what is missing, pull and load. Nothing waits but for a server that hangs."""
        self.clock.clear()
        self.api.clock.set(self.now)
        client, pacer = self.client(**options)
        with pacer, client:
            lineage = [run_id, *resumed]
            campaigns = listed(self.soundlink, client, run_id, [*lineage, self.listed_by])
            pulls = [pull for export in CAMPAIGN_EXPORTS for pull in plan(export, campaigns, self.dates)]
            missing = without_done(pulls, self.done_days(lineage))
            return puller(self.soundlink, client, pacer, run_id).run(missing)

    def check(self, summary: PullResult, run_id: str, *resumed: str) -> dict[Place, FailedPull]:
        """All that must hold after a run, whatever went wrong; returns what failed by its place."""
        failed = {(item.export, self.uuid(item.subject_id)): item for item in summary.failed}
        loaded = [(item.delivery.export, self.uuid(item.delivery.subject_id)) for item in summary.loaded]
        assert len(failed) == len(summary.failed)
        assert {item.dates for item in summary.failed} <= {self.dates}
        if not resumed:  # each place is in one of the two lists: not in both, not in none
            assert sorted([*failed, *loaded]) == sorted(self.places)
        warehouse = self.soundlink.warehouse
        with warehouse.read() as connection:
            for export in CAMPAIGN_EXPORTS:
                rows = connection.execute(
                    f"select {', '.join(export.column_names)} from {export.name}"
                    f" where report_date between ? and ? order by {', '.join(export.primary_key)}",
                    [self.dates.start, self.dates.end],
                ).fetchall()
                at = export.column_names.index("campaign_id")
                for place in ((export.name, campaign.uuid) for campaign in self.api.world.campaigns):
                    held = self.truth(place, self.before if place in failed else self.now)
                    assert [row for row in rows if row[at] == place[1]] == held, place
                assert {row[at] for row in rows} <= {campaign.uuid for campaign in self.api.world.campaigns}
            ledger = connection.execute(
                "select export, subject_id, start_date, end_date, rows from deliveries where run_id = ?", [run_id]
            ).fetchall()
        assert sorted(ledger) == sorted(
            (export, self.path_id(uuid), self.dates.start, self.dates.end, len(self.truth((export, uuid), self.now)))
            for export, uuid in loaded
        )
        # What the next run would request is what this one names.
        done = self.done_days([run_id, *resumed])
        missing = {(export, uuid) for export, uuid in self.places if (export, self.path_id(uuid)) not in done}
        assert missing == set(failed)
        self._check_files(failed, run_id, len(loaded))
        assert KEY not in "\n".join([*self.log, *(item.reason for item in summary.failed)])
        return failed

    def _check_files(self, failed: dict[Place, FailedPull], run_id: str, loaded: int) -> None:
        landing = self.soundlink.landing
        files = [path for path in landing.root.rglob("*") if path.is_file()]
        assert all(path.name.endswith(".ndjson.zst") for path in files), files
        assert sum(f"_run-{run_id}_loaded-" in path.name for path in files) == loaded
        refused = [item for item in failed.values() if item.reason.startswith("refused: ")]
        kept = [path for path in landing.quarantine.rglob(f"*_run-{run_id}.ndjson*") if path.is_file()]
        assert len(kept) == 2 * len(refused)
        for item in refused:
            _, reason = sorted(path for path in kept if path.parts[-3:-1] == (item.export, item.subject_id))
            assert f"refused: {reason.read_text().strip()}; kept in {reason.parent}" == item.reason

    def done_days(self, run_ids: Sequence[str]) -> DaysByRequest:
        with self.soundlink.warehouse.read() as connection:
            return Ledger(connection).done_days(self.dates, run_ids, settled=False)

    def heal(self, run_id: str, *resumed: str) -> PullResult:
        """A second run, without faults: it pulls what is missing, and then everything is there."""
        self.api.faults.clear()
        summary = self.run(run_id, *resumed)
        assert self.check(summary, run_id, *resumed) == {}
        return summary
