"""What is installed and how it is set up: packages, settings, definitions, SQL models."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

from soundlink_pipeline.contracts.days import last_closed_day
from soundlink_pipeline.doctor.finding import Finding, fault, first_line, ok, warn
from soundlink_pipeline.doctor.patient import Patient
from soundlink_pipeline.models.build import check_models as bind_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.settings.urls import checked_alert_url

# Read where they are needed, and never shown.
SECRETS = ("SOUNDLINK_API_KEY", "SOUNDLINK_ALERT_URL")
_PACKAGE = "soundlink-pipeline"


def check_versions() -> Iterator[Finding]:
    """Every package the pipeline needs, against the range that its own metadata asks for."""
    yield ok("Python", platform.python_version())
    yield ok(_PACKAGE, metadata.version(_PACKAGE))
    for requirement in map(Requirement, metadata.requires(_PACKAGE) or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, needed = requirement.name, requirement.specifier
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield fault(name, "is not installed", "make install")
            continue
        if not needed.contains(version, prereleases=True):
            says = f"{version} is installed, but {needed} is needed"
            yield fault(name, says, "make install puts the locked version in place")
        elif name in ("dagster", "duckdb"):
            yield ok(name, version)


def check_settings(
    in_file: Mapping[str, str], environment: Mapping[str, str], clock: Callable[[], datetime]
) -> tuple[Patient | None, list[Finding]]:
    """What the settings make of the project, None if Dagster could not load it, and what was found on the way.

    As the commands read them: the environment's, and from `.env` what it leaves out.
    """
    both = {**in_file, **environment}
    key, alert_url = (both.get(name, "").strip() for name in SECRETS)
    rest = warn("everything else", "was not examined: it needs settings and definitions that can be read")
    try:
        with _no_settings():
            from soundlink_pipeline.definitions import build_definitions  # noqa: PLC0415
            from soundlink_pipeline.settings.settings import settings_from  # noqa: PLC0415

        if unreadable := _unreadable(both, settings_from):
            return None, [*unreadable, rest]
        settings = settings_from(both)
        definitions = build_definitions(settings, lambda: None, read_alert_url=lambda: alert_url)
        repository = definitions.get_repository_def()
        repository.load_all_definitions()
    except Exception as error:  # they may break in as many ways as Dagster has rules
        return None, [fault("definitions", f"Dagster cannot load them: {first_line(error)}"), rest]
    found = [ok("settings", "can be read"), ok("definitions", "Dagster can load them")]
    found += _ignored(in_file, environment, settings_from)
    if settings.start_date > last_closed_day(clock()):
        says = f"no day since {settings.start_date} has closed yet, so there is nothing to pull"
        found.append(warn("SOUNDLINK_START_DATE", says, "set an earlier day, or wait for it"))
    return Patient(settings, repository, key, both.get("DAGSTER_HOME", ""), clock), found


@contextmanager
def _no_settings() -> Iterator[None]:
    """An environment without settings: with one that cannot be read, the definitions could not even be imported."""
    held = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SOUNDLINK_")}
    try:
        yield
    finally:
        os.environ.update(held)


def _unreadable(both: Mapping[str, str], settings_from: Callable[[Mapping[str, str]], object]) -> list[Finding]:
    """All of them, so each is read alone."""
    found = []
    for name, text in sorted(both.items()):
        try:
            settings_from({name: text})
            if name == "SOUNDLINK_ALERT_URL" and text.strip():
                checked_alert_url(text)
        except ValueError as error:
            found.append(fault(name, str(error), "correct it in .env or in the environment"))
    return found


class _Asked(dict[str, str]):
    """An empty environment that notes what it is asked for: so the settings are listed in one place only."""

    def __init__(self) -> None:
        super().__init__()
        self.names = set(SECRETS)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default


def _ignored(
    in_file: Mapping[str, str], environment: Mapping[str, str], settings_from: Callable[[Mapping[str, str]], object]
) -> Iterator[Finding]:
    """What was written down and does not count."""
    asked = _Asked()
    settings_from(asked)
    for name in sorted(name for name in {*in_file, *environment} if name.startswith("SOUNDLINK_")):
        if name not in asked.names:
            yield warn(name, "is not a setting, and is ignored", "is it misspelt? .env.example lists them all")
        elif in_file.get(name) and in_file[name] != environment.get(name, in_file[name]):
            says = "is set differently in .env and in the environment; the environment wins"
            yield warn(name, says, "unset it in the environment, or leave it out of .env")


def check_models(patient: Patient) -> Iterator[Finding]:
    """The SQL models that cannot be built: they cost themselves and what needs them, not the run."""
    project = read_project(patient.settings.sql_dir)
    bind_models(project)
    for problem in project.problems.values():
        where = f"{problem.file}{f', line {problem.line}' if problem.line else ''}"
        fix = "correct the file; until then it is left out, with what needs it"
        yield warn(problem.file.name, f"{where}: {first_line(problem.reason)}", fix)
    yield ok("models", f"{len(project.models)} can be built")
