"""One day's rows of each export for one soundlink: as those of campaigns (rows.py), without money."""

from datetime import date
from random import Random

from soundlink_pipeline.simulator.chance import dice
from soundlink_pipeline.simulator.rows import Row, engagement_rows, identity, ratio, ratio_or_null
from soundlink_pipeline.simulator.snapshot import Snapshot
from soundlink_pipeline.simulator.soundlinks import Soundlink

_CONTEXTS = {"track": ("catalog",), "album": ("catalog",), "playlist": ("playlist",), None: ("catalog", "playlist")}


def soundlink_breakdown_day(seed: int, soundlink: Soundlink, day: date, seen: Snapshot) -> list[Row]:
    """`soundlink_country_daily`: one row per country seen that day, by country_code."""
    rng = dice(seed, "soundlink breakdown", soundlink.row_id, day)
    common = identity("soundlink", soundlink, day, seen)
    rows = []
    for country, weight in zip(soundlink.countries, soundlink.country_weights, strict=True):
        presence, lateness = rng.random(), rng.random()
        figures = _figures(rng, soundlink, day, weight, seen)
        late_by = 2 + int(lateness * 40) if lateness < 0.1 else 0  # one in ten turns up 2 to 5 nights after the day
        if presence < 0.93 and seen.nights >= late_by and figures["views"] + figures["streams"]:
            rows.append({**common, "country_code": country, **figures})
    return rows


def _figures(rng: Random, soundlink: Soundlink, day: date, weight: float, seen: Snapshot) -> Row:
    """The measures of one country. Views are known at once, what is listened to afterwards grows for a week."""
    spread, clicking, listening, depth, following, coming_back, tracking, split = (rng.random() for _ in range(8))
    audience = soundlink.audience * weight * (0.6 + 0.8 * spread)
    # Some are attributed on days on which nobody looks at the page.
    views = int(audience * seen.billed) if tracking >= 0.03 else 0
    link_clicks = int(views * (0.3 + 0.4 * clicking)) if tracking < 0.95 else None
    listeners = int(audience * (0.2 + 0.3 * listening) * seen.attributed)
    streams = int(audience * (0.2 + 0.3 * listening) * (1 + depth) * seen.attributed)
    followers = int(listeners * (0.05 + 0.2 * following))
    row = {
        "views": views,
        "link_clicks": link_clicks,
        "streams": streams,
        "listeners": listeners,
        "followers": followers,
        **_split(listeners, streams, _loyalty(soundlink, day) * coming_back, known=split >= 0.06),
        "streams_per_listener": ratio(streams, listeners, 2),
        "ctr_lp": ratio_or_null(link_clicks, views, 4),
    }
    return row | _services(link_clicks, clicking) if soundlink.newest_fields else row


def _split(listeners: int, streams: int, share: float, *, known: bool) -> Row:
    """New and returning add up to the whole; a listener has a stream at least, and nobody none."""
    returning = int(listeners * share)
    new = listeners - returning
    returning_streams = returning + int((streams - listeners) * share)
    if not new or not returning:
        returning_streams = streams if returning else 0
    figures = {
        "new_listeners": new,
        "returning_listeners": returning,
        "new_listener_streams": streams - returning_streams,
        "returning_listener_streams": returning_streams,
    }
    return figures if known else dict.fromkeys(figures)


def _services(link_clicks: int | None, share: float) -> Row:
    """The clicks of each streaming service, which newer documentation names."""
    if link_clicks is None:
        return dict.fromkeys(f"{service}_link_clicks" for service in ("spotify", "apple_music", "youtube_music"))
    spotify = int(link_clicks * (0.6 + 0.3 * share))
    apple = (link_clicks - spotify) // 2
    return {
        "spotify_link_clicks": spotify,
        "apple_music_link_clicks": apple,
        "youtube_music_link_clicks": link_clicks - spotify - apple,
    }


def soundlink_engagement_day(seed: int, soundlink: Soundlink, day: date, seen: Snapshot) -> list[Row]:
    """`soundlink_engagement_daily`: one row per context, country and track played, in that order."""
    return engagement_rows(
        dice(seed, "soundlink engagement", soundlink.row_id, day),
        soundlink,
        day,
        seen,
        common=identity("soundlink", soundlink, day, seen),
        contexts=_CONTEXTS[soundlink.target_type],
        audience=lambda weight: 1.5 + soundlink.audience * weight / 4,
        loyalty=_loyalty(soundlink, day),
    )


def _loyalty(soundlink: Soundlink, day: date) -> float:
    """The longer a link has been out, the more of its listeners have been there before."""
    return min(0.6, 0.02 * (day - soundlink.start).days)
