"""What real accounts bring and a plain world does not: a switch each, off unless it is asked for."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from soundlink_pipeline.simulator.campaigns import Campaign
from soundlink_pipeline.simulator.chance import base62_of

_LONG_TAIL_DAYS = 150
_PLAIN_CAMPAIGNS = 3  # so many come to their end as ever
_ENDS = ("restart_failed", "creating", "renew_failed", "ended", "completed", "failed", "stopped")
_PAUSE = timedelta(days=50)


def _switch(what: str) -> Any:
    return field(default=False, metadata={"help": what})


@dataclass(frozen=True, kw_only=True)
class Oddities:
    """The switches of a world."""

    changing_targets: bool = _switch("every fourth campaign promotes something else later, and then what nobody knows")
    null_metrics: bool = _switch("in some countries impressions are null, in others all clicks")
    currencies: bool = _switch("one campaign in eight turns from USD to EUR half-way, one is in JPY and one in KWD")
    anonymous_networks: bool = _switch("some listeners have no country: codes A1 and T1")

    long_tails: bool = _switch("links are played for 150 days after the ads, and not for 30")
    late_rows: bool = _switch("one row in fifty turns up after its day was final, up to 50 days later")
    all_statuses: bool = _switch("from the fourth campaign on they end in every way, and some never begin")
    renewals: bool = _switch("from the fourth campaign on every third has a second cycle 50 days after the first")

    def of(self, campaign: Campaign, index: int) -> Campaign:
        """The campaign number ``index`` of a world, with those of them that it has."""
        if self.changing_targets and index % 4 == 0:
            campaign = _with_other_targets(campaign)
        if self.currencies and index % 8 in (1, 2, 3):
            campaign = _in_another_currency(campaign, index % 8)
        if self.anonymous_networks:
            campaign = _with_networks(campaign)
        if self.long_tails:
            campaign = replace(campaign, tail_days=_LONG_TAIL_DAYS)
        if self.all_statuses and index >= _PLAIN_CAMPAIGNS:
            campaign = replace(campaign, ends_as=_ENDS[index % len(_ENDS)])
        if self.renewals and index >= _PLAIN_CAMPAIGNS and index % 3 == 0:
            campaign = replace(campaign, renewed_on=campaign.last_day + _PAUSE)
        return replace(campaign, null_metrics=self.null_metrics)


PLAIN = Oddities()


def _with_other_targets(campaign: Campaign) -> Campaign:
    nothing: dict[str, Any] = {"target_type": None, "target_track": None, "target_playlist_id": None}
    if campaign.target_type == "track":
        other: dict[str, Any] = {
            "target_type": "playlist",
            "target_playlist_id": base62_of(campaign.uuid, "later playlist"),
        }
    else:
        other = {"target_type": "track", "target_track": campaign.tracks[0]}
    third = timedelta(days=campaign.duration // 3)
    changes = ((campaign.start + third, nothing | other), (campaign.start + 2 * third, nothing))
    return replace(campaign, changes=(*campaign.changes, *changes))


def _in_another_currency(campaign: Campaign, which: int) -> Campaign:
    if which == 1:
        halfway = campaign.start + timedelta(days=campaign.duration // 2)
        return replace(campaign, changes=(*campaign.changes, (halfway, {"currency": "EUR"})))
    return replace(campaign, currency="JPY" if which == 2 else "KWD")


def _with_networks(campaign: Campaign) -> Campaign:
    weights = dict(zip(campaign.countries, campaign.country_weights, strict=True))
    weights = {code: weight * 0.9 for code, weight in weights.items()} | {"A1": 0.05, "T1": 0.05}
    codes = tuple(sorted(weights))
    return replace(campaign, countries=codes, country_weights=tuple(weights[code] for code in codes))
