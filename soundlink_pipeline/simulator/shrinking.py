"""A day that loses rows: answers that look whole, with an X-Row-Count that fits, and hold too little of one day."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import Any


@dataclass
class Shrinking:
    """Of ``day``, answers hold ``keep`` rows only. ``Shrinking(date(2026, 2, 20), keep=3, answers=None)``.

    ``export`` and ``campaign`` (either of its ids, or those of a soundlink) narrow it. ``answers``: how many of them
    about the day, counted for each export and campaign; 1 is a fault that passes, None a loss for good. With
    ``moving`` each answer keeps the rows behind those of the one before, so that no two hold the same. Days of fewer
    than ``least`` rows are spared.
    """

    day: date
    keep: int = 0
    export: str | None = None
    campaign: str | None = None
    answers: int | None = 1
    moving: bool = False
    least: int = 1
    _given: Counter[tuple[str, frozenset[str]]] = field(default_factory=Counter)

    def concerns(self, export: str, campaign_ids: frozenset[str]) -> bool:
        return self.export in (None, export) and (self.campaign is None or self.campaign in campaign_ids)

    def cut(self, export: str, campaign_ids: frozenset[str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        places = [place for place, row in enumerate(rows) if row["report_date"] == self.day.isoformat()]
        given = self._given[export, campaign_ids]
        if len(places) < self.least or (self.answers is not None and given >= self.answers):
            return rows
        self._given[export, campaign_ids] += 1
        first = given * self.keep % len(places) if self.moving else 0
        lost = {*places[:first], *places[first + self.keep :]}
        return [row for place, row in enumerate(rows) if place not in lost]


class ShrinkingDays:
    """The days that shrink, none at first; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Shrinking] = []

    def add(self, shrinking: Shrinking) -> None:
        with self._lock:
            self._armed.append(shrinking)

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()

    def __bool__(self) -> bool:
        return bool(self._armed)

    def cut(self, export: str, campaign_ids: frozenset[str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows that an answer holds, of those that it should."""
        with self._lock:
            for shrinking in self._armed:
                if shrinking.concerns(export, campaign_ids):
                    rows = shrinking.cut(export, campaign_ids, rows)
        return rows
