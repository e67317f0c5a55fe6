"""One address of the API as an ASGI application: admits, answers, spoils, records.

A request of the API is authenticated, counted against its limits, checked for its scope, and only then answered (or
spoiled by a fault). Every answer carries the simulated clock's Date; the moment in it is the one the rows were
computed for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from soundlink_pipeline.simulator.access import ApiError
from soundlink_pipeline.simulator.answers import Answer, Question
from soundlink_pipeline.simulator.clock import SimClock
from soundlink_pipeline.simulator.content_encoding import encoded
from soundlink_pipeline.simulator.door import Access, scheme_of
from soundlink_pipeline.simulator.faults import Fault, Faults, spoil
from soundlink_pipeline.simulator.oauth import form_of, metadata
from soundlink_pipeline.simulator.reply import Reply, error_reply, json_reply
from soundlink_pipeline.simulator.stats import Record, Stats
from soundlink_pipeline.simulator.subjects import Subject


@dataclass
class Switches:
    """What all addresses share."""

    clock: SimClock
    access: Access
    faults: Faults = field(default_factory=Faults)
    stats: Stats = field(default_factory=Stats)
    gzip_members: int = 0  # compress answers in so many members, as proxies do, where the request accepts gzip


@dataclass
class Asked:
    """A request on its way through: when it came, what is recorded of it, and the fault that it has met."""

    request: Request
    body: bytes
    now: datetime
    record: Record
    fault: Fault | None = None

    @property
    def path_and_query(self) -> str:
        return f"{self.request.url.path}?{self.request.url.query}"


class Endpoint:
    def __init__(self, switches: Switches, kind: str, reply_to: Callable[[Asked], Reply]) -> None:
        self._switches, self._kind, self._reply_to = switches, kind, reply_to

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(scope, receive)
        url = request.url
        record = Record(self._kind, request.method, url.path, url.query, scheme_of(request.headers))
        self._switches.stats.add(record)
        body = b"" if request.method == "GET" else await request.body()
        reply = self._reply(Asked(request, body, self._switches.clock.now(), record))
        if not reply.wire.disconnect:
            record.status = reply.status

        async def counted(message: Message) -> None:
            record.bytes += len(message.get("body", b""))
            await send(message)

        await reply(scope, receive, counted)
        record.seconds = time.perf_counter() - started

    def _reply(self, asked: Asked) -> Reply:
        try:
            reply = self._reply_to(asked)
        except ApiError as error:
            reply = error_reply(error)
        reply = _dated(reply, asked.now)
        if asked.fault:
            return _dated(spoil(asked.fault, reply), asked.now, asked.fault.kind)
        members = self._switches.gzip_members
        if members and "gzip" in asked.request.headers.get("accept-encoding", ""):
            return encoded(reply, members=members)
        return reply


def api_endpoint(
    switches: Switches,
    kind: str,
    scope: str | None,
    answer: Answer,
    *,
    subject: Subject | None = None,
    export: str | None = None,
) -> Endpoint:
    """An address below /v1, for whoever has a key or a token with the scope."""

    def reply_to(asked: Asked) -> Reply:
        access, request = switches.access, asked.request
        caller = access.identify(request.headers, asked.now)
        asked.record.organization = caller.organization.id
        access.admit(caller, scope)
        thing_id = request.path_params.get("thing", "")
        thing = caller.organization.world.named(subject, thing_id) if subject else None
        asked.fault = switches.faults.take(
            asked.path_and_query,
            export,
            thing.ids if thing else frozenset((thing_id,)),
            caller.organization.id,
        )
        if request.method != "GET":
            raise _nothing_at(request)
        return answer(Question(caller.organization, asked.now, request.query_params, thing_id, access.generation))

    return Endpoint(switches, kind, reply_to)


def token_endpoint(switches: Switches) -> Endpoint:
    def reply_to(asked: Asked) -> Reply:
        form = form_of(asked.body)
        organization = asked.record.organization = form.get("organization_id", "").lower()
        asked.fault = switches.faults.take(asked.path_and_query, None, frozenset(), organization)
        if asked.request.method != "POST":
            raise _nothing_at(asked.request)
        return json_reply(switches.access.oauth.grant(form, asked.now), headers={"Cache-Control": "no-store"})

    return Endpoint(switches, "token", reply_to)


def metadata_endpoint(switches: Switches) -> Endpoint:
    def reply_to(asked: Asked) -> Reply:
        asked.fault = switches.faults.take(asked.path_and_query, None, frozenset(), "")
        return json_reply(metadata(str(asked.request.base_url).rstrip("/")))

    return Endpoint(switches, "metadata", reply_to)


def nothing(_: Question) -> Reply:
    raise ApiError(404, "not_found", "There is nothing at this address.")


def _nothing_at(request: Request) -> ApiError:
    return ApiError(404, "not_found", f"There is nothing at {request.method} {request.url.path}.")


def _dated(reply: Reply, now: datetime, fault: str = "") -> Reply:
    """With the Date header (RFC 9110, 6.6.1), unless a fault is about just that."""
    if fault != "no_date":
        reply.headers.setdefault("Date", format_datetime(now, usegmt=True))
    return reply
