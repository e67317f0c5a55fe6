"""The assets: the API, campaigns and soundlinks as listed, and one daily-partitioned asset per export.

One step pulls all exports that a run selects: while one is being loaded, the next is already being fetched.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from soundlink_pipeline.contracts.account import ListedId
from soundlink_pipeline.contracts.days import REVISION_DAYS
from soundlink_pipeline.contracts.exports import EXPORTS, SUBJECTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Subject, left_out
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.orchestration.asset_checks import (
    check_key,
    check_only,
    export_check_specs,
    freshness_policy,
    left_out_results,
    run_export_checks,
)
from soundlink_pipeline.orchestration.canceling import as_cancellation
from soundlink_pipeline.orchestration.column_schema import COLUMNS, column_schema
from soundlink_pipeline.orchestration.failures import as_operator_failure, blocking_failure, of_accounts, pull_failure
from soundlink_pipeline.orchestration.open_accounts import OpenAccounts, ids_setting, named_ids, open_accounts
from soundlink_pipeline.orchestration.partition_pages import figures_of_run, report_limited, report_partitions
from soundlink_pipeline.orchestration.pull_step import Asked, Only, pull_range
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import (
    BACKFILL,
    EXPORTS_STEP,
    OWNER,
    SOUNDLINK_API,
    backfill_policy,
    is_for_days,
    limits_of,
    range_of_run,
    run_lineage,
)
from soundlink_pipeline.pulling.listing import save_and_ask
from soundlink_pipeline.quality.completeness import lacking_days
from soundlink_pipeline.quality.row_checks import CheckResult
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.typed import typed
from soundlink_pipeline.warehouse.accounts import moved_accounts
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.tables import export_tables, listing_table
from soundlink_pipeline.wording import counted, in_words

_LISTINGS = "listings"
# Dagster would wait for ever for the days that such a run leaves open.
_NO_LIMITED_BACKFILL = (
    "a backfill pulls all that is listed: its days would count as done without the others. To pull some only,"
    " launch the job daily_refresh over these days with this config"
)
_NONE_OF_THESE = "the run is limited to {0} by their ids, and none of the exports that it selects is about {0}"


class ExportsConfig(dg.Config):
    """What a run's config may set (`ops: exports: config:`)."""

    refetch: bool = Field(
        default=False,
        description=(
            "Pull every day of the range. Otherwise days that are settled are not pulled again: their numbers are"
            " final."
        ),
    )
    accept_smaller: bool = Field(
        default=False,
        description=(
            "Take every answer, however few rows it holds. Otherwise an answer that holds, of any day, fewer than half"
            " of the rows that the warehouse holds (and at least ten fewer) is requested once more, and taken only if"
            " the second answer is whole or misses the same rows."
        ),
    )
    campaigns: list[str] = Field(
        default=[],
        description=(
            "Pull these campaigns only, by the ids that the API lists. Otherwise all that can have rows. Days that lack"
            " others are loaded, but stay missing in the UI; models and publication follow in a run of their own."
        ),
    )
    soundlinks: list[str] = Field(
        default=[],
        description="The same of soundlinks. Where only one of the two is given, nothing of the other is pulled.",
    )

    accounts: list[str] = Field(
        default=[],
        description="Pull these accounts only, by their names in the settings. Otherwise all.",
    )

    @property
    def is_limited(self) -> bool:
        return bool(self.only or self.accounts)

    @property
    def only(self) -> Only:
        """What the run is limited to, by the table of a subject; empty where it is not."""
        found = {"campaigns": self.campaigns, "soundlinks": self.soundlinks}
        return found if any(found.values()) else {}


