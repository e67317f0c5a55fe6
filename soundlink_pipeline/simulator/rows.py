"""One day's rows of each export for one campaign: made up, but true to every documented rule.

Every country (or country and track) draws the same number of values whatever is done with them, so a row does
not depend on how old the day is; only the share of it that is known does. Counts are floor(final * share):
flooring keeps every "part <= whole" true and makes small figures, hence whole rows, appear late.
"""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

from soundlink_pipeline.simulator.campaigns import TAIL_OF_ATTRIBUTION, Campaign, Track, iso
from soundlink_pipeline.simulator.chance import dice
from soundlink_pipeline.simulator.snapshot import Snapshot
from soundlink_pipeline.simulator.soundlinks import Soundlink

Row = dict[str, Any]


# Of the currencies that a world may have.
DECIMALS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}


def money(units: int, decimals: int) -> int | Decimal:
    """An amount in minor units as one with decimals; a whole one comes without a point, as documented that it may."""
    amount = Decimal(units).scaleb(-decimals)
    return int(amount) if amount == int(amount) else amount


def ratio(part: float, whole: int, digits: int) -> float:
    """part / whole, rounded; 0 when the whole is 0."""
    return round(part / whole, digits) if whole else 0


def ratio_or_null(part: float | None, whole: int | None, digits: int) -> float | None:
    """part / whole, rounded; null when the whole is null or 0, or the part is unknown."""
    return round(part / whole, digits) if whole and part is not None else None


def total_units(media_units: int, fee_percent: int) -> int:
    """spend_media / (1 - fee share), rounded half up to the minor unit, in integers."""
    share = 100 - fee_percent
    return (200 * media_units + share) // (2 * share)


def identity(subject: str, thing: Campaign | Soundlink, day: date, seen: Snapshot) -> Row:
    """The first twelve columns, alike in all exports. Ids are there only for their target type."""
    track = thing.target_track
    return {
        "provider": "soundlink",
        "account_id": thing.account_id,
        "schema_version": "1.0",
        "report_date": day.isoformat(),
        "report_date_timezone": "UTC",
        "exported_at": iso(seen.exported_at),
        f"{subject}_id": thing.row_id,
        f"{subject}_name": thing.name,
        f"{subject}_target_type": thing.target_type,
        f"{subject}_target_isrc": track.isrc if track else None,
        f"{subject}_target_spotify_track_id": track.spotify_id if track else None,
        f"{subject}_target_playlist_id": thing.target_playlist_id,
    }


def breakdown_day(seed: int, campaign: Campaign, day: date, seen: Snapshot) -> list[Row]:
    """`campaign_country_daily`: one row per country seen that day, by country_code."""
    rng = dice(seed, "breakdown", campaign.uuid, day)
    campaign = campaign.on(day)
    common = identity("campaign", campaign, day, seen)
    rows = []
    for place, (country, weight) in enumerate(zip(campaign.countries, campaign.country_weights, strict=True)):
        presence, lateness = rng.random(), rng.random()
        withheld = _WITHHELD[place % 3] if campaign.null_metrics else ()
        figures = _breakdown_figures(rng, campaign, day, weight, seen, withheld=withheld)
        if campaign.newest_fields:
            figures |= _listeners_split(figures["listeners"], _loyalty(campaign, day))
        late_by = 2 + int(lateness * 40) if lateness < 0.1 else 0  # one in ten turns up 2 to 5 nights after the day
        if presence < 0.93 and seen.nights >= late_by and figures["streams"] + (figures["impressions"] or 0):
            rows.append({**common, "country_code": country, **figures})
    return rows


# What countries do not report, by their place, in a world with null metrics.
_WITHHELD = ((), ("impressions",), ("ad_clicks", "link_clicks"))


def _breakdown_figures(
    rng: Random, campaign: Campaign, day: date, weight: float, seen: Snapshot, *, withheld: tuple[str, ...]
) -> Row:
    """The measures of one country. After the last active day: late attributions, and no advertising."""
    spread, rate, clicks, landing, listening, depth, following = (rng.random() for _ in range(7))
    days_after = (day - campaign.last_day_on(day)).days
    final_cents = campaign.daily_budget * 100 * weight * (0.7 + 0.4 * spread)
    final_listeners = final_cents * (0.02 + 0.03 * listening)
    media = 0
    impressions: int | None = None  # without an ad there is nothing to count, which the API shows either way
    ad_clicks: int | None = None
    link_clicks: int | None = None
    if days_after <= 0:
        media = int(final_cents * seen.billed)
        impressions = int(final_cents * (0.8 + 0.6 * rate) * seen.billed)
        ad_clicks = int(impressions * (0.015 + 0.02 * clicks))
        link_clicks = int(ad_clicks * (0.6 + 0.3 * landing))
        if rate < 0.03:
            ad_clicks = None  # Meta withholds small figures at times
        if landing < 0.03:
            link_clicks = None
    else:
        final_listeners *= 0.3 * (1 - days_after / (TAIL_OF_ATTRIBUTION.days + 1))
        if rate < 0.5:
            impressions = ad_clicks = link_clicks = 0
    impressions = None if "impressions" in withheld else impressions
    ad_clicks = None if "ad_clicks" in withheld else ad_clicks
    link_clicks = None if "link_clicks" in withheld else link_clicks
    listeners = int(final_listeners * seen.attributed)
    streams = int(final_listeners * (1 + depth) * seen.attributed)
    followers = int(final_listeners * (0.03 + 0.12 * following) * seen.attributed)
    total = total_units(media, campaign.fee_percent)
    decimals = DECIMALS[campaign.currency]
    spent = media / 10**decimals
    per_follower = ratio(spent, followers, 3)
    return {
        "impressions": impressions,
        "ad_clicks": ad_clicks,
        "link_clicks": link_clicks,
        "streams": streams,
        "listeners": listeners,
        "followers": followers,
        "streams_per_listener": ratio(streams, listeners, 2),
        "spend_media": money(media, decimals),
        "spend_total": money(total, decimals),
        "fees": money(total - media, decimals),
        "currency": campaign.currency,
        "currency_account": "USD",
        "cpl": ratio(spent, listeners, 3),
        "cpf": per_follower,
        "cpc_linkclick": ratio_or_null(spent, link_clicks, 3),
        "ctr_linkclick": ratio_or_null(link_clicks, impressions, 4),
        "ctr_adclick": ratio_or_null(ad_clicks, impressions, 4),
        "cost_per_result": per_follower,
        "result_type": "follow",
    }


