"""Rows whose keys do not last: of a day that is not settled, later answers hold other keys than earlier ones.

All of it follows from the campaign, the day, the row's plain key and when the day's rows were generated, so whatever is
asked at one moment agrees. A settled day is not generated any more: it keeps the keys that it had in its last night.
"""

from dataclasses import dataclass
from datetime import date, datetime
from random import Random
from typing import Any

from soundlink_pipeline.simulator.chance import dice

Row = dict[str, Any]
_NIGHTS = 7  # after its close, in which a day's rows are generated anew


@dataclass(frozen=True)
class Change:
    """One value that gives way to another."""

    before: str
    after: str


@dataclass(frozen=True)
class Rekeying:
    """What becomes of the keys of a campaign's rows; nothing, unless it says more."""

    account: Change | None = None
    account_since: datetime | None = None  # of what is generated from then on
    country: Change | None = None  # on two days in three, from some night of each on
    track: Change | None = None
    track_since: datetime | None = None  # of what is generated from then on
    vanishing: bool = False  # a key in six leaves a day in some night; of those, every other is back in the next

    def account_at(self, account_id: str, moment: datetime) -> str:
        """The account that a campaign of ``account_id`` belongs to."""
        return _changed(account_id, self.account if _is_since(self.account_since, moment) else None)

    def rows(self, campaign: str, day: date, generated_at: datetime, nights: int, rows: list[Row]) -> list[Row]:
        """A day's rows of one export, of those of a plain world, as generated so many nights after its close.

        Sorted by their keys, as the plain ones are.
        """
        if self == LASTING_KEYS:
            return rows
        chance = dice("rekeyed country", campaign, day)
        is_of_day, since = chance.random() < 2 / 3, _a_night(chance)
        country = self.country if is_of_day and nights >= since else None
        track = self.track if _is_since(self.track_since, generated_at) else None
        rekeyed = []
        for row in rows:
            if self.vanishing and _is_away(campaign, day, key_of(row), nights):
                continue
            changes = {
                "account_id": self.account_at(row["account_id"], generated_at),
                "country_code": _changed(row["country_code"], country),
            }
            if "engaged_spotify_track_id" in row:
                changes["engaged_spotify_track_id"] = _changed(row["engaged_spotify_track_id"], track)
            rekeyed.append(row | changes)
        return sorted(rekeyed, key=key_of)


LASTING_KEYS = Rekeying()


def key_of(row: Row) -> tuple[str, ...]:
    """What of the primary key tells the rows of one campaign and day apart."""
    names = ("engagement_context", "country_code", "engaged_spotify_track_id")
    return tuple(row[name] for name in names if name in row)


def _changed(value: str, change: Change | None) -> str:
    return change.after if change and value == change.before else value


def _is_since(since: datetime | None, moment: datetime) -> bool:
    return since is not None and moment >= since


def _a_night(chance: Random) -> int:
    return 1 + int(chance.random() * _NIGHTS)


def _is_away(campaign: str, day: date, key: tuple[str, ...], nights: int) -> bool:
    chance = dice("vanishing", campaign, day, *key)
    if chance.random() >= 1 / 6:
        return False
    comes_back = chance.random() < 0.5
    first = _a_night(chance)
    return first <= nights and not (comes_back and nights > first)
