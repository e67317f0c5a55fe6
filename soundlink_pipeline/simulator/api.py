"""The routes of the simulated Soundlink API, as its documentation has them, and the order of the checks.

A request is authenticated, counted against its key's limits, checked for its scope, and only then answered
(or spoiled by a fault). Every answer carries the simulated clock's Date; the moment in it is the one the rows
were computed for.
"""

import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Scope, Send

from soundlink_pipeline.simulator.access import CAMPAIGNS_READ, METRICS_READ, Access, ApiError, scheme_of
from soundlink_pipeline.simulator.admin import admin_routes
from soundlink_pipeline.simulator.campaigns import Campaign
from soundlink_pipeline.simulator.clock import SimClock
from soundlink_pipeline.simulator.content_encoding import encoded
from soundlink_pipeline.simulator.encoding import ndjson
from soundlink_pipeline.simulator.faults import Faults, spoil
from soundlink_pipeline.simulator.overview import overview
from soundlink_pipeline.simulator.queries import context_of, date_range, page_of
from soundlink_pipeline.simulator.reply import NDJSON, Reply, data_reply, error_reply
from soundlink_pipeline.simulator.shrinking import ShrinkingDays
from soundlink_pipeline.simulator.snapshot import edition
from soundlink_pipeline.simulator.stats import Record, Stats
from soundlink_pipeline.simulator.world import BREAKDOWN, ENGAGEMENT, EXPORTS, World

MAX_DAYS = 90  # an export covers at most 90 days, both ends counted
Handler = Callable[[Request, datetime], Reply]


class SoundlinkApi:
    """Everything behind one address; ``app`` is the ASGI application."""

    def __init__(self, world: World, clock: SimClock, access: Access, *, prepared: bool = False) -> None:
        self.world, self.clock, self.access = world, clock, access
        self.faults, self.stats, self.shrinking = Faults(), Stats(), ShrinkingDays()
        self.gzip_members = 0  # compress answers in so many members, as proxies do, where the request accepts gzip
        self.overview_off: dict[str, int | Decimal] = {}  # by how much an overview's figures differ from the rows' sums
        self.prepared = prepared  # keep encoded bodies, so that a benchmark measures its client and not this server
        self._bodies: dict[tuple[object, ...], tuple[bytes, int]] = {}
        self._files: dict[tuple[str, str], tuple[Path, int]] = {}
        metrics = "/v1/campaigns/{campaign}/metrics"
        self.app = Starlette(
            routes=[
                Mount("/_simulator", routes=admin_routes(clock, self.faults, self.stats, self.shrinking)),
                self._route("/v1/ping", "ping", None, self._ping),
                self._route("/v1/campaigns", "campaigns", CAMPAIGNS_READ, self._campaigns),
                self._route("/v1/campaigns/{campaign}", "campaign", CAMPAIGNS_READ, self._campaign),
                self._route(f"{metrics}/overview", "overview", METRICS_READ, self._overview),
                self._route(f"{metrics}/breakdown", "breakdown", METRICS_READ, self._pages(BREAKDOWN)),
                self._route(f"{metrics}/engagement", "engagement", METRICS_READ, self._pages(ENGAGEMENT)),
                self._route(
                    f"{metrics}/breakdown/export", "breakdown_export", METRICS_READ, self._export(BREAKDOWN), BREAKDOWN
                ),
                self._route(
                    f"{metrics}/engagement/export",
                    "engagement_export",
                    METRICS_READ,
                    self._export(ENGAGEMENT),
                    ENGAGEMENT,
                ),
                self._route("/{rest:path}", "other", None, _not_found),
            ]
        )

    def prepare(self, start: date, end: date) -> int:
        """Encode both exports of every campaign for a range as of the clock; returns the bytes now held."""
        self.prepared = True
        now = self.clock.now()
        for campaign in self.world.campaigns:
            for export in EXPORTS:
                self._encoded(export, campaign, start, end, now)
        return sum(len(body) for body, _ in self._bodies.values())

    def serve_file(self, export: str, campaign_id: str, path: Path, rows: int) -> None:
        """Answer one export of one campaign, whatever the range, with a file as it is, streamed from disk."""
        self._files[export, self.world.campaign(campaign_id).uuid] = (path, rows)

    def _route(self, path: str, kind: str, scope: str | None, handler: Handler, export: str | None = None) -> Route:
        return Route(path, _Endpoint(self, kind, scope, handler, export))

    def _ping(self, _: Request, now: datetime) -> Reply:
        return data_reply({"status": "ok", "time": now.strftime("%Y-%m-%dT%H:%M:%SZ")})

    def _campaigns(self, request: Request, now: datetime) -> Reply:
        return data_reply(page_of(self.world.listing(now), request.query_params, default=10, largest=100))

    def _campaign(self, request: Request, now: datetime) -> Reply:
        return data_reply(self._found(request, now).listing(now))

    def _overview(self, request: Request, now: datetime) -> Reply:
        campaign = self._found(request, now)
        start, end = date_range(request.query_params, default=(campaign.start, now.date()))
        return data_reply(overview(self.world.rows(BREAKDOWN, campaign.uuid, start, end, now), self.overview_off))

    def _pages(self, export: str) -> Handler:
        def answer(request: Request, now: datetime) -> Reply:
            campaign, query = self._found(request, now), request.query_params
            start, end = date_range(query)
            rows = self.world.rows(export, campaign.uuid, start, end, now, engagement_context=context_of(export, query))
            return data_reply({"schemaVersion": "1.0", **page_of(rows, query, default=50, largest=500)})

        return answer

    def _export(self, export: str) -> Handler:
        def answer(request: Request, now: datetime) -> Reply:
            campaign = self._found(request, now)
            start, end = date_range(request.query_params)
            context = context_of(export, request.query_params)
            if (end - start).days >= MAX_DAYS:
                if not (self.access.generation == 1 and export == ENGAGEMENT):
                    raise ApiError(400, "invalid_query_parameter", f"An export covers at most {MAX_DAYS} days.")
                start = end - timedelta(days=MAX_DAYS - 1)  # the first generation says nothing and gives less
            body, count = self._files.get((export, campaign.uuid)) or self._encoded(
                export, campaign, start, end, now, context=context
            )
            name = f"{export}_{campaign.uuid}_{start}_{end}.ndjson"
            headers = {"X-Row-Count": str(count), "Content-Disposition": f'attachment; filename="{name}"'}
            return Reply(body, content_type=NDJSON, headers=headers)

        return answer

    def _encoded(
        self, export: str, campaign: Campaign, start: date, end: date, now: datetime, *, context: str | None = None
    ) -> tuple[bytes, int]:
        state = None if self.world.late_rows else edition(end, now)
        key = (export, campaign.uuid, start, end, context, state)
        as_prepared = self.prepared and not self.shrinking
        if as_prepared and key in self._bodies:
            return self._bodies[key]
        rows = self.world.rows(export, campaign.uuid, start, end, now, engagement_context=context)
        rows = self.shrinking.cut(export, campaign.ids, rows)
        encoded = ndjson(rows), len(rows)
        if as_prepared and state is not None:
            self._bodies[key] = encoded
        return encoded

    def _found(self, request: Request, now: datetime) -> Campaign:
        campaign = self.world.visible(request.path_params["campaign"], now)
        if campaign is None:
            raise ApiError(404, "campaign_not_found", "There is no such campaign.")
        return campaign


