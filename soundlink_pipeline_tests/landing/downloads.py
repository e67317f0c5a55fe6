"""Downloads that are complete but have not landed."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.landing.deliveries import Delivery
from soundlink_pipeline.landing.folder import Landing

ASKED = datetime(2026, 3, 1, 6, 0, 0, 123456, tzinfo=UTC)
BODY = '{"campaign_name":"Sunrise\u2028Sunset 🎧"}\n'.encode() * 1000
RUN = "7c6f1f0e-4a53-4d4c-9d3a-6f1e4f0d2b11"


class Crash(BaseException):
    """The machine stops here."""


def arrived(landing: Landing, body: bytes = BODY, **known: Any) -> Delivery:
    """A download that is complete but has not landed."""
    path = landing.temporary_file()
    path.write_bytes(body)
    told: dict[str, Any] = {
        "export": "campaign_country_daily",
        "subject_id": "camp_1",
        "dates": DateRange(date(2026, 2, 1), date(2026, 2, 28)),
        "requested_at": ASKED,
        "received_at": ASKED + timedelta(seconds=2),
        "server_date": ASKED.replace(microsecond=0),
        "declared_rows": 1000,
        "run_id": RUN,
    }
    return Delivery(**{**told, **known}, path=path)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
