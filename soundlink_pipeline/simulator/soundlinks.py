"""The soundlinks of a simulated account: self-serve links that belong to no campaign, and when they are played.

Nothing ends one: it has rows on the days on which it is played. That may stop for months and begin again, and being
archived does not stop it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from random import Random
from typing import Any

from soundlink_pipeline.simulator.campaigns import (
    ODD_NAMES,
    PLAIN_NAMES,
    Track,
    choose_countries,
    iso,
    make_tracks,
    midnight,
)
from soundlink_pipeline.simulator.chance import base62_of, dice, url_safe_id_of, uuid_of
from soundlink_pipeline.simulator.rekeying import LASTING_KEYS, Rekeying

_FOR_EVER = date.max
_DRAFT = 3
_TARGETS = ("track", "playlist", "album", None)


@dataclass(frozen=True)
class Soundlink:
    """One soundlink. ``path_id`` is what the listing calls it; rows carry ``row_id``, the same but for an alias."""

    account_id: str
    path_id: str
    row_id: str
    name: str
    target_type: str | None
    target_track: Track | None
    target_playlist_id: str | None
    spotify_url: str | None
    artist_id: str | None  # whom its listeners follow, if they are to follow anyone
    pixel_id: str | None
    created_at: datetime
    is_draft: bool  # for good, and never played
    archived_on: date | None
    played: tuple[tuple[date, date], ...]  # the periods in which it is, both ends counted
    audience: float  # about how many people look at its page on a day
    countries: tuple[str, ...]  # sorted, as rows are
    country_weights: tuple[float, ...]  # one per country, adding up to 1
    tracks: tuple[Track, ...]  # what its listeners play, sorted by Spotify id
    rekeying: Rekeying = LASTING_KEYS  # what becomes of the keys of its rows
    newest_fields: bool = False  # whether its country rows have those that only the newest documentation names

    @cached_property
    def ids(self) -> frozenset[str]:
        """Every id that a URL may name it by."""
        return frozenset((self.path_id, self.row_id))

    @property
    def start(self) -> date:
        return self.created_at.date()

    def is_played_on(self, day: date) -> bool:
        return any(first <= day <= last for first, last in self.played)

    def listing(self, now: datetime) -> dict[str, Any]:
        """The list item as of ``now``; fields and order as documented for a soundlink."""
        archived = self.archived_on is not None and now >= midnight(self.archived_on)
        return {
            "soundlinkId": self.path_id,
            "organizationId": self.rekeying.account_at(self.account_id, now),
            "name": self.name,
            "url": f"https://soundlink.example/s/{self.path_id}",
            "targetType": self.target_type,
            "spotifyUrl": self.spotify_url,
            "status": "draft" if self.is_draft else "archived" if archived else "active",
            "createdAt": iso(self.created_at),
        }

    def detail(self, now: datetime) -> dict[str, Any]:
        services = self.target_type in ("track", "album")
        return self.listing(now) | {
            "autoFollow": self.artist_id is not None,
            "artistIdFollow": self.artist_id,
            "metaPixelId": self.pixel_id,
            "tiktokPixelId": None,
            "appleMusicUrl": f"https://music.apple.example/{self.path_id}" if services else None,
            "youtubeMusicUrl": f"https://music.youtube.example/{self.path_id}" if services else None,
        }


def make_soundlink(
    seed: int, index: int, first_day: date, *, countries: int, tracks: int, alias: bool = False
) -> Soundlink:
    """The soundlink number ``index`` of a world; it depends on nothing but these arguments.

    With an ``alias`` its rows know it by another id than the listing, of which no document says whether it can be.
    The first six each have a life of their own (``_LIVES``), later ones are ordinary.
    """
    key = (seed, "soundlink", index)
    rng = dice(*key)
    created_at = midnight(first_day + timedelta(days=0 if index < len(_LIVES) else int(rng.random() * 60)))
    created_at += timedelta(seconds=int(rng.random() * 6 * 3600))
    kind = _TARGETS[index % len(_TARGETS)]
    played = make_tracks(key, index, tracks)
    path_id = url_safe_id_of(*key, first={1: "-", 2: "_"}.get(index % 6, ""))
    target_id = played[0].spotify_id if kind == "track" else base62_of(*key, kind)
    chosen = choose_countries(rng, countries)
    archived_after, periods = _life(index, rng)
    audience = 60 + 240 * rng.random()
    return Soundlink(
        account_id=uuid_of(seed, "account"),
        path_id=path_id,
        row_id=uuid_of(*key, "row") if alias else path_id,
        name=ODD_NAMES.get(index + _DRAFT, f"{PLAIN_NAMES[(index + 2) % len(PLAIN_NAMES)]} link {index + 1}"),
        target_type=kind,
        target_track=played[0] if kind == "track" else None,
        target_playlist_id=target_id if kind == "playlist" else None,
        spotify_url=f"https://open.spotify.example/{kind}/{target_id}" if kind else None,
        artist_id=base62_of(seed, "artist", index % 4) if index % 3 else None,
        pixel_id=str(10**14 + index) if index % 2 else None,
        created_at=created_at,
        is_draft=index == _DRAFT,
        archived_on=None if archived_after is None else created_at.date() + timedelta(days=archived_after),
        played=tuple(_dated(created_at.date(), periods)),
        audience=audience,
        countries=tuple(sorted(chosen)),
        country_weights=tuple(chosen[country] for country in sorted(chosen)),
        tracks=tuple(sorted(played, key=lambda track: track.spotify_id)),
    )


_Life = tuple[int | None, tuple[tuple[int, int | None], ...]]
_LIVES: tuple[_Life, ...] = (
    (None, ((0, None),)),
    (None, ((0, 29), (140, 180), (400, None))),  # silent for months, and awake again
    (25, ((0, None),)),  # archived, and still played
    (None, ()),  # the draft
    (60, ((2, 21),)),  # archived, and silent
    (None, ()),  # active, and never played
)


def _life(index: int, rng: Random) -> _Life:
    """After how many days it is archived, and from when to when it is played, in days of its life."""
    first, length, pause = int(rng.random() * 40), 10 + int(rng.random() * 120), 20 + int(rng.random() * 200)
    archived_after = 30 + int(rng.random() * 200) if rng.random() < 0.3 else None
    again = first + length + pause
    periods = ((first, first + length), (again, again + length // 2))[: 1 + (rng.random() < 0.5)]
    return _LIVES[index] if index < len(_LIVES) else (archived_after, periods)


def _dated(start: date, periods: tuple[tuple[int, int | None], ...]) -> Iterator[tuple[date, date]]:
    for first, last in periods:
        yield start + timedelta(days=first), _FOR_EVER if last is None else start + timedelta(days=last)
