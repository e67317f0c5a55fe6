"""Soundlinks: self-serve links that belong to no campaign, as the API lists them.

Nothing tells when one stops having rows: archived ones are listed and answer, and there is neither an end nor a moment
of the last change. So a soundlink is taken to end on the day it is made, and the rows that come keep it expected
(`Tail.after_rows`).
"""

from __future__ import annotations

from soundlink_pipeline.contracts.subject import Item, Lifetime, Subject, moment
from soundlink_pipeline.contracts.table import Column

_LISTED = (
    Column(
        "soundlink_id", "VARCHAR", "The id the API lists, case-sensitive. Primary key, with account.", nullable=False
    ),
    Column("organization_id", "VARCHAR", "Organization the soundlink belongs to."),
    Column("name", "VARCHAR", "Display name."),
    Column("url", "VARCHAR", "The link itself."),
    Column("target_type", "VARCHAR", "track, album, playlist, or null where that is not known."),
    Column("spotify_url", "VARCHAR", "What it leads to on Spotify."),
    Column("status", "VARCHAR", "draft, active or archived, as last listed. An archived one may still have rows."),
    Column("created_at", "TIMESTAMP", "When the soundlink was created (UTC)."),
)
_DETAILS = (
    Column("auto_follow", "BOOLEAN", "Whether its listeners follow the artist. A detail: null until asked for."),
    Column("artist_id_follow", "VARCHAR", "The artist that is followed. A detail: null until asked for."),
    Column("meta_pixel_id", "VARCHAR", "The Meta pixel on its page. A detail: null until asked for."),
    Column("tiktok_pixel_id", "VARCHAR", "The TikTok pixel on its page. A detail: null until asked for."),
    Column("apple_music_url", "VARCHAR", "What it leads to on Apple Music. A detail: null until asked for."),
    Column("youtube_music_url", "VARCHAR", "What it leads to on YouTube Music. A detail: null until asked for."),
)


def _lifetime(soundlink: Item) -> Lifetime:
    created = moment(soundlink.get("createdAt"))
    return Lifetime(None) if created is None else Lifetime(created.date(), created.date())


SOUNDLINK = Subject(
    name="soundlink",
    table="soundlinks",
    meaning="The soundlinks that each account saw, as last listed. Grain: one row per account and soundlink id.",
    id_column="soundlink_id",
    name_column="soundlink_name",
    path="/v1/soundlinks",
    scope="soundlinks:read",
    listed=_LISTED,
    lifetime=_lifetime,
    named_by=("name",),
    details=_DETAILS,
)
