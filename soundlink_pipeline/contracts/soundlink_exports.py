"""The exports about soundlinks as data: for each one its API path, primary key and every column with its rules.

Source: the vendor's export contract, schema version 1.0. No document says how long rows go on, or how long after a
click they are attributed, so both exports have one tail.
"""

from __future__ import annotations

from soundlink_pipeline.contracts.columns import (
    COUNTRY,
    ENGAGEMENT_KEY,
    SPLITS_ADD_UP,
    STREAMS_PER_LISTENER,
    count,
    engagement,
    identity,
    number,
)
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export, Ratio
from soundlink_pipeline.contracts.soundlinks import SOUNDLINK
from soundlink_pipeline.contracts.subject import Tail

_IDENTITY = identity(
    SOUNDLINK, "The soundlink's id, case-sensitive; as the API lists it.", targets=("track", "album", "playlist")
)

# Daily for two weeks from its making, and for as long as a refresh meets rows on one of the last 14 days pulled; after
# that it is probed. A link may be shared again after a year.
WHILE_PLAYED = Tail(days=14, after_rows=7, probed=True, before_start=True, resumes=True)

SOUNDLINK_COUNTRY_DAILY = Export(
    name="soundlink_country_daily",
    subject=SOUNDLINK,
    scope=SOUNDLINK.scope,
    path="/v1/soundlinks/{id}/metrics/breakdown/export",
    title="What a self-serve soundlink brought, per country and day: page views, clicks, attributed Spotify listening.",
    grain="provider, account_id, report_date, soundlink_id and country_code",
    primary_key=("provider", "account_id", DATE_COLUMN, SOUNDLINK.id_column, "country_code"),
    tail=WHILE_PLAYED,
    columns=(
        *_IDENTITY,
        COUNTRY,
        count("views", "Landing-page views."),
        count("link_clicks", "Clicks over all streaming services; null if not tracked.", nullable=True),
        count("streams", "Attributed Spotify streams."),
        count(
            "listeners",
            "Attributed unique listeners; a day's countries may be summed to the soundlink's day, days may not.",
        ),
        count("followers", "Attributed artist-follower gains."),
        count("new_listeners", "Listeners who are new; null if not told.", nullable=True),
        count("returning_listeners", "Listeners who are not new; null if not told.", nullable=True),
        count("new_listener_streams", "Streams by new listeners; null if not told.", nullable=True),
        count("returning_listener_streams", "Streams by returning listeners; null if not told.", nullable=True),
        number("streams_per_listener", "streams / listeners, 0 when listeners is 0. Never average it."),
        number("ctr_lp", "link_clicks / views, null when views is 0 or link_clicks is null.", nullable=True),
        count("spotify_link_clicks", "Those of link_clicks that led to Spotify; null if not told.", nullable=True),
        count(
            "apple_music_link_clicks", "Those of link_clicks that led to Apple Music; null if not told.", nullable=True
        ),
        count(
            "youtube_music_link_clicks",
            "Those of link_clicks that led to YouTube Music; null if not told.",
            nullable=True,
        ),
    ),
    measures=("views", "streams", "listeners", "followers"),
    charted={"views": "Views", "streams": "Streams"},
    identities=SPLITS_ADD_UP,
    ratios=(
        Ratio(column="streams_per_listener", numerator="streams", denominator="listeners", undefined="0"),
        Ratio(column="ctr_lp", numerator="link_clicks", denominator="views", undefined="null"),
    ),
)

SOUNDLINK_ENGAGEMENT_DAILY = Export(
    name="soundlink_engagement_daily",
    subject=SOUNDLINK,
    scope=SOUNDLINK.scope,
    path="/v1/soundlinks/{id}/metrics/engagement/export",
    title="Who listened to which track because of a soundlink, per country and day, new and returning listeners apart.",
    grain=(
        "provider, account_id, report_date, soundlink_id, engagement_context, country_code and engaged_spotify_track_id"
    ),
    primary_key=("provider", "account_id", DATE_COLUMN, SOUNDLINK.id_column, *ENGAGEMENT_KEY),
    tail=WHILE_PLAYED,
    columns=(
        *_IDENTITY,
        *engagement("catalog: same-artist spillover and direct plays; playlist: tracks inside the playlist."),
    ),
    measures=("streams", "new_listeners"),
    charted={"new_listeners": "New listeners", "streams": "Streams"},
    identities=SPLITS_ADD_UP,
    ratios=(STREAMS_PER_LISTENER,),
)

SOUNDLINK_EXPORTS: tuple[Export, ...] = (SOUNDLINK_COUNTRY_DAILY, SOUNDLINK_ENGAGEMENT_DAILY)
