"""What an export is about: a kind of thing that the API lists, and that its exports have rows of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.table import Column

# One of a subject as the API lists it: its own JSON object.
Item = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tail:
    """How an export's rows go on beyond the days on which its subject lives.

    `days` after the end rows are expected whatever has come, and `after_rows` days after the last day with rows. Beyond
    that the export is `probed` where nobody says how long its rows go on. `before_start`: one that has not begun may
    have rows. `resumes`: rows may come again after any silence, so that a range without rows says nothing of the next.
    """

    days: int
    after_rows: int = 0
    probed: bool = False
    before_start: bool = False
    resumes: bool = False


@dataclass(frozen=True)
class Lifetime:
    """When one of a subject lives, as its listing tells: from `created`, None where that cannot be read.

    `end` is the last day at the latest, None of one that may go on. `begun`: whether it may live by now.
    """

    created: date | None
    end: date | None = None
    begun: bool = True


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What exports are about, such as a campaign. Everything that tells one kind from another is here.

    `name` is for sentences. `table` is the table of what is listed; its asset and its landing folder are called so,
    too. `id_column` and `name_column` are columns of the exports' rows. `path` is where the API lists them: one by
    itself is below it. `named_by` are the listed fields from which a person knows one, `scope` is what a key needs to
    list them. `listed` are the fields kept as columns of `table`: the listing's names in snake case, the id first.
    `details` are those that only one by itself has. `changed_at` is the listed field that says when one was last
    changed, None where nothing does. `lifetime` reads a listed item.
    """

    name: str
    table: str
    meaning: str
    id_column: str
    name_column: str
    path: str
    scope: str
    listed: tuple[Column, ...]
    lifetime: Callable[[Item], Lifetime]
    named_by: tuple[str, ...] = ()
    details: tuple[Column, ...] = ()
    changed_at: str | None = None

    @property
    def id_field(self) -> str:
        """The id in the listing: `campaignId`."""
        return field_of(self.id_column)

    @property
    def plural(self) -> str:
        return f"{self.name}s"

    def id_of(self, item: Item) -> str:
        """The id that the API lists; it may differ from the one in the rows."""
        return str(item[self.id_field])

    def name_of(self, item: Item) -> str:
        """What a person calls it, from its listing; empty where that names nothing."""
        return ", ".join(str(item[field]) for field in self.named_by if item.get(field))

    def created_on(self, item: Item) -> date | None:
        """The UTC day of creation, or None where it cannot be read."""
        return self.lifetime(item).created

    def lacks_details(self, item: Item, had_for: Item | None) -> bool:
        """Whether the details of a listed item are to be asked for.

        `had_for` is what was listed of it when they were last had; None if never. They are stale where a listed field
        has changed, and `changed_at` with it, if that is listed. So a touch, which changes that moment alone, makes no
        request. Nor does what the settings name: there the id is all that is listed.
        """
        if had_for is None or not self.details:
            return bool(self.details)
        fields = [field_of(column.name) for column in self.listed if column.name != self.id_column]
        changed = {field for field in fields if item.get(field) != had_for.get(field)}
        told = self.changed_at is None or item.get(self.changed_at) is None or self.changed_at in changed
        return told and bool(changed - {self.changed_at}) and any(field in item for field in fields)


@dataclass(frozen=True)
class Listed:
    """All of a subject that a key sees, each the API's own JSON object, and when they were listed."""

    items: list[dict[str, Any]]
    requested_at: datetime
    server_date: datetime | None


@dataclass(frozen=True)
class ExpectedDays:
    """The report dates on which rows are expected: from `first` to `last`, both included; None has no bound.

    `last` may lie before `first`: then none are.
    """

    first: date | None
    last: date | None

    def since(self, day: date | None) -> ExpectedDays:
        """Those of them from a day on; None leaves them as they are."""
        return self if day is None else ExpectedDays(max(self.first or day, day), self.last)

    def meet(self, dates: DateRange) -> bool:
        """Whether rows are expected on a day of `dates`."""
        first, last = self.first or dates.start, self.last or dates.end
        return max(first, dates.start) <= min(last, dates.end)


def expected_days(lifetime: Lifetime, tail: Tail, newest_row: date | None = None) -> ExpectedDays:
    """On which days rows are expected of an export with this `tail`. In doubt: on each.

    `newest_row` is the newest report_date that has rows in the export.
    """
    first = lifetime.created
    if first is None:
        return ExpectedDays(None, None)
    if not lifetime.begun and not tail.before_start:
        last = first - timedelta(days=1) if first > date.min else first
    elif lifetime.end is None:
        return ExpectedDays(first, None)
    else:
        last = days_after(lifetime.end, tail.days)
    if newest_row is not None:
        last = max(last, days_after(newest_row, tail.after_rows))
    return ExpectedDays(first, last)


def left_out(
    subject: Subject, items: Iterable[Item], start_date: date, setting: str = "SOUNDLINK_START_DATE"
) -> str | None:
    """A sentence about days before the first that is asked for, which `setting` says; None where nothing was there."""
    earliest = min((day for item in items if (day := subject.created_on(item)) is not None), default=None)
    if earliest is None or earliest >= start_date:
        return None
    days = (start_date - earliest).days
    return (
        f"the earliest {subject.name} was created on {earliest}; the {days} {'day' if days == 1 else 'days'} from then"
        f" to {setting} ({start_date}) are left out"
    )


def field_of(column: str) -> str:
    """The listing's name of a column: `createdAt` of `created_at`."""
    head, *tail = column.split("_")
    return head + "".join(part.capitalize() for part in tail)


def days_after(day: date, days: int) -> date:
    """So many days after a day, or the last day that there is."""
    return day + timedelta(days=days) if (date.max - day).days > days else date.max


def moment(value: object) -> datetime | None:
    """An ISO 8601 moment in UTC, or None where it cannot be read."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
