"""The pulling of a step: plans, requests and loads what its accounts are asked for, each within its own limits.

The assets it serves are in `orchestration/export_assets.py`; how requests are made and loaded is in `pulling/`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import subjects_of
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Item, Subject, left_out
from soundlink_pipeline.orchestration.open_accounts import (
    MOST_AT_ONCE,
    OpenAccount,
    OpenAccounts,
    ids_setting,
    named_ids,
    open_accounts,
)
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import run_lineage
from soundlink_pipeline.pulling.details import (
    Details,
    Lacking,
    keep_details,
    keep_landed_details,
    lacking_details,
    places,
)
from soundlink_pipeline.pulling.fetcher import Source
from soundlink_pipeline.pulling.landed import load_leftovers
from soundlink_pipeline.pulling.listing import look_up_named, save_and_ask
from soundlink_pipeline.pulling.outcome import FailedPull, PullResult
from soundlink_pipeline.pulling.planning import Plan, PullRequest
from soundlink_pipeline.pulling.progress import Progress
from soundlink_pipeline.pulling.puller import Puller
from soundlink_pipeline.pulling.shrinking import NOTHING_HELD, HeldRows
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.wording import counted, in_words

# By the table of a subject, the ids that a run is limited to; without any it is not limited.
Only = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Asked:
    """What a run asks for: the `dates` of `exports`, in every account or in those of `accounts`.

    With `refetch` final days, too. With `accept_smaller` an answer is taken however few rows it holds. `only` limits
    the pull to these ids.
    """

    exports: Sequence[Export]
    dates: DateRange
    refetch: bool
    accept_smaller: bool
    only: Only = field(default_factory=dict)
    accounts: Collection[str] = ()


@dataclass(frozen=True)
class Pulled:
    """What a step has pulled: the result, and of how many of each subject rows can be in its range, by name.

    `left_out`: the exports that no account has access to and that were never pulled, by name, each with why.
    """

    result: PullResult
    in_range: Mapping[str, int]
    left_out: Mapping[str, str]


class _AccountPull:
    """The pull of one account within a step: what is asked of it, as the ledger and its listing tell."""

    def __init__(self, account: OpenAccount, asked: Asked, listed: Mapping[Subject, Sequence[Item]]) -> None:
        self.account, self._asked, self.listed = account, asked, listed
        self._exports = [export for export in asked.exports if export.subject in listed]
        self._now = min(listing.listed_at for listing in account.listings.values())
        self.held = NOTHING_HELD
        self.plan: Plan
        self.lacking: list[Lacking]

    def look(self, ledger: Ledger, lineage: Sequence[str], given_up: Collection[tuple[str, str]] = ()) -> None:
        """Plan what is to be requested, and see which rows are held of that."""
        asked, own, first_day = self._asked, self.account, self.account.account.start_date
        start, end = max(asked.dates.start, first_day), asked.dates.end
        exports, dates = (self._exports, DateRange(start, end)) if start <= end else ([], asked.dates)
        so_far = ledger.pulled_so_far(exports, dates, lineage, settled=not asked.refetch, account=own.name)
        self.plan = Plan(
            exports,
            self.listed,
            dates,
            so_far,
            now=self._now,
            first_day=first_day,
            given_up=given_up,
            account=own.name,
        )
        self.held = NOTHING_HELD if asked.accept_smaller else HeldRows.before(ledger, self.plan.missing, own.name)

    @property
    def source(self) -> Source:
        own = self.account
        return Source(client=own.client, pacer=own.pacer, account=own.name, lane=own.account.client_id, held=self.held)

    def describe(self) -> str:
        limits = self.account.account
        if limits.start_date > self._asked.dates.end:
            return f"nothing of {self._asked.dates} is asked for: its start_date is {limits.start_date}"
        return self.plan.describe(
            per_minute=limits.requests_per_minute,
            per_hour=limits.requests_per_hour,
            left_this_hour=self.account.pacer.left_this_hour(),
        )

    def days_left_out(self) -> Iterable[str]:
        """What a first run says of days before the first one that is asked for."""
        own = self.account.account
        for subject, items in self.listed.items():
            if ids := named_ids(own, subject):
                said = {"setting": ids_setting(own, subject), "first_day_setting": own.first_day_setting}
                yield from look_up_named(self.account.client, subject, ids, own.start_date, **said).left_out
            elif sentence := left_out(subject, items, own.start_date, own.first_day_setting):
                yield sentence

    def may_go_on(self, result: PullResult) -> bool:
        return not self.account.pacer.cancelled.is_set() and self.plan.may_go_on(result.with_rows)

    def without_access(self, result: PullResult) -> dict[str, str]:
        """Of the exports those that were never pulled and that the account gives no access to, each with why.

        They are no failures: they are taken out of `result`. One that was pulled before goes stale, and a key that
        opens none of them is of no use: then the failures are the run's.
        """
        own, before = result.of_account(self.account.name).failed, self.plan.pulled_before
        left = {item.export: item.reason for item in own if item.no_access and item.export not in before}
        if len(left) == len(self._asked.exports):
            return {}
        result.failed = [
            item
            for item in result.failed
            if not (item.account == self.account.name and item.no_access and item.export in left)
        ]
        return left


def _chosen(accounts: Sequence[OpenAccount], only: Only) -> list[dict[Subject, list[Item]]]:
    """What of each one's listings is pulled: all, or what is `only` wanted. Raises dg.Failure for what none lists."""
    listed = [{subject: account.items(subject) for subject in account.listings} for account in accounts]
    if not any(only.values()):
        return listed
    for subject in dict.fromkeys(subject for of_account in listed for subject in of_account):
        ids = {subject.id_of(item) for of_account in listed for item in of_account.get(subject, ())}
        if unlisted := sorted(set(only.get(subject.table, ())) - ids):
            raise dg.Failure(f"no {subject.name} of this id is listed: {', '.join(unlisted)}", allow_retries=False)
    return [
        {
            subject: [item for item in items if subject.id_of(item) in only.get(subject.table, ())]
            for subject, items in of_account.items()
        }
        for of_account in listed
    ]


