"""What real accounts bring and a plain world does not: a switch each, off unless it is asked for."""

from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from typing import Any, TypeVar

from soundlink_pipeline.simulator.campaigns import COUNTRIES, Campaign, midnight
from soundlink_pipeline.simulator.chance import base62_of, uuid_of
from soundlink_pipeline.simulator.rekeying import Change
from soundlink_pipeline.simulator.soundlinks import Soundlink

Either = TypeVar("Either", Campaign, Soundlink)

# When an account moves, after the first day of its world, and when a track is linked anew, after a campaign's start.
MOVES_AFTER = RELINKS_AFTER = timedelta(days=32)

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
    moving_account: bool = _switch("32 days into the world the account gets another id; settled days keep the old one")
    reattributed_countries: bool = _switch("a campaign's third country turns, on most days, into another code")
    relinked_tracks: bool = _switch("32 days into a campaign one of its tracks gets another Spotify id")
    vanishing_keys: bool = _switch("one row in six leaves its day before it has settled; half of those come back")

    @classmethod
    def every(cls) -> "Oddities":
        return cls(**dict.fromkeys((switch.name for switch in fields(cls)), True))

    def of(self, campaign: Campaign, index: int, first_day: date) -> Campaign:
        """The campaign number ``index`` of a world that begins on a day, with those of them that it has."""
        campaign = self._rekeyed(campaign, first_day)
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

    def of_soundlink(self, soundlink: Soundlink, first_day: date) -> Soundlink:
        """A soundlink of a world that begins on a day, with those of them that it has."""
        soundlink = self._rekeyed(soundlink, first_day)
        if self.anonymous_networks:
            soundlink = _with_networks(soundlink)
        return soundlink

    def _rekeyed(self, thing: Either, first_day: date) -> Either:
        rekeying = replace(thing.rekeying, vanishing=self.vanishing_keys)
        if self.moving_account:
            moved = Change(thing.account_id, uuid_of(thing.account_id, "moved"))
            rekeying = replace(rekeying, account=moved, account_since=midnight(first_day + MOVES_AFTER))
        if self.reattributed_countries:
            rekeying = replace(rekeying, country=_another_country(thing))
        if self.relinked_tracks:
            track_since = midnight(thing.start + RELINKS_AFTER)
            rekeying = replace(rekeying, track=_another_link(thing), track_since=track_since)
        return replace(thing, rekeying=rekeying)


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


def _with_networks(thing: Either) -> Either:
    weights = dict(zip(thing.countries, thing.country_weights, strict=True))
    weights = {code: weight * 0.9 for code, weight in weights.items()} | {"A1": 0.05, "T1": 0.05}
    codes = tuple(sorted(weights))
    return replace(thing, countries=codes, country_weights=tuple(weights[code] for code in codes))


def _another_country(thing: Campaign | Soundlink) -> Change | None:
    """The third largest country (or the smallest of fewer), and a code that there is not yet."""
    by_weight = sorted(zip(thing.country_weights, thing.countries, strict=True), reverse=True)
    free = [code for code in COUNTRIES.split() if code not in thing.countries]
    return Change(by_weight[:3][-1][1], free[0]) if free else None


def _another_link(thing: Campaign | Soundlink) -> Change | None:
    """A track with an ISRC, which it keeps; not the promoted one, if there is another."""
    known = sorted((track == thing.target_track, track.spotify_id) for track in thing.tracks if track.isrc)
    return Change(known[0][1], base62_of(thing.row_id, known[0][1], "relinked")) if known else None
