"""The asset checks of exports and published file: thin faces of `quality/row_checks.py` and `quality/completeness.py`.

A model's checks are in `orchestration/model_assets.py`: they come from its YAML.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import dagster as dg
import duckdb

from soundlink_pipeline.contracts.days import TRAILING_DAYS, DateRange, last_closed_day
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.orchestration.failures import told_to_people
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.quality.completeness import DUE_HOUR, Missing, due_day, missing, newest_complete_day
from soundlink_pipeline.quality.row_checks import SHOWN_ROWS, Answer, ask, promises
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable

CAMPAIGNS_DELIVERED = "every_live_campaign_delivered"
NEWEST_DAY = "newest_day"
_DELIVERED_SAYS = (
    "Every campaign that can have rows on a day of the window has been pulled for it.\n\n**If not** (an error; the run"
    " fails, nothing downstream is built): what failed, and why, is in the run's failure. Mend that and re-execute the"
    " run from failure: it asks for what is missing only."
)
_NEWEST_SAYS = (
    f"Yesterday is there for every campaign by {DUE_HOUR}:00 UTC: asked of the data, so that a backfill of old days"
    " cannot make it green. Asked at the end of every refresh, and at that hour.\n\n**If not** (an error): look at the"
    " last run of daily_refresh. If there was none, is the daemon running and the schedule on? `make doctor` tells."
    " Then re-execute the run, or materialize the missing days."
)
_LATE = (
    "{} was due and is not there for every campaign. This is about the newest day, whatever days the run was for: a"
    " backfill of old days succeeds all the same"
)


def export_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks that loading an export answers, per export."""
    specs = []
    for export in EXPORTS:
        specs.append(dg.AssetCheckSpec(CAMPAIGNS_DELIVERED, asset=export.name, description=_DELIVERED_SAYS))
        specs += [
            dg.AssetCheckSpec(
                promise.name, asset=export.name, description=promise.description, blocking=promise.blocking
            )
            for promise in promises(export)
        ]
    return specs


def check_export(
    connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange
) -> tuple[list[dg.AssetCheckResult], list[Answer]]:
    """The result of every check of `export` in the window, and the answers that block what is downstream."""
    results, blocking = [check_delivered(connection, export, dates)], []
    for answer in ask(connection, export, dates):
        results.append(_result(export, dates, answer))
        if answer.promise.blocking and not answer.kept:
            blocking.append(answer)
    return results, blocking


def check_delivered(connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange) -> dg.AssetCheckResult:
    """Whether the window was pulled for every campaign that can have rows in it."""
    found = missing(connection, export.name, dates)
    metadata: dict[str, Any] = {"window": str(dates), "campaigns missing": len(found)}
    if found:
        metadata["missing"] = dg.MetadataValue.md(_as_table(found))
    return dg.AssetCheckResult(
        check_name=CAMPAIGNS_DELIVERED, asset_key=export.name, passed=not found, metadata=metadata
    )


def _as_table(found: Sequence[Missing]) -> str:
    shown = found[: 4 * SHOWN_ROWS]
    rows = [(item.campaign_id, item.name, len(item.days), item.days[0], item.days[-1]) for item in shown]
    more = f"\n\nand {len(found) - len(rows)} more" if len(found) > len(rows) else ""
    return markdown_table(["campaign", "name", "days", "from", "to"], rows) + more


def _result(export: Export, dates: DateRange, answer: Answer) -> dg.AssetCheckResult:
    promise = answer.promise
    metadata: dict[str, Any] = {"window": str(dates), "bad rows": answer.bad_rows}
    if not answer.kept:
        metadata["what to do"] = promise.to_do
        of_many = f"the first {SHOWN_ROWS} of " if answer.bad_rows > SHOWN_ROWS else ""
        metadata["sample"] = dg.MetadataValue.md(f"{of_many}{answer.counts}\n\n{answer.sample}")
    return dg.AssetCheckResult(
        check_name=promise.name,
        asset_key=export.name,
        passed=answer.kept,
        severity=dg.AssetCheckSeverity.ERROR if promise.severity == "error" else dg.AssetCheckSeverity.WARN,
        description=None if answer.kept else str(answer),
        metadata=metadata,
    )


