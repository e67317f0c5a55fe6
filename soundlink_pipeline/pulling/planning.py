"""Which requests a run is worth making, and how long they take at the API's limits. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.contracts.days import MAX_DAYS_PER_PULL, DateRange, refresh_range
from soundlink_pipeline.contracts.exports import subjects_of
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Item, Subject
from soundlink_pipeline.pulling.tails import (
    Over,
    Probe,
    expected_of,
    first_missing,
    probes_of_the_day,
    turns,
)
from soundlink_pipeline.warehouse.pulled_so_far import PulledSoFar
from soundlink_pipeline.wording import counted, in_words

_NOTHING = PulledSoFar()


@dataclass(frozen=True)
class PullRequest:
    """One request to make: an export of an account's campaign or soundlink over a range of at most 90 days."""

    export: Export
    subject_id: str
    dates: DateRange
    account: str = DEFAULT_ACCOUNT

    @property
    def place(self) -> tuple[str, str]:
        return self.export.name, self.subject_id

    @property
    def identity(self) -> tuple[str, str, str, DateRange]:
        return self.account, *self.place, self.dates

    def describe(self) -> str:
        return f"{self.export.name} of {self.subject_id}, {self.dates}"


class Plan:
    """The requests a run makes of an account: `missing`, which are all `requests` but those done, and the `probes`.

    `listed` is what the API lists at `now` (aware) of each subject of the `exports`; `so_far` is what the ledger knows;
    `first_day` is the first partition. A run over all days that may still be revised is a refresh: it also probes what
    is over, and unless it is the first of all, it makes up for what is missing of the last 90. `given_up`: the exports
    and listed ids that have failed in this run. What the answers bring may call for further requests: they are in a
    plan that is made after them.
    """

    def __init__(
        self,
        exports: Sequence[Export],
        listed: Mapping[Subject, Sequence[Item]],
        dates: DateRange,
        so_far: PulledSoFar = _NOTHING,
        *,
        now: datetime,
        first_day: date = date.min,
        given_up: Collection[tuple[str, str]] = (),
        account: str = DEFAULT_ACCOUNT,
    ) -> None:
        self.exports, self.dates = exports, dates
        self._listed = {subject: len(listed[subject]) for subject in subjects_of(exports)}
        self.pulled_before = so_far.pulled_before
        revised, today = refresh_range(now, first_day), now.astimezone(UTC).date()
        is_refresh = revised is not None and dates.start <= revised.start and dates.end >= revised.end
        make_up_from = first_day if is_refresh and not so_far.is_first else None
        planned = [
            request
            for export in exports
            for request in plan(export, listed[export.subject], dates, so_far, make_up_from=make_up_from)
        ]
        expected, unanswered = {r.place for r in planned}, {r.place for r in without_done(planned, so_far.done)}
        self._tails, self._waits = list[PullRequest](), False
        due, intervals = list[Probe](), list[int]()
        for export in exports:
            turn_of = turns(export.subject, listed[export.subject])
            for item in listed[export.subject]:
                over = Over.of(export, item, so_far)
                if over is None:
                    continue
                slices = [PullRequest(export, over.subject_id, part) for part in over.slices(dates, so_far, today)]
                tail = without_done(slices, so_far.done)
                if over.place in unanswered and not over.resumes:
                    self._waits |= bool(tail)  # whether more is asked for depends on the rows that come
                    continue
                now_due = tail if over.resumes else tail[:1]
                self._tails += now_due
                self._waits |= len(tail) > len(now_due)
                if is_refresh and over.place not in expected:
                    asked = {day for request in tail for day in request.dates.dates()}
                    probe = over.probe(today, turn_of[over.subject_id], so_far, first_day, asked)
                    due += [probe] if probe and over.place not in given_up else []
                    intervals.append(over.probe_interval(today))
        self.requests = [r for r in (*planned, *self._tails) if r.place not in given_up]
        named = {export.name: export for export in exports}
        self.probes = [
            PullRequest(named[probe.export], probe.subject_id, probe.dates)
            for probe in probes_of_the_day(due, intervals, so_far.probes_made)
        ]
        self.missing = [
            replace(request, account=account) for request in (*without_done(self.requests, so_far.done), *self.probes)
        ]

    def _whose(self) -> str:
        """`5 of 8 campaigns and 1 of 3 soundlinks`; without those of which none is listed, if others are."""
        listed = [(subject, number) for subject, number in self._listed.items() if number]
        listed = listed or list(self._listed.items())[:1]
        return in_words([f"{self.asked(subject):,} of {counted(number, subject.name)}" for subject, number in listed])

    def asked(self, subject: Subject) -> int:
        """How many of a subject are asked for days of the range."""
        return len({request.subject_id for request in self.requests if request.export.subject == subject})

    def may_go_on(self, with_rows: Collection[tuple[str, str]]) -> bool:
        """Whether its answers may call for further requests; `with_rows`: the exports and listed ids that had some."""
        return self._waits or any(request.place in with_rows for request in (*self._tails, *self.probes))

    def describe(self, *, per_minute: int, per_hour: int, left_this_hour: int) -> str:
        """The run's requests and how long they take at the API's limits, for its first line of log."""
        seconds = expected_seconds(len(self.missing), per_minute, per_hour, left_this_hour)
        skipped = len(self.requests) - (len(self.missing) - len(self.probes))
        return (
            f"{in_words([export.name for export in self.exports])}, {self.dates}:"
            f" {counted(len(self.missing), 'request')} for {self._whose()}"
            + (f" and {len(self.probes)} of those that are over, to see whether rows still come" if self.probes else "")
            + (f"; at the API's limits this takes at least {duration(seconds)}" if seconds > 1 else "")
            + (
                f". {counted(skipped, 'request')} skipped: already pulled and final (refetch: true in the run's config"
                " repeats them)"
                if skipped
                else ""
            )
        )


