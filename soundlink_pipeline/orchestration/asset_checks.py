"""The asset checks of exports and published file: `quality/row_checks.py` and `quality/completeness.py` for Dagster.

A model's checks are in `orchestration/model_assets.py`: they come from its YAML.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.contracts.days import TRAILING_DAYS, DateRange, last_closed_day
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.orchestration.failures import as_operator_failure
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.unevaluated_checks import NOT_EVALUATED, not_evaluated
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.quality.completeness import DUE_HOUR, Missing, due_day, missing, newest_complete_day
from soundlink_pipeline.quality.row_checks import SHOWN_ROWS, CheckResult, row_checks, run_checks
from soundlink_pipeline.typed import typed
from soundlink_pipeline.warehouse.home import Home, WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.wording import counted

# The newest complete day of each export, or why it is not known.
Newest = tuple[dict[str, date | None], str | None]

NEWEST_DAY = "newest_day"
_DELIVERED_SAYS = (
    "Every {} of which rows are expected on a day of the window has been pulled for it.\n\n**If not** (an error; the"
    " run fails, nothing downstream is built): what failed, and why, is in the run's failure. Fix that and re-execute"
    " the run from failure: it pulls only what is missing."
)
_NEWEST_SAYS = (
    f"Yesterday is there for every campaign and soundlink by {DUE_HOUR}:00 UTC: read from the data, so that a backfill"
    " of old days cannot make it green. Runs at the end of every refresh, and at that hour.\n\n**If not** (an error):"
    f" look at the last run of daily_refresh. If there was none, is the daemon running and the schedule on?"
    f" `{typed('doctor')}` tells. Then re-execute the run, or materialize the missing days."
)
_LATE = (
    "{} is overdue: at least one campaign or soundlink has no data for it. This check looks at the newest day, not at"
    " the range of this run."
)


_NOTHING_LOADED = "every pull of this export failed; the run's failure says why"


def all_delivered(export: Export) -> str:
    """The name of the check that all of which rows are expected was pulled."""
    return f"every_live_{export.subject.name}_delivered"


def export_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks that run when an export was loaded, per export."""
    specs = []
    for export in EXPORTS:
        says = _DELIVERED_SAYS.format(export.subject.name)
        specs.append(dg.AssetCheckSpec(all_delivered(export), asset=export.name, description=says))
        specs += [
            dg.AssetCheckSpec(check.name, asset=export.name, description=check.description, blocking=check.blocking)
            for check in row_checks(export)
        ]
    return specs


def run_export_checks(
    connection: duckdb.DuckDBPyConnection,
    export: Export,
    dates: DateRange,
    *,
    pulled: bool,
    loaded: Collection[str] = (),
    only: Collection[str] | None = None,
    accounts: Collection[str] = (),
) -> tuple[list[dg.AssetCheckResult], list[CheckResult]]:
    """The result of every check of `export` in the window, and those that block what is downstream.

    `loaded` are the deliveries of the run, which may have changed other days. Where nothing was `pulled`, the checks of
    rows say that they were not evaluated. A run that was limited to the ids `only`, or to `accounts`, misses no others.
    """
    delivered = check_delivered(connection, export, dates, only, accounts)
    if not pulled:
        keys = [dg.AssetCheckKey(dg.AssetKey(export.name), check.name) for check in row_checks(export)]
        return [delivered, *(not_evaluated(key, _NOTHING_LOADED) for key in keys)], []
    results = run_checks(connection, export, dates, loaded)
    blocking = [result for result in results if result.check.blocking and not result.passed]
    return [delivered, *(_result(export, dates, result) for result in results)], blocking


def left_out_results(export: Export, reason: str) -> list[dg.AssetCheckResult]:
    """The results of the checks of an export that the key gives no access to: nothing is wrong with its rows."""
    return [
        dg.AssetCheckResult(
            check_name=name, asset_key=export.name, passed=True, description=f"{NOT_EVALUATED}left out, {reason}"
        )
        for name in (all_delivered(export), *(check.name for check in row_checks(export)))
    ]


def check_delivered(
    connection: duckdb.DuckDBPyConnection,
    export: Export,
    dates: DateRange,
    only: Collection[str] | None = None,
    accounts: Collection[str] = (),
) -> dg.AssetCheckResult:
    """Whether the window was pulled for all of which rows are expected in it, or for those of `only` and `accounts`."""
    found = [
        item
        for item in missing(connection, export, dates)
        if (only is None or item.listed_id.id in only) and (not accounts or item.listed_id.account in accounts)
    ]
    metadata: dict[str, Any] = {"window": str(dates), f"{export.subject.plural} missing": len(found)}
    if found:
        metadata["missing"] = dg.MetadataValue.md(_as_table(export, found))
    said = f"days of {counted(len(found), export.subject.name)} are missing in {dates}" if found else None
    return dg.AssetCheckResult(
        check_name=all_delivered(export), asset_key=export.name, passed=not found, description=said, metadata=metadata
    )


