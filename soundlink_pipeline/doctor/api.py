"""The Soundlink API: host, key, scopes, clock and limits, with as few requests as possible."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.download import Download
from soundlink_pipeline.api.errors import KeyRefused, NoToken, RequestRefused, ScopeMissing, SoundlinkError, Unreachable
from soundlink_pipeline.api.key import looks_like_a_key
from soundlink_pipeline.api.pacing import Cancelled, Pacer
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange, last_closed_day, refresh_range
from soundlink_pipeline.contracts.exports import EXPORTS, SUBJECTS
from soundlink_pipeline.contracts.subject import Item, Listed, Subject, left_out
from soundlink_pipeline.doctor.demo import demo_is_stopped, is_demo
from soundlink_pipeline.doctor.finding import Finding, fault, ok, warn
from soundlink_pipeline.doctor.project_state import ProjectState
from soundlink_pipeline.doctor.requesting import LATER, USED_UP, client_of, is_unreachable, uncounted, way_out
from soundlink_pipeline.orchestration.open_accounts import ids_setting, named_ids
from soundlink_pipeline.pulling.listing import look_up_named
from soundlink_pipeline.pulling.planning import Plan, PullRequest, duration, expected_seconds
from soundlink_pipeline.pulling.tails import expected_of
from soundlink_pipeline.settings.accounts import Account
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.pulled_so_far import PulledSoFar
from soundlink_pipeline.wording import counted, in_words

_CLOCK_TOLERANCE = timedelta(minutes=5)
_ASK = "check SOUNDLINK_BASE_URL; if it is right, ask Soundlink, with the requestId"
_GIVE = "create a key that has this scope, too"
# What is the same for all accounts, since they are of one host.
_SAID_ONCE = ("host", "clock")


def check_api(project: ProjectState) -> Iterator[Finding]:
    """Of each account whether the API lets it in, its scopes and limits; a host that cannot be reached ends them."""
    accounts = project.settings.accounts
    if len(accounts) == 1:
        yield from _check_account(project, accounts[0])
        return
    said = set[str]()
    for account in accounts:
        for finding in _check_account(project, account):
            if finding.what not in _SAID_ONCE:
                yield replace(finding, what=f"{account.name}: {finding.what}")
            elif finding.what not in said:
                said.add(finding.what)
                yield finding
            if (finding.what, finding.level) == ("host", "FAULT"):
                return


def _check_account(project: ProjectState, account: Account) -> Iterator[Finding]:
    """Whether the API accepts the key, within the limits shared with the runs; stops instead of waiting for them."""
    base_url, variable, secret = project.settings.base_url, account.secret_env, project.secret_of(account)
    if secret and account.client_id is None and not looks_like_a_key(secret):
        yield warn(variable, "does not look like a Soundlink key (sk_…_…)", "paste the whole key, without quotes")
    try:
        with client_of(project, account) as (client, pacer, folder):
            yield from _requests(project, account, client, pacer, folder)
    except (KeyRefused, NoToken, Unreachable) as error:
        if is_unreachable(error):
            yield fault("host", str(error), demo_is_stopped() if is_demo(project.environment) else way_out(error))
        else:
            yield ok("host", f"{base_url} answers")
            yield fault("key" if account.client_id is None else "token", str(error))
    except SoundlinkError as error:
        yield fault("answer", str(error), "" if error.fatal else "try again later" if error.transient else _ASK)
    except Cancelled:
        yield warn("limits", USED_UP.format("key" if account.client_id is None else "client"), LATER)
    except sqlite3.DatabaseError as error:
        yield uncounted(account, error)
    except ValueError as error:  # the key has characters that no key has
        yield fault(variable, f"{error}; no request was made")


@dataclass
class _Seen:
    """What the API has shown of an account: what it lists, what it refuses to list, and its answers that bear a date.

    `closed` are the scopes that the key lacks for exports; `folder` is for what is downloaded.
    """

    account: Account
    folder: Path
    listed: dict[Subject, list[Item]] = field(default_factory=dict)
    refused: dict[Subject, ScopeMissing] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    answers: list[Listed | Download] = field(default_factory=list)
    pages: int = 0


def _requests(
    project: ProjectState, account: Account, client: SoundlinkClient, pacer: Pacer, folder: Path
) -> Iterator[Finding]:
    """A finding for each answer. Raises SoundlinkError when no further request makes sense, and Cancelled."""
    settings, seen = project.settings, _Seen(account, folder)
    client.ping()
    yield ok("host", f"{settings.base_url} answers")
    if account.client_id is None:
        yield ok("key", f"is valid; sent as {client.scheme}")
    else:
        yield ok("token", f"account {account.name} gets one, which is valid")
    for subject in SUBJECTS:
        yield from _listing(subject, client, seen)
    yield from _organization(seen)
    now = next((answer.server_date for answer in seen.answers if answer.server_date), None) or project.clock()
    trailing = refresh_range(now, account.start_date)
    so_far = _so_far(project, account, trailing) if trailing else PulledSoFar()
    for subject, why in seen.refused.items():
        yield _unlisted(subject, why, seen, so_far)
    # A scope that a listing needs, too, is known by now.
    for scope in dict.fromkeys(export.scope for export in EXPORTS if export.scope != export.subject.scope):
        yield _export(scope, last_closed_day(now), client, seen, so_far)
    if seen.answers and seen.answers[0].server_date:
        yield _clock(seen.answers[0].requested_at - seen.answers[0].server_date)
    if any(seen.listed.values()):
        refresh = _refresh(trailing, seen, so_far, now) if trailing else []
        yield _limits(account, refresh, seen.pages, pacer.left_this_hour())
    yield ok("requests", f"{client.requests} made by the doctor, counted towards the limits")


def _so_far(project: ProjectState, account: Account, dates: DateRange) -> PulledSoFar:
    """What the ledger knows; nothing where it cannot be read, which the warehouse's own findings tell."""
    if project.warehouse.exists():
        with suppress(WarehouseLocked, WarehouseUnusable, duckdb.Error), project.warehouse.read() as connection:
            return Ledger(connection).pulled_so_far(EXPORTS, dates, [], settled=True, account=account.name)
    return PulledSoFar()


