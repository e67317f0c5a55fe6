"""What the step that pulls does with a run: plan its requests, pull and load, check, and tell what came of it.

The assets it serves are in `assets.py`; the pulling itself is in `pull.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from soundlink_pipeline.checks import check_delivered, check_export
from soundlink_pipeline.exports import EXPORTS, Export
from soundlink_pipeline.pacing import Pacer
from soundlink_pipeline.partitions import TRAILING_DAYS, DateRange, last_closed_day
from soundlink_pipeline.planning import Pull, duration, expected_seconds, plan, wanted
from soundlink_pipeline.promises import Answer
from soundlink_pipeline.pull import FailedPull, Puller, Summary, adopt
from soundlink_pipeline.resources import Soundlink
from soundlink_pipeline.runs import run_lineage, told_to_people
from soundlink_pipeline.tables import markdown_table
from soundlink_pipeline.trends import export_trend

if TYPE_CHECKING:
    from soundlink_pipeline.client import SoundlinkClient

_MOST_LINES = 40


@contextmanager
def connected(context: dg.AssetExecutionContext, soundlink: Soundlink) -> Iterator[tuple["SoundlinkClient", Pacer]]:
    """The step's client; a key or a URL that cannot be one fails the step with that sentence."""
    with ExitStack() as stack:
        with told_to_people(ValueError):
            made = stack.enter_context(soundlink.connect(context.log.info))
        yield made


class Plan:
    """The requests a run is going to make: `missing` of all `pulls`, the others being done or settled."""

    def __init__(
        self,
        soundlink: Soundlink,
        campaigns: Sequence[dict[str, Any]],
        exports: Sequence[Export],
        dates: DateRange,
        lineage: Sequence[str],
        *,
        refetch: bool,
    ) -> None:
        self.exports, self.dates, self.listed = exports, dates, len(campaigns)
        self.pulls = [pull for export in exports for pull in plan(export, campaigns, dates)]
        done = soundlink.warehouse.done_days(dates, lineage, settled=not refetch)
        self.missing: list[Pull] = wanted(self.pulls, done)

    @property
    def campaigns(self) -> int:
        """How many campaigns can have rows in the range."""
        return len({pull.campaign_id for pull in self.pulls})

    def describe(self, soundlink: Soundlink, pacer: Pacer) -> str:
        """The run's requests and how long they take, for its first line of log."""
        settings = soundlink.settings
        wait = expected_seconds(
            len(self.missing), settings.requests_per_minute, settings.requests_per_hour, pacer.left_this_hour()
        )
        spared = len(self.pulls) - len(self.missing)
        return (
            f"{' and '.join(export.name for export in self.exports)}, {self.dates}: {len(self.missing)} requests for"
            f" {self.campaigns} of {self.listed} campaigns"
            + (f"; at the API's limits this takes at least {duration(wait)}" if wait > 1 else "")
            + (
                f". {spared} more are spared: pulled before, and settled (refetch: true in the run's config asks again)"
                if spared
                else ""
            )
        )


def pull_range(
    context: dg.AssetExecutionContext,
    soundlink: Soundlink,
    exports: Sequence[Export],
    dates: DateRange,
    *,
    refetch: bool,
) -> tuple[Summary, int]:
    """Pull and load the range: what came of it, and how many campaigns were asked for."""
    log, later = context.log.info, list[str]()
    adopted = adopt(soundlink.warehouse, soundlink.landing, later.append)
    with connected(context, soundlink) as (client, pacer):
        lineage = run_lineage(context)
        campaigns = soundlink.campaigns(client, context.run.run_id, lineage)
        asked = Plan(soundlink, campaigns, exports, dates, lineage, refetch=refetch)
        log(asked.describe(soundlink, pacer))  # before all else, so that who launched it knows what it takes
        for line in later:
            log(line)
        summary = Puller(
            client,
            pacer,
            landing=soundlink.landing,
            warehouse=soundlink.warehouse,
            run_id=context.run.run_id,
            log=log,
        ).run(asked.missing)
        summary.requests = client.requests
    summary.loaded[:0] = adopted.loaded
    summary.failed[:0] = adopted.failed
    for export in exports:
        if unknown := summary.of(export).unknown_fields:
            context.log.warning(
                f"{export.name} came with fields its contract does not know: {', '.join(unknown)}. They are kept in the"
                " landed files; once they are in exports.py they are loaded, and rebuild_from_landing fills the past"
            )
    soundlink.landing.sweep(datetime.now(UTC), soundlink.settings.landing_retention_days)
    return summary, asked.campaigns


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
    assert result.asset_key is not None  # noqa: S101  (checks.py gives both)
    assert result.check_name is not None  # noqa: S101
    return dg.AssetCheckKey(result.asset_key, result.check_name)


