"""The settings a user may change, with their defaults, and how they are read from environment variables.

Secrets, which are keys, the secrets of OAuth clients and the URLs of receivers, are not among them: they are read when
they are needed, and kept nowhere. The URLs are checked here with the settings, so that every command refuses a bad one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from soundlink_pipeline.settings.accounts import (
    API_KEY,
    Account,
    AuthSetting,
    auth_of,
    check_has_begun,
    day_of,
    is_one_id,
)
from soundlink_pipeline.settings.export_target import Timestamps, export_target_of, timestamps_of
from soundlink_pipeline.settings.receivers import RECEIVER_SETTINGS, receivers_of

# Of the project, if it has one; else the one that is installed with the package.
SQL_FOLDER = Path("dbt_like_sql")
# The file of accounts that is read without a setting: of the project folder, as .env is.
ACCOUNTS_FILE = Path("accounts.toml")
# What an accounts file says for each account. Beside one, whose is it?
_NOT_BESIDE_ACCOUNTS = (API_KEY, "SOUNDLINK_AUTH", "SOUNDLINK_CAMPAIGN_IDS")
# Of each currency a price in it.
Prices = tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the API is, what to pull from it, how often, and where to keep it.

    `campaign_ids` empty means every campaign the key sees. `start_date` is the first partition. `schedule` is a cron
    expression in UTC. Landed files are kept for `landing_retention_days` after their pull, what Dagster stores of its
    runs for `dagster_retention_days`. `sql_dir` is the folder of SQL models: `dbt_like_sql` of the working directory,
    if there is one, goes before the one of the package. `ui_url` is where people reach the Dagster UI: alerts link to
    it. `max_cost_per_follower` and `max_cost_per_listener` are the limits of alerts for marketers, by currency; under
    "" that of every other one. `export_to` is the folder, from the root on, or the bucket that Parquet is exported to
    after each publication; None for none. `accounts` are those of the accounts file; without one there is `default`,
    made of the other settings.
    """

    base_url: str = "https://api.getsoundlink.com"
    auth: AuthSetting = "auto"
    campaign_ids: tuple[str, ...] = ()
    data_dir: Path = Path("data")
    sql_dir: Path = Path(__file__).parents[2] / SQL_FOLDER  # beside the package: in a checkout and where installed
    start_date: date = date(2026, 1, 1)
    requests_per_minute: int = 60
    requests_per_hour: int = 600
    landing_retention_days: int = 400
    dagster_retention_days: int = 90
    schedule: str = "0 7 * * *"
    ui_url: str = "http://127.0.0.1:3000"
    max_cost_per_follower: Prices = ()
    max_cost_per_listener: Prices = ()
    export_to: str | None = None
    export_timestamps: Timestamps = "utc"
    accounts: tuple[Account, ...] = ()

    def __post_init__(self) -> None:
        # Made anew also where other settings are replaced. No file names this variable.
        if all(account.key_env == API_KEY for account in self.accounts):
            default = Account(
                key_env=API_KEY,
                campaign_ids=self.campaign_ids,
                requests_per_minute=self.requests_per_minute,
                requests_per_hour=self.requests_per_hour,
                start_date=self.start_date,
                auth=self.auth,
            )
            object.__setattr__(self, "accounts", (default,))


T = TypeVar("T")
CRON_FORM = "must be a cron expression of five fields, such as 0 7 * * * (UTC)"
# The greatest number in each field: minute, hour, day of the month, month, day of the week.
_CRON_LIMITS = (59, 23, 31, 12, 7)


def unreadable(name: str, text: str, why: object) -> ValueError:
    """The error for a setting that cannot be read, in one sentence that shows no secret."""
    # Not a key that was pasted into the wrong line, nor a password.
    hidden = "sk_" in text or "@" in text
    reason = "what is there (not shown: it looks like a secret)" if hidden else f"{text!r}: {why}"
    return ValueError(f"the setting {name} cannot be read from {reason}")


