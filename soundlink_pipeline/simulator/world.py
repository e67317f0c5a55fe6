"""The truth that the simulated API serves: a pure function of a seed, a question and a moment.

Nothing is remembered and nothing is drawn in sequence: a row depends on (seed, campaign or soundlink, day) and on how
old the day is at ``now``, so the range asked, the order of questions and the process do not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from soundlink_pipeline.simulator.campaigns import Campaign, iso, make_campaign, midnight
from soundlink_pipeline.simulator.chance import dice, uuid_of
from soundlink_pipeline.simulator.oddities import PLAIN, Oddities
from soundlink_pipeline.simulator.rekeying import key_of
from soundlink_pipeline.simulator.snapshot import SETTLED_AFTER, snapshot
from soundlink_pipeline.simulator.soundlinks import make_soundlink
from soundlink_pipeline.simulator.subjects import CAMPAIGN, SOUNDLINK, Export, Subject, Thing, Things


class World:
    """An account with its campaigns and soundlinks, from the seed.

    ``countries_per_campaign`` and ``tracks_per_campaign`` scale the number of rows a day, those of soundlinks too
    (breakdown: about the countries; engagement: some three quarters of countries x tracks). ``duration_days`` makes
    every campaign run from ``first_day`` for that long. ``oddities`` are what real accounts bring, off by default.
    ``newest_fields``: country rows have those that only the newest documentation names, new and returning listeners of
    campaigns, and clicks of each streaming service of soundlinks. ``soundlink_aliases``: their rows carry another id
    than their list. ``further`` are things of other subjects.

    A benchmark's 312,000 rows, 248 MB: ``World(campaigns=30, duration_days=90, countries_per_campaign=30,
    tracks_per_campaign=4)`` over 90 days.
    """

    def __init__(
        self,
        seed: int = 1,
        campaigns: int = 12,
        first_day: date = date(2026, 1, 1),
        *,
        soundlinks: int = 0,
        countries_per_campaign: int = 6,
        tracks_per_campaign: int = 3,
        duration_days: int | None = None,
        oddities: Oddities = PLAIN,
        newest_fields: bool = False,
        soundlink_aliases: bool = False,
        further: Mapping[Subject, Sequence[Thing]] | None = None,
    ) -> None:
        self.seed = seed
        self.first_day = first_day
        self.account_id = uuid_of(seed, "account")
        self.late_rows = oddities.late_rows
        size = {"countries": countries_per_campaign, "tracks": tracks_per_campaign}
        self.campaigns = [
            replace(
                oddities.of(make_campaign(seed, index, first_day, duration=duration_days, **size), index, first_day),
                newest_fields=newest_fields,
            )
            for index in range(campaigns)
        ]
        self.soundlinks = [
            replace(
                oddities.of_soundlink(
                    make_soundlink(seed, index, first_day, alias=soundlink_aliases, **size), first_day
                ),
                newest_fields=newest_fields,
            )
            for index in range(soundlinks)
        ]
        self._by_id = {campaign_id: campaign for campaign in self.campaigns for campaign_id in campaign.ids}
        self._further = dict(further or {})
        self._exports = {export.name: (subject, export) for subject in self.things for export in subject.exports}

    @property
    def things(self) -> Things:
        """What there is of each subject, created or not."""
        return {CAMPAIGN: self.campaigns, SOUNDLINK: self.soundlinks, **self._further}

    def campaign(self, campaign_id: str) -> Campaign:
        """By the listing's id or by the UUID in the rows; KeyError when there is none."""
        return self._by_id[campaign_id]

    def named(self, subject: Subject, thing_id: str) -> Thing | None:
        """By any of its ids."""
        if subject == CAMPAIGN:
            return self._by_id.get(thing_id)
        return next((thing for thing in self.things.get(subject, ()) if thing_id in thing.ids), None)

    def thing(self, export: str, thing_id: str) -> Thing:
        """What the rows of an export with this id, any of its ids, are about; KeyError when there is none."""
        thing = self.named(self._exports[export][0], thing_id)
        if thing is None:
            raise KeyError(thing_id)
        return thing

    def visible(self, subject: Subject, thing_id: str, now: datetime) -> Thing | None:
        """The campaign or soundlink if it exists and was already created at ``now``."""
        thing = self.named(subject, thing_id)
        return thing if thing and thing.created_at <= now else None

    def listing(self, now: datetime, subject: Subject = CAMPAIGN) -> list[dict[str, Any]]:
        """List items of what was created by ``now``, newest first."""
        created = [thing for thing in self.things.get(subject, ()) if thing.created_at <= now]
        created.sort(key=lambda thing: (thing.created_at, thing.row_id), reverse=True)
        return [thing.listing(now) for thing in created]

    def rows(
        self,
        export: str,
        thing_id: str,
        start: date,
        end: date,
        now: datetime,
        *,
        engagement_context: str | None = None,
    ) -> list[dict[str, Any]]:
        """What the export holds at ``now``, both ends counted; columns and order as documented.

        Money is ``Decimal``, counts are ``int``, ratios ``float`` (or the ``int`` 0), dates ISO text. KeyError for an
        export or a thing that there is not.
        """
        how, thing = self._exports[export][1], self.thing(export, thing_id)
        rows: list[dict[str, Any]] = []
        day, last = max(start, how.since(thing)), min(end, now.date())
        while day <= last:
            if how.has_rows_on(thing, day):
                rows += self._rows_of_day(how, thing, day, now)
            day += timedelta(days=1)
        if engagement_context is not None:
            rows = [row for row in rows if row["engagement_context"] == engagement_context]
        return rows

    def _rows_of_day(self, export: Export, thing: Thing, day: date, now: datetime) -> list[dict[str, Any]]:
        seen = snapshot(day, now)
        found = export.rows_of_day(self.seed, thing, day, seen)
        if self.late_rows:  # before they are keyed anew: under another key a row is no later
            found = self._turned_up(found, export.name, thing.row_id, day, now)
        return thing.rekeying.rows(thing.row_id, day, seen.exported_at, seen.nights, found)

    def _turned_up(
        self, rows: list[dict[str, Any]], export: str, row_id: str, day: date, now: datetime
    ) -> list[dict[str, Any]]:
        """Those that have turned up: one in fifty does so up to 50 days after its day was final, with that moment."""
        found = []
        for row in rows:
            rng = dice(self.seed, "late", export, day, row_id, *key_of(row))
            is_late, late_by = rng.random() < 0.02, timedelta(days=1 + int(rng.random() * 50))
            turns_up = midnight(day) + SETTLED_AFTER + late_by
            if not is_late:
                found.append(row)
            elif now >= turns_up:
                found.append({**row, "exported_at": iso(turns_up)})
        return found
