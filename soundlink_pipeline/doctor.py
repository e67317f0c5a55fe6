"""The doctor: finds, before a run does, what would make a run fail, and says in plain words what to do about it.

`python -m soundlink_pipeline.doctor`, in the project folder. One line per finding; exit code 1 if one is a fault. It
changes nothing: the warehouse is opened read-only, and what the API delivers is not loaded. Its few requests are
counted like those of a run, and it never waits for a limit.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dotenv import dotenv_values

if TYPE_CHECKING:
    from soundlink_pipeline.doctor_checks import Finding

_WHAT_WIDTH = 25
_NARROWEST, _WIDEST = 72, 120


def main(arguments: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m soundlink_pipeline.doctor", description=__doc__).parse_args(arguments)
    environment = dict(os.environ)
    in_file = {name: value or "" for name, value in dotenv_values(".env").items()}
    found: list[Finding] = []
    width = min(max(shutil.get_terminal_size((100, 24)).columns, _NARROWEST), _WIDEST)
    try:
        for title, findings in examine(in_file, environment):
            print(title, flush=True)
            for finding in findings:
                found.append(finding)
                print(_lines(finding, width), flush=True)
    except ImportError as error:
        print(f"The pipeline cannot be loaded, {error}: make install puts everything in place.")
        return 1
    print(f"\n{summary(found)}")
    return int(any(finding.level == "FAULT" for finding in found))


def examine(
    in_file: Mapping[str, str],
    environment: Mapping[str, str],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[tuple[str, Iterator[Finding]]]:
    """Every group of findings, in order; each is found while it is read. No text holds a secret.

    `in_file` is what `.env` says, `environment` what the process was given, which wins. Raises ImportError alone.
    """
    # Here: where a package is missing or too old, that is to be said, not shown as a traceback.
    from soundlink_pipeline import doctor_checks as checks  # noqa: PLC0415

    both = {**in_file, **environment}
    secrets = {name: both.get(name, "").strip() for name in checks.SECRETS}

    def group(title: str, findings: Iterable[Finding]) -> tuple[str, Iterator[Finding]]:
        return title, _without_secrets(_safely(title, findings), secrets)

    yield group("Installation", checks.check_versions())
    read = checks.read_settings(in_file, environment)
    yield group("Settings", checks.check_settings(read, clock()))
    if read.settings is None:
        return
    patient = checks.Patient(read.settings, secrets["SOUNDLINK_API_KEY"], both.get("DAGSTER_HOME", ""), clock)
    for title, check in (
        ("SQL models", checks.check_models),
        ("Data folder", checks.check_data_folder),
        ("Warehouse", checks.check_warehouse),
        ("API", checks.check_api),
        ("Dagster", checks.check_dagster),
        ("Data", checks.check_data),
    ):
        yield group(title, check(patient))


def summary(found: Sequence[Finding]) -> str:
    faults, warnings = (sum(finding.level == level for finding in found) for level in ("FAULT", "warn"))
    if not faults and not warnings:
        return "nothing to mend"
    counts = [_count(faults, "fault")] if faults else []
    counts += [_count(warnings, "warning")] if warnings else []
    return ", ".join(counts) + (": mend the faults first" if faults else ": a run can work")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _safely(title: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings; what breaks the check itself is one of them."""
    from soundlink_pipeline.doctor_checks import Finding  # noqa: PLC0415

    try:
        with _quiet():
            yield from findings
    except Exception as error:  # whatever it is, the other checks go on
        reason = str(error).strip().partition("\n")[0]
        yield Finding("FAULT", title, f"could not be examined: {type(error).__name__}: {reason}")


@contextmanager
def _quiet() -> Iterator[None]:
    """No log lines between the findings: Dagster and the definitions tell of what is found here anyway."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _without_secrets(findings: Iterable[Finding], secrets: Mapping[str, str]) -> Iterator[Finding]:
    """The last gate before anything is shown: an exception may quote what it was given."""
    from soundlink_pipeline.doctor_checks import Finding  # noqa: PLC0415

    def clean(text: str) -> str:
        for secret in filter(None, secrets.values()):
            text = re.sub(re.escape(secret), "[secret]", text, flags=re.IGNORECASE)
        text = re.sub(r"\bsk_[!-~]+", "[secret]", text)
        return re.sub(r"://[^/\s@]+@", "://[hidden]@", text)

    for finding in findings:
        yield Finding(finding.level, clean(finding.what), clean(finding.says), clean(finding.fix))


def _lines(finding: Finding, width: int) -> str:
    """One finding as text: level, what, outcome; below it what to do."""
    head = f"  {finding.level:<5}  {finding.what:<{_WHAT_WIDTH}}  "
    indent = " " * len(f"  {'':<5}  {'':<{_WHAT_WIDTH}}  ")
    text = _wrapped(finding.says, head, indent, width)
    return text + (f"\n{_wrapped(f'To do: {finding.fix}', indent, indent, width)}" if finding.fix else "")


def _wrapped(text: str, head: str, indent: str, width: int) -> str:
    # Paths and commands stay whole, so that they can be copied.
    return textwrap.fill(
        " ".join(text.split()),
        width,
        initial_indent=head,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    sys.exit(main())