def settings_from(environment: Mapping[str, str], *, with_accounts: bool = True, today: date | None = None) -> Settings:
    """The settings as environment variables say, defaults for those not set or empty; the accounts file, if wanted.

    `today` is the day in UTC, by the clock unless it is given.

    Raises ValueError for the first one that cannot be read, and for a proxy that requests would need and that cannot be
    used: one sentence that names it. Of the schedule only the form is checked: which cron expressions it takes, Dagster
    alone knows (`orchestration/schedules.py`).
    """

    today = today or datetime.now(UTC).date()
    names = set(RECEIVER_SETTINGS)  # of all settings

    def read(name: str, default: T, parse: Callable[[str], T]) -> T:
        names.add(name)
        text = environment.get(name, "").strip()
        try:
            return parse(text) if text else default
        except ValueError as error:
            raise unreadable(name, text, error) from None

    default = Settings()
    receivers = [of for name in RECEIVER_SETTINGS for of in receivers_of(name, environment.get(name))]
    base_url = read("SOUNDLINK_BASE_URL", default.base_url, _base_url)
    _check_proxy(environment, [base_url, *(receiver.url for receiver in receivers if receiver.is_webhook)])
    settings = Settings(
        base_url=base_url,
        auth=read("SOUNDLINK_AUTH", default.auth, auth_of),
        campaign_ids=read("SOUNDLINK_CAMPAIGN_IDS", default.campaign_ids, _list),
        data_dir=_data_dir(read("SOUNDLINK_DATA_DIR", default.data_dir, _folder), environment),
        sql_dir=read("SOUNDLINK_SQL_DIR", _own(default.sql_dir), _existing_folder).absolute(),
        start_date=read("SOUNDLINK_START_DATE", default.start_date, lambda text: _first_day(text, today)),
        requests_per_minute=read("SOUNDLINK_REQUESTS_PER_MINUTE", default.requests_per_minute, _positive),
        requests_per_hour=read("SOUNDLINK_REQUESTS_PER_HOUR", default.requests_per_hour, _positive),
        landing_retention_days=read("SOUNDLINK_LANDING_RETENTION_DAYS", default.landing_retention_days, _positive),
        dagster_retention_days=read("SOUNDLINK_DAGSTER_RETENTION_DAYS", default.dagster_retention_days, _positive),
        schedule=read("SOUNDLINK_SCHEDULE", default.schedule, _cron),
        ui_url=read("SOUNDLINK_UI_URL", default.ui_url, _ui_url),
        max_cost_per_follower=read("SOUNDLINK_MAX_COST_PER_FOLLOWER", default.max_cost_per_follower, _prices),
        max_cost_per_listener=read("SOUNDLINK_MAX_COST_PER_LISTENER", default.max_cost_per_listener, _prices),
        export_to=read("SOUNDLINK_EXPORT_TO", default.export_to, export_target),
        export_timestamps=read("SOUNDLINK_EXPORT_TIMESTAMPS", default.export_timestamps, timestamps_of),
    )
    if not with_accounts:
        return settings
    file = read("SOUNDLINK_ACCOUNTS", ACCOUNTS_FILE if ACCOUNTS_FILE.exists() else None, _existing)
    if file is None:
        return settings
    _check_none_beside(file, environment)
    from soundlink_pipeline.settings.accounts_file import read_accounts  # noqa: PLC0415

    defaults = replace(settings.accounts[0], key_env=None)
    return replace(settings, accounts=read_accounts(file, defaults, today=today, settings=names))


def _check_none_beside(file: Path, environment: Mapping[str, str]) -> None:
    """Raises ValueError where the environment says of one account what is in the file."""
    for name in _NOT_BESIDE_ACCOUNTS:
        if environment.get(name, "").strip():
            raise ValueError(
                f"the setting {name} must not be set beside the file {file}, which says it for each account"
            )


