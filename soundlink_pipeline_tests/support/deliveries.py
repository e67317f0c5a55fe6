"""Landed deliveries made by hand: NDJSON files built on the vendor's documented sample lines, ready to be loaded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery, Listing
from soundlink_pipeline.loading.batch import BatchResult, load_batch
from soundlink_pipeline.loading.listing import save_listing
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline.warehouse.unknown_fields import UNKNOWN_FIELDS

FIXTURES = Path(__file__).parents[1] / "fixtures"
APRIL = DateRange(date(2026, 4, 1), date(2026, 4, 30))
NOON = datetime(2026, 5, 23, 12, tzinfo=UTC)
Row = dict[str, Any]
_numbers = itertools.count(1)


def sample_line(export: Export) -> bytes:
    """The line that the vendor's documentation shows, with its line end."""
    return (FIXTURES / f"{export.name}.ndjson").read_bytes()


def row(export: Export = CAMPAIGN_COUNTRY_DAILY, **changes: Any) -> Row:
    """The documented row, with other values; `...` leaves a field out."""
    values = json.loads(sample_line(export)) | changes
    return {name: value for name, value in values.items() if value is not ...}


def ndjson(rows: Iterable[Row]) -> bytes:
    return b"".join(json.dumps(item, ensure_ascii=False).encode() + b"\n" for item in rows)


def arrival(
    folder: Path,
    rows: bytes | Sequence[Row],
    *,
    export: Export = CAMPAIGN_COUNTRY_DAILY,
    campaign: str = "camp_1",
    dates: DateRange = APRIL,
    pulled: datetime = NOON,
    server: bool = True,
    declared: int | None = None,
    loaded: int | None = None,
    run_id: str = "run-1",
    account: str = DEFAULT_ACCOUNT,
) -> HashedDelivery:
    """A delivery landed in `folder`: of the bytes given, or of rows written as NDJSON."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{next(_numbers)}.ndjson"
    path.write_bytes(rows if isinstance(rows, bytes) else ndjson(rows))
    delivery = Delivery(
        export=export.name,
        subject_id=campaign,
        dates=dates,
        requested_at=pulled,
        received_at=pulled,
        server_date=pulled if server else None,
        declared_rows=declared,
        run_id=run_id,
        path=path,
        loaded=loaded,
        account=account,
    )
    return HashedDelivery.of(delivery)


def load(warehouse: NativeFile, *arrivals: HashedDelivery) -> BatchResult:
    """Load one batch."""
    with warehouse.write() as connection:
        return load_batch(connection, warehouse.exports, arrivals)


def refusal(result: BatchResult) -> str:
    """The reason of the only delivery that was rejected."""
    assert len(result.rejected) == 1, result
    return result.rejected[0].reason


def save(warehouse: NativeFile, listing: Listing, subject: Subject = CAMPAIGN) -> int:
    with warehouse.write() as connection:
        return save_listing(connection, subject, listing)


@contextmanager
def ledger(warehouse: NativeFile) -> Iterator[Ledger]:
    with warehouse.read() as connection:
        yield Ledger(connection)


def query(warehouse: NativeFile, sql: str) -> list[tuple[Any, ...]]:
    with warehouse.read() as connection:
        return connection.execute(sql).fetchall()


def snapshot(connection: duckdb.DuckDBPyConnection, exports: Iterable[Export] = EXPORTS) -> dict[str, list[Any]]:
    """What must not depend on the order of loading."""
    found = {}
    for export in exports:
        columns = ", ".join(
            (*export.column_names, "_pulled_at", "_delivery_id", "_last_seen_delivery_id", UNKNOWN_FIELDS)
        )
        found[export.name] = connection.execute(f"select {columns} from {export.name} order by all").fetchall()
    for table in ("vanished_rows", "report_date_status"):
        found[table] = connection.execute(f"select * from {table} order by all").fetchall()
    found["speaks"] = connection.execute("select delivery_id, speaks_for from deliveries order by all").fetchall()
    return found
