"""The command `python -m soundlink_pipeline.doctor`, in the project folder."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from soundlink_pipeline.doctor.finding import Finding
from soundlink_pipeline.typed import installing
from soundlink_pipeline.wording import counted

_WHAT_WIDTH = 25
_NARROWEST, _WIDEST = 72, 120


def main() -> int:
    try:
        # Not at the top: a package that is missing or too old is reported in a sentence, not with a traceback.
        from soundlink_pipeline.doctor.checks import run_checks  # noqa: PLC0415
        from soundlink_pipeline.settings.env_file import read_env_file  # noqa: PLC0415
    except ImportError as error:
        print(f"The pipeline cannot be loaded, {error}: {installing()} puts everything in place.")
        return 1
    try:
        in_file = read_env_file()
    except ValueError as error:
        print(f"{error}.")
        return 1
    # As Dagster loads the file: dagster.yaml may name variables of it, too.
    given = dict(os.environ)
    for name, value in in_file.items():
        if not name.startswith("SOUNDLINK_"):
            os.environ.setdefault(name, value)
    width = min(max(shutil.get_terminal_size((100, 24)).columns, _NARROWEST), _WIDEST)
    found: list[Finding] = []
    with _no_log_lines():
        for title, findings in run_checks(in_file, given):
            print(title, flush=True)
            for finding in findings:
                found.append(finding)
                print(_lines(finding, width), flush=True)
    print(f"\n{summary(found)}")
    return int(any(finding.level == "FAULT" for finding in found))


def summary(found: Sequence[Finding]) -> str:
    faults, warnings = (sum(finding.level == level for finding in found) for level in ("FAULT", "warn"))
    if not faults and not warnings:
        return "all checks passed"
    counts = [counted(number, what) for number, what in ((faults, "fault"), (warnings, "warning")) if number]
    return ", ".join(counts) + (": fix the faults first" if faults else ": runs can start")


@contextmanager
def _no_log_lines() -> Iterator[None]:
    """No log lines between the findings: Dagster and the definitions log what the doctor reports anyway."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _lines(finding: Finding, width: int) -> str:
    """One finding as text: level, subject, message; below it what to do."""
    head = f"  {finding.level:<5}  {finding.what:<{_WHAT_WIDTH}}  "
    indent = " " * len(f"  {'':<5}  {'':<{_WHAT_WIDTH}}  ")
    text = _wrapped(finding.message, head, indent, width)
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