def pull_range(context: dg.AssetExecutionContext, soundlink: Soundlink, asked: Asked) -> Pulled:
    """Pull and load the range."""
    progress = soundlink.progress = Progress()
    later = list[str]()
    leftovers = load_leftovers(soundlink.warehouse, soundlink.landing, later.append)
    keep_landed_details(soundlink.warehouse, soundlink.landing, subjects_of(asked.exports), later.append)
    with open_accounts(context, soundlink, asked.accounts) as accounts:
        accounts.list_all(context, soundlink, subjects_of(asked.exports))
        for subject in subjects_of(asked.exports) if accounts.are_several else ():
            for line in accounts.listed_twice(subject):
                context.log.warning(line)
        working = accounts.working
        pulls = [
            _AccountPull(account, asked, listed)
            for account, listed in zip(working, _chosen(working, asked.only), strict=True)
        ]
        result = _pull(context, soundlink, asked, pulls, later)
    result.failed += _refused(accounts, asked)
    left = _left_out(context, pulls, result, accounts.are_several)
    result.loaded[:0] = leftovers.loaded
    result.failed[:0] = leftovers.failed
    progress.result = result
    for export in asked.exports:
        if unknown := result.of(export).unknown_fields:
            context.log.warning(
                f"{export.name} came with fields its contract does not know:"
                f" {', '.join(field.describe(result.of(export).rows) for field in unknown)}. They are kept with their"
                " rows, in _unknown_fields; once they are in contracts/ they are columns, filled for the past too"
            )
    soundlink.landing.sweep(datetime.now(UTC), soundlink.settings.landing_retention_days)
    in_range = {
        subject.name: sum(pull.plan.asked(subject) for pull in pulls if subject in pull.listed)
        for subject in subjects_of(asked.exports)
    }
    return Pulled(result, in_range, left)


