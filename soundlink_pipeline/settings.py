"""The settings a user may change, with their defaults; `definitions.py` fills them from the environment.

The API key and the URL for alerts are not among them: they are read when they are needed, and kept nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

AuthSetting = Literal["auto", "x-api-key", "bearer"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the API is, what to ask of it, how often, and where to keep it.

    `campaign_ids` empty means every campaign the key sees. `start_date` is the first partition. `schedule` is a cron
    expression in UTC. Landed files are kept for `landing_retention_days` after their pull. `sql_dir` is the
    folder of SQL models. `ui_url` is where people reach the Dagster UI: alerts link to it.
    """

    base_url: str = "https://api.getsoundlink.com"
    auth: AuthSetting = "auto"
    campaign_ids: tuple[str, ...] = ()
    data_dir: Path = Path("data")
    sql_dir: Path = Path(__file__).parent.parent / "dbt_like_sql"
    start_date: date = date(2026, 1, 1)
    requests_per_minute: int = 60
    requests_per_hour: int = 600
    landing_retention_days: int = 400
    schedule: str = "0 7 * * *"
    ui_url: str = "http://127.0.0.1:3000"
