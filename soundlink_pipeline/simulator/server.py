"""The simulator over real HTTP: uvicorn in a thread of this process."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from soundlink_pipeline.simulator.access import DEMO_KEY, KeyInfo
from soundlink_pipeline.simulator.api import SoundlinkApi
from soundlink_pipeline.simulator.campaigns import midnight
from soundlink_pipeline.simulator.clock import SimClock
from soundlink_pipeline.simulator.door import Access
from soundlink_pipeline.simulator.faults import Faults
from soundlink_pipeline.simulator.oauth import ClientInfo, OAuth
from soundlink_pipeline.simulator.organizations import Organization
from soundlink_pipeline.simulator.shrinking import ShrinkingDays
from soundlink_pipeline.simulator.stats import Stats
from soundlink_pipeline.simulator.world import World


class Simulator:
    """A running simulator: where it is, and every switch of it."""

    def __init__(self, api: SoundlinkApi, base_url: str) -> None:
        self.api = api
        self.base_url = base_url

    @property
    def world(self) -> World:
        """That of the first organization."""
        return next(iter(self.organizations.values())).world

    @property
    def organizations(self) -> dict[str, Organization]:
        """By id: each has its world, and switches for what it is closed to."""
        return self.access.organizations

    @property
    def oauth(self) -> OAuth:
        """The clients with their consents, how long tokens last, and the limit of asking for them."""
        return self.access.oauth

    @property
    def clock(self) -> SimClock:
        return self.api.switches.clock

    @property
    def faults(self) -> Faults:
        return self.api.switches.faults

    @property
    def shrinking(self) -> ShrinkingDays:
        """The days of which answers hold too few rows."""
        return self.api.bodies.shrinking

    @property
    def stats(self) -> Stats:
        return self.api.switches.stats

    @property
    def overview_off(self) -> dict[str, int | Decimal]:
        """By how much each figure of an overview differs from the sum of the rows: empty, unless a test fills it."""
        return self.api.overview_off

    @property
    def access(self) -> Access:
        """Limits: ``access.per_minute`` and ``per_hour`` may be set at any time; ``access.forget()`` restarts them."""
        return self.api.switches.access

    @property
    def keys(self) -> dict[str, KeyInfo]:
        return self.access.keys

    @property
    def key(self) -> str:
        """The first key: the one that works unless a test says otherwise."""
        return next(iter(self.keys))

    @property
    def generation(self) -> int:
        return self.access.generation

    @generation.setter
    def generation(self, generation: int) -> None:
        self.access.generation = generation

    @property
    def gzip_members(self) -> int:
        """In how many gzip members each answer comes that no fault meets; 0: not compressed."""
        return self.api.switches.gzip_members

    @gzip_members.setter
    def gzip_members(self, members: int) -> None:
        self.api.switches.gzip_members = members

    def prepare(self, start: date, end: date) -> int:
        """Encode every export of everything for a range as of the clock; returns the bytes now held."""
        return self.api.bodies.prepare(self.organizations.values(), self.clock, start, end)

    def serve_file(self, export: str, thing_id: str, path: Path, rows: int) -> None:
        """Answer one export of one thing, whatever the range, with a file as it is, streamed from disk."""
        self.api.bodies.serve_file(export, self.world.thing(export, thing_id), path, rows)


@contextmanager
def running_simulator(
    world: World | None = None,
    clock: SimClock | None = None,
    *,
    keys: dict[str, KeyInfo] | None = None,
    organizations: Mapping[str, World] | None = None,
    clients: dict[str, ClientInfo] | None = None,
    generation: int = 2,
    per_minute: int | None = 60,
    per_hour: int | None = 600,
    port: int = 0,
    prepare: bool = False,
    host: str = "127.0.0.1",
) -> Iterator[Simulator]:
    """Serve until the block ends. The clock defaults to a frozen 06:00 UTC, sixty days into the world.

    ``organizations`` are further ones with their worlds, by id; the first is the one that the rows of ``world`` name.
    ``clients`` are those of OAuth, by id.

    Leaving the block aborts whatever is still being answered: a hanging fault does not hold it up.
    """
    world = world or World()
    clock = clock or SimClock(midnight(world.first_day) + timedelta(days=60, hours=6))
    worlds = {world.account_id: world, **(organizations or {})}
    known = {account: Organization(account, of_account) for account, of_account in worlds.items()}
    access = Access(
        keys or {DEMO_KEY: KeyInfo()},
        known,
        OAuth(clients or {}, known),
        generation=generation,
        per_minute=per_minute,
        per_hour=per_hour,
    )
    api = SoundlinkApi(clock, access, prepared=prepare)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    name = f"[{host}]" if family == socket.AF_INET6 else host
    base_url = f"http://{name}:{listener.getsockname()[1]}"
    server = _Server(api, listener)
    try:
        server.start()
        yield Simulator(api, base_url)
    finally:
        server.stop()


class _Protocol(H11Protocol):
    """Lets an answer reach its connection, which faults need to break it off."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio does this only for sockets made with an explicit protocol number, which create_server's are not;
        # without it every answer waits some 40 ms for a delayed acknowledgement of its headers.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """uvicorn in a daemon thread; an event stops it, in place of a polled flag."""

    def __init__(self, api: SoundlinkApi, listener: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                api.app,
                http=_Protocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                date_header=False,  # the simulated clock speaks there
                server_header=False,
                timeout_keep_alive=75,
            )
        )
        self._listener = listener
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve_in_thread, name="soundlink-simulator", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def _serve_in_thread(self) -> None:
        with self._listener:
            asyncio.run(self._serve_until_stopped())

    async def _serve_until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._ready.set()
        await self.serve(sockets=[self._listener])

    async def main_loop(self) -> None:
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


def env_lines(base_url: str, key: str) -> list[str]:
    """The settings that point the pipeline at a simulator."""
    return [f"SOUNDLINK_BASE_URL={base_url}", f"SOUNDLINK_API_KEY={key}"]
