"""The campaigns of a simulated account: their ids and names, when they run, and how the API lists them."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from random import Random
from typing import Any

from soundlink_pipeline.simulator.chance import base62_of, dice, isrc_of, uuid_of
from soundlink_pipeline.simulator.rekeying import LASTING_KEYS, Rekeying

# NA is Namibia: the classic value that a careless reader turns into "missing".
COUNTRIES = (
    "US NA GB DE BR MX FR NL SE NO ES IT PL CA AU JP IN ID PH TH TR ZA AR CL CO PE PT BE CH AT DK FI IE CZ "
    "HU RO GR UA IL AE SA EG MA NG KE GH TZ UG NZ SG MY VN KR TW HK EC UY BO PY CR GT DO PA SV HN"
)
TAIL_OF_ATTRIBUTION = timedelta(days=7)  # breakdown: events are attributed up to 7 days after a click
TAIL_OF_ENGAGEMENT = timedelta(days=30)  # engagement: lifetime plus a 30-day tail

_STRATEGIES = ("maximum_growth", "market_discovery", "revenue_maximization", "custom")
PLAIN_NAMES = ("Sleep Playlist", "9 To 5", "Summer Push", "Debut Single", "Late Night Drive", "Fresh Finds")
# Names that break naive readers: a line separator (U+2028), quotes, SQL, an emoji, a right-to-left script.
ODD_NAMES = {
    3: "Sunrise\u2028Sunset",
    4: "Robert'); DROP TABLE campaigns;--",
    6: 'The "Best" of 🎧 \\ \t לילה',
}


@dataclass(frozen=True)
class Track:
    spotify_id: str
    isrc: str | None
    name: str


@dataclass(frozen=True)
class Campaign:
    """One campaign. ``path_id`` is what the listing calls it; rows always carry ``uuid``: they may differ."""

    account_id: str
    path_id: str
    uuid: str
    name: str
    target_type: str | None
    target_track: Track | None
    target_playlist_id: str | None
    artist_id: str
    artist_name: str
    generation: int
    strategy: str
    auto_renews: bool
    daily_budget: int  # whole USD
    fee_percent: int  # Soundlink's share: spend_total = spend_media / (1 - share)
    created_at: datetime
    start: date
    duration: int  # days, as bought
    last_day: date  # the last active day; before start + duration - 1 when stopped early
    stopped: bool
    countries: tuple[str, ...]  # sorted, as rows are
    country_weights: tuple[float, ...]  # one per country, adding up to 1
    tracks: tuple[Track, ...]  # what its listeners play, sorted by Spotify id
    currency: str = "USD"
    newest_fields: bool = False  # whether its country rows have those that only the newest documentation names
    null_metrics: bool = False  # whether some countries report no impressions, and others no clicks
    changes: tuple[tuple[date, dict[str, Any]], ...] = ()  # fields that are different from a day on, in order
    rekeying: Rekeying = LASTING_KEYS  # what becomes of the keys of its rows

    def on(self, day: date) -> "Campaign":
        """The campaign as it is on a day."""
        changed: dict[str, Any] = {}
        for since, fields in self.changes:
            changed |= fields if since <= day else {}
        return replace(self, **changed) if changed else self

    tail_days: int = TAIL_OF_ENGAGEMENT.days  # how long its links are played after the ads
    ends_as: str = ""  # the status after the end, where it is neither ended nor stopped
    renewed_on: date | None = None  # the first day of a second cycle, after the end of the first

    def last_day_on(self, day: date) -> date:
        """The last active day of the cycle that counts on a day: the first, or the one it was renewed for."""
        if self.renewed_on is None or day < self.renewed_on:
            return self.last_day
        return self.renewed_on + timedelta(days=self.duration - 1)

    @cached_property
    def ids(self) -> frozenset[str]:
        """Every id that a URL may name it by."""
        return frozenset((self.path_id, self.uuid))

    @property
    def row_id(self) -> str:
        return self.uuid

    @cached_property
    def ended_at(self) -> datetime:
        return midnight(self.last_day + timedelta(days=1))

    @property
    def begins(self) -> bool:
        """Whether its ads ever run."""
        return self.ends_as != "creating"

    def status_on(self, day: date) -> str:
        """`status` of an engagement row: scheduled before the start, ended after the last active day."""
        if day < self.start or not self.begins:
            return "scheduled"
        return "active" if day <= self.last_day_on(day) else "ended"

    def listing(self, now: datetime) -> dict[str, Any]:
        """The list item as of ``now``; fields and order as documented for a campaign."""
        today = self.on(now.date())
        ended_at = midnight(self.last_day_on(now.date()) + timedelta(days=1))
        if not self.begins:
            status, updated_at = "creating", self.created_at
        elif now >= ended_at:
            status, updated_at = self.ends_as or ("stopped" if self.stopped else "ended"), ended_at
        elif self.renewed_on is not None and now >= midnight(self.renewed_on):
            status, updated_at = "active", midnight(self.renewed_on)
        elif now >= midnight(self.start):
            status, updated_at = "active", max(midnight(self.start), self.created_at)
        else:
            status, updated_at = "creating", self.created_at
        return {
            "campaignId": self.path_id,
            "organizationId": self.rekeying.account_at(self.account_id, now),
            "status": status,
            "socialPlatform": "meta",
            "dailyBudget": self.daily_budget,
            "totalBudget": self.daily_budget * self.duration,
            "campaignDuration": self.duration,
            "generation": self.generation,
            "artistId": self.artist_id,
            "artistName": self.artist_name,
            "trackId": today.target_track.spotify_id if today.target_track else None,
            "playlistId": today.target_playlist_id,
            "trackName": today.target_track.name if today.target_track else None,
            "campaignUrl": f"https://soundlink.example/campaigns/{self.uuid}/insights",  # for who is logged in
            "createdAt": iso(self.created_at),
            "updatedAt": iso(updated_at),
        }

    def detail(self, now: datetime) -> dict[str, Any]:
        return self.listing(now) | {"strategyType": self.strategy, "autoRenew": self.auto_renews}


def midnight(day: date) -> datetime:
    """00:00 UTC of a day: report dates are UTC days."""
    return datetime.combine(day, time(), UTC)


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def make_campaign(
    seed: int, index: int, first_day: date, *, countries: int, tracks: int, duration: int | None = None
) -> Campaign:
    """The campaign number ``index`` of a world; it depends on nothing but these arguments.

    The first eight each have a trait of their own (see below), later ones are ordinary. ``duration`` makes all
    of them run from ``first_day`` for that many days: the even load that a benchmark wants.
    """
    key = (seed, "campaign", index)
    rng = dice(*key)
    # 0-1 run for months, so that there is always something new; 5 is stopped early; 7 waits for its start.
    offset = 0 if duration or index < 2 else 75 if index == 7 else int(rng.random() * 45)
    days = duration or (240, 150)[index] if duration or index < 2 else 14 + int(rng.random() * 46)
    stopped = index == 5 and duration is None
    start = first_day + timedelta(days=offset)
    lead = min(offset, 35 if index == 7 else int(rng.random() * 4))  # nothing happens before first_day
    created_at = midnight(start - timedelta(days=lead)) + timedelta(seconds=int(rng.random() * 6 * 3600))

    kind = None if index == 2 else "playlist" if index % 3 == 1 else "track"
    played = make_tracks(key, index, tracks)
    chosen = choose_countries(rng, countries)
    uuid = uuid_of(*key)
    return Campaign(
        account_id=uuid_of(seed, "account"),
        path_id=f"camp_{base62_of(*key, 'alias', length=10)}" if index % 5 == 1 else uuid,
        uuid=uuid,
        name=ODD_NAMES.get(index, f"{PLAIN_NAMES[index % len(PLAIN_NAMES)]} {index + 1}"),
        target_type=kind,
        target_track=played[0] if kind == "track" else None,
        target_playlist_id=base62_of(*key, "playlist") if kind == "playlist" else None,
        artist_id=base62_of(seed, "artist", index % 4),
        artist_name=("Björk & Co", "Ночь", "Ann O'Neil", "東京ライト")[index % 4],
        generation=1 + index % 3,
        strategy=_STRATEGIES[index % len(_STRATEGIES)],
        auto_renews=index % 3 == 0,
        daily_budget=20 + 5 * int(rng.random() * 17),
        fee_percent=(20, 15, 25)[index % 3],
        created_at=created_at,
        start=start,
        duration=days,
        last_day=start + timedelta(days=(days // 2 if stopped else days) - 1),
        stopped=stopped,
        countries=tuple(sorted(chosen)),
        country_weights=tuple(chosen[country] for country in sorted(chosen)),
        tracks=tuple(sorted(played, key=lambda track: track.spotify_id)),
    )


def make_tracks(key: tuple[object, ...], index: int, count: int) -> list[Track]:
    """What is played over the link number ``index`` of its kind, ``key`` being what it is drawn from."""
    return [
        Track(
            spotify_id=base62_of(*key, "track", number),
            isrc=None if number % 7 == 5 else isrc_of(*key, "track", number),
            name=f"{PLAIN_NAMES[(index + number) % len(PLAIN_NAMES)]} No. {number + 1}",
        )
        for number in range(count)
    ]


def choose_countries(rng: Random, count: int) -> dict[str, float]:
    """Countries with their share of the audience: from the US down a long tail; the second is always NA."""
    others = sorted((rng.random(), country) for country in COUNTRIES.split() if country not in ("US", "NA"))
    chosen = ["US", "NA", *(country for _, country in others)][:count]
    weights = {country: 1 / (1 + place) for place, country in enumerate(chosen)}
    total = sum(weights.values())
    return {country: weight / total for country, weight in weights.items()}