def _organization(seen: _Seen) -> Iterator[Finding]:
    """Which organization the account is of, where what is listed tells."""
    found = {
        str(item["organizationId"]) for items in seen.listed.values() for item in items if "organizationId" in item
    }
    if not found:
        return
    message, known = in_words(sorted(found)), seen.account.organization_id
    if known is None or {one.lower() for one in found} == {known}:
        yield ok("organization", message)
    else:
        setting = seen.account.called("organization_id")
        yield fault(
            "organization",
            f"{message}; {setting} says {known}, and rows of another are refused",
            "correct that setting, or the key if it is another organization's",
        )


def _unlisted(subject: Subject, why: ScopeMissing, seen: _Seen, so_far: PulledSoFar) -> Finding:
    """A subject that the key may not list: its exports are left out, unless they were pulled before."""
    before = [export.name for export in EXPORTS if export.subject == subject and export.name in so_far.pulled_before]
    fix = f"{_GIVE}, or name campaigns in {ids_setting(seen.account, subject)}" if subject == CAMPAIGN else _GIVE
    if before:
        return fault(subject.scope, f"{why}. Runs fail, since {in_words(before)} were pulled before", fix)
    if seen.listed:  # the key may be meant for the others
        return ok(subject.scope, f"{subject.plural} are left out: {why}")
    return fault(subject.scope, str(why), fix)


def _listing(subject: Subject, client: SoundlinkClient, seen: _Seen) -> Iterator[Finding]:
    """List one subject, unless the settings name its ids."""
    account = seen.account
    if ids := named_ids(account, subject):
        setting = ids_setting(account, subject)
        yield ok(subject.scope, f"not needed to list: {setting} names {counted(len(ids), subject.name)}")
        named = look_up_named(
            client, subject, ids, account.start_date, setting=setting, first_day_setting=account.first_day_setting
        )
        for listed_id, why in named.refused.items():
            yield fault(setting.partition(" ")[0], f"{listed_id}: {why}", _of_unknown(account, subject, listed_id))
        for sentence in named.left_out:
            yield ok("first day", sentence)
        seen.listed[subject] = [{subject.id_field: name} for name in ids if name not in named.refused]
        return
    before = client.requests
    try:
        answer = client.listed(subject)
    except ScopeMissing as error:
        seen.refused[subject] = error
        return
    seen.answers.append(answer)
    seen.pages += client.requests - before
    seen.listed[subject] = list(answer.items)
    yield ok(subject.scope, f"{counted(len(answer.items), subject.name)} listed")
    if left := left_out(subject, answer.items, account.start_date, account.first_day_setting):
        yield ok("first day", left)


