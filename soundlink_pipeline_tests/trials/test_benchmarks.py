"""The benchmarks still run: what they measure is said by `make bench` alone, at sizes that no test has time for."""

from __future__ import annotations

import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from benchmarks import exporting, redelivery
from benchmarks.serving import answers, ours, verdict, verdicts_in
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_EXPORTS
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.simulator import SimClock, World, running_simulator


def test_a_redelivery_into_synthetic_warehouses_of_two_sizes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(redelivery, "_CAMPAIGNS", 2)
    monkeypatch.setattr(redelivery, "_ROUNDS", 1)
    monkeypatch.setattr(sys, "argv", ["redelivery", "--rows", "3000", "6000"])
    redelivery.main()
    said = capsys.readouterr().out
    assert re.search(r"Eight days delivered again: 2,400 rows", said)
    assert re.search(r"\| 6,000 \| [\d.]+ \| [\d.]+ \|", said)
    ((target, _),) = verdicts_in(said)  # as the table at the end of `make bench` has it
    assert re.fullmatch(r"at most 1\.5 x from the smallest to the largest warehouse \([\d.]+ x\)", target)


@pytest.mark.parametrize("reached", [True, False])
def test_the_targets_of_a_report_are_found_whatever_stands_around_them(reached: bool) -> None:
    said = f"Medians of 3. {verdict('at most 1.7 x. No more', reached, '2.0 x')} {verdict('less than 5 s', True)}\nEnd."
    assert verdicts_in(said) == [("at most 1.7 x. No more (2.0 x)", reached), ("less than 5 s", True)]


def test_an_export_beside_bare_copies_writes_as_many_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    exporting._large(tmp_path, 3000, 1)
    said = capfd.readouterr().out
    files = re.findall(r"\| [\d.]+ \| \d+ \| (\d+) \| \d+ \|$", said, re.MULTILINE)
    assert len(files) == 2
    assert files[0] == files[1]


def test_a_first_load_of_ours_has_every_row_that_is_answered(tmp_path: Path) -> None:
    world = World(campaigns=2, countries_per_campaign=2, tracks_per_campaign=1)
    days = DateRange(date(2026, 1, 10), date(2026, 1, 12))
    clock = SimClock(datetime(2026, 4, 1, 7, tzinfo=UTC))
    with running_simulator(world, clock, per_minute=None, per_hour=None) as simulator:
        found = answers(simulator, tmp_path / "answers", days)
        result = ours(simulator, tmp_path / "data", days)
    assert found.keys() == {export.name for export in CAMPAIGN_EXPORTS}
    lines = sum(len(file.read_bytes().splitlines()) for files in found.values() for _, file in files)
    assert result["rows"] == result["inserted"] == lines > 0
