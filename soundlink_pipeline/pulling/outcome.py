"""What came of a pull: what was loaded, and which requests failed and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT, ListedId
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.loading.batch import Loaded
from soundlink_pipeline.loading.unknown_fields import UnknownField, summed

Log = Callable[[str], None]


@dataclass(frozen=True)
class FailedPull:
    """A request that failed, or a delivery that was refused, and why; not `attempted` where the run stopped first.

    `needs_refetch`: its file had landed before this run, and was refused now or is damaged. Only a pull of its days
    that repeats settled ones, too, is certain to bring it again. `no_access`: the key has not the scope that it takes.
    `subject_id` is empty where all were refused at once. `account` is whose they are.
    """

    export: str
    subject_id: str
    dates: DateRange
    reason: str
    attempted: bool = True
    needs_refetch: bool = False
    no_access: bool = False
    account: str = DEFAULT_ACCOUNT

    @property
    def is_pull(self) -> bool:
        """Whether it is a request of its own; not where all of an export were refused at once, with their listing."""
        return bool(self.subject_id)

    def describe(self, names: Mapping[ListedId, str] | None = None) -> str:
        """What failed; `names` are as far as they are known."""
        if not self.is_pull:
            return f"all of {self.export}, {self.dates}"
        name = (names or {}).get(ListedId(self.account, self.subject_id))
        return f"{self.export} of {f'{name!r} ({self.subject_id})' if name else self.subject_id}, {self.dates}"


@dataclass
class PullResult:
    """What a step did; `requests` counts every one that was sent, for any export, retries too.

    `lost`: what else of the landing is damaged, in sentences: listings, and folders whose files cannot be seen.
    """

    requests: int = 0
    loaded: list[Loaded] = field(default_factory=list)
    failed: list[FailedPull] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def of(self, export: Export) -> PullResult:
        """The part of it that is about one export."""
        return PullResult(
            self.requests,
            [item for item in self.loaded if item.delivery.export == export.name],
            [item for item in self.failed if item.export == export.name],
        )

    def of_account(self, name: str) -> PullResult:
        """The part of it that is about one account; its requests are those of all."""
        return PullResult(
            self.requests,
            [item for item in self.loaded if item.delivery.account == name],
            [item for item in self.failed if item.account == name],
        )

    def add(self, more: PullResult) -> None:
        self.requests += more.requests
        self.loaded += more.loaded
        self.failed += more.failed

    @property
    def with_rows(self) -> set[tuple[str, str]]:
        """What a delivery with rows came for: export and listed id."""
        return {(item.delivery.export, item.delivery.subject_id) for item in self.loaded if item.rows}

    @property
    def rows(self) -> int:
        return sum(item.rows for item in self.loaded)

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.loaded)

    @property
    def unknown_fields(self) -> list[UnknownField]:
        """The fields that the contract does not know, each once, by name."""
        return summed(field for item in self.loaded for field in item.unknown)

    def total(self, what: str) -> int:
        return sum(getattr(item, what) for item in self.loaded)


def merged(ranges: Iterable[DateRange]) -> list[DateRange]:
    """The same days in as few ranges as can be, oldest first."""
    found: list[DateRange] = []
    for dates in sorted(ranges, key=lambda dates: (dates.start, dates.end)):
        if found and dates.start <= found[-1].end + timedelta(days=1):
            found[-1] = DateRange(found[-1].start, max(found[-1].end, dates.end))
        else:
            found.append(dates)
    return found
