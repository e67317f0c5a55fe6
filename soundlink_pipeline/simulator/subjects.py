"""What the exports are about, campaigns and soundlinks, as data: paths, scopes, sorts, errors and how rows come about.

A world may hold things of further subjects; the API then has the same endpoints for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from soundlink_pipeline.simulator.access import CAMPAIGNS_READ, METRICS_READ, SOUNDLINKS_READ
from soundlink_pipeline.simulator.campaigns import TAIL_OF_ATTRIBUTION, TAIL_OF_ENGAGEMENT, Campaign
from soundlink_pipeline.simulator.overview import Totals, campaign_totals, soundlink_totals
from soundlink_pipeline.simulator.rekeying import Rekeying
from soundlink_pipeline.simulator.rows import Row, breakdown_day, engagement_day
from soundlink_pipeline.simulator.snapshot import Snapshot
from soundlink_pipeline.simulator.soundlink_rows import soundlink_breakdown_day, soundlink_engagement_day
from soundlink_pipeline.simulator.soundlinks import Soundlink

BREAKDOWN = "campaign_country_daily"
ENGAGEMENT = "campaign_engagement_daily"
SOUNDLINK_BREAKDOWN = "soundlink_country_daily"
SOUNDLINK_ENGAGEMENT = "soundlink_engagement_daily"


class Thing(Protocol):
    """One campaign, one soundlink."""

    @property
    def path_id(self) -> str: ...  # what the listing calls it
    @property
    def row_id(self) -> str: ...  # what its rows call it
    @property
    def ids(self) -> frozenset[str]: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def start(self) -> date: ...  # where a range begins that does not say
    @property
    def rekeying(self) -> Rekeying: ...
    def listing(self, now: datetime) -> dict[str, Any]: ...
    def detail(self, now: datetime) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Export:
    """One table of rows. ``metric`` is its name in paths: ``…/metrics/breakdown``, ``…/metrics/breakdown/export``."""

    name: str
    metric: str
    rows_of_day: Callable[[int, Any, date, Snapshot], list[Row]]  # of a seed, a thing, a day and how far it is known
    since: Callable[[Any], date]  # no rows before
    has_rows_on: Callable[[Any, date], bool]
    sorts: tuple[str, ...] = ("report_date",)  # what pages may be sorted by
    order: str = "asc"
    has_contexts: bool = False  # whether engagementContext filters it
    is_capped: bool = False  # whether its pages cover 90 days at most, as its export does
    is_cut_short: bool = False  # whether the first generation's export gives less than was asked for, and no error
    # What the first generation's export covers if nothing is asked for, on a day; None: the last 90 days, as today.
    period: Callable[[Any, date], tuple[date, date]] | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    name: str  # its plural stands in paths
    exports: tuple[Export, ...]
    totals: Totals
    read_scope: str
    metrics_scope: str
    not_found: str  # the code of the error for an id that is none
    sorts: tuple[str, ...] = ("createdAt",)
    kind: str = ""  # what statistics call its metrics, before `breakdown_export`


def _has_ads_on(campaign: Campaign, day: date) -> bool:
    """Active days and the attribution window."""
    return campaign.begins and day <= campaign.last_day_on(day) + TAIL_OF_ATTRIBUTION


def _is_listened_to_on(campaign: Campaign, day: date) -> bool:
    return day <= campaign.last_day_on(day) + timedelta(days=campaign.tail_days)


CAMPAIGN = Subject(
    name="campaign",
    exports=(
        Export(
            name=BREAKDOWN,
            metric="breakdown",
            rows_of_day=breakdown_day,
            since=lambda campaign: campaign.start,
            has_rows_on=_has_ads_on,
            sorts=("report_date", "spend_total"),
            period=lambda campaign, today: (campaign.start, campaign.last_day_on(today)),
        ),
        Export(
            name=ENGAGEMENT,
            metric="engagement",
            rows_of_day=engagement_day,
            since=lambda campaign: campaign.created_at.date(),
            has_rows_on=_is_listened_to_on,
            order="desc",
            has_contexts=True,
            is_capped=True,
            is_cut_short=True,
            period=lambda campaign, today: (campaign.start, campaign.last_day_on(today) + TAIL_OF_ENGAGEMENT),
        ),
    ),
    totals=campaign_totals,
    read_scope=CAMPAIGNS_READ,
    metrics_scope=METRICS_READ,
    not_found="campaign_not_found",
    sorts=("createdAt", "status"),
)
SOUNDLINK = Subject(
    name="soundlink",
    exports=(
        Export(
            name=SOUNDLINK_BREAKDOWN,
            metric="breakdown",
            rows_of_day=soundlink_breakdown_day,
            since=lambda soundlink: soundlink.start,
            has_rows_on=Soundlink.is_played_on,
            sorts=("report_date", "country_code"),
        ),
        Export(
            name=SOUNDLINK_ENGAGEMENT,
            metric="engagement",
            rows_of_day=soundlink_engagement_day,
            since=lambda soundlink: soundlink.start,
            has_rows_on=Soundlink.is_played_on,
            order="desc",
            has_contexts=True,
            is_capped=True,
        ),
    ),
    totals=soundlink_totals,
    read_scope=SOUNDLINKS_READ,
    metrics_scope=SOUNDLINKS_READ,  # metrics:read does not unlock them
    not_found="not_found",
    kind="soundlink_",
)

EXPORTS = tuple(export.name for export in CAMPAIGN.exports)
SOUNDLINK_EXPORTS = tuple(export.name for export in SOUNDLINK.exports)
Things = dict[Subject, Sequence[Thing]]
