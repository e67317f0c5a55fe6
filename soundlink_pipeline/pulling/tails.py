"""What is asked of what is over: rows go on for as long as they come, and nobody says for how long.

A first load asks past the end, slice by slice, until one is empty, or to the last slice where rows may come again after
any silence (`Tail.resumes`). A refresh asks daily for as long as rows are expected (`contracts/subject.py`), and after
that probes: one request over the last 90 days that are final, weekly at first and then every three weeks. Both are pure
functions of the ledger, the listing and the clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from math import ceil

from soundlink_pipeline.contracts.days import MAX_DAYS_PER_PULL, SETTLED_AFTER_DAYS, DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import ExpectedDays, Item, Subject, days_after, expected_days
from soundlink_pipeline.warehouse.pulled_so_far import PulledSoFar

# A day is final after 8 days, so that a row is known 29 days after that at the latest: the promise is 30.
PROBE_EVERY = 21
_AT_FIRST_EVERY, _AT_FIRST_TIMES = 7, 4
# However the order of probing changes with the listing: no longer than this after the last.
_PROBE_AT_LATEST = 27
# A row of so many last days is known at the latest so many days after its day is final.
_LAST_DAYS, _PROMISED_DAYS = timedelta(days=MAX_DAYS_PER_PULL), 30
# So few probes a day are no burden, however few are over.
_FEW_PROBES = 5


@dataclass(frozen=True)
class Probe:
    """A probe that is due: its range, and how many days ago its turn was.

    `waited_days`: for how many days the first day that is to be seen has been final. `last_chance`: whether a day is
    among them that can be seen today as promised, and tomorrow no more.
    """

    export: str
    subject_id: str
    dates: DateRange
    waited_days: int
    after_turn_days: int
    last_chance: bool = False


@dataclass(frozen=True)
class Over:
    """An export of one that is over: the day it was created, and the last on which rows are expected.

    `resumes` as in its export's `Tail`.
    """

    export: str
    subject_id: str
    created: date
    last_expected: date
    resumes: bool = False

    @classmethod
    def of(cls, export: Export, item: Item, so_far: PulledSoFar) -> Over | None:
        """None where rows are expected without end, or where none come after those expected."""
        if not export.tail.probed:
            return None
        expected = expected_of(export, item, so_far)
        if expected.first is None or expected.last is None:
            return None
        return cls(export.name, export.subject.id_of(item), expected.first, expected.last, export.tail.resumes)

    def slices(self, dates: DateRange, so_far: PulledSoFar, today: date) -> Iterable[DateRange]:
        """The slices of `dates` after the last day expected that a first load asks for, as far as is known by now.

        The rows before a slice decide: none, and it is not asked for. Nothing pulled before it is a doubt. Where rows
        resume, only a slice within a probe's reach is not asked for then: a probe looks there.
        """
        for part in dates.slices():
            if part.start <= self.last_expected:
                continue
            silent = so_far.rows_before.get((*self.place, part.start)) == 0
            if part.start > last_final_day(today) or (silent and not self.resumes):
                return
            if not silent or part.start < _first_probed_day(today):
                yield part

    @property
    def place(self) -> tuple[str, str]:
        return self.export, self.subject_id

    def probe(
        self, today: date, turn: int, so_far: PulledSoFar, first_day: date, asked: Collection[date] = ()
    ) -> Probe | None:
        """The probe that is due, if one is: of up to 90 days that are final, from `first_day` on.

        `turn` tells them apart, so that they are not all probed on one day. `asked` are the days that the run asks for
        in any case: after missed runs they begin later than the last probe ended.
        """
        end = last_final_day(today)
        start = max(_first_probed_day(today), first_day)
        if start > end:
            return None
        # A probe reaches a few days beyond the last 90: for their sake alone none is made.
        final, first = {*so_far.final.get(self.place, ()), *asked}, max(start, self.created, today - _LAST_DAYS)
        missing = first_missing(final, first, end)
        if missing is None:
            return None
        turn_day, waited = self._last_turn(today, turn), (end - missing).days + 1
        if missing > last_final_day(turn_day) and waited < _PROBE_AT_LATEST:
            return None
        last = end - timedelta(days=_PROMISED_DAYS - 1)
        last_chance = last >= first and last not in final and not self._was_late(waited, today, so_far)
        return Probe(*self.place, DateRange(start, end), waited, (today - turn_day).days, last_chance)

    def _was_late(self, waited: int, today: date, so_far: PulledSoFar) -> bool:
        """Whether it was too late already on the last three days with probes: it fails, or nobody probed it before.

        One day says little: a run may have ended amid its probes, or been limited to some campaigns.
        """
        since = so_far.probed_since.get(self.export, today)
        return waited > _PROMISED_DAYS and waited - (today - since).days >= _PROMISED_DAYS

    def probe_interval(self, today: date) -> int:
        """Every how many days it is probed."""
        return _AT_FIRST_EVERY if today <= self._weekly_until() else PROBE_EVERY

    def _last_turn(self, today: date, turn: int) -> date:
        """The newest day, up to `today`, on which it was its turn: weekly four times, then every three weeks."""
        weekly = _turn(min(today, self._weekly_until()), turn, _AT_FIRST_EVERY)
        return max(weekly, _turn(today, turn, PROBE_EVERY))

    def _weekly_until(self) -> date:
        # The day before, a refresh has asked for the last day expected for the last time.
        return days_after(self.last_expected, SETTLED_AFTER_DAYS + 1 + _AT_FIRST_EVERY * _AT_FIRST_TIMES)


def probes_of_the_day(due: Iterable[Probe], intervals: Iterable[int], made: int) -> list[Probe]:
    """Of the probes that are due, those to make now: as many a day as their intervals come to, and never in a burst.

    After days without a run, or where nobody has probed before, many are due at once. First come those by which the
    promise can just be kept, the longest waiting first. Then come those of which a day is too late already, as their
    turns come, so that one that fails for ever bars no other; then the rest. Whichever would break the promise for a
    day if they were made tomorrow are made today, however many they are: after weeks without a run that is all of them.
    `intervals` has one for each that is probed, due or not; `made` is how many probes were made today.
    """

    def urgency(probe: Probe) -> tuple[int, int, str, str]:
        place = probe.export, probe.subject_id
        if probe.waited_days > _PROMISED_DAYS:
            return 1, probe.after_turn_days, *place
        return 0 if probe.waited_days >= _PROBE_AT_LATEST else 2, -probe.waited_days, *place

    left = max(_FEW_PROBES, ceil(sum(Fraction(1, interval) for interval in intervals))) - made
    return [probe for number, probe in enumerate(sorted(due, key=urgency)) if number < left or probe.last_chance]


def expected_of(export: Export, item: Item, so_far: PulledSoFar) -> ExpectedDays:
    """The days on which rows of a listed item are expected, for a plan; in doubt without end.

    A doubt, too, is whether rows have resumed of one of which no pull is final.
    """
    place = export.name, export.subject.id_of(item)
    expected = expected_days(export.subject.lifetime(item), export.tail, so_far.newest_row.get(place))
    if export.tail.resumes and place not in so_far.newest_final:
        return ExpectedDays(expected.first, None)
    return expected


def _first_probed_day(today: date) -> date:
    return last_final_day(today) - timedelta(days=MAX_DAYS_PER_PULL - 1)


def last_final_day(today: date) -> date:
    """The newest day whose rows are final whenever on `today` they are asked for, and were the day before."""
    return today - timedelta(days=SETTLED_AFTER_DAYS + 1)


def first_missing(final: Collection[date], start: date, end: date) -> date | None:
    """The first day from `start` to `end` that is not among the `final`; None if there is none.

    Not the day after the newest of them: where a run was missed, what was pulled since may leave a gap before it.
    """
    days = (start + timedelta(days=number) for number in range((end - start).days + 1))
    return next((day for day in days if day not in final), None)


def turns(subject: Subject, items: Iterable[Item]) -> dict[str, int]:
    """A number for each by its listed id, by age: new ones change no other's, and any 21 in a row have a day each."""
    by_age = sorted((subject.created_on(item) or date.max, subject.id_of(item)) for item in items)
    return {listed_id: number for number, (_, listed_id) in enumerate(by_age)}


def _turn(until: date, turn: int, every: int) -> date:
    return until - timedelta(days=(until.toordinal() + turn) % every)
