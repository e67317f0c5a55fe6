"""The asset `parquet_export`, its job and its sensor: each publication is exported once.

Off unless `SOUNDLINK_EXPORT_TO` names a target. The run is one of its own, which waits for no other in the data folder
and lets no other wait: a target that is slow or down fails this asset, and never a pull or a publication.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from soundlink_pipeline.settings.settings import Settings

PARQUET_EXPORT = "parquet_export"
JOB = f"{PARQUET_EXPORT}_job"
SENSOR = f"{PARQUET_EXPORT}_sensor"
GROUP = "exported"
_LONGEST_SECONDS = 1800.0
_INTERVAL_SECONDS = 30


@dataclass(frozen=True)
class ParquetExport:
    """What Dagster serves of the export; nothing where it is off."""

    assets: list[dg.AssetsDefinition] = field(default_factory=list)
    jobs: list[Any] = field(default_factory=list)  # their class is private to Dagster
    sensors: list[dg.SensorDefinition] = field(default_factory=list)


def build_parquet_export(settings: Settings, upstream: str) -> ParquetExport:
    """The export of the file that the asset `upstream` publishes."""
    target, published = settings.export_to, settings.data_dir / "soundlink.duckdb"
    if target is None:
        return ParquetExport()

    @dg.asset(
        name=PARQUET_EXPORT,
        deps=[upstream],
        group_name=GROUP,
        kinds={"parquet", "file" if "://" not in target else target.partition("://")[0].replace("gs", "gcs")},
        tags={"layer": "exported"},
        description=(
            f"The published file as Parquet at {target}: raw tables, history and marts, of each the days that have"
            " changed since the target's last export. manifest.json says which files are a whole state; it is replaced"
            " last. Grain: one file per table and report_date."
        ),
    )
    def parquet_export(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        # Not at the top: the definitions load without what exports.
        from soundlink_pipeline.exporting.export import export, summary  # noqa: PLC0415
        from soundlink_pipeline.exporting.store import ExportFailed  # noqa: PLC0415

        try:
            exported = export(
                published,
                target,
                timestamps=settings.export_timestamps,
                now=datetime.now(UTC),
                longest=_LONGEST_SECONDS,
            )
        except ExportFailed as error:
            raise dg.Failure(f"Not exported: {error}", allow_retries=False) from None
        for line in summary(exported):
            context.log.info(line)
        days = exported.days
        return dg.MaterializeResult(
            metadata={
                "target": exported.where,
                "files": exported.files,
                "rows": exported.rows,
                "MB": round(exported.bytes / 1e6, 3),
                "days": len(days),
                "changed days": f"{days[0]} to {days[-1]}" if days else "none",
                "files in all": exported.all_files,
                "rows in all": exported.all_rows,
                "MB in all": round(exported.all_bytes / 1e6, 3),
                "seconds": round(exported.seconds, 3),
            }
        )

    job = dg.define_asset_job(
        JOB,
        selection=[PARQUET_EXPORT],
        description="Exports the published file as Parquet. Makes no request to Soundlink. A sensor asks for it.",
    )

    @dg.sensor(
        name=SENSOR,
        job=job,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for one export of each published file, whatever has published it.",
    )
    def parquet_export_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        try:
            found = published.stat()
        except OSError:
            return dg.SkipReason("Nothing is published yet.")
        publication = f"{found.st_ino}-{found.st_mtime_ns}"
        if publication == context.cursor:
            return dg.SkipReason("The published file was asked to be exported already.")
        context.update_cursor(publication)
        return dg.RunRequest(run_key=publication)

    return ParquetExport([parquet_export], [job], [parquet_export_sensor])
