"""What the check of analysts' own files says in the UI."""

from __future__ import annotations

import dagster as dg

from soundlink_pipeline.orchestration.published_asset import own_files_read
from soundlink_pipeline.own_data.loading import OwnFile

READ = OwnFile("plan.csv", "plan", 3, None)


def test_it_passes_where_every_file_is_read_and_where_there_is_none() -> None:
    assert [own_files_read(files).passed for files in ([], [READ])] == [True, True]


def test_it_warns_with_file_line_and_reason() -> None:
    result = own_files_read([READ, OwnFile("a|b.csv", "a", 1, "line 3: it has 1 columns")])
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == "not read: 1 file"
    assert result.metadata["sample"].value == (
        "| file | problem | table, of before |\n| --- | --- | --- |\n| a\\|b.csv | line 3: it has 1 columns | a |"
    )
