"""The deliveries loaded by the pipeline, what became of each, and what the oracle says to that."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.landing.deliveries import HashedDelivery
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline_tests.support.deliveries import NOON, arrival
from soundlink_pipeline_tests.trials.fuzzing.damage import DAYS, Damaged
from soundlink_pipeline_tests.trials.fuzzing.oracle import Verdict

# A batch takes a second or two; what takes so long hangs.
_DEADLINE_SECONDS = 120.0
# Making the input small is a kindness; of many failures the first few will do.
_SHRINKING_SECONDS = 15.0
_MOST_SHRUNK = 5
# Where one file of a batch is so, the pipeline reads each alone: they are kept together.
_UNREADABLE = {"not JSON", "not UTF-8", "not an object", "a field is there twice", "no Unicode"}
_UNREADABLE |= {"unknown field of no Unicode", "unknown field too large"}
_NOT_FOR_A_LOG = r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_JSON_TYPE = re.compile(r"(?is)-?[0-9.]+(e[-+]?[0-9]+)?|-?(true|false|nan|inf|infinity)|\{.*\}|\[.*\]")


@dataclass(frozen=True)
class Outcome:
    """What became of a delivery: rows by key as the table has them, or why it was refused."""

    rows: dict[tuple[Any, ...], tuple[Any, ...]] | None
    delivered: int = 0
    unknown_fields: tuple[str, ...] = ()
    ledger: tuple[Any, ...] | None = None
    reason: str = ""


@dataclass
class Loader:
    """A warehouse that is kept open and emptied for every batch. `ways` counts how deliveries were read."""

    connection: duckdb.DuckDBPyConnection
    folder: Path
    ways: Counter[str] = field(default_factory=Counter)
    reports: int = 0

    def outcomes(self, batch: Sequence[Damaged], *, staged: bool) -> dict[int, Outcome]:
        """Load deliveries as one batch, straight into the tables or by the staged way; by seed what became of them."""
        arrivals = {
            item.seed: arrival(
                self.folder, item.data, export=item.export, campaign=item.campaign, dates=DAYS, declared=item.declared
            )
            for item in batch
        }
        # Two deliveries of one campaign and its days are merged one after the other, and all others with them.
        staging = [arrival(self.folder, b"", campaign="twice", dates=DAYS, pulled=NOON.replace(hour=h)) for h in (1, 2)]
        everything = [*arrivals.values(), *(staging if staged else ())]
        try:
            with deadline(self.connection):
                return self._outcomes(arrivals, everything)
        finally:
            for table in ("deliveries", *(name for e in EXPORTS for name in (e.name, f"{e.name}_history"))):
                self.connection.execute(f"truncate {table}")
            for item in everything:
                item.delivery.path.unlink()

    def _outcomes(self, arrivals: dict[int, HashedDelivery], everything: list[HashedDelivery]) -> dict[int, Outcome]:
        result = load_batch(self.connection, EXPORTS, everything)
        refused = {item.delivery.delivery_id: item.reason for item in result.rejected}
        loaded = {item.delivery.delivery_id: item for item in result.loaded}
        assert len(refused) + len(loaded) == len(everything)
        assert not refused.keys() & loaded.keys()
        ledger = {
            row[0]: row[1:]
            for row in self.connection.execute(
                "select delivery_id, rows, inserted + ignored_as_older, subject_id, row_subject_id, export,"
                " unknown_fields from deliveries"
            ).fetchall()
        }
        rows: dict[str, dict[tuple[Any, ...], tuple[Any, ...]]] = {name: {} for name in loaded}
        for export in EXPORTS:
            columns = ", ".join(f"epoch_us({c.name})" if c.type == "TIMESTAMP" else c.name for c in export.columns)
            places = [export.column_names.index(name) for name in export.primary_key]
            for delivery_id, *row in self.connection.execute(
                f"select _delivery_id, {columns} from {export.name}"
            ).fetchall():
                key = tuple(row[place] for place in places)
                assert key not in rows[delivery_id], "a key is there twice"
                rows[delivery_id][key] = tuple(row)
            assert self.connection.execute(f"from {export.name}_history").fetchall() == []
        assert ledger.keys() == loaded.keys()
        return {
            seed: Outcome(rows[name], loaded[name].rows, loaded[name].unknown_fields, ledger[name])
            if (name := item.delivery.delivery_id) in loaded
            else Outcome(None, reason=refused[name])
            for seed, item in arrivals.items()
        }


@contextmanager
def deadline(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupts DuckDB where it does not come to an end. Where Python does not, pytest-timeout does."""
    timer = threading.Timer(_DEADLINE_SECONDS, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# The comparison


def disagreement(item: Damaged, said: Verdict, found: Outcome) -> str | None:
    """Where what became of a delivery is not what the oracle says."""
    if found.rows is None:
        if said.kind == "loaded":
            return "refused, but keeps every rule"
        # Operators read it in logs, UI and alerts: no control characters, line ends or turned writing of the vendor's.
        fit = found.reason and not re.search(_NOT_FOR_A_LOG, found.reason)
        return None if fit else "refused without a reason that is a line of text"
    if said.rows is None:
        return "loaded, but breaks a rule"
    if found.rows.keys() != said.rows.keys():
        return "other keys"
    for key, cells in said.rows.items():
        for name, due, got in zip(item.export.column_names, cells, found.rows[key], strict=True):
            if got not in due if isinstance(due, frozenset) else (got != due or type(got) is not type(due)):
                return f"another {name}"
    campaign = next(
        (cells[item.export.column_names.index(item.export.id_column)] for cells in said.rows.values()), None
    )
    unknown = found.unknown_fields
    if found.delivered != said.delivered:
        return "another number of rows"
    # Of a large delivery only both ends are looked through for new fields (DECISIONS.md).
    if unknown != said.unknown_fields and not (len(item.data) > 1 << 20 and {*unknown} <= {*said.unknown_fields}):
        return "other unknown fields"
    if found.ledger != (said.delivered, said.delivered, item.campaign, campaign, item.export.name, list(unknown)):
        return "another ledger"
    return None


def trial(loader: Loader, item: Damaged, *, staged: bool) -> tuple[str | None, str]:
    """A delivery alone: the disagreement, and what the pipeline said."""
    try:
        found = loader.outcomes([item], staged=staged)[item.seed]
    except Exception as error:  # whatever it is, it is a crash
        return f"crash: {type(error).__name__}", f"{type(error).__name__}: {error}"
    return disagreement(item, item.verdict, found), found.reason or str(found)


def smallest(item: Damaged, still: Callable[[Damaged], bool]) -> Damaged:
    """The delivery with lines, then ever smaller pieces of bytes left out, as long as it still disagrees."""
    until = time.monotonic() + _SHRINKING_SECONDS
    item = next((made for made in [replace(item, declared=None)] if still(made)), item)
    size = max(1, len(item.data) // 2)
    while size:
        at = 0
        while at < len(item.data) and time.monotonic() < until:
            made = replace(item, data=item.data[:at] + item.data[at + size :])
            if still(made):
                item = made
            else:
                at += size
        size //= 2
    return item


def report(loader: Loader, item: Damaged, staged: bool, what: str) -> str:
    """Everything that is needed to see what went wrong, and to try it again."""
    alone, _ = trial(loader, item, staged=staged)
    loader.reports += 1
    shown = item
    if alone is not None and loader.reports <= _MOST_SHRUNK:
        shown = smallest(item, lambda made: trial(loader, made, staged=staged)[0] == alone)
    said = shown.verdict
    return "\n".join((
        f"seed {item.seed} ({', '.join(item.kinds)}), {'staged' if staged else 'straight'}: {what}",
        f"alone: {alone}",
        f"{shown.export.name}, declared {shown.declared}, {len(shown.data)} bytes: {shown.data[:3000]!r}",
        f"oracle: {said.kind}, {said.why or said.open or ''} {str(said.rows)[:1500] if said.rows is not None else ''}",
        f"pipeline: {trial(loader, shown, staged=staged)[1][:2500]}",
    ))  # fmt: skip


def disagreements(loader: Loader, batch: Sequence[Damaged], *, staged: bool) -> list[str]:
    """Reports of a batch, none if all is well; a batch that fails as a whole is gone through one by one."""
    try:
        found = loader.outcomes(batch, staged=staged)
    except Exception as error:
        alone = [report(loader, i, staged, "crash") for i in batch if trial(loader, i, staged=staged)[0]]
        return alone or [f"crash of a batch, of none alone: {error!r}; seeds {[item.seed for item in batch]}"]
    return [
        report(loader, item, staged, what)
        for item in batch
        if (what := disagreement(item, item.verdict, found[item.seed])) is not None
    ]


def _looks_like_json(item: Damaged) -> bool:
    """Whether a text looks like another JSON type: the pipeline reads its whole batch a second time."""
    texts = [cell for row in (item.verdict.rows or {}).values() for cell in row[6:] if isinstance(cell, str)]
    return any(_JSON_TYPE.fullmatch(text) for text in texts)


def in_batches(rng: Random, items: Sequence[Damaged]) -> Iterator[list[Damaged]]:
    """Batches of like deliveries, so that each way a row can go is gone by many; and some of all sorts."""
    sorts: dict[str, list[Damaged]] = {}
    for item in items:
        said = item.verdict
        sort = "unreadable" if {said.why, *said.open} & _UNREADABLE else said.kind
        if said.rows is not None and len(said.rows) < said.delivered:
            sort = "key twice"
        elif sort == "loaded" and _looks_like_json(item):
            sort = "doubtful"
        sorts.setdefault("mixed" if rng.random() < 0.02 else sort, []).append(item)
    for sort, alike in sorts.items():
        left = list(alike)
        while left:
            size = rng.choice((5, 10)) if sort == "mixed" else rng.choice((1, 20, 200, 200, 300, 300, 300))
            batch, left = left[:size], left[size:]
            # Rows of one campaign would be merged; that is another test's subject.
            of_campaign = {campaign_of(item): item for item in batch}
            yield list(of_campaign.values())
            yield from ([item] for item in batch if of_campaign[campaign_of(item)] is not item)


def campaign_of(item: Damaged) -> Any:
    rows = item.verdict.rows or {}
    return next((cells[item.export.column_names.index(item.export.id_column)] for cells in rows.values()), item.seed)
