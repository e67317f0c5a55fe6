"""The accounts file: TOML, one table `[accounts.NAME]` for each account, and every way in which it may be wrong.

No secret is in it: it names the environment variables that hold them. No value of it is shown in an error, since a
secret may have been pasted there.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from soundlink_pipeline.settings.accounts import (
    API_KEY,
    Account,
    AuthSetting,
    auth_of,
    check_has_begun,
    day_of,
    is_one_id,
)
from soundlink_pipeline.settings.toml_lines import TomlPath, TooMuch, lines_of

_MOST_REQUESTS = 1_000_000
# Fit for a folder, a file and a Dagster tag, on every system.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
# Capitals, and no long word: what is pasted there by mistake, a secret, is no such name.
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]{0,15}(_[A-Z0-9]{1,16})*")
# What systems, shells and Dagster have set for themselves. Any other variable may hold a secret, which has no form that
# would tell it.
_OF_THE_SYSTEM = re.compile(
    "PATH|HOME|USER|LOGNAME|SHELL|SHLVL|PWD|OLDPWD|TMPDIR|TEMP|TMP|TERM|COLUMNS|LINES|EDITOR|VISUAL|PAGER|DISPLAY|MAIL"
    "|HOSTNAME|LANG|LANGUAGE|TZ|LC_(ALL|COLLATE|CTYPE|MESSAGES|MONETARY|NUMERIC|TIME)|PYTHONPATH|VIRTUAL_ENV"
    "|DAGSTER_HOME"
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def read_accounts(file: Path, defaults: Account, *, today: date, settings: Collection[str] = ()) -> tuple[Account, ...]:
    """The accounts of a TOML file, in its order; what one does not set is that of `defaults`.

    `today` is the day in UTC. `settings` are the variables that the pipeline itself reads, which hold no key.

    Raises ValueError for a file that cannot be read, and for the first thing in it that cannot be: one sentence with
    file and line. Whether the variables are set is not looked at: definitions load without secrets.
    """
    text = _text_of(file)
    try:
        found = tomllib.loads(text)
        lines = lines_of(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file}, line {_line_in(error, text)}: {_problem_in(error)}") from None
    except (ValueError, RecursionError, TooMuch):  # a number of thousands of digits, tables in tables in tables
        raise ValueError(f"{file}, line {_line_of_too_much(text)}: this is not TOML that can be read") from None
    return _Reader(file, lines, defaults, today, settings).accounts(found)


def is_account_name(text: str) -> bool:
    """Whether an account may have this name: it is fit for a folder and a file."""
    return _NAME.fullmatch(text) is not None


class _Reader:
    """The checks of one file."""

    def __init__(
        self, file: Path, lines: Mapping[TomlPath, int], defaults: Account, today: date, settings: Collection[str]
    ) -> None:
        self._file = file
        self._lines = lines
        self._defaults = defaults
        self._today = today
        self._settings = settings

    def accounts(self, found: Mapping[str, Any]) -> tuple[Account, ...]:
        for name in found:
            if name != "accounts":
                raise self._error((name,), f"{_shown(name)} is no setting; accounts are tables [accounts.NAME]")
        tables = found.get("accounts", {})
        if not isinstance(tables, dict):
            raise self._error(("accounts",), "accounts must be tables [accounts.NAME]")
        if not tables:
            raise self._error(("accounts",), "no account is named; each is a table [accounts.NAME]")
        accounts: list[Account] = []
        for name, table in tables.items():
            account = self._account(name, table)
            for other in accounts:
                self._compare(account, other)
            accounts.append(account)
        return tuple(accounts)

    def _account(self, name: str, table: object) -> Account:
        if not _NAME.fullmatch(name) or _is_like_a_key(name):
            raise self._error(
                ("accounts", name),
                "an account's name must be 1 to 63 letters (A to Z), digits, - and _, begin with a letter or a digit,"
                " and be no key",
            )
        if not isinstance(table, dict):
            raise self._error(("accounts", name), f"account {name} must be a table [accounts.{name}]")
        values = {setting: self._value(name, setting, value) for setting, value in table.items()}
        self._check_credential(name, values)
        if values.get("start_date", self._defaults.start_date) < self._defaults.start_date:
            raise self._wrong(
                name,
                "start_date",
                f"is before SOUNDLINK_START_DATE, the first partition ({self._defaults.start_date}): set that to an"
                " earlier day, too",
            )
        secret = "client_secret_env" if "client_id" in values else "key_env"
        if values[secret] in self._settings:
            raise self._wrong(name, secret, f"names {values[secret]}, a setting of the pipeline and no secret of yours")
        if "client_id" in values:
            values["auth"] = "bearer"  # as tokens are sent
        account = replace(
            self._defaults,
            name=name,
            file=str(self._file),
            place=self._place(("accounts", name, secret)),
            notice=self._notice(name, table),
            **values,
        )
        if "start_date" in values:
            try:
                check_has_begun(account.start_date, self._today)
            except ValueError as error:
                raise self._wrong(name, "start_date", str(error)) from None
        if "requests_per_minute" in values and account.requests_per_minute > account.requests_per_hour:
            raise self._wrong(
                name, "requests_per_minute", f"is greater than its requests_per_hour ({account.requests_per_hour})"
            )
        return account

    def _notice(self, name: str, table: Mapping[str, Any]) -> str:
        written = table.get("organization_id", "")
        if written == written.lower():
            return ""
        return str(
            self._wrong(
                name, "organization_id", "is not in lower case, as Soundlink's ids are; it is read as if it were"
            )
        )

    def _value(self, name: str, setting: str, value: object) -> Any:
        parse = SETTINGS.get(setting)
        if parse is None:
            raise self._error(
                ("accounts", name, setting),
                f"{_shown(setting)} of account {name} is no setting; there are {', '.join(SETTINGS)}",
            )
        try:
            return parse(value)
        except ValueError as error:
            raise self._wrong(name, setting, str(error)) from None

    def _check_credential(self, name: str, values: Mapping[str, Any]) -> None:
        """Whether an account has one credential, and all that belongs to it."""
        table = ("accounts", name)
        if ("key_env" in values) == ("client_id" in values):
            problem = "has both key_env and client_id" if "key_env" in values else "has neither key_env nor client_id"
            raise self._error(table, f"account {name} {problem}: key_env is for a key, client_id for OAuth")
        if "key_env" in values and "client_secret_env" in values:
            raise self._wrong(name, "client_secret_env", "goes with client_id, not with key_env")
        if "client_id" in values:
            for needed in ("client_secret_env", "organization_id"):
                if needed not in values:
                    raise self._error(table, f"account {name} has client_id, and so needs {needed}, too")
            if "auth" in values:
                raise self._wrong(name, "auth", "is for keys; with client_id the token is always sent as Bearer")

    def _compare(self, account: Account, other: Account) -> None:
        """Whether two accounts can stand beside each other; `other` is the earlier one."""
        name = account.name
        if name.casefold() == other.name.casefold():
            raise self._error(
                ("accounts", name), f"accounts {other.name} and {name} differ in upper and lower case only"
            )
        if account.organization_id and account.organization_id == other.organization_id:
            raise self._wrong(name, "organization_id", f"is that of account {other.name}, too")
        same_client = account.client_id is not None and account.client_id == other.client_id
        if account.secret_env == other.secret_env and not same_client:
            setting = "client_secret_env" if account.client_id else "key_env"
            raise self._wrong(name, setting, f"names the variable of account {other.name}, too")
        for shared in ("client_secret_env", "requests_per_minute", "requests_per_hour"):
            if same_client and getattr(account, shared) != getattr(other, shared):
                raise self._wrong(
                    name, shared, f"must be that of account {other.name}: one client has one secret and one limit"
                )

    def _wrong(self, name: str, setting: str, problem: str) -> ValueError:
        return self._error(("accounts", name, setting), f"{setting} of account {name} {problem}")

    def _error(self, path: TomlPath, problem: str) -> ValueError:
        return ValueError(f"{self._place(path)}: {problem}")

    def _place(self, path: TomlPath) -> str:
        """File and line of something, or of the nearest table around it."""
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self._lines), None)
        return f"{self._file}, line {self._lines[known] if known else 1}"


# What a setting may be. Each raises ValueError: what must be there, never what is.


def _variable(value: object) -> str:
    if value == API_KEY:
        raise ValueError(f"names {API_KEY}, which must not be set beside this file: give the variable another name")
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValueError(
            "must be the name of an environment variable: capitals, digits and _, such as LABEL_A_KEY (what is there is"
            " not shown: it may be a secret)"
        )
    if _OF_THE_SYSTEM.fullmatch(value):
        raise ValueError(f"names {value}, which holds no secret: name the variable that does, such as LABEL_A_KEY")
    return value


def _client_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,200}", value) or _is_like_a_key(value):
        raise ValueError("must be the id of an OAuth client: text without blanks, and no key")
    return value


def _organization(value: object) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value.lower()):
        raise ValueError("must be a UUID such as a7ac3173-2f71-4e79-921f-d15d7112dd11")
    return value.lower()


def _ids(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(one, str) and one.strip() and not _is_like_a_key(one.strip()) for one in value
    ):
        raise ValueError('must be a list of ids, each in quotes, such as ["camp_abc123"]')
    ids = tuple(dict.fromkeys(one.strip() for one in value))
    if not all(map(is_one_id, ids)):
        raise ValueError('has an id with a comma or a blank in it: put each id in quotes of its own, as in ["a", "b"]')
    return ids


def _positive(value: object) -> int:
    if type(value) is not int or not 1 <= value <= _MOST_REQUESTS:
        raise ValueError(f"must be a whole number from 1 to {_MOST_REQUESTS}")
    return value


def _day(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    try:
        return day_of(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be a day such as 2026-01-01") from None


def _auth(value: object) -> AuthSetting:
    return auth_of(value if isinstance(value, str) else "")


SETTINGS: dict[str, Callable[[object], Any]] = {
    "key_env": _variable,
    "client_id": _client_id,
    "client_secret_env": _variable,
    "organization_id": _organization,
    "campaign_ids": _ids,
    "soundlink_ids": _ids,
    "requests_per_minute": _positive,
    "requests_per_hour": _positive,
    "start_date": _day,
    "auth": _auth,
}


def _is_like_a_key(text: str) -> bool:
    return text.startswith("sk_")


def _shown(name: str) -> str:
    """The name of something unknown, unless it may be a secret or is no name."""
    return name if re.fullmatch(r"[A-Za-z_-]{1,30}", name) and not _is_like_a_key(name) else "what is there"


def _text_of(file: Path) -> str:
    try:
        if file.exists() and not file.is_file():
            raise ValueError(f"{file} cannot be read: it is not a file")
        content = file.read_bytes().removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}, line {line}: this is not text in UTF-8; save it as UTF-8 in an editor") from None


def _line_in(error: tomllib.TOMLDecodeError, text: str) -> int:
    line = re.search(r"at line (\d+)", str(error))
    return int(line[1]) if line else text.rstrip().count("\n") + 1  # else it is at the end


def _line_of_too_much(text: str) -> int:
    """Where a statement begins that the parser cannot bear; the first line, if it is all of them together."""
    try:
        lines_of(text)
    except TooMuch as error:
        return error.line
    return 1


def _problem_in(error: tomllib.TOMLDecodeError) -> str:
    """What tomllib says, without the place and without any text of the file."""
    problem = re.sub(r"\(at [^()]*\)$|\('[^()]*\)|'[^']*\w[^']*'", "", str(error))
    return f"this is not TOML: {' '.join(problem.split())}"
