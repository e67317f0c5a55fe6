"""The accounts of a step: each with a client of its own, and what it lists. They are asked side by side.

What is wrong with one account costs the others nothing: it is noted as that account's failure. Of an only account it is
the step's.
"""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import dagster as dg

from soundlink_pipeline.api.errors import ScopeMissing, SoundlinkError
from soundlink_pipeline.api.pacing import Cancelled, Pacer
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.soundlinks import SOUNDLINK
from soundlink_pipeline.contracts.subject import Item, Subject
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.orchestration.failures import as_operator_failure, of_accounts, sentence
from soundlink_pipeline.orchestration.resource import Log, Soundlink
from soundlink_pipeline.orchestration.run_context import run_lineage
from soundlink_pipeline.pulling.listing import list_subject
from soundlink_pipeline.settings.accounts import Account
from soundlink_pipeline.wording import counted, in_words

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient

MOST_AT_ONCE = 16
_MOST_NAMED = 5


def named_ids(account: Account, subject: Subject) -> tuple[str, ...]:
    """The ids that the settings name of a subject of an account; none: all that it sees."""
    return {CAMPAIGN.name: account.campaign_ids, SOUNDLINK.name: account.soundlink_ids}.get(subject.name, ())


def ids_setting(account: Account, subject: Subject) -> str:
    """How sentences name the setting that names ids of a subject."""
    return account.called(f"{subject.name}_ids")


@dataclass
class OpenAccount:
    """An account in a step. `log` takes lines about it.

    `listings` are what it lists, `refused` why it has no access to others; `failure` is why nothing else of it works.
    """

    account: Account
    client: "SoundlinkClient"
    pacer: Pacer
    log: Log
    listings: dict[Subject, Listing] = field(default_factory=dict)
    refused: dict[Subject, ScopeMissing] = field(default_factory=dict)
    failure: Exception | None = None

    @property
    def name(self) -> str:
        return self.account.name

    def list_one(self, context: dg.AssetExecutionContext, soundlink: Soundlink, subject: Subject) -> None:
        """List a subject: as an earlier step of the run did, or as the API does now. Raises SoundlinkError.

        What was refused to an earlier step is not asked again: the API would refuse it just so.
        """
        asked = (context.run.run_id, self.name, subject.name)
        if known := soundlink.refusals.get(asked):
            self.refused[subject] = known
            return
        try:
            self.listings[subject] = list_subject(
                self.client,
                subject,
                soundlink.landing,
                run_id=context.run.run_id,
                lineage=run_lineage(context),
                account=self.name,
                only=named_ids(self.account, subject),
                log=context.log.warning,
            )
        except ScopeMissing as error:
            self.refused[subject] = soundlink.refusals[asked] = error

    def items(self, subject: Subject) -> list[Item]:
        """What it lists of a subject; nothing without access."""
        listing = self.listings.get(subject)
        return list(listing.items(subject)) if listing else []