def engagement_day(seed: int, campaign: Campaign, day: date, seen: Snapshot) -> list[Row]:
    """`campaign_engagement_daily`: one row per context, country and track played, in that order."""
    rng = dice(seed, "engagement", campaign.uuid, day)
    campaign = campaign.on(day)
    interest = _interest(campaign, day)
    return engagement_rows(
        rng,
        campaign,
        day,
        seen,
        common=identity("campaign", campaign, day, seen) | {"status": campaign.status_on(day)},
        contexts=_contexts(campaign),
        audience=lambda weight: interest * (1.5 + campaign.daily_budget * weight),
        loyalty=_loyalty(campaign, day),
    )


def _listeners_split(listeners: int, loyalty: float) -> Row:
    """Fields that the newest documentation speaks of; their names are a guess, as those of other exports have them."""
    returning = int(listeners * loyalty)
    return {"new_listeners": listeners - returning, "returning_listeners": returning}


def _loyalty(campaign: Campaign, day: date) -> float:
    """The longer a link has been out, the more of its listeners have been there before."""
    return min(0.6, 0.02 * max(0, (day - campaign.start).days))


def engagement_rows(
    rng: Random,
    thing: Campaign | Soundlink,
    day: date,
    seen: Snapshot,
    *,
    common: Row,
    contexts: tuple[str, ...],
    audience: Callable[[float], float],
    loyalty: float,
) -> list[Row]:
    """A row for every context, country and track that is played; ``audience`` is that of a country with a weight."""
    rows = []
    for context in contexts:
        positions = _positions(rng, len(thing.tracks), context, day, seen)
        for country, weight in zip(thing.countries, thing.country_weights, strict=True):
            for track, position in zip(thing.tracks, positions, strict=True):
                presence = rng.random()
                figures = _engagement_figures(rng, audience(weight), loyalty, seen)
                if presence < 0.9 and figures["listeners"]:
                    rows.append(
                        {**common, "engagement_context": context, "country_code": country}
                        | _engaged(track, position)
                        | figures
                    )
    return rows


def _contexts(campaign: Campaign) -> tuple[str, ...]:
    """Catalog rows belong to track campaigns, playlist rows to playlists; an undetermined target shows both."""
    match campaign.target_type:
        case "track":
            return ("catalog",)
        case "playlist":
            return ("playlist",)
        case _:
            return ("catalog", "playlist")


def _interest(campaign: Campaign, day: date) -> float:
    """How much of the usual audience listens: a trickle before the start, a fading tail after the end."""
    days_after = (day - campaign.last_day_on(day)).days
    if day < campaign.start or not campaign.begins:
        return 0.15
    return 1.0 if days_after <= 0 else 0.5 * (1 - days_after / (campaign.tail_days + 1))


def _positions(rng: Random, tracks: int, context: str, day: date, seen: Snapshot) -> list[int | None]:
    """Each track's slot, moving once a week; null on catalog rows, before the morning crawl, and now and then."""
    crawled = [rng.random() >= 0.03 for _ in range(tracks)]
    if context == "catalog" or not seen.morning:
        return [None] * tracks
    week = day.toordinal() // 7
    return [1 + (slot + week) % tracks if there else None for slot, there in enumerate(crawled)]


def _engaged(track: Track, position: int | None) -> Row:
    return {
        "engaged_track_isrc": track.isrc,
        "engaged_spotify_track_id": track.spotify_id,
        "engaged_track_name": track.name,
        "playlist_position": position,
    }


def _engagement_figures(rng: Random, audience: float, loyalty: float, seen: Snapshot) -> Row:
    """The measures of one track in one country; ``audience`` is about how many people play it that day."""
    size, returning_share, new_depth, returning_depth = rng.random(), rng.random(), rng.random(), rng.random()
    known = audience * (0.4 + 1.2 * size) * seen.attributed
    known_returning = known * loyalty * (0.5 + 0.5 * returning_share)
    known_new = known - known_returning
    new, returning = int(known_new), int(known_returning)
    new_streams, returning_streams = int(known_new * (1 + new_depth)), int(known_returning * (1 + 2 * returning_depth))
    if not new:
        new_streams = 0  # the fraction of a listener plays nothing
    if not returning:
        returning_streams = 0
    return {
        "new_listeners": new,
        "returning_listeners": returning,
        "listeners": new + returning,
        "new_listener_streams": new_streams,
        "returning_listener_streams": returning_streams,
        "streams": new_streams + returning_streams,
        "spl": ratio(new_streams + returning_streams, new + returning, 2),
    }
