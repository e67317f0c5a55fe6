"""`soundlink export`: where it exports to, what it says, and how it fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from soundlink_pipeline_tests.commands.conftest import Folder
from soundlink_pipeline_tests.exporting.shared import Source, by_manifest, exported


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Source(tmp_path_factory.mktemp("made"))
    source.pull("2026-04-01", "2026-04-02", streams=5, models=False)
    return source.published


def test_it_exports_to_a_folder_or_where_the_setting_says(here: Folder, made: Path) -> None:
    (here.path / "data").mkdir(exist_ok=True)
    shutil.copy(made, here.path / "data")
    said = here.soundlink("export", "--to", "parquet")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("Exported: ")
    assert "2 days changed, 2026-04-01 to 2026-04-02" in said.out
    assert by_manifest(here.path / "parquet") == exported(Source(here.path / "data"))
    said = here.soundlink("export", SOUNDLINK_EXPORT_TO=str(here.path / "parquet"))
    assert (said.code, said.err) == (0, "")
    assert "has all of it already" in said.out
    said = here.soundlink("export", "--timestamps", "naive", SOUNDLINK_EXPORT_TO=str(here.path / "parquet"))
    assert "2 days changed" in said.out


def test_without_a_target_or_a_publication_it_says_what_is_missing(here: Folder) -> None:
    said = here.soundlink("export")
    assert said.code == 2
    assert said.err.splitlines()[-1] == "Error: Give a target, --to, or set SOUNDLINK_EXPORT_TO."
    said = here.soundlink("export", "--to", "ftp://host/x")
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("Error: --to: must be a folder, s3://BUCKET/PREFIX")
    said = here.soundlink("export", "--to", "parquet")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("Not exported: nothing is published yet: ")
    assert not (here.path / "parquet").exists()