def _as_table(export: Export, found: Sequence[Missing]) -> str:
    shown = found[: 4 * SHOWN_ROWS]
    named = any(item.listed_id.account != DEFAULT_ACCOUNT for item in found)
    rows = [(*item.listed_id[not named :], item.name, len(item.days), item.days[0], item.days[-1]) for item in shown]
    more = f"\n\nand {len(found) - len(rows)} more" if len(found) > len(rows) else ""
    columns = [*(["account"] if named else []), export.subject.name, "name", "days", "from", "to"]
    return markdown_table(columns, rows) + more


def _result(export: Export, dates: DateRange, result: CheckResult) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {"window": str(dates), "bad rows": result.bad_rows}
    if not result.passed:
        metadata["what to do"] = result.check.remedy
        of_many = f"the first {SHOWN_ROWS} of " if result.bad_rows > SHOWN_ROWS else ""
        sample = markdown_table(result.columns, result.rows)
        metadata["sample"] = dg.MetadataValue.md(f"{of_many}{result.counts}\n\n{sample}")
    return dg.AssetCheckResult(
        check_name=result.check.name,
        asset_key=export.name,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR if result.check.severity == "error" else dg.AssetCheckSeverity.WARN,
        description=None if result.passed else str(result),
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
        context: dg.AssetCheckExecutionContext, soundlink_reader: dg.ResourceParam[Soundlink]
    ) -> Iterator[dg.AssetCheckResult]:
        now = datetime.now(UTC)
        wanted = sorted(key.asset_key.to_user_string() for key in context.selected_asset_check_keys)
        in_warehouse: Newest = ({}, None)
        if any(asset != published for asset in wanted):
            in_warehouse = _newest_in_warehouse(soundlink_reader.warehouse, now)
        for asset in wanted:
            if asset == published:
                days, fault = _newest_published(soundlink_reader.published_path, now)
            else:
                days, fault = {name: day for name, day in in_warehouse[0].items() if name == asset}, in_warehouse[1]
            yield _newest_day(asset, days, fault, due_day(now))

    return check_newest_day


def _newest_in_warehouse(warehouse: Home, now: datetime) -> Newest:
    if not warehouse.exists():
        return {}, f"{warehouse.describe().where} does not exist yet"
    try:
        with warehouse.read() as connection:
            return _newest_days(connection, now), None
    except (duckdb.Error, WarehouseLocked, WarehouseUnusable) as error:
        return {}, str(error)


def _newest_published(file: Path, now: datetime) -> Newest:
    if not file.exists():
        return {}, f"{file} does not exist yet"
    try:
        with read_published(file) as connection:
            return _newest_days(connection, now), None
    except duckdb.Error as error:
        return {}, str(error)


def _newest_days(connection: duckdb.DuckDBPyConnection, now: datetime) -> dict[str, date | None]:
    """By export; without those that the key gives no access to, whose subject was never listed, though another was."""
    ledger = Ledger(connection)
    listed = {export.name for export in EXPORTS if ledger.listed_at(export.subject)}
    return {
        export.name: newest_complete_day(connection, export, now)
        for export in EXPORTS
        if not listed or export.name in listed
    }


def _newest_day(asset: str, days: dict[str, date | None], fault: str | None, due: date) -> dg.AssetCheckResult:
    late = [name for name, day in days.items() if day is None or day < due]
    passed = fault is None and not late
    metadata: dict[str, Any] = {"due": str(due)}
    metadata |= {f"newest complete day of {name}": str(day or "none") for name, day in days.items()}
    left_out = "" if days or fault else f"{NOT_EVALUATED}never listed: the account has none, or the key no access"
    return dg.AssetCheckResult(
        check_name=NEWEST_DAY,
        asset_key=asset,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=fault or (_LATE.format(due) if late else left_out or None),
        metadata=metadata,
    )


def check_only(soundlink: Soundlink, wanted_checks: Iterable[dg.AssetCheckKey]) -> list[dg.AssetCheckResult]:
    """The results of checks that run without their asset: for the days a refresh would pull, without a request."""
    if not soundlink.warehouse.exists():
        return []
    newest = last_closed_day(datetime.now(UTC))
    dates = DateRange(newest - timedelta(days=TRAILING_DAYS - 1), newest)
    keys = set(wanted_checks)
    assets = {key.asset_key for key in keys}
    results: list[dg.AssetCheckResult] = []
    with as_operator_failure(), soundlink.warehouse.read() as connection:
        for export in EXPORTS:
            if dg.AssetKey(export.name) in assets:
                results += run_export_checks(connection, export, dates, pulled=True)[0]
    return [result for result in results if check_key(result) in keys]


def check_key(result: dg.AssetCheckResult) -> dg.AssetCheckKey:
    assert result.asset_key is not None  # noqa: S101  (orchestration/asset_checks.py gives both)
    assert result.check_name is not None  # noqa: S101
    return dg.AssetCheckKey(result.asset_key, result.check_name)