def _pull(
    context: dg.AssetExecutionContext,
    soundlink: Soundlink,
    asked: Asked,
    pulls: Sequence[_AccountPull],
    later: Sequence[str],
) -> PullResult:
    """Ask and load, and ask on where the answers call for it. `later` are lines for the log, behind the plan's."""
    lineage = run_lineage(context)

    def fetch(of: Sequence[_AccountPull], requests: Sequence[PullRequest]) -> PullResult:
        return Puller(
            *(pull.source for pull in of),
            landing=soundlink.landing,
            warehouse=soundlink.warehouse,
            run_id=context.run.run_id,
            log=context.log.info,
            progress=soundlink.progress,
        ).run(requests)

    def look_all(ledger: Ledger) -> None:
        for pull in pulls:
            pull.look(ledger, lineage)
            pull.lacking = lacking_details(ledger, pull.listed, pull.account.name)

    listings = [item for pull in pulls for item in pull.account.listings.items()]
    save_and_ask(soundlink.warehouse, soundlink.landing, listings, look_all, soundlink.expected_accounts)
    for pull in pulls:
        pull.account.log(pull.describe())  # first, so that the operator knows how long it takes
    for pull in pulls:
        if not pull.plan.pulled_before and not any(asked.only.values()):
            for line in pull.days_left_out():
                pull.account.log(line)
    for line in later:
        context.log.info(line)
    result = fetch(pulls, [request for pull in pulls for request in pull.plan.missing])
    made = {request.identity for pull in pulls for request in pull.plan.missing}
    going_on = list(pulls)
    while going_on := [pull for pull in going_on if pull.may_go_on(result.of_account(pull.account.name))]:
        with soundlink.warehouse.read() as connection:
            for pull in going_on:
                failed = result.of_account(pull.account.name).failed
                pull.look(Ledger(connection), lineage, {(item.export, item.subject_id) for item in failed})
        more = [request for pull in going_on for request in pull.plan.missing if request.identity not in made]
        if not more:
            break
        context.log.info(f"{counted(len(more), 'further request')}, for what is over and still has rows")
        result.add(fetch(going_on, more))
        made |= {request.identity for request in more}
    _ask_for_details(context, soundlink, pulls)
    return result


def _ask_for_details(context: dg.AssetExecutionContext, soundlink: Soundlink, pulls: Sequence[_AccountPull]) -> None:
    """Ask for the details that the accounts lack, side by side, and keep what comes."""
    asking = [pull for pull in pulls if pull.lacking and not pull.account.pacer.cancelled.is_set()]
    if not asking:
        return
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(min(len(asking), MOST_AT_ONCE), "details"))
        all_details = [
            Details(
                *stack.enter_context(soundlink.quick_client_of(pull.account.account)),
                soundlink.landing,
                account=pull.account.name,
                run_id=context.run.run_id,
                log=pull.account.log,
            )
            for pull in asking
        ]
        try:
            most = places([len(pull.lacking) for pull in asking])
            done = [
                threads.submit(of.ask, pull.lacking, its_most)
                for of, pull, its_most in zip(all_details, asking, most, strict=True)
            ]
            landed = [item for future in done for item in future.result()]
        except BaseException:  # a cancel: no request may hold up the end
            for details in all_details:
                details.stop()
            raise
    keep_details(soundlink.warehouse, soundlink.landing, landed, context.log.info)


def _refused(accounts: OpenAccounts, asked: Asked) -> list[FailedPull]:
    """What was not asked for: of accounts that do not work, and what a listing was refused for."""
    failed = [
        FailedPull(export.name, "", asked.dates, str(why), no_access=True, account=account.name)
        for account in accounts.working
        for export in asked.exports
        if (why := account.refused.get(export.subject))
    ]
    return failed + [
        FailedPull(export.name, "", asked.dates, reason, account=name)
        for name, reason in accounts.failures.items()
        for export in asked.exports
    ]


def _left_out(
    context: dg.AssetExecutionContext, pulls: Sequence[_AccountPull], result: PullResult, several: bool
) -> dict[str, str]:
    """The exports that no account has access to, each with why; says which accounts have none to which.

    They are taken out of the failures of `result`.
    """
    found = {pull.account.name: pull.without_access(result) for pull in pulls}
    for account, left in found.items():
        for reason in dict.fromkeys(left.values()):
            names = in_words([name for name, of_it in left.items() if of_it == reason])
            context.log.warning(f"{f'{account}: ' if several else ''}{names} left out: {reason}")
    if any(item.subject_id == "" and not item.no_access for item in result.failed):
        return {}  # of an account that does not work nobody knows
    first, *others = found.values() or [{}]
    return {name: reason for name, reason in first.items() if all(name in left for left in others)}
