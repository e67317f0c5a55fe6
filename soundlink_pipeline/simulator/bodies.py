"""The exports' answers as bytes: encoded on demand, kept where a benchmark measures its client and not this server."""

from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path

from soundlink_pipeline.simulator.clock import SimClock
from soundlink_pipeline.simulator.encoding import ndjson
from soundlink_pipeline.simulator.organizations import Organization
from soundlink_pipeline.simulator.shrinking import ShrinkingDays
from soundlink_pipeline.simulator.snapshot import edition
from soundlink_pipeline.simulator.subjects import Thing


class Bodies:
    """``kept``: encode an answer once for as long as its bytes do not change."""

    def __init__(self, *, kept: bool) -> None:
        self.shrinking = ShrinkingDays()
        self._kept = kept
        self._bodies: dict[tuple[object, ...], tuple[bytes, int]] = {}
        self._files: dict[tuple[str, str], tuple[Path, int]] = {}

    def prepare(self, organizations: Iterable[Organization], clock: SimClock, start: date, end: date) -> int:
        """Encode every export of everything for a range as of the clock; returns the bytes now held."""
        self._kept = True
        now = clock.now()
        for organization in organizations:
            for subject, things in organization.world.things.items():
                for thing in things:
                    for export in subject.exports:
                        self.encoded(organization, export.name, thing, start, end, now=now)
        return sum(len(body) for body, _ in self._bodies.values())

    def serve_file(self, export: str, thing: Thing, path: Path, rows: int) -> None:
        """Answer one export of one thing, whatever the range, with a file as it is, streamed from disk."""
        self._files[export, thing.row_id] = (path, rows)

    def encoded(
        self,
        organization: Organization,
        export: str,
        thing: Thing,
        start: date,
        end: date,
        *,
        now: datetime,
        context: str | None = None,
    ) -> tuple[bytes | Path, int]:
        """The body and how many rows it holds."""
        if file := self._files.get((export, thing.row_id)):
            return file
        world = organization.world
        state = None if world.late_rows else edition(end, now)
        key = (organization.id, export, thing.row_id, start, end, context, state)
        as_prepared = self._kept and not self.shrinking
        if as_prepared and key in self._bodies:
            return self._bodies[key]
        rows = world.rows(export, thing.row_id, start, end, now, engagement_context=context)
        rows = self.shrinking.cut(export, thing.ids, rows)
        encoded = ndjson(rows), len(rows)
        if as_prepared and state is not None:
            self._bodies[key] = encoded
        return encoded
