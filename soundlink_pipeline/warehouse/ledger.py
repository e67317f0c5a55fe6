"""What the ledger knows: questions about deliveries and days, asked over an open connection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class DateStatus:
    """What the ledger knows of one report_date of one export: over all campaigns pulled."""

    report_date: date
    rows: int
    totals: dict[str, float]
    last_pulled_at: datetime | None
    settled: bool