def build_assets(
    partitions: dg.DailyPartitionsDefinition, settings: Settings
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every asset up to the exports; `partitions` is shared, so that one run can cover all of them."""
    with warnings.catch_warnings():
        # Known and accepted: DECISIONS.md, "Dagster".
        warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
        warnings.filterwarnings("ignore", message="Class `.*CodeRef", category=dg.BetaWarning)
        return [_api(settings), _listings_asset(), _exports_asset(partitions)]


def _api(settings: Settings) -> dg.AssetSpec:
    paths = [(of.path, of.table) for of in SUBJECTS] + [(export.path, export.name) for export in EXPORTS]
    listed = "\n".join(f"- `GET {path}`: {table}" for path, table in paths)
    return dg.AssetSpec(
        SOUNDLINK_API,
        group_name="sources",
        kinds={"api"},
        owners=[OWNER],
        tags={"layer": "sources"},
        description=(
            "The Soundlink API, where every number comes from: Meta ads and the Spotify listening they brought, per"
            " campaign (or soundlink) and day. Not made by this pipeline, hence never materialized; each listing"
            f" observes it. {settings.requests_per_minute} requests a minute and {settings.requests_per_hour} an hour;"
            f" a day's rows may be revised for {REVISION_DAYS} days after it closes at midnight UTC.\n\n"
            f"{listed}"
        ),
        metadata={"base URL": dg.MetadataValue.url(settings.base_url)},
    )


def _listing_spec(subject: Subject) -> dg.AssetSpec:
    return dg.AssetSpec(
        subject.table,
        deps=[SOUNDLINK_API],
        group_name="sources",
        kinds={"api", "duckdb"},
        owners=[OWNER],
        tags={"layer": "sources"},
        description=(
            f"The {subject.plural} that each account sees, as last listed: which of them can have rows decides what is"
            f" pulled. Grain: one row per account and {subject.name} id."
        ),
        metadata={
            "dagster/table_name": subject.table,
            "dagster/code_references": _code(f"contracts/{subject.table}.py"),
            COLUMNS: column_schema(listing_table(subject)),
        },
    )


def _listings_asset() -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=_LISTINGS,
        specs=[_listing_spec(subject) for subject in SUBJECTS],
        can_subset=True,
        description="Lists what the exports are about. Which of it can have rows decides what is pulled.",
    )
    def list_subjects(
        context: dg.AssetExecutionContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> Iterator[dg.MaterializeResult[None]]:
        # The exports are next: no request for a wrong range.
        dates = range_of_run(context, soundlink.settings.start_date) if is_for_days(context) else None
        selected = [subject for subject in SUBJECTS if dg.AssetKey(subject.table) in context.selected_asset_keys]
        named = {subject for subject in SUBJECTS if limits_of(context.run, subject.table)}
        wanted = [subject for subject in selected if not named or subject in named]
        only = limits_of(context.run, "accounts")  # others need not be listed
        # Where the exports are next, the step that pulls says of which accounts nothing was listed.
        exports_next = dates is not None and any(_are_exports_next(context, subject) for subject in wanted)
        with as_cancellation(context), as_operator_failure(), open_accounts(context, soundlink, only) as accounts:
            refused = list[Subject]()
            for subject in wanted:
                before = accounts.requests
                accounts.list_one(context, soundlink, subject)
                listed = [(subject, item.listings[subject]) for item in accounts.all if subject in item.listings]
                if not listed:  # the others go on; the step that pulls says what it means
                    refused.append(subject)
                    continue
                metadata = _listed(subject, accounts, soundlink.settings)
                if not dates or not _are_exports_next(context, subject):
                    # Otherwise the step that pulls saves them, with what it asks the warehouse in any case.
                    expected = soundlink.expected_accounts
                    save_and_ask(soundlink.warehouse, soundlink.landing, listed, lambda _: None, expected)
                yield dg.MaterializeResult(
                    asset_key=subject.table, metadata=metadata | {"requests": accounts.requests - before}
                )
            # The API is not ours to materialize: that it answered is an observation.
            context.log_event(dg.AssetObservation(SOUNDLINK_API, metadata=_observed(accounts)))
            if len(refused) == len(wanted):
                accounts.list_all(context, soundlink, [])
        for subject in selected:
            if subject not in wanted:
                why = f"not listed: the run is limited to {in_words([of.plural for of in SUBJECTS if of in named])}"
                yield dg.MaterializeResult(asset_key=subject.table, metadata={"left out": why})
        for subject in refused:
            why = _why_refused(accounts, subject)
            context.log.info(f"{subject.plural} were not listed: {why}")
            yield dg.MaterializeResult(asset_key=subject.table, metadata={"left out": why})
        if accounts.failures and not exports_next:
            lines = [f"account {name}: {reason}" for name, reason in accounts.failures.items()]
            raise dg.Failure(
                "\n".join(["not all accounts could be listed.", *lines]),
                metadata=of_accounts(accounts.failures),
                allow_retries=False,
            )

    return list_subjects


def _are_exports_next(context: dg.AssetExecutionContext, subject: Subject) -> bool:
    selected = context.run.asset_selection
    own = [export for export in EXPORTS if export.subject == subject]
    return not selected or any(dg.AssetKey(export.name) in selected for export in own)


def _observed(accounts: OpenAccounts) -> dict[str, Any]:
    """What is seen of the API; by account where there are several."""
    found: dict[str, Any] = {}
    for account in accounts.working:
        of_it = f", {account.name}" if accounts.are_several else ""
        found[f"requests left this hour{of_it}"] = account.pacer.left_this_hour()
        found[f"the key is sent as{of_it}"] = account.client.scheme
    return found


def _why_refused(accounts: OpenAccounts, subject: Subject) -> str:
    return next((str(item.refused[subject]) for item in accounts.all if subject in item.refused), "no account works")


def _listed(
    subject: Subject, accounts: OpenAccounts, settings: Settings
) -> dict[str, dg.MetadataValue[Any] | int | str]:
    """What the page of a subject's listings shows."""
    by_account = {item.name: item.items(subject) for item in accounts.all}
    for account in accounts.working:
        account.log(f"{counted(len(by_account[account.name]), subject.name)} listed")
    items = [item for of_account in by_account.values() for item in of_account]
    statuses = Counter(str(item.get("status", "unknown")) for item in items).most_common()
    of_accounts = markdown_table(["account", subject.plural], [(name, len(of)) for name, of in by_account.items()])
    named_in = [ids_setting(item.account, subject) for item in accounts.all if named_ids(item.account, subject)]
    several = {f"{subject.plural} by account": dg.MetadataValue.md(of_accounts)} if accounts.are_several else {}
    return {
        **several,
        f"{subject.plural} by status": dg.MetadataValue.md(markdown_table(["status", subject.plural], statuses)),
        "dagster/row_count": len(items),
        "left out": (
            f"not known: `{typed('doctor')}` asks when the {subject.plural} in {in_words(named_in)} were created"
            if named_in
            else left_out(subject, items, settings.start_date) or "nothing"
        ),
    }


def _code(*files: str) -> dg.CodeReferencesMetadataValue:
    package = Path(__file__).parents[1]
    return dg.CodeReferencesMetadataValue(
        code_references=[
            dg.LocalFileCodeReference(file_path=str(package / file), line_number=1, label=file) for file in files
        ]
    )


def _export_spec(export: Export) -> dg.AssetSpec:
    table, history = export_tables(export)
    return dg.AssetSpec(
        export.name,
        deps=[export.subject.table, SOUNDLINK_API],
        group_name="exports",
        kinds={"api", "duckdb"},
        owners=[OWNER],
        tags={"layer": "exports", "cadence": "daily"},
        freshness_policy=freshness_policy(),
        description=(
            f"{export.describe()}\n\nA day is pulled when it has closed and again on each of the {REVISION_DAYS} days"
            " after, for as long as Soundlink may revise it; the partition's metadata says `settled` once it is final."
            f" What a newer delivery changed is kept in `{history.name}`.\n\n"
            "Plots show each day as its last run left it: `rows` it has; `inserted`, `updated` and `unchanged` by that"
            " run; `requests` of the run whose range held the day (one asks for many days, so they add up to more than"
            f" were made); `settled share`, the share of its {export.subject.plural} for which it is final."
        ),
        metadata={
            "dagster/table_name": export.name,
            "dagster/code_references": _code(
                f"contracts/{export.subject.name}_exports.py", "pulling/puller.py", "quality/row_checks.py"
            ),
            "primary key": ", ".join(export.primary_key),
            COLUMNS: column_schema(table),
        },
    )


def _exports_asset(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=EXPORTS_STEP,
        specs=[_export_spec(export) for export in EXPORTS],
        check_specs=export_check_specs(),
        can_subset=True,
        partitions_def=partitions,
        backfill_policy=backfill_policy(),
        description="Pulls the exports that the run selects, and loads them as they arrive.",
    )
    def pull_exports(
        context: dg.AssetExecutionContext, config: ExportsConfig, soundlink: dg.ResourceParam[Soundlink]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        wanted_checks = context.selected_asset_check_keys
        exports = [export for export in EXPORTS if dg.AssetKey(export.name) in context.selected_asset_keys]
        if not exports:
            yield from check_only(soundlink, wanted_checks)
            return
        dates = range_of_run(context, soundlink.settings.start_date)
        if config.is_limited and BACKFILL in context.run.tags:
            raise dg.Failure(_NO_LIMITED_BACKFILL, allow_retries=False)
        wanted = [export for export in exports if not config.only or config.only.get(export.subject.table)]
        if not wanted:
            named = in_words([table for table, ids in config.only.items() if ids])
            raise dg.Failure(_NONE_OF_THESE.format(named), allow_retries=False)
        with as_cancellation(context), as_operator_failure():
            asked = Asked(wanted, dates, config.refetch, config.accept_smaller, config.only, config.accounts)
            of_range = pull_range(context, soundlink, asked)
        pulled, left = of_range.result, of_range.left_out
        names: Mapping[ListedId, str] = {}
        blocking: list[tuple[Export, CheckResult]] = []
        results: list[dg.MaterializeResult[None] | dg.AssetCheckResult] = []
        with as_cancellation(context), as_operator_failure(), soundlink.warehouse.read() as connection:
            of_run = Ledger(connection).delivered_by(run_lineage(context))
            for export in exports:
                if why := left.get(export.name):
                    checks = [result for result in left_out_results(export, why) if check_key(result) in wanted_checks]
                    results.append(
                        dg.MaterializeResult(asset_key=export.name, metadata={"left out": why}, check_results=checks)
                    )
                    continue
                own = pulled.of(export)
                # What was loaded is checked, whatever else failed; where nothing was, there is nothing to look at.
                nothing = bool(own.failed) and not own.loaded
                loaded = of_run | {item.delivery.delivery_id for item in own.loaded}
                found, failed = run_export_checks(
                    connection,
                    export,
                    dates,
                    pulled=not nothing,
                    loaded=loaded,
                    only=config.only.get(export.subject.table, ()) if config.only else None,
                    accounts=config.accounts,
                )
                checks = [result for result in found if check_key(result) in wanted_checks]
                blocking += [(export, result) for result in failed]
                figures = figures_of_run(export, dates, own, of_range.in_range.get(export.subject.name, 0))
                if own.failed or export not in wanted:
                    results += checks
                elif config.is_limited and (lacking := lacking_days(connection, export, dates)):
                    report_limited(
                        context, connection, export, dates, delivery_ids=loaded, of_run=figures, lacking=lacking
                    )
                    results += checks
                else:
                    report_partitions(context, connection, export, dates, delivery_ids=loaded, of_run=figures)
                    results.append(dg.MaterializeResult(asset_key=export.name, check_results=checks))
            by_run = {item.delivery.delivery_id for item in pulled.loaded}
            for moved in moved_accounts(connection, soundlink.warehouse.exports, by_run) if by_run else ():
                context.log.warning(
                    f"rows of account {moved.account} are of organization {moved.organization_id} now; until now they"
                    f" were of {in_words(moved.before)}. If that is not so, its key is another organization's; with"
                    " organization_id in the accounts file, rows of others are refused"
                )
            if pulled.failed:
                names = Ledger(connection).names(soundlink.warehouse.exports)
        yield from results
        if pulled.failed:
            several, first_day = len(soundlink.settings.accounts) > 1, soundlink.settings.start_date
            raise pull_failure(pulled.failed, len(pulled.loaded), names, first_day, several=several)
        if blocking:
            raise blocking_failure(blocking)

    return pull_exports
