"""What a query may say: pages, date ranges, the engagement context, and the error for everything else."""

import re
from datetime import date
from typing import Any

from starlette.datastructures import QueryParams

from soundlink_pipeline.simulator.access import ApiError
from soundlink_pipeline.simulator.world import BREAKDOWN, CONTEXTS


def page_of(items: list[dict[str, Any]], query: QueryParams, *, default: int, largest: int) -> dict[str, Any]:
    page, size = _positive(query, "page", 1), _positive(query, "pageSize", default)
    if size > largest:
        raise ApiError(
            400, "page_size_exceeded", f"pageSize is at most {largest}.", details={"pageSize": size, "max": largest}
        )
    pages = -(-len(items) // size)
    return {
        "items": items[(page - 1) * size : page * size],
        "pagination": {"page": page, "pageSize": size, "totalCount": len(items), "totalPages": pages},
    }


def _positive(query: QueryParams, name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise ApiError(400, "invalid_query_parameter", f"{name} is a whole number from 1.", details={name: text})
    return int(text)


def date_range(query: QueryParams, default: tuple[date | None, date | None] = (None, None)) -> tuple[date, date]:
    """Both ends, each with its default where it may be left out."""
    start, end = _date(query, "startDate", default[0]), _date(query, "endDate", default[1])
    if start > end:
        raise ApiError(400, "invalid_date_range", "startDate is after endDate.")
    return start, end


def _date(query: QueryParams, name: str, default: date | None) -> date:
    if default is not None and name not in query:
        return default
    text = query.get(name, "")
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):  # fromisoformat takes more forms than this one
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ApiError(400, "invalid_query_parameter", f"{name} is required, as YYYY-MM-DD.", details={name: text})


def context_of(export: str, query: QueryParams) -> str | None:
    context = query.get("engagementContext")
    if export == BREAKDOWN or context is None:
        return None
    if context not in CONTEXTS:
        raise ApiError(
            400,
            "invalid_query_parameter",
            f"engagementContext is one of {', '.join(CONTEXTS)}.",
            details={"got": context},
        )
    return context