def _export(scope: str, day: date, client: SoundlinkClient, seen: _Seen, so_far: PulledSoFar) -> Finding:
    """Pull a day of one export that needs a scope: the first, by export and listed id, that may have rows."""
    exports = [export for export in EXPORTS if export.scope == scope]
    found = [(export, item) for export in exports for item in seen.listed.get(export.subject, ())]
    if not found:
        message = f"not checked: there is no {exports[0].subject.name} to pull"
        return ok(scope, message) if seen.listed else warn(scope, message)
    dates = DateRange(day, day)
    export, item = next((pair for pair in found if expected_of(*pair, so_far).meet(dates)), found[0])
    listed_id = export.subject.id_of(item)
    try:
        seen.answers.append(client.download(export, listed_id, dates, seen.folder / "export"))
    except ScopeMissing as error:
        seen.closed.add(scope)
        before = [other.name for other in exports if other.name in so_far.pulled_before]
        if before:
            return fault(scope, f"{error}. Runs fail, since {in_words(before)} were pulled before", _GIVE)
        if any(other.scope != scope and other.subject in seen.listed for other in EXPORTS):
            return ok(scope, f"{in_words([other.name for other in exports])} are left out: {error}")
        return fault(scope, str(error), _GIVE)
    except RequestRefused as error:
        return fault(
            scope, f"{export.name} of {listed_id}: {error}", _of_unknown(seen.account, export.subject, listed_id)
        )
    return ok(scope, f"{export.name} of {listed_id}, {day}, can be pulled")


def _of_unknown(account: Account, subject: Subject, listed_id: str) -> str:
    """What to do about one that the API refuses, for which every run fails."""
    if listed_id in named_ids(account, subject):
        return f"correct {listed_id} in {ids_setting(account, subject)}, or take it out: runs fail for it"
    return "ask Soundlink, with the requestId: the API lists it, and refuses its export"


def _clock(ahead: timedelta) -> Finding:
    if abs(ahead) <= _CLOCK_TOLERANCE:
        return ok("clock", "agrees with the API's")
    off = f"{duration(abs(ahead).total_seconds())} {'ahead of' if ahead > timedelta() else 'behind'}"
    fix = "set the clock: the schedule uses it, and it decides which day has closed"
    return warn("clock", f"this machine's is {off} the API's", fix)


def _refresh(dates: DateRange, seen: _Seen, so_far: PulledSoFar, now: datetime) -> Sequence[PullRequest]:
    """The requests that a refresh would make now, by the same plan."""
    account = seen.account
    exports = [export for export in EXPORTS if export.subject in seen.listed and export.scope not in seen.closed]
    return Plan(
        exports, seen.listed, dates, so_far, now=now, first_day=account.start_date, account=account.name
    ).missing


def _limits(account: Account, refresh: Sequence[PullRequest], pages: int, left: int) -> Finding:
    needed = len(refresh) + pages
    asked = {
        subject: len({request.subject_id for request in refresh if request.export.subject == subject})
        for subject in SUBJECTS
    }
    whose = in_words([counted(number, subject.name) for subject, number in asked.items() if number])
    exports = f"{counted(len(refresh), 'export')} of {whose}, " if refresh else ""
    message = (
        f"{left} of {counted(account.requests_per_hour, 'request')} left this hour; a daily refresh needs {needed}:"
        f" {exports}{pages} for the listings"
    )
    if needed <= left:
        return ok("limits", message)
    seconds = expected_seconds(needed, account.requests_per_minute, account.requests_per_hour, left)
    return warn("limits", f"{message}; at the limits it takes {duration(seconds)}", "nothing: the run waits by itself")
