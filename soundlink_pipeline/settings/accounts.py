"""The accounts whose exports are pulled: those of a TOML file (`accounts_file.py`), or the one of the settings.

An account is one organization with its credential: a key, or a client of OAuth. No secret is here: an account names the
environment variable that holds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, get_args

AuthSetting = Literal["auto", "x-api-key", "bearer"]

DEFAULT_ACCOUNT = "default"
# The variable of the one account, where no file names accounts.
API_KEY = "SOUNDLINK_API_KEY"


@dataclass(frozen=True, kw_only=True)
class Account:
    """One organization: where its secret is, what to pull of it, from when on, and how often.

    Either `key_env` or `client_id` is set. `key_env` and `client_secret_env` name environment variables.
    `organization_id` is in lower case, as in the rows; None where the file does not say it. `campaign_ids` and
    `soundlink_ids` empty mean all that the credential sees. `file` is the accounts file, empty without one, `place` its
    line that names the secret; `notice` what a run's log says of the account.
    """

    name: str = DEFAULT_ACCOUNT
    key_env: str | None = None
    client_id: str | None = field(default=None, repr=False)
    client_secret_env: str | None = None
    organization_id: str | None = None
    campaign_ids: tuple[str, ...] = ()
    soundlink_ids: tuple[str, ...] = ()
    requests_per_minute: int = 60
    requests_per_hour: int = 600
    start_date: date = date(2026, 1, 1)
    auth: AuthSetting = "auto"
    file: str = field(default="", repr=False, compare=False)
    place: str = field(default="", repr=False, compare=False)
    notice: str = field(default="", repr=False, compare=False)

    @property
    def secret_env(self) -> str:
        """The environment variable that holds the key, or the client's secret."""
        return self.client_secret_env or self.key_env or API_KEY

    def called(self, setting: str) -> str:
        """How sentences name one of its settings: as the file has it, or by the variable where there is no file."""
        return f"{setting} of account {self.name} in {self.file}" if self.file else f"SOUNDLINK_{setting.upper()}"

    @property
    def first_day_setting(self) -> str:
        """How sentences name what sets its first day: the account's own date, or that of all."""
        return f"SOUNDLINK_START_DATE or {self.called('start_date')}" if self.file else "SOUNDLINK_START_DATE"


def check_secrets(accounts: Iterable[Account], read_secret: Callable[[str], str | None]) -> None:
    """Raises ValueError where variables that the accounts file names are missing or empty: each once, with its line.

    The one account of the settings is left to its client.
    """
    missing: dict[str, str] = {}
    for account in accounts:
        if account.place and not (read_secret(account.secret_env) or "").strip():
            missing.setdefault(
                account.secret_env,
                f"{account.place}: account {account.name} needs the environment variable {account.secret_env}, which is"
                " not set or is empty",
            )
    if missing:
        raise ValueError("; ".join(missing.values()))


def day_of(text: str) -> date:
    """The day that a setting says, as YYYY-MM-DD; else ValueError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("a day is written as YYYY-MM-DD") from None


def check_has_begun(day: date, today: date) -> None:
    """Raises ValueError for a first day after `today` (UTC): until then every run would ask for nothing."""
    if day > today:
        raise ValueError(f"is later than today ({today} in UTC)")


def is_one_id(text: str) -> bool:
    """Whether it can be the id of one campaign or soundlink: no comma and no blank is in it."""
    return not re.search(r"[\s,]", text)


def auth_of(text: str) -> AuthSetting:
    """How a key is sent, as a setting says it; else ValueError."""
    for known in get_args(AuthSetting):
        if text.lower() == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"must be one of {', '.join(get_args(AuthSetting))}")
