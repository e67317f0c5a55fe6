"""What the API answers about a subject: its list, details, totals, pages of rows and exports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from urllib.parse import quote

from starlette.datastructures import QueryParams

from soundlink_pipeline.simulator.access import ApiError
from soundlink_pipeline.simulator.bodies import Bodies
from soundlink_pipeline.simulator.organizations import Organization
from soundlink_pipeline.simulator.queries import (
    MAX_DAYS,
    at_most_ninety_days,
    context_of,
    date_range,
    first_of_days,
    has_dates,
    page_of,
    sorted_by,
)
from soundlink_pipeline.simulator.reply import NDJSON, Reply, data_reply
from soundlink_pipeline.simulator.subjects import Export, Subject, Thing


@dataclass(frozen=True)
class Question:
    """What has been admitted: about which organization, and as of when."""

    organization: Organization
    now: datetime
    query: QueryParams
    thing_id: str = ""
    generation: int = 2

    def found(self, subject: Subject) -> Thing:
        thing = self.organization.world.visible(subject, self.thing_id, self.now)
        if thing is None:
            raise ApiError(404, subject.not_found, f"There is no such {subject.name}.")
        return thing


Answer = Callable[[Question], Reply]


def ping(question: Question) -> Reply:
    """Today's answer names the organization, which no document promises."""
    organization = {} if question.generation == 1 else {"organizationId": question.organization.id}
    return data_reply({"status": "ok", **organization})


def listed(subject: Subject) -> Answer:
    def answer(question: Question) -> Reply:
        items = question.organization.world.listing(question.now, subject)
        items = sorted_by(items, question.query, sorts=subject.sorts, order="desc")
        return data_reply(page_of(items, question.query, default=10, largest=100))

    return answer


def detail(subject: Subject) -> Answer:
    return lambda question: data_reply(question.found(subject).detail(question.now))


def totals(subject: Subject, off: Mapping[str, int | Decimal]) -> Answer:
    """Of the rows of the subject's first export; ``off``: by how much they differ from the sums."""

    def answer(question: Question) -> Reply:
        thing = question.found(subject)
        start, end = date_range(question.query, question.now.date(), since=thing.start)
        rows = question.organization.world.rows(subject.exports[0].name, thing.row_id, start, end, question.now)
        return data_reply(subject.totals(rows, off))

    return answer


def pages(subject: Subject, export: Export) -> Answer:
    def answer(question: Question) -> Reply:
        thing, query, now = question.found(subject), question.query, question.now
        start, end = date_range(query, now.date(), since=None if export.is_capped else thing.start)
        if export.is_capped:
            at_most_ninety_days(start, end)
        context = context_of(query) if export.has_contexts else None
        rows = question.organization.world.rows(export.name, thing.row_id, start, end, now, engagement_context=context)
        rows = sorted_by(rows, query, sorts=export.sorts, order=export.order)
        return data_reply({"schemaVersion": "1.0", **page_of(rows, query, default=50, largest=500)})

    return answer


def exported(subject: Subject, export: Export, bodies: Bodies) -> Answer:
    def answer(question: Question) -> Reply:
        thing, query = question.found(subject), question.query
        context = context_of(query) if export.has_contexts else None
        start, end = _exported_range(question, export, thing)
        body, count = bodies.encoded(
            question.organization, export.name, thing, start, end, now=question.now, context=context
        )
        name = f"{export.metric}_{quote(question.thing_id, safe='')}_{start}_{end}.jsonl"
        headers = {"X-Row-Count": str(count), "Content-Disposition": f'attachment; filename="{name}"'}
        return Reply(body, content_type=NDJSON, headers=headers)

    return answer


def _exported_range(question: Question, export: Export, thing: Thing) -> tuple[date, date]:
    today = question.now.date()
    is_first_generation = question.generation == 1
    if is_first_generation and export.period and not has_dates(question.query):
        start, end = export.period(thing, today)
        return max(start, first_of_days(MAX_DAYS, end)), end
    start, end = date_range(question.query, today)
    if is_first_generation and export.is_cut_short:
        return max(start, first_of_days(MAX_DAYS, end)), end
    at_most_ninety_days(start, end)
    return start, end
