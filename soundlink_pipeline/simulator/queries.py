"""What a query may say: pages, sorts, date ranges, the engagement context, and the error for everything else."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from starlette.datastructures import QueryParams

from soundlink_pipeline.simulator.access import ApiError

CONTEXTS = ("catalog", "playlist")
ORDERS = ("asc", "desc")
MAX_DAYS = 90  # an export covers at most 90 days, both ends counted
_MAX_PAGE = 2**31 - 1
_LONGEST_NUMBER = 18  # digits: whatever has more is too large anyway


def page_of(items: list[dict[str, Any]], query: QueryParams, *, default: int, largest: int) -> dict[str, Any]:
    page, size = _positive(query, "page", 1), _positive(query, "pageSize", default)
    if size > largest:
        raise ApiError(
            400, "page_size_exceeded", f"pageSize is at most {largest}.", details={"pageSize": size, "max": largest}
        )
    if page > _MAX_PAGE:
        raise invalid("page", query, f"at most {_MAX_PAGE}")
    pages = -(-len(items) // size)
    return {
        "items": items[(page - 1) * size : page * size],
        "pagination": {"page": page, "pageSize": size, "totalCount": len(items), "totalPages": pages},
    }


def sorted_by(
    items: list[dict[str, Any]], query: QueryParams, *, sorts: Sequence[str], order: str
) -> list[dict[str, Any]]:
    """By the first of the fields that may be named unless it names another; of equals, the earlier stays first."""
    name = _one_of(query, "sortBy", sorts) or sorts[0]
    descending = (_one_of(query, "sortOrder", ORDERS) or order) == "desc"
    return sorted(items, key=lambda item: item[name], reverse=descending)


def date_range(query: QueryParams, today: date, *, since: date | None = None) -> tuple[date, date]:
    """Both ends. Without an end it is until today; without a start, from ``since`` or for as long as an export may."""
    end = _date(query, "endDate") or today
    start = _date(query, "startDate") or since or first_of_days(MAX_DAYS, end)
    if not has_dates(query):
        start = min(start, end)  # of what begins in the future
    if start > end:
        raise ApiError(400, "invalid_date_range", "startDate is after endDate.")
    return start, end


def has_dates(query: QueryParams) -> bool:
    return "startDate" in query or "endDate" in query


def first_of_days(days: int, end: date) -> date:
    return date.fromordinal(max(1, end.toordinal() - days + 1))


def at_most_ninety_days(start: date, end: date) -> None:
    if end - start >= timedelta(days=MAX_DAYS):
        raise ApiError(400, "invalid_query_parameter", f"At most {MAX_DAYS} days can be asked for at once.")


def context_of(query: QueryParams) -> str | None:
    return _one_of(query, "engagementContext", CONTEXTS)


def invalid(name: str, query: QueryParams, rule: str) -> ApiError:
    return ApiError(400, "invalid_query_parameter", f"{name} is {rule}.", details={name: query.get(name)})


def _positive(query: QueryParams, name: str, default: int) -> int:
    text = query.get(name, str(default))
    digits = text.lstrip("0")
    if not re.fullmatch(r"[0-9]+", digits):
        raise invalid(name, query, "a whole number from 1")
    return int(digits[: _LONGEST_NUMBER + 1])


def _date(query: QueryParams, name: str) -> date | None:
    if name not in query:
        return None
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", query[name]):  # fromisoformat takes more forms than this one
            return date.fromisoformat(query[name])
    except ValueError:
        pass
    raise invalid(name, query, "a date as YYYY-MM-DD")


def _one_of(query: QueryParams, name: str, values: Sequence[str]) -> str | None:
    value = query.get(name)
    if value is not None and value not in values:
        raise invalid(name, query, f"one of {', '.join(values)}")
    return value
