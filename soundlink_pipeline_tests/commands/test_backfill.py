"""`make backfill`: a wrong range is one sentence, before Dagster starts; a right one is Dagster's own command."""

from __future__ import annotations

import itertools
import json
import runpy
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster_shared.yaml_utils import load_yaml_from_glob_list

from soundlink_pipeline.commands import backfill
from soundlink_pipeline.orchestration.export_assets import ExportsConfig
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START


class Executed(Exception):
    """Instead of the command."""


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    commands: list[list[str]] = []

    def run_module(name: str, **_: Any) -> None:
        commands.append([name, *sys.argv[1:]])
        raise Executed

    monkeypatch.setattr(runpy, "run_module", run_module)
    monkeypatch.setattr(sys, "argv", ["backfill"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOUNDLINK_START_DATE", "2026-01-01")
    return commands


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2025-12-31", "2026-01-02", "the first partition is 2026-01-01 (setting SOUNDLINK_START_DATE)"),
        ("2026-02-02", "2026-02-01", "the range 2026-02-02 to 2026-02-01 is reversed"),
        ("2026-02-30", "2026-03-01", "Give two days as YYYY-MM-DD, the earlier first."),
    ],
)
def test_a_range_that_will_not_do_is_told_in_one_sentence(
    executed: list[list[str]], capsys: pytest.CaptureFixture[str], start: str, end: str, said: str
) -> None:
    assert backfill.main([start, end]) == 2
    assert executed == []
    _assert_told(capsys, said)


def test_a_range_up_to_today_is_told_the_newest_day(
    executed: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    today = datetime.now(UTC).date()
    assert backfill.main(["2026-01-01", str(today)]) == 2
    assert executed == []
    _assert_told(capsys, f"has not closed yet; the newest day is {today - timedelta(days=1)} (UTC)")


def _assert_told(capsys: pytest.CaptureFixture[str], said: str) -> None:
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1


def test_the_first_partition_is_the_one_of_the_projects_env_file(
    executed: list[list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOUNDLINK_START_DATE")
    Path(".env").write_text("SOUNDLINK_START_DATE=2026-05-01\n")
    assert backfill.main(["2026-04-01", "2026-05-02"]) == 2
    assert "the first partition is 2026-05-01" in capsys.readouterr().err
    monkeypatch.delenv("SOUNDLINK_START_DATE")  # what the .env file has put there


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ([], {"refetch": False, "accept_smaller": False}),
        (["--refetch"], {"refetch": True, "accept_smaller": False}),
        (["--refetch", "--accept-smaller"], {"refetch": True, "accept_smaller": True}),
    ],
)
def test_dagsters_command_gets_the_range_and_what_else_was_asked_for(
    executed: list[list[str]], options: list[str], config: dict[str, bool]
) -> None:
    with pytest.raises(Executed):
        backfill.main(["2026-01-01", "2026-02-28", *options])
    (command,) = executed
    assert command[:6] == ["dagster", "job", "execute", "-m", "soundlink_pipeline.definitions", "-j"]
    assert command[6] == DAILY_REFRESH
    assert json.loads(command[command.index("--tags") + 1]) == {RANGE_START: "2026-01-01", RANGE_END: "2026-02-28"}
    files = [value for option, value in itertools.pairwise(command) if option == "-c"]
    merged: Any = load_yaml_from_glob_list(files)  # as the command does
    assert ExportsConfig(**(merged["ops"]["exports"]["config"] if files else {})).model_dump() == config
