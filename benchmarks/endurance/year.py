"""One day after another: what befalls it, the schedule's run, and the comparison after each that succeeds."""

import os
import statistics
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.endurance.children import Api, in_child, keep_storage_bounded, refresh
from benchmarks.endurance.truth import SLACK, Found, Known, hold_against_the_world
from benchmarks.endurance.world import FIRST_DAY, FRAMED
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import DEMO_KEY, Shrinking, World
from soundlink_pipeline.simulator.campaigns import midnight

NO_LIMIT = "1000000"
EVERYTHING_EVERY = 10  # comparisons: how often all is compared with all, and not what was asked for alone
LOSES = 20  # rows at least has a day that loses all but one: half of fewer, and nobody would miss them
# Red by nature here: it asks whether yesterday is there, by the clock on the wall.
BY_THE_WALL_CLOCK = "newest_day"


class Endurance:
    """A project folder, the API, and one day after another."""

    def __init__(
        self, folder: Path, api: Api, world: World, retention_days: int, dagster_retention_days: int | None, seed: int
    ) -> None:
        self.folder, self.api, self.world = folder, api, world
        self.dagster_retention_days = dagster_retention_days
        self.known, self.records = Known(retention_days), list[dict[str, Any]]()
        self.red: Counter[str] = Counter()
        self._random = Random(seed)
        self._thinned_until = 0.0

    def settings(self, now: datetime) -> dict[str, str]:
        # Landed files are forgotten by the wall clock, which the simulated one is so many days behind.
        behind = datetime.now(UTC) - now
        return {
            "SOUNDLINK_BASE_URL": self.api.base_url,
            "SOUNDLINK_DATA_DIR": str(self.folder / "data"),
            "SOUNDLINK_START_DATE": FIRST_DAY.isoformat(),
            "SOUNDLINK_REQUESTS_PER_MINUTE": NO_LIMIT,
            "SOUNDLINK_REQUESTS_PER_HOUR": NO_LIMIT,
            "SOUNDLINK_LANDING_RETENTION_DAYS": str(self.known.retention_days + (behind + SLACK).days),
        }

    def day(self, today: date, befalls: str, *, last: bool) -> dict[str, Any]:
        """One simulated day; returns its record. The `last` is compared in every way."""
        now = midnight(today) + timedelta(hours=7)
        settings = self.settings(now)
        soundlink = Soundlink(settings_from(settings), lambda _: DEMO_KEY)
        self._age_abandoned_downloads(soundlink.landing)
        self.api.set_clock(now)
        record: dict[str, Any] = {"day": today.isoformat(), "befalls": befalls, "success": False}
        if befalls != "closed":
            fails = self._arm(befalls, now)
            ended = in_child(lambda: refresh(settings, now, retry=False), self._fuse(befalls))
            self.api.be_well()
            if ended.answer is None and befalls == "kill":
                record["killed"] = True
                now += timedelta(minutes=10)
                self.api.set_clock(now)
                ended = in_child(lambda: refresh(settings, now, retry=True))
            run = ended.answer
            record |= {
                "killed": record.get("killed", run is None),
                "seconds": ended.seconds,
                "cpu_seconds": ended.cpu_seconds,
                "peak_mb": ended.peak_mb,
                "requests": self.api.requests(),
            }
            if run:
                self._judge(run, befalls, today, fails=fails)
                record |= {"success": run["success"], "start": run["start"], "end": run["end"], "events": run["events"]}
            if run and run["success"]:
                everything = last or len(self.known.ranges) % EVERYTHING_EVERY == EVERYTHING_EVERY - 1
                record |= self._compare(soundlink, run, now, everything=everything)
            if (days := self.dagster_retention_days) is not None:
                bounded = in_child(lambda: keep_storage_bounded(now, days, self._thinned_until))
                self._thinned_until = bounded.answer
                record["upkeep_cpu_seconds"] = bounded.cpu_seconds
        record |= self._sizes()
        self.records.append(record)
        return record

    def _arm(self, befalls: str, now: datetime) -> bool:
        """Let it befall; returns whether it makes a run fail."""
        times = 1 + int(self._random.random() * 3)
        skip = int(self._random.random() * 8)
        shrinks = now.date() - timedelta(days=3)
        match befalls:
            case "outage":
                self.api.go_wrong("html", times=None)
                return True
            case "down":
                self.api.go_wrong("status", status=503, code="unavailable", times=None)
                return True
            case "campaign":
                # The one that was created last is asked for, now and for weeks to come.
                created = [c for c in self.world.campaigns if c.created_at < midnight(now.date())]
                newest = max(created, key=lambda campaign: campaign.created_at)
                self.api.go_wrong(
                    "status", status=404, code="campaign_not_found", campaign=newest.uuid, match="export", times=None
                )
                return True
            case "damaged":
                self.api.go_wrong("short", match="export", times=times, skip=skip)
                self.api.go_wrong("cut", match="export", times=times)
                self.api.go_wrong("encoded", match="export", times=times, ended=False)
                self.api.shrink(shrinks, keep=1, least=LOSES)  # the first answer about each campaign
            case "framed":
                for kind, parameters in self._random.sample(FRAMED, len(FRAMED)):
                    self.api.go_wrong(kind, match="export", times=times, **parameters)
                self.api.go_wrong("encoded", times=None, members=1 + times)  # whatever else is asked
            case "withdrawn":
                self.api.shrink(shrinks, keep=1, least=LOSES, answers=None)
                self.known.withdrawn[now.date()] = Shrinking(shrinks, keep=1, least=LOSES, answers=None)
            case "unlike":
                self.api.shrink(shrinks, keep=1, least=LOSES, answers=2, moving=True)
                return self._would_be_missed(shrinks, now)
            case "limits":
                self.api.go_wrong(
                    "status", status=429, code="rate_limit_exceeded", retry_after=1, times=times, skip=skip
                )
        return False

    def _would_be_missed(self, day: date, now: datetime) -> bool:
        """Whether a campaign has so many rows of a day, now and when it was last asked for, that their loss shows."""
        for (export, campaign, of), moment in self.known.asked.items():
            if of == day:
                had, has = (len(self.world.rows(export, campaign, day, day, at)) for at in (moment, now))
                if had > LOSES / 2 and has >= LOSES:
                    return True
        return False

    def _fuse(self, befalls: str) -> float | None:
        """After how many seconds to kill the run: somewhere in what a good one takes, as far as is known."""
        if befalls not in ("kill", "restart"):
            return None
        lately = [record["seconds"] for record in self.records if record["success"]][-10:]
        return (0.1 + 0.9 * self._random.random()) * (statistics.median(lately) if lately else 4.0)

    def _judge(self, run: dict[str, Any], befalls: str, today: date, *, fails: bool) -> None:
        """Runs succeed and checks are green when they should be."""
        assert run["success"] is not fails, f"{today}, {befalls or 'a good day'}: success is {run['success']}"
        for name, severity, metadata in run["red"]:
            self.red[name] += 1
            if name == BY_THE_WALL_CLOCK and run["success"]:
                newest = {value for name, value in metadata.items() if name.startswith("newest complete day")}
                assert newest == {str(today - timedelta(days=1))}, f"{today}: the newest complete day is {newest}"
            elif run["success"]:
                assert severity == "WARN", f"{today}: {name} failed: {metadata}"

    def _compare(self, soundlink: Soundlink, run: dict[str, Any], now: datetime, *, everything: bool) -> dict[str, Any]:
        checking = in_child(
            lambda: hold_against_the_world(soundlink, self.world, self.known, run, now, everything=everything)
        )
        found: Found = checking.answer
        self.known.checksums, self.known.asked = found.checksums, found.asked
        dates = DateRange(date.fromisoformat(run["start"]), date.fromisoformat(run["end"]))
        self.known.ranges.append((dates, now))
        return dict(found.figures)

    def _age_abandoned_downloads(self, landing: Landing) -> None:
        """What a killed run left is swept after a day; files do not grow older by the simulated clock."""
        for path in landing.root.rglob(".*"):
            written = path.stat().st_mtime - 86400
            os.utime(path, (written, written))

    def _sizes(self) -> dict[str, float]:
        data = self.folder / "data"
        return {
            "warehouse_mb": _megabytes(data / "warehouse.duckdb"),
            "published_mb": _megabytes(data / "soundlink.duckdb"),
            "landing_mb": _megabytes(data / "landing"),
            "dagster_mb": _megabytes(self.folder / ".dagster"),
            "dagster_index_mb": _megabytes(self.folder / ".dagster/storage/history/runs/index.db"),
        }


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6
