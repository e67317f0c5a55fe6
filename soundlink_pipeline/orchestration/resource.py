"""The one resource the assets share: the Soundlink account as configured, with client, landing and warehouse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.native_file import NativeFile

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient

Log = Callable[[str], None]


class Soundlink:
    """Settings, and what is made of them. `read_key` is called when a run sends its first request, not before."""

    def __init__(self, settings: Settings, read_key: Callable[[], str | None]) -> None:
        self.settings = settings
        self.landing = Landing(settings.data_dir)
        self.warehouse = NativeFile(settings.data_dir)
        self.published_path = settings.data_dir / "soundlink.duckdb"
        self._read_key = read_key

    def __repr__(self) -> str:
        return f"Soundlink({self.settings!r})"

    @contextmanager
    def connect(self, log: Log) -> Iterator[tuple[SoundlinkClient, Pacer]]:
        """A client for one step, within the limits that all processes with this data directory share.

        First the warehouse is brought to the present contract. Raises WarehouseUnusable if it cannot be: before any
        request; WarehouseLocked.
        """
        for change in self.warehouse.prepare():
            log(f"{self.warehouse.describe().name} brought to the present contract: {change}")
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
