"""`soundlink export --to TARGET`: the published file as Parquet, in a folder or a bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from soundlink_pipeline.commands.execution import loaded_settings
from soundlink_pipeline.commands.outcome import CommandFailed
from soundlink_pipeline.commands.project_folder import enter_project, in_use, require_project
from soundlink_pipeline.exporting.export import export, summary
from soundlink_pipeline.exporting.store import ExportFailed
from soundlink_pipeline.settings.export_target import Timestamps
from soundlink_pipeline.settings.settings import export_target


def export_published(target: str | None, timestamps: Timestamps | None) -> None:
    """Export to `target`, or where the settings say. Raises CommandFailed, click.UsageError."""
    here = Path.cwd()
    folder = enter_project()
    settings = loaded_settings()
    require_project(folder)
    if target is not None:
        try:
            target = export_target(target, here)
        except ValueError as error:
            raise click.UsageError(f"--to: {error}.") from None
    target = target or settings.export_to
    if target is None:
        raise click.UsageError("Give a target, --to, or set SOUNDLINK_EXPORT_TO.")
    with in_use(folder, "soundlink export"):
        try:
            exported = export(
                settings.data_dir / "soundlink.duckdb",
                target,
                timestamps=timestamps or settings.export_timestamps,
                now=datetime.now(UTC),
            )
        except ExportFailed as error:
            raise CommandFailed(f"Not exported: {error}") from None
    for line in summary(exported):
        print(line)
