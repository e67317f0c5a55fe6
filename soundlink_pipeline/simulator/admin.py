"""The simulator's own switches over HTTP, for when it runs as a separate process: no key, no limits, not counted."""

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from soundlink_pipeline.simulator.clock import SimClock
from soundlink_pipeline.simulator.faults import Fault, Faults
from soundlink_pipeline.simulator.shrinking import Shrinking, ShrinkingDays
from soundlink_pipeline.simulator.stats import Stats


def admin_routes(clock: SimClock, faults: Faults, stats: Stats, shrinking: ShrinkingDays) -> list[Route]:
    """Routes below /_simulator: clock, stats, stats/reset, faults, shrinking. A bad request answers 400."""

    def read_clock(_: Any) -> Any:
        return {"now": clock.now().isoformat(), "running": clock.running}

    def move_clock(content: dict[str, Any]) -> Any:
        if "now" in content:
            clock.set(datetime.fromisoformat(content["now"]))
        clock.advance(timedelta(days=content.get("advance_days", 0)))
        return read_clock(None)

    def reset_stats(_: Any) -> Any:
        stats.reset()
        return stats.totals()

    def list_faults(_: Any) -> Any:
        return [repr(fault) for fault in faults.armed]

    def add_fault(content: dict[str, Any]) -> Any:
        if content.get("kind") == "edit":
            raise ValueError("a Python function does not travel over HTTP: 'edit' is for faults added in-process")
        faults.add(Fault(**content))
        return list_faults(None)

    def clear_faults(_: Any) -> Any:
        faults.clear()
        return []

    def shrink_day(content: dict[str, Any]) -> Any:
        shrinking.add(Shrinking(**{**content, "day": date.fromisoformat(content["day"])}))
        return content

    def stop_shrinking(_: Any) -> Any:
        shrinking.clear()
        return []

    return [
        _route("/clock", "GET", read_clock),
        _route("/clock", "POST", move_clock),
        _route("/stats", "GET", lambda _: stats.totals()),
        _route("/stats/reset", "POST", reset_stats),
        _route("/faults", "GET", list_faults),
        _route("/faults", "POST", add_fault),
        _route("/faults", "DELETE", clear_faults),
        _route("/shrinking", "POST", shrink_day),
        _route("/shrinking", "DELETE", stop_shrinking),
    ]


def _route(path: str, method: str, action: Callable[[Any], Any]) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(action(json.loads(await request.body() or b"{}")))
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # what a body of the wrong shape leads to
            return JSONResponse({"error": str(error)}, status_code=400)

    return Route(path, endpoint, methods=[method])
