"""The check TOTALS_AGREE: Soundlink's own totals of each live campaign against the loaded rows (`quality/totals.py`).

It is the only check that makes requests, so it runs in a job of its own: a part of the campaigns each day, or all of
them when somebody starts it. What a run found stays in the results of the next ones until its campaign is compared
again.

Dagster shows a check's result only for as long as its asset is not materialized anew. So the check is one of the totals
themselves, an asset that is Soundlink's and that nobody materializes: its newest result stands until the next one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import dagster as dg
from pydantic import Field

from soundlink_pipeline.api.errors import ScopeMissing, SoundlinkError
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.overview import FIGURES, OVERVIEW_PATH
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.orchestration.canceling import as_cancellation
from soundlink_pipeline.orchestration.failures import as_operator_failure
from soundlink_pipeline.orchestration.open_accounts import log_of
from soundlink_pipeline.orchestration.resource import Log, Soundlink
from soundlink_pipeline.orchestration.run_context import OWNER, SOUNDLINK_API
from soundlink_pipeline.pulling.planning import duration, expected_seconds
from soundlink_pipeline.quality.totals import (
    PARTS,
    Comparison,
    Difference,
    LiveCampaigns,
    SettledTotals,
    compare,
    settled_totals,
)
from soundlink_pipeline.settings.accounts import Account
from soundlink_pipeline.typed import typed
from soundlink_pipeline.wording import counted

TOTALS_AGREE = "totals_agree"
COMPARE_TOTALS = "compare_totals"
_TOTALS = "campaign_totals"
_KEY = dg.AssetCheckKey(dg.AssetKey(_TOTALS), TOTALS_AGREE)
# Under which name a result keeps the differences for the next one to read.
_KEPT = "differences, as data"
# How many campaigns were, why others were not, and the error after which no other was requested.
COMPARED, _NOT_COMPARED, REFUSED = "campaigns compared", "could not be compared", "refused by the API"
_SHOWN_IN_TEXT = 5
_UNCHANGED = "nothing was changed. To compare again, run the job again."
_SAYS = (
    f"The rows of each live campaign in {CAMPAIGN_COUNTRY_DAILY.name} add up to Soundlink's own totals"
    f" (`GET {OVERVIEW_PATH}`): {', '.join(figure.name for figure in FIGURES)}, over its settled days."
    f" One request a campaign. {COMPARE_TOTALS}_schedule compares a {PARTS}th of the campaigns each day, so that each"
    f" is compared once a week; executed from here, or by {typed('totals')}, it compares all of them. A difference is"
    " shown until its campaign is compared again.\n\n**If not** (a warning; everything else goes on): pull the range of"
    " the campaign again with refetch: true in the run's config. If settled_values_final fails then, Soundlink has"
    " changed final rows. If the difference stays, ask Soundlink which of both numbers is right."
)


class TotalsConfig(dg.Config):
    """What a run's config may set."""

    part: int | None = Field(
        default=None,
        ge=0,
        lt=PARTS,
        description=f"Compare only this part of the live campaigns, 0 to {PARTS - 1}. Otherwise all of them.",
    )


@dataclass(frozen=True)
class Found:
    """A difference, and the day (UTC) it was found on."""

    difference: Difference
    day: date


@dataclass
class _Answers:
    """What the API said: `comparisons` by campaign id, `failures` by campaign with the reason.

    `refused` is the error after which nothing else was requested of an account.
    """

    comparisons: dict[str, Comparison] = field(default_factory=dict)
    failures: list[tuple[SettledTotals, str]] = field(default_factory=list)
    refused: SoundlinkError | None = None
    requests: int = 0

    @property
    def why_not_compared(self) -> str:
        """How many campaigns could not be compared, and one reason; empty where all were."""
        if not self.failures:
            return ""
        reason = str(self.refused or self.failures[0][1])
        return f"{counted(len(self.failures), 'campaign')} could not be compared: {reason}"