@cache
def freshness_policy() -> dg.FreshnessPolicy:
    """Materialized since midnight UTC by the hour a day is due. Of which day it says nothing: that is newest_day's."""
    return dg.FreshnessPolicy.cron(f"0 {DUE_HOUR} * * *", lower_bound_delta=timedelta(hours=DUE_HOUR), timezone="UTC")


def newest_day_checks(published: str) -> dg.AssetChecksDefinition:
    """The check NEWEST_DAY of every export, and of the asset `published`."""
    assets = [*(export.name for export in EXPORTS), published]

    @dg.multi_asset_check(
        name=NEWEST_DAY,
        specs=[dg.AssetCheckSpec(NEWEST_DAY, asset=asset, description=_NEWEST_SAYS) for asset in assets],
        can_subset=True,
    )
    def check_newest_day(
        context: dg.AssetCheckExecutionContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> Iterator[dg.AssetCheckResult]:
        now = datetime.now(UTC)
        for key in sorted(context.selected_asset_check_keys):
            asset = key.asset_key.to_user_string()
            days, fault = _newest_days(soundlink, asset, asset == published, now)
            yield _newest_day(asset, days, fault, due_day(now))

    return check_newest_day


def _newest_days(
    soundlink: Soundlink, asset: str, is_published: bool, now: datetime
) -> tuple[dict[str, date | None], str | None]:
    """Per export the newest day that is whole, in the warehouse or in the published file; or why that is not known."""
    exports = [export.name for export in EXPORTS] if is_published else [asset]
    file = soundlink.published_path if is_published else soundlink.warehouse.path
    if not file.exists():
        return {}, f"{file} is not there yet"
    try:
        if is_published:
            with read_published(file) as connection:
                return {name: newest_complete_day(connection, name, now) for name in exports}, None
        with soundlink.warehouse.read() as connection:
            return {name: newest_complete_day(connection, name, now) for name in exports}, None
    except (duckdb.Error, WarehouseLocked, WarehouseUnusable) as error:
        return {}, str(error)


def _newest_day(asset: str, days: dict[str, date | None], fault: str | None, due: date) -> dg.AssetCheckResult:
    late = [name for name, day in days.items() if day is None or day < due]
    passed = fault is None and not late
    metadata: dict[str, Any] = {"due": str(due)}
    metadata |= {f"newest complete day of {name}": str(day or "none") for name, day in days.items()}
    return dg.AssetCheckResult(
        check_name=NEWEST_DAY,
        asset_key=asset,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=fault or (_LATE.format(due) if late else None),
        metadata=metadata,
    )


def checked(
    soundlink: Soundlink, export: Export, dates: DateRange, *, pulled: bool
) -> tuple[list[dg.AssetCheckResult], list[Answer]]:
    """The results of an export's checks; of one that was not pulled whole, only what is missing."""
    if not soundlink.warehouse.exists():
        return [], []
    with soundlink.warehouse.read() as connection:
        if pulled:
            return check_export(connection, export, dates)
        return [check_delivered(connection, export, dates)], []


def check_only(soundlink: Soundlink, wanted_checks: Iterable[dg.AssetCheckKey]) -> Iterator[dg.AssetCheckResult]:
    """Answer checks that are executed without their asset: for the days a refresh would pull, without a request."""
    newest = last_closed_day(datetime.now(UTC))
    dates = DateRange(newest - timedelta(days=TRAILING_DAYS - 1), newest)
    keys = set(wanted_checks)
    for export in EXPORTS:
        if dg.AssetKey(export.name) in {key.asset_key for key in keys}:
            with told_to_people():
                results, _ = checked(soundlink, export, dates, pulled=True)
            yield from (result for result in results if key_of(result) in keys)


def key_of(result: dg.AssetCheckResult) -> dg.AssetCheckKey:
    assert result.asset_key is not None  # noqa: S101  (orchestration/asset_checks.py gives both)
    assert result.check_name is not None  # noqa: S101
    return dg.AssetCheckKey(result.asset_key, result.check_name)