@dataclass
class OpenAccounts:
    """The accounts of a step that could be opened, and why others could not, by name.

    `are_several`: the settings name several; a step may be limited to one of them.
    """

    are_several: bool
    all: list[OpenAccount] = field(default_factory=list)
    failed: dict[str, Exception] = field(default_factory=dict)

    @property
    def working(self) -> list[OpenAccount]:
        return [account for account in self.all if account.failure is None]

    @property
    def failures(self) -> dict[str, str]:
        """Why nothing is pulled of an account, by its name."""
        found = self.failed | {item.name: item.failure for item in self.all if item.failure is not None}
        return {name: sentence(error) for name, error in found.items()}

    @property
    def requests(self) -> int:
        return sum(account.client.requests for account in self.all)

    def list_one(self, context: dg.AssetExecutionContext, soundlink: Soundlink, subject: Subject) -> None:
        """List a subject of all that still work. Raises SoundlinkError of an only account."""
        working = self.working
        if not self.are_several:
            for account in working:
                account.list_one(context, soundlink, subject)
            return
        with ThreadPoolExecutor(min(len(working), MOST_AT_ONCE) or 1, "list") as threads:
            try:
                done = [(account, threads.submit(account.list_one, context, soundlink, subject)) for account in working]
                for account, future in done:
                    try:
                        future.result()
                    except (SoundlinkError, Cancelled) as error:
                        account.failure = error
                        account.log(f"{subject.plural} are not listed: {sentence(error)}")
            except BaseException:  # a cancel: no request may hold up the end
                for account in working:
                    account.pacer.cancelled.set()
                    account.client.abort()
                raise

    def list_all(self, context: dg.AssetExecutionContext, soundlink: Soundlink, subjects: Sequence[Subject]) -> None:
        """List all of these. One that has access to none of them fails; raises what an only account does."""
        for subject in subjects:
            self.list_one(context, soundlink, subject)
        for account in self.working:
            if account.refused and not account.listings:
                account.failure = next(iter(account.refused.values()))
        if not self.working:
            self.fail()

    def listed_twice(self, subject: Subject) -> list[str]:
        """Sentences about accounts that have ids in common, each of which is asked for twice."""
        found = [(item.account, {subject.id_of(one) for one in item.items(subject)}) for item in self.working]
        return [
            said_of_shared(subject, one, other, ids & others)
            for (one, ids), (other, others) in combinations(found, 2)
            if ids & others
        ]

    def fail(self) -> None:
        """Raise for a step of which no account works."""
        if not self.are_several and self.all and self.all[0].failure is not None:
            raise self.all[0].failure
        lines = [f"account {name}: {reason}" for name, reason in self.failures.items()]
        raise dg.Failure(
            "\n".join(["nothing can be pulled of any account.", *lines]),
            metadata=of_accounts(self.failures),
            allow_retries=False,
        )


def said_of_shared(subject: Subject, one: Account, other: Account, shared: Collection[str]) -> str:
    """A sentence about ids that two accounts have in common. What settings name says nothing of an organization."""
    naming = [account for account in (one, other) if named_ids(account, subject)]
    shown = sorted(shared)[:_MOST_NAMED]
    more = [f"{len(shared) - len(shown):,} more"] if len(shared) > len(shown) else []
    which = f"{subject.name if len(shared) == 1 else subject.plural} {in_words([*shown, *more])}"
    settings = " and ".join(ids_setting(account, subject) for account in naming)
    if not naming:
        return (
            f"accounts {one.name} and {other.name} list the same {subject.plural}"
            f" ({counted(len(shared), subject.name)}): are both of one organization? Each is asked for twice"
        )
    if len(naming) == 1:
        (lists,) = (account for account in (one, other) if account not in naming)
        return f"account {lists.name} lists what {settings} names, too: {which}. Each is asked for twice"
    return f"{settings} name the same: {which}. Each is asked for twice; name it for one account only"


def chosen_accounts(accounts: Sequence[Account], names: Collection[str]) -> list[Account]:
    """Those that a run is limited to, all without names. Raises ValueError for a name that is none's."""
    known = [account.name for account in accounts]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"there is no account {', '.join(unknown)}; the settings name {', '.join(known)}")
    return [account for account in accounts if not names or account.name in names]


@contextmanager
def open_accounts(
    context: dg.AssetExecutionContext, soundlink: Soundlink, names: Collection[str] = ()
) -> Iterator[OpenAccounts]:
    """The step's accounts, all or those named.

    The warehouse is brought to the present contract first. A key or a URL that cannot be one fails an only account's
    step with that sentence.
    """
    found = OpenAccounts(len(soundlink.settings.accounts) > 1)
    with ExitStack() as stack:
        with as_operator_failure(ValueError):
            wanted = chosen_accounts(soundlink.settings.accounts, names)
            soundlink.prepare(context.log.info)
            for account in wanted:
                log = log_of(context.log.info, account, soundlink.settings.accounts)
                try:
                    client, pacer = stack.enter_context(soundlink.client_of(account, log))
                except ValueError as error:
                    if not found.are_several:
                        raise
                    found.failed[account.name] = error
                else:
                    found.all.append(OpenAccount(account, client, pacer, log))
        yield found


def log_of(log: Log, account: Account, accounts: Sequence[Account]) -> Log:
    """For lines about one of the accounts: they begin with its name where there are others."""
    return partial(_say, log, account.name) if len(accounts) > 1 else log


def _say(log: Log, account: str, line: str) -> None:
    log(f"{account}: {line}")