campaign_totals = dg.AssetSpec(
    _TOTALS,
    deps=[SOUNDLINK_API],
    group_name="sources",
    kinds={"api"},
    owners=[OWNER],
    tags={"layer": "sources"},
    description=(
        f"Soundlink's own totals of each campaign (`GET {OVERVIEW_PATH}`). Not kept by this pipeline, hence never"
        f" materialized; the check {TOTALS_AGREE} requests them, and compares them with the loaded rows."
    ),
)


@dg.asset_check(
    name=TOTALS_AGREE,
    asset=_TOTALS,
    additional_deps=[CAMPAIGN_COUNTRY_DAILY.name],
    description=_SAYS,
)
def totals_agree(
    context: dg.AssetCheckExecutionContext, config: TotalsConfig, soundlink: dg.ResourceParam[Soundlink]
) -> dg.AssetCheckResult:
    live = {account: LiveCampaigns(frozenset(), []) for account in soundlink.settings.accounts}
    with as_cancellation(context, _UNCHANGED), as_operator_failure():
        if soundlink.warehouse.exists():
            with soundlink.warehouse.read() as connection:
                live = {account: settled_totals(connection, config.part, account.name) for account in live}
    answers = _Answers()
    with as_cancellation(context, _UNCHANGED):
        for account, of_account in live.items():
            log = log_of(context.log.info, account, soundlink.settings.accounts)
            _ask(log, soundlink, account, of_account, answers)
    ids = {campaign for of_account in live.values() for campaign in of_account.ids}
    today = datetime.now(UTC).date()
    now = [Found(item, today) for found in answers.comparisons.values() for item in found.differences]
    kept = [
        found
        for found in _earlier(context.instance)
        if (campaign := found.difference.campaign_id) in ids and campaign not in answers.comparisons
    ]
    return _result(now + kept, answers)


compare_totals = dg.define_asset_job(
    COMPARE_TOTALS,
    selection=dg.AssetSelection.checks(totals_agree),
    description=(
        "Compares the loaded rows with Soundlink's own totals, one request a campaign: all live campaigns, or a part"
        " of them where the config says so."
    ),
)


def config_of_part(part: int) -> dict[str, Any]:
    """The run config with which the job compares one part."""
    return {"ops": {totals_agree.node_def.name: {"config": {"part": part}}}}


def _ask(log: Log, soundlink: Soundlink, account: Account, live: LiveCampaigns, answers: _Answers) -> None:
    """Request the overview of each of an account's campaigns that is due. No warehouse is open meanwhile."""
    # Also where none is due: a missing key, or one that cannot be a key, is no success.
    with as_operator_failure(ValueError), soundlink.connect(log, account) as (client, pacer):
        if not live.due:
            log(f"0 requests: of {counted(len(live.ids), 'live campaign')} none is due that has settled days")
            return
        seconds = expected_seconds(
            len(live.due), account.requests_per_minute, account.requests_per_hour, pacer.left_this_hour()
        )
        log(
            f"{counted(len(live.due), 'request')}, one each for the totals of {len(live.due)} of"
            f" {counted(len(live.ids), 'live campaign')}"
            + (f"; at the API's limits this takes at least {duration(seconds)}" if seconds > 1 else "")
        )
        refused: SoundlinkError | None = None
        for totals in live.due:
            if refused is not None:
                answers.failures.append((totals, "not requested after the API had refused the others"))
                continue
            try:
                overview = client.overview(totals.campaign_id, totals.dates)
            except SoundlinkError as error:
                log(f"the totals of campaign {totals.campaign_id} are not known: {error}")
                answers.failures.append((totals, str(error)))
                refused = error if error.fatal or isinstance(error, ScopeMissing) else None
                answers.refused = refused or answers.refused
            else:
                comparison = compare(totals, overview)
                if len(comparison.not_compared) < len(FIGURES):
                    answers.comparisons[totals.campaign_id] = comparison
                else:
                    answers.failures.append((totals, "the overview gives none of the figures"))
        answers.requests += client.requests
        log(f"{counted(client.requests, 'request')} sent")


