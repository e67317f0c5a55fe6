"""The addresses of the simulated Soundlink API, as its documentation has them."""

from collections.abc import Iterator
from decimal import Decimal

from starlette.applications import Starlette
from starlette.routing import Mount, Route

from soundlink_pipeline.simulator.admin import admin_routes
from soundlink_pipeline.simulator.answers import Answer, detail, exported, listed, pages, ping, totals
from soundlink_pipeline.simulator.bodies import Bodies
from soundlink_pipeline.simulator.clock import SimClock
from soundlink_pipeline.simulator.door import Access
from soundlink_pipeline.simulator.endpoint import (
    Endpoint,
    Switches,
    api_endpoint,
    metadata_endpoint,
    nothing,
    token_endpoint,
)
from soundlink_pipeline.simulator.oauth import METADATA_PATH, TOKEN_PATH
from soundlink_pipeline.simulator.subjects import Subject


class SoundlinkApi:
    """Everything behind one address; ``app`` is the ASGI application."""

    def __init__(self, clock: SimClock, access: Access, *, prepared: bool = False) -> None:
        self.switches = Switches(clock, access)
        self.bodies = Bodies(kept=prepared)
        self.overview_off: dict[str, int | Decimal] = {}  # by how much an overview's figures differ from the rows' sums
        subjects = dict.fromkeys(
            subject for organization in access.organizations.values() for subject in organization.world.things
        )
        switches = self.switches
        admin = admin_routes(clock, switches.faults, switches.stats, self.bodies.shrinking)
        self.app = Starlette(
            routes=[
                Mount("/_simulator", routes=admin),
                Route(METADATA_PATH, metadata_endpoint(switches)),
                Route(TOKEN_PATH, token_endpoint(switches)),
                Route("/v1/ping", api_endpoint(switches, "ping", None, ping)),
                *(route for subject in subjects for route in self._routes(subject)),
                Route("/{rest:path}", api_endpoint(switches, "other", None, nothing)),
            ]
        )

    def _routes(self, subject: Subject) -> Iterator[Route]:
        switches, name = self.switches, subject.name
        path = f"/v1/{name}s"
        yield Route(path, api_endpoint(switches, f"{name}s", subject.read_scope, listed(subject)))
        path += "/{thing}"
        yield Route(path, api_endpoint(switches, name, subject.read_scope, detail(subject), subject=subject))
        path += "/metrics"

        def of_metrics(kind: str, answer: Answer, export: str | None = None) -> Endpoint:
            return api_endpoint(
                switches, f"{subject.kind}{kind}", subject.metrics_scope, answer, subject=subject, export=export
            )

        yield Route(f"{path}/overview", of_metrics("overview", totals(subject, self.overview_off)))
        for export in subject.exports:
            rows, whole = pages(subject, export), exported(subject, export, self.bodies)
            yield Route(f"{path}/{export.metric}", of_metrics(export.metric, rows))
            yield Route(f"{path}/{export.metric}/export", of_metrics(f"{export.metric}_export", whole, export.name))
