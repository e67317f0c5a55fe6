"""What a run must know of earlier ones before it asks; the ledger answers it (`Ledger.pulled_so_far`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

# Per export and id (as the API lists it), days.
DaysByRequest = dict[tuple[str, str], set[date]]


@dataclass(frozen=True)
class PulledSoFar:
    """What the ledger knows when a run is planned. Keys are export and id (as the API lists it).

    `done`: days that need not be pulled. `newest_row`: the newest day with rows. `newest_final`: the newest day that
    was pulled after it settled. `final`: the days pulled after they settled, of those that are within the reach of a
    probe on the day after the run's range. `rows_before`: how many rows the newest delivery held that ends before a
    day. `pulled_before`: the names of the exports that were ever pulled; `is_first`: whether no run but this one has
    pulled anything. Per export: `probed_since`, the first of the newest three days up to the range's end with pulls
    that ended where probes do. `probes_made`: how many of the day after the range did.
    """

    done: DaysByRequest = field(default_factory=dict)
    newest_row: Mapping[tuple[str, str], date] = field(default_factory=dict)
    newest_final: Mapping[tuple[str, str], date] = field(default_factory=dict)
    final: Mapping[tuple[str, str], set[date]] = field(default_factory=dict)
    rows_before: Mapping[tuple[str, str, date], int] = field(default_factory=dict)
    pulled_before: frozenset[str] = frozenset()
    is_first: bool = True
    probed_since: Mapping[str, date] = field(default_factory=dict)
    probes_made: int = 0
