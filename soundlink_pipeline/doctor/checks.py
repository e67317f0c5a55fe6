"""All checks in order. A check that raises becomes a finding, and secrets are taken out of every text."""

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


def run_checks(
    in_file: Mapping[str, str],
    environment: Mapping[str, str],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[tuple[str, Iterator[Finding]]]:
    """Every group of findings, in order; a group's checks run while its findings are read.

    `in_file` holds the variables of `.env`, `environment` those of the process, which win.
    """
    both = {**in_file, **environment}
    secrets = [secret for name in SECRETS for secret in both.get(name, "").split()]
    yield "Installation", _safely("Installation", check_versions(), secrets)
    project, findings = check_settings(in_file, environment, clock)
    if project is not None:
        secrets += filter(None, map(project.secret_of, project.settings.accounts))
    yield "Settings", _safely("Settings", findings, secrets)
    if project is not None:
        for title, check in _CHECKS.items():
            yield title, _safely(title, check(project), secrets)


def _safely(title: str, findings: Iterable[Finding], secrets: list[str]) -> Iterator[Finding]:
    """The findings without secrets, which an exception may quote. A check that raises does not stop the others."""

    def shown(finding: Finding) -> Finding:
        return replace(finding, what=clean(finding.what), message=clean(finding.message), fix=clean(finding.fix))

    def clean(text: str) -> str:
        for secret in secrets:
            text = re.sub(re.escape(secret), "[secret]", text, flags=re.IGNORECASE)
        text = re.sub(r"\bsk_[!-~]+", "[secret]", text)
        return re.sub(r"://[^/\s@]+@", "://[hidden]@", text)

    try:
        yield from map(shown, findings)
    except Exception as error:  # whatever it is
        yield shown(fault(title, f"this check itself failed: {type(error).__name__}: {first_line(error)}"))
