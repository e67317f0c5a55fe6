"""Whether everything is installed and set up: packages, settings, definitions, SQL models."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

from soundlink_pipeline.contracts.days import last_closed_day
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.doctor.finding import Finding, fault, first_line, ok, warn
from soundlink_pipeline.doctor.project_state import ProjectState
from soundlink_pipeline.doctor.receivers import check_receivers
from soundlink_pipeline.models.binding import load_models
from soundlink_pipeline.models.errors import ModelError, readable
from soundlink_pipeline.settings.receivers import RECEIVER_SETTINGS
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.typed import installing

# Not part of the settings: read only when needed, and never shown.
SECRETS = ("SOUNDLINK_API_KEY", *RECEIVER_SETTINGS)
_PACKAGE = "soundlink-pipeline"


def check_versions() -> Iterator[Finding]:
    """Every package the pipeline needs, against the version range in its metadata."""
    yield ok("Python", platform.python_version())
    yield ok(_PACKAGE, metadata.version(_PACKAGE))
    for requirement in map(Requirement, metadata.requires(_PACKAGE) or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, needed = requirement.name, requirement.specifier
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield fault(name, "is not installed", installing())
            continue
        if not needed.contains(version, prereleases=True):
            message = f"{version} is installed, but the pipeline needs {needed}"
            yield fault(name, message, f"{installing()} puts a version in place that will do")
        elif name in ("dagster", "duckdb"):
            yield ok(name, version)


def check_settings(
    in_file: Mapping[str, str], environment: Mapping[str, str], clock: Callable[[], datetime]
) -> tuple[ProjectState | None, list[Finding]]:
    """The project under these settings (None if Dagster could not load it), and the findings on the way.

    Settings are read as the commands read them: from the environment, and from `.env` those it does not set.
    """
    both = {**in_file, **environment}
    rest = warn("everything else", "not checked: the other checks need valid settings and definitions")
    try:
        today = clock().astimezone(UTC).date()
        if unreadable := _unreadable(both, today):
            return None, [*unreadable, rest]
        settings = settings_from(both, today=today)
        models = load_models(settings.sql_dir, both)
        definitions = build_definitions(settings, lambda _: None, read_receivers=both.get, models=models)
        repository = definitions.get_repository_def()
        repository.load_all_definitions()
    except Exception as error:  # they may break in as many ways as Dagster has rules
        return None, [fault("definitions", f"Dagster cannot load them: {first_line(error)}"), rest]
    found = [ok("settings", "are valid"), ok("definitions", "Dagster can load them")]
    found += [warn("accounts", account.notice) for account in settings.accounts if account.notice]
    found += check_receivers(both)
    found += _ignored(in_file, environment, {account.secret_env for account in settings.accounts})
    if settings.start_date > last_closed_day(clock()):
        message = f"no day since {settings.start_date} has closed yet: there is nothing to pull"
        found.append(warn("SOUNDLINK_START_DATE", message, "set an earlier day, or wait until that day has closed"))
    return ProjectState(settings, repository, models.project, both.get("DAGSTER_HOME", ""), clock, both), found


def _unreadable(both: Mapping[str, str], today: date) -> list[Finding]:
    """A fault for every setting that cannot be read: each is read alone, since the first bad one raises.

    Last the proxy: which variable it comes from, and whether requests need it, the others decide together. And the
    accounts file, which goes by them.
    """
    alone = [(name, {name: text}) for name, text in sorted(both.items()) if name.startswith("SOUNDLINK_")]
    found = list[Finding]()
    for name, environment in [*alone, ("proxy", both), ("accounts", both)]:
        try:
            settings_from(environment, with_accounts=name == "accounts", today=today)
        except ValueError as error:
            if name not in ("proxy", "accounts") or not found:
                where = "the file" if name == "accounts" else ".env"
                found.append(fault(name, str(error), f"correct it in {where} or in the environment"))
    return found


class _Recording(dict[str, str]):
    """An empty environment that records which variables are read: so the settings are listed in one place only."""

    def __init__(self) -> None:
        super().__init__()
        self.names = set(SECRETS)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default


def _ignored(in_file: Mapping[str, str], environment: Mapping[str, str], of_accounts: set[str]) -> Iterator[Finding]:
    """Variables that have no effect: misspelt ones, and those of `.env` that the environment overrides.

    `of_accounts` are those that accounts name.
    """
    known = _Recording()
    settings_from(known)
    for name in sorted(name for name in {*in_file, *environment} if name.startswith("SOUNDLINK_")):
        if name not in known.names | of_accounts:
            yield warn(name, "is not a setting, and is ignored", "check its spelling: .env.example lists all settings")
        elif in_file.get(name) and in_file[name] != environment.get(name, in_file[name]):
            message = "is set differently in .env and in the environment; the environment wins"
            yield warn(name, message, "unset it in the environment, or leave it out of .env")


def check_models(project: ProjectState) -> Iterator[Finding]:
    """The SQL models that cannot be built, the tests that cannot be run, and what of dbt's is not honoured."""
    models = project.models
    for error in models.errors.values():
        yield _warn(error, "correct the file; until then runs skip it and its dependents")
    for test in models.tests:
        if test.error is not None:
            yield _warn(test.error, f"correct the test {test.name} of {test.model}; until then it is not run")
    for notice in dict.fromkeys(models.notices):
        told = ModelError(notice.file, notice.line, notice.reason)
        yield _warn(told, "nothing fails for it; docs/sql-models.md says what is honoured")
    yield ok("models", f"{len(models.models)} can be built")


def _warn(error: ModelError, fix: str) -> Finding:
    return warn(readable(error.file.name), f"{error.place}: {first_line(readable(error.reason))}", fix)