def _result(found: Sequence[Found], answers: _Answers) -> dg.AssetCheckResult:
    lines = [str(item.difference) for item in found[:_SHOWN_IN_TEXT]]
    if len(found) > len(lines):
        lines.append(f"and {len(found) - len(lines)} more")
    if answers.failures:
        lines.append(answers.why_not_compared)
    metadata: dict[str, Any] = {
        COMPARED: len(answers.comparisons),
        "requests": answers.requests,
        "differences": dg.MetadataValue.md(_differences(found)) if found else "none",
        _KEPT: dg.MetadataValue.json([_as_data(item) for item in found]),
    }
    if answers.failures:
        failures = [(totals.campaign_id, totals.name, reason) for totals, reason in answers.failures]
        metadata[_NOT_COMPARED] = dg.MetadataValue.md(markdown_table(["campaign", "name", "why"], failures))
    if answers.refused is not None:
        metadata[REFUSED] = str(answers.refused)
    if unsaid := _not_compared(answers.comparisons.values()):
        metadata["figures not compared"] = dg.MetadataValue.md(markdown_table(["figure", "why", "campaigns"], unsaid))
    return dg.AssetCheckResult(
        passed=not lines,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join(lines) or None,
        metadata=metadata,
    )


def differences_of(evaluation: dg.AssetCheckEvaluation) -> list[str]:
    """All differences of a result, a line each; its description holds only the first."""
    kept: Any = evaluation.metadata[_KEPT].value
    return [str(_from_data(item).difference) for item in kept]


def why_not_compared(evaluation: dg.AssetCheckEvaluation) -> str:
    """How many campaigns could not be compared, and why; empty where all were that have settled days."""
    if _NOT_COMPARED not in evaluation.metadata:
        return ""
    return (evaluation.description or "").splitlines()[-1]


def _differences(found: Iterable[Found]) -> str:
    columns = ["campaign", "name", "from", "to", "figure", "in the rows", "at Soundlink", "difference", "found on"]
    rows = []
    for item in found:
        d = item.difference
        numbers = (d.rows, d.overview, d.overview - d.rows)
        shown = (f"{number.normalize():,f}" for number in numbers)
        rows.append((d.campaign_id, d.name, d.dates.start, d.dates.end, d.figure, *shown, item.day))
    return markdown_table(columns, rows)


def _not_compared(comparisons: Iterable[Comparison]) -> list[tuple[str, str, int]]:
    counts: dict[tuple[str, str], int] = {}
    for comparison in comparisons:
        for reason in comparison.not_compared.items():
            counts[reason] = counts.get(reason, 0) + 1
    return [(*reason, count) for reason, count in sorted(counts.items())]


# What a result keeps for the next one


def _as_data(found: Found) -> dict[str, str]:
    d = found.difference
    return {
        "campaign_id": d.campaign_id,
        "name": d.name,
        "start": d.dates.start.isoformat(),
        "end": d.dates.end.isoformat(),
        "figure": d.figure,
        "rows": str(d.rows),
        "overview": str(d.overview),
        "found_on": found.day.isoformat(),
    }


def _from_data(data: dict[str, str]) -> Found:
    dates = DateRange(date.fromisoformat(data["start"]), date.fromisoformat(data["end"]))
    numbers = Decimal(data["rows"]), Decimal(data["overview"])
    difference = Difference(data["campaign_id"], data["name"], dates, data["figure"], *numbers)
    return Found(difference, date.fromisoformat(data["found_on"]))


def _earlier(instance: dg.DagsterInstance) -> list[Found]:
    """The differences of the newest result; none where Dagster no longer has it (its run was deleted)."""
    newest = instance.event_log_storage.get_asset_check_summary_records([_KEY])[_KEY]
    record = newest.last_completed_check_execution_record
    if record is None or record.evaluation is None or _KEPT not in record.evaluation.metadata:
        return []
    kept: Any = record.evaluation.metadata[_KEPT].value
    return [_from_data(item) for item in kept]