# What is not set need not be checked: without httpx the definitions load a fifth faster.


def _base_url(text: str) -> str:
    from soundlink_pipeline.settings.urls import checked_base_url  # noqa: PLC0415

    return str(checked_base_url(text))


def _ui_url(text: str) -> str:
    from soundlink_pipeline.settings.urls import checked_ui_url  # noqa: PLC0415

    return checked_ui_url(text)


def _check_proxy(environment: Mapping[str, str], urls: Iterable[str]) -> None:
    if not any(name.lower() in ("https_proxy", "all_proxy") for name in environment):
        return
    import httpx  # noqa: PLC0415

    from soundlink_pipeline.settings.proxies import proxy_for  # noqa: PLC0415

    for url in urls:
        proxy_for(httpx.URL(url), environment)


def _cron(text: str) -> str:
    fields = text.split()
    if text.startswith("@"):
        return text
    numbers = [[int(number) for number in re.findall(r"(?<![/#\d])\d{1,9}", field)] for field in fields]
    if len(fields) != len(_CRON_LIMITS) or any(
        number > most for found, most in zip(numbers, _CRON_LIMITS, strict=True) for number in found
    ):
        raise ValueError(CRON_FORM)
    return text


def _first_day(text: str, today: date) -> date:
    day = day_of(text)
    check_has_begun(day, today)
    return day


def _prices(text: str) -> Prices:
    """Of `0.50`, or `0.50 EUR, 80 JPY`, or both: `0.50, 80 JPY`."""
    prices = {}
    for part in text.split(","):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(?: ([A-Z]{3}))?", part.strip(), re.ASCII)
        if not found or not Decimal(found[1]) or (found[2] or "") in prices:
            raise ValueError("must be a number above 0 such as 0.50, or one for each currency: 0.50 EUR, 80 JPY")
        prices[found[2] or ""] = Decimal(found[1])
    return tuple(prices.items())


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


# What DuckDB takes for something else in a path: after a ? in a database's name come options, \ is a /, and a name with
# *, ? or [ is read as every file that it could mean.
_NOT_IN_DATA_DIR = "?*[\\"


def _data_dir(folder: Path, environment: Mapping[str, str]) -> Path:
    """The data folder from the root on. Raises ValueError where no database can be kept there."""
    absolute = str(folder.absolute())
    found = [sign for sign in _NOT_IN_DATA_DIR if sign in absolute]
    reason = f"it has a {found[0]} in it" if found else ""
    if any("\ud800" <= letter <= "\udfff" for letter in absolute):  # bytes that Python could not read as UTF-8
        reason = "it is not written in UTF-8"
    if reason:
        given = environment.get("SOUNDLINK_DATA_DIR", "").strip() or str(folder)
        raise unreadable("SOUNDLINK_DATA_DIR", given, f"DuckDB keeps no file in {absolute!r}, since {reason}")
    return Path(absolute)


def export_target(text: str, here: Path | None = None) -> str:
    """A target of an export; a folder from the root on, where it is relative from `here`. Raises ValueError."""
    target = export_target_of(text)
    return target if "://" in target else str((here or Path.cwd()) / _folder(target))


def _own(installed: Path) -> Path:
    """The project's own SQL folder, that of the working directory, goes before the installed one."""
    return SQL_FOLDER if SQL_FOLDER.is_dir() else installed


def _existing_folder(text: str) -> Path:
    folder = _folder(text)
    if not folder.is_dir():
        raise ValueError("there is no such folder")
    return folder


def _existing(text: str) -> Path:
    file = _folder(text)
    if not file.exists():
        raise ValueError("there is no such file")
    return file


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~somebody, who is not known here
        raise ValueError(str(error).rstrip(".")) from None


def _list(text: str) -> tuple[str, ...]:
    ids = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not all(map(is_one_id, ids)):
        raise ValueError("an id has no blank in it; between ids is a comma")
    return ids
