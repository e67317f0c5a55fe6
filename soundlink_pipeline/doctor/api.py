"""The Soundlink API: host, key, scopes, clock and limits, with as few requests as possible."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.download import Download
from soundlink_pipeline.api.errors import KeyRefused, NoToken, ScopeMissing, SoundlinkError, Unreachable
from soundlink_pipeline.api.key import DEMO_KEY, looks_like_a_key
from soundlink_pipeline.api.pacing import Cancelled, Pacer
from soundlink_pipeline.contracts.days import DateRange, last_closed_day, refresh_range
from soundlink_pipeline.contracts.exports import EXPORTS, SUBJECTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Item, Listed, Subject, expected_days, left_out
from soundlink_pipeline.doctor.accounts import check_accounts
from soundlink_pipeline.doctor.finding import Finding, fault, ok, warn
from soundlink_pipeline.doctor.project_state import ProjectState
from soundlink_pipeline.doctor.requesting import LATER, USED_UP, client_of, is_unreachable, uncounted, way_out
from soundlink_pipeline.orchestration.open_accounts import named_ids
from soundlink_pipeline.pulling.listing import left_out_of_named
from soundlink_pipeline.pulling.planning import duration, expected_seconds
from soundlink_pipeline.settings.accounts import Account
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.typed import typed
from soundlink_pipeline.wording import counted, in_words

_CLOCK_TOLERANCE = timedelta(minutes=5)


def check_api(project: ProjectState) -> Iterator[Finding]:
    """Whether the API lets the accounts in; of an only one also its scopes, clock and limits."""
    accounts = project.settings.accounts
    return _check_account(project, accounts[0]) if len(accounts) == 1 else check_accounts(project)


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
            yield fault("host", str(error), demo_is_stopped() if secret == DEMO_KEY else way_out(error))
        else:
            yield ok("host", f"{base_url} answers")
            yield fault("key" if account.client_id is None else "token", str(error))
    except SoundlinkError as error:
        yield fault("answer", str(error), "" if error.fatal else "try again later")
    except Cancelled:
        yield warn("limits", USED_UP.format("key" if account.client_id is None else "client"), LATER)
    except sqlite3.DatabaseError as error:
        yield uncounted(account, error)
    except ValueError as error:  # the key has characters that no key has
        yield fault(variable, f"{error}; no request was made")


@dataclass
class _Seen:
    """What the API has shown so far: what it lists, what it refuses to list, and its answers that bear a date.

    `folder` is for what is downloaded.
    """

    folder: Path
    listed: dict[Subject, list[Item]] = field(default_factory=dict)
    refused: dict[Subject, ScopeMissing] = field(default_factory=dict)
    answers: list[Listed | Download] = field(default_factory=list)
    pages: int = 0


def _requests(
    project: ProjectState, account: Account, client: SoundlinkClient, pacer: Pacer, folder: Path
) -> Iterator[Finding]:
    """A finding for each answer. Raises SoundlinkError when no further request makes sense, and Cancelled."""
    settings, seen = project.settings, _Seen(folder)
    client.ping()
    yield ok("host", f"{settings.base_url} answers")
    if account.client_id is None:
        yield ok("key", f"is valid; sent as {client.scheme}")
    else:
        yield ok("token", f"account {account.name} gets one, which is valid")
    for subject in SUBJECTS:
        yield from _listing(subject, settings, client, seen)
    for subject, why in seen.refused.items():
        if seen.listed:  # the key may be meant for the others
            yield ok(subject.scope, f"{subject.plural} are left out: {why}")
        else:
            fix = "give the key this scope, or name campaigns in SOUNDLINK_CAMPAIGN_IDS"
            yield fault(subject.scope, str(why), fix)
    now = next((answer.server_date for answer in seen.answers if answer.server_date), None) or project.clock()
    trailing = refresh_range(now, settings.start_date)
    pairs = [(export, item) for export in EXPORTS for item in seen.listed.get(export.subject, [])]
    everything = [(export, export.subject.id_of(item)) for export, item in pairs]
    asked = [
        (export, export.subject.id_of(item))
        for export, item in pairs
        if trailing and expected_days(export.subject.lifetime(item), export.tail).meet(trailing)
    ]
    # A scope that a listing needs, too, is known by now.
    for scope in dict.fromkeys(export.scope for export in EXPORTS if export.scope != export.subject.scope):
        of_scope = [pair for pair in (*asked, *everything) if pair[0].scope == scope]
        yield from _export(scope, of_scope, last_closed_day(now), client, seen)
    if seen.answers and seen.answers[0].server_date:
        yield _clock(seen.answers[0].requested_at - seen.answers[0].server_date)
    if any(seen.listed.values()):
        yield _limits(settings, asked, seen.pages, pacer.left_this_hour())
    yield ok("requests", f"{client.requests} made by the doctor, counted towards the limits")


def _listing(subject: Subject, settings: Settings, client: SoundlinkClient, seen: _Seen) -> Iterator[Finding]:
    """List one subject, unless the settings name its ids."""
    if ids := named_ids(settings.accounts[0], subject):
        seen.listed[subject] = [{subject.id_field: name} for name in ids]
        yield ok(subject.scope, f"not needed: SOUNDLINK_CAMPAIGN_IDS names {counted(len(ids), subject.name)}")
        for sentence in filter(None, left_out_of_named(client, subject, ids, settings.start_date)):
            yield ok("first day", sentence)
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
    if left := left_out(subject, answer.items, settings.start_date):
        yield ok("first day", left)


def _export(
    scope: str, of_scope: Sequence[tuple[Export, str]], day: date, client: SoundlinkClient, seen: _Seen
) -> Iterator[Finding]:
    """Pull a day of one export that needs a scope: the first, by export and listed id."""
    if not of_scope:
        name = next(export.subject.name for export in EXPORTS if export.scope == scope)
        yield warn(scope, f"not checked: there is no {name} to pull")
        return
    export, listed_id = of_scope[0]
    try:
        seen.answers.append(client.download(export, listed_id, DateRange(day, day), seen.folder / "export"))
    except ScopeMissing as error:
        yield fault(scope, str(error), "give the key this scope")
    else:
        yield ok(scope, f"{export.name} of {listed_id}, {day}, can be pulled")


def demo_is_stopped() -> str:
    """Why the demo's API does not answer, and what to do."""
    return f"this is the demo, whose API runs only while {typed('dev')} does: start that in another terminal first"


def _clock(ahead: timedelta) -> Finding:
    if abs(ahead) <= _CLOCK_TOLERANCE:
        return ok("clock", "agrees with the API's")
    off = f"{duration(abs(ahead).total_seconds())} {'ahead of' if ahead > timedelta() else 'behind'}"
    fix = "set the clock: the schedule uses it, and it decides which day has closed"
    return warn("clock", f"this machine's is {off} the API's", fix)


def _limits(settings: Settings, asked: Sequence[tuple[Export, str]], pages: int, left: int) -> Finding:
    needed = len(asked) + pages
    live = {
        subject: len({listed_id for export, listed_id in asked if export.subject == subject}) for subject in SUBJECTS
    }
    whose = in_words([counted(number, f"live {subject.name}") for subject, number in live.items() if number])
    message = (
        f"{left} of {settings.requests_per_hour} requests left this hour; a daily refresh needs {needed}:"
        f" {len(asked)} exports of {whose or 'nothing live'}, {pages} for the listings"
    )
    if needed <= left:
        return ok("limits", message)
    seconds = expected_seconds(needed, settings.requests_per_minute, settings.requests_per_hour, left)
    return warn("limits", f"{message}; at the limits it takes {duration(seconds)}", "nothing: the run waits by itself")