def plan(
    export: Export,
    items: Iterable[Item],
    dates: DateRange,
    so_far: PulledSoFar = _NOTHING,
    *,
    make_up_from: date | None = None,
) -> list[PullRequest]:
    """One request per listed item of which rows are expected and slice of at most 90 days, oldest days first.

    With `make_up_from` an item's days begin where its last final pull ended, or with the first of the last 90 days that
    is not final, but not before that day: one that was let go and is live again, or that has failed, has no gap.
    Neither has one that is over before `dates`, as it may have come and gone while no run saw it, unless probes see to
    it.
    """
    found = []
    newest = max((day for (name, _), day in so_far.newest_final.items() if name == export.name), default=date.min)
    for number, item in enumerate(items):
        expected = expected_of(export, item, so_far)
        start, end = dates.start, dates.end
        if make_up_from is not None and (expected.meet(dates) or not export.tail.probed):
            start = max(make_up_from, _left_off(export, item, dates, so_far, first_day=make_up_from, newest=newest))
            if expected.last is not None and expected.last < dates.start:
                end = expected.last
        found += [
            (part.start, number, PullRequest(export, export.subject.id_of(item), part))
            for part in (DateRange(start, end).slices() if start <= end else ())
            if expected.meet(part)
        ]
    return [request for *_, request in sorted(found, key=lambda item: item[:2])]


def _left_off(
    export: Export, item: Item, dates: DateRange, so_far: PulledSoFar, *, first_day: date, newest: date
) -> date:
    """The first day before `dates` that is to be made up for, or the first of `dates`.

    That is the first of the last 90 days, from `first_day` on, of which no pull is final. Days before those are made up
    for where others were pulled for them; `newest` is the newest final day of any.
    """
    place = export.name, export.subject.id_of(item)
    start = max(first_day, dates.end - timedelta(days=MAX_DAYS_PER_PULL - 1))
    start = max(start, export.subject.created_on(item) or start)
    left_off = [dates.start, first_missing(so_far.final.get(place, ()), start, dates.start - timedelta(days=1))]
    final = so_far.newest_final.get(place)
    if final is not None and final < newest:
        left_off.append(final + timedelta(days=1))
    return min(day for day in left_off if day is not None)


def without_done(requests: Iterable[PullRequest], done: Mapping[tuple[str, str], set[date]]) -> list[PullRequest]:
    """The requests cut to the range from their first to their last day that is not `done`; none where all are.

    One request costs as much for many days as for one, so the done days between are pulled along.
    """
    cut = []
    for request in requests:
        known = done.get((request.export.name, request.subject_id), set())
        days = [day for day in request.dates.dates() if day not in known]
        if days:
            cut.append(replace(request, dates=DateRange(days[0], days[-1])))
    return cut


def duration(seconds: float, *, exact: bool = False) -> str:
    """Seconds for people: `40 s`, `12 min`, `3.5 h`; `exact` to the second, `12 min 5 s`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if exact:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def expected_seconds(requests: int, per_minute: int, per_hour: int, left_this_hour: int) -> float:
    """How long so many requests take at the API's limits, at least."""
    if requests <= left_this_hour:
        return max(requests - per_minute, 0) * 60 / per_minute
    return (requests - left_this_hour) / per_hour * 3600
