"""The examination: every check in order; what breaks one is a finding itself, and no text leaves with a secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from soundlink_pipeline.doctor.api import check_api
from soundlink_pipeline.doctor.dagster_state import check_dagster
from soundlink_pipeline.doctor.data import check_data
from soundlink_pipeline.doctor.finding import Finding, fault, first_line
from soundlink_pipeline.doctor.installation import SECRETS, check_models, check_settings, check_versions
from soundlink_pipeline.doctor.storage import check_data_folder, check_warehouse

_CHECKS = {
    "SQL models": check_models,
    "Data folder": check_data_folder,
    "Warehouse": check_warehouse,
    "API": check_api,
    "Dagster": check_dagster,
    "Data": check_data,
}


def examine(
    in_file: Mapping[str, str],
    environment: Mapping[str, str],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[tuple[str, Iterator[Finding]]]:
    """Every group of findings, in order; each is found while it is read.

    `in_file` is what `.env` says, `environment` what the process was given, which wins.
    """
    both = {**in_file, **environment}
    secrets = [secret for name in SECRETS if (secret := both.get(name, "").strip())]
    yield "Installation", _told("Installation", check_versions(), secrets)
    patient, findings = check_settings(in_file, environment, clock)
    yield "Settings", _told("Settings", findings, secrets)
    if patient is not None:
        for title, check in _CHECKS.items():
            yield title, _told(title, check(patient), secrets)


def _told(title: str, findings: Iterable[Finding], secrets: list[str]) -> Iterator[Finding]:
    """The findings without secrets, which an exception may quote. If their check breaks, the others still go on."""

    def shown(finding: Finding) -> Finding:
        return replace(finding, what=clean(finding.what), says=clean(finding.says), fix=clean(finding.fix))

    def clean(text: str) -> str:
        for secret in secrets:
            text = re.sub(re.escape(secret), "[secret]", text, flags=re.IGNORECASE)
        text = re.sub(r"\bsk_[!-~]+", "[secret]", text)
        return re.sub(r"://[^/\s@]+@", "://[hidden]@", text)

    try:
        yield from map(shown, findings)
    except Exception as error:  # whatever it is
        yield shown(fault(title, f"could not be examined: {type(error).__name__}: {first_line(error)}"))
