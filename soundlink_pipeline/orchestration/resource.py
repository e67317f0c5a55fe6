"""The one resource the assets share: the Soundlink account as configured, with client, landing and warehouse."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.campaigns import CampaignPages
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.native_file import Warehouse

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient

Log = Callable[[str], None]


class Soundlink:
    """Settings, and what is made of them. `read_key` is called when a run sends its first request, not before."""

    def __init__(self, settings: Settings, read_key: Callable[[], str | None]) -> None:
        self.settings = settings
        self.landing = Landing(settings.data_dir)
        self.warehouse = Warehouse(settings.data_dir)
        self.published_path = settings.data_dir / "soundlink.duckdb"
        self._read_key = read_key

    def __repr__(self) -> str:
        return f"Soundlink({self.settings!r})"

    @contextmanager
    def connect(self, log: Log) -> Iterator[tuple[SoundlinkClient, Pacer]]:
        """A client for one step, within the limits that all processes with this data directory share."""
        # Not at the top: httpx is a fifth of what loading the definitions costs, and only a run sends requests.
        from soundlink_pipeline.api.client import SoundlinkClient  # noqa: PLC0415

        with (
            Pacer(
                self.settings.data_dir / "requests.sqlite",
                self.settings.requests_per_minute,
                self.settings.requests_per_hour,
                cancelled=threading.Event(),
            ) as pacer,
            SoundlinkClient(
                self.settings.base_url, self._read_key() or "", pacer, auth=self.settings.auth, log=log
            ) as client,
        ):
            yield client, pacer

    def campaigns(self, client: SoundlinkClient, run_id: str, lineage: Sequence[str]) -> list[dict[str, Any]]:
        """The campaigns to ask for, each as the API lists it: fixed by the settings, or listed by this run (once).

        `lineage` is the run and those it resumes: what one of them has listed is not asked for again.
        """
        fixed = [{"campaignId": campaign_id} for campaign_id in self.settings.campaign_ids]
        earlier = [listing for listing in self.landing.listings() if listing.run_id in lineage]
        listing = earlier[-1] if earlier else None
        if listing is None or (fixed and listing.items() != fixed):
            pages = CampaignPages(fixed, datetime.now(UTC), None) if fixed else client.campaigns()
            lines = [json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() for item in pages.items]
            listing = self.landing.land_listing(lines, pages.requested_at, pages.server_date, run_id)
        items = listing.items()
        if not listing.archived:
            self.warehouse.save_listing(listing)
            self.landing.archive_listing(listing)
        return items
