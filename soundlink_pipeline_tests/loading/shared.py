"""What the tests of loading share: the documented line, and what must be in the tables."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.schema import ExportColumn
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import query, sample_line

BREAKDOWN, ENGAGEMENT = CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
TABLE = "campaign_country_daily"


def utc(text: str) -> datetime:
    """A moment as the tables hold it: in UTC, naive."""
    return datetime.fromisoformat(text)


def countries(warehouse: NativeFile) -> list[str]:
    return [code for (code,) in query(warehouse, f"select country_code from {TABLE} order by 1")]


def expected(column: ExportColumn, value: Any) -> Any:
    """What a value that Python's json has read (floats as Decimal) must be in the table."""
    if value is None:
        return None
    if column.type == "DATE":
        return date.fromisoformat(value)
    if column.type == "TIMESTAMP":
        moment = datetime.fromisoformat(value)
        return (moment.astimezone(UTC) if moment.tzinfo else moment).replace(tzinfo=None)
    if column.type == "DECIMAL(18,6)":
        # JSON numbers with a fraction pass through a double, as they do in Python and JavaScript. Half a unit is
        # rounded away from zero.
        exact = Decimal(value) if isinstance(value, int) else Decimal(repr(float(value)))
        return exact.quantize(Decimal("1e-6"), ROUND_HALF_UP, Context(prec=400))
    if column.type == "DOUBLE":
        return float(value)
    return int(value) if column.type == "BIGINT" else value


LINE = sample_line(BREAKDOWN).strip()


def codes(count: int) -> Iterator[str]:
    return (chr(65 + n // 26) + chr(65 + n % 26) for n in range(count))