class _Endpoint:
    """One route as an ASGI application: admits, answers, spoils, records."""

    def __init__(self, api: SoundlinkApi, kind: str, scope: str | None, handler: Handler, export: str | None) -> None:
        self._api, self._kind, self._scope, self._handler, self._export = api, kind, scope, handler, export

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(scope)
        url = request.url
        record = Record(self._kind, request.method, url.path, url.query, scheme_of(request.headers))
        self._api.stats.add(record)
        reply = self._reply(request)
        if not reply.wire.disconnect:
            record.status = reply.status

        async def counted(message: Message) -> None:
            record.bytes += len(message.get("body", b""))
            await send(message)

        await reply(scope, receive, counted)
        record.seconds = time.perf_counter() - started

    def _reply(self, request: Request) -> Reply:
        api, fault, now = self._api, None, self._api.clock.now()
        try:
            api.access.admit(request.headers, self._scope)
            fault = api.faults.take(
                f"{request.url.path}?{request.url.query}", self._export, self._campaign_ids(request)
            )
            if request.method != "GET":
                _not_found(request, now)
            reply = self._handler(request, now)
        except ApiError as error:
            reply = error_reply(error)
        reply = _dated(reply, now)
        if fault:
            return _dated(spoil(fault, reply), now, fault.kind)
        if api.gzip_members and "gzip" in request.headers.get("accept-encoding", ""):
            return encoded(reply, members=api.gzip_members)
        return reply

    def _campaign_ids(self, request: Request) -> frozenset[str]:
        named = request.path_params.get("campaign", "")
        try:
            return self._api.world.campaign(named).ids
        except KeyError:
            return frozenset((named,))


def _dated(reply: Reply, now: datetime, fault: str = "") -> Reply:
    """With the Date header (RFC 9110, 6.6.1), unless a fault is about just that."""
    if fault != "no_date":
        reply.headers.setdefault("Date", format_datetime(now, usegmt=True))
    return reply


def _not_found(request: Request, _: datetime) -> Reply:
    raise ApiError(404, "not_found", f"There is nothing at {request.method} {request.url.path}.")