def blocked(broken: Sequence[tuple[Export, Answer]]) -> dg.Failure:
    lines = [f"{export.name}: {answer}. {answer.promise.to_do}" for export, answer in broken]
    return dg.Failure(
        "The rows are loaded but wrong, so no model is built and nothing published. The checks show which rows.\n"
        + "\n".join(lines),
        allow_retries=False,
    )


def failure(failed: Sequence[FailedPull], loaded: int, names: Mapping[str, str]) -> dg.Failure:
    lines = [f"{item.describe(names)}: {item.reason}" for item in failed if item.asked]
    not_asked = sum(not item.asked for item in failed)
    shown = lines[:_MOST_LINES]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more")
    if not_asked:
        shown.append(f"{not_asked} more were not asked for: no request would have been answered")
    return dg.Failure(
        f"{len(failed)} of {len(failed) + loaded} pulls failed; the other {loaded} are loaded."
        " Re-execute the run from failure (a run from a shell: give the command again) to ask for the missing ones.\n"
        + "\n".join(shown),
        metadata={"failed pulls": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))},
        allow_retries=False,
    )


def report_partitions(
    context: dg.AssetExecutionContext,
    soundlink: Soundlink,
    export: Export,
    dates: DateRange,
    of_run: Mapping[str, Any],
) -> None:
    """What each partition's own page shows: the day's rows, totals and settledness.

    The newest day's page also has what goes beyond the day: pictures, and what the run did (`of_run`).
    """
    for status in soundlink.warehouse.date_status(export, dates):
        metadata: dict[str, Any] = {
            "dagster/partition_row_count": status.rows,
            "settled": status.settled,
            **{name: round(total, 2) for name, total in status.totals.items()},
        }
        if status.last_pulled_at is not None:
            metadata["last pulled"] = dg.MetadataValue.timestamp(status.last_pulled_at)
        if status.report_date == dates.end:
            metadata |= {**_pictures(soundlink, export, dates), **of_run}
        context.add_asset_metadata(metadata, asset_key=export.name, partition_key=status.report_date.isoformat())


def _pictures(soundlink: Soundlink, export: Export, dates: DateRange) -> dict[str, Any]:
    """What a look at the last days and at the newest rows shows."""
    columns, rows = soundlink.warehouse.newest_rows(export, dates)
    with soundlink.warehouse.read() as connection:
        trend = export_trend(connection, export)
    return {
        "dagster/row_count": soundlink.warehouse.row_count(export),
        "last days": dg.MetadataValue.md(trend or "no rows yet"),
        "newest rows": dg.MetadataValue.md(markdown_table(columns, rows) if rows else "no rows yet"),
    }


def run_metadata(dates: DateRange, summary: Summary, campaigns: int) -> dict[str, Any]:
    """What the run did."""
    return {
        "range of the run": str(dates),
        "requests of the run's step": summary.requests,
        "campaigns asked": campaigns,
        "rows delivered": summary.rows,
        "inserted": summary.total("inserted"),
        "updated": summary.total("updated"),
        "unchanged": summary.total("unchanged"),
        "ignored as older": summary.total("ignored_as_older"),
        "MB delivered": round(summary.bytes / 1e6, 3),
        "unknown fields": ", ".join(summary.unknown_fields) or "none",
    }
