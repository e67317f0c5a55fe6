"""Makes the weekly message from the published file, and sends it to every receiver that has not had it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from soundlink_pipeline.channels.harmless import hidden
from soundlink_pipeline.channels.receiver import Message, NotDelivered
from soundlink_pipeline.channels.send import send
from soundlink_pipeline.channels.sent_log import SentLog, Slot
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.report.__main__ import NoReport, Source, make_report
from soundlink_pipeline.settings.receivers import Receiver
from soundlink_pipeline.typed import typed
from soundlink_pipeline.weekly.figures import Week, read_week
from soundlink_pipeline.weekly.message import message_of
from soundlink_pipeline.wording import counted

KIND = "weekly report"
_ITEM = "report"
# A page of a megabyte over a slow line.
_SECONDS = 60.0
Log = Callable[[str], None]


class NotSent(Exception):
    """The report reached not every receiver, or could not be made: a sentence for each reason, and what to do."""


def read_weekly(published: Path) -> Week:
    """The newest week that is over in the published file. Raises NotSent."""
    if not published.is_file():
        raise NotSent("Nothing has been published yet, so there is no report.")
    try:
        with read_published(published) as connection:
            week = read_week(connection)
    except duckdb.Error as error:
        raise NotSent(f"The published file cannot be read: {str(error).splitlines()[0]}") from None
    if week is None:
        raise NotSent("No campaign has a day of a week that is over yet, so there is no report.")
    return week


def make_message(published: Path) -> tuple[Week, Message]:
    """The week and its message, with the whole page. Raises NotSent."""
    week = read_weekly(published)
    try:
        page, _ = make_report(
            Source(str(published), published.parent, lambda: read_published(published), published.name)
        )
    except NoReport as error:
        raise NotSent(str(error)) from None
    return week, message_of(week, page)


def send_once(published: Path, receivers: Sequence[Receiver], log: Log, now: datetime) -> str:
    """Send the newest week to those receivers that have not had it; its period. Raises NotSent.

    What was sent is in the data folder's log, so that a retry sends it to none of them again.
    """
    week, message = make_message(published)
    sent_log, problems = SentLog(published.parent), list[str]()
    try:
        for number, receiver in enumerate(receivers):
            slot, which = Slot(KIND, number, week.period), f"Receiver {number + 1} of {len(receivers)}"
            if not sent_log.claim(slot, [_ITEM], now):
                if sent_log.states(KIND, week.period)[number] == "sent":
                    log(f"{which} has had the report of {week.period} already.")
                else:
                    problems.append(
                        f"{which}: another process is sending it, or was killed while it did, and nobody knows whether"
                        f" it arrived. If it did not: {typed('report --send')}"
                    )
                continue
            try:
                note = send(receiver, message, _SECONDS)
            except Exception as error:
                passing = error.passing if isinstance(error, NotDelivered) else True
                sent_log.release(slot, [_ITEM], refused=not passing)
                problems.append(f"{which}: {_reason(error, receiver)}")
            else:
                sent_log.finish(slot, [_ITEM])
                log(f"{which}: sent the report of {week.period}." + (f" {note}." if note else ""))
    except sqlite3.Error as error:
        problems.append(f"sent.sqlite in the data folder cannot be used ({error}), so nothing more is sent.")
    if problems:
        raise NotSent("\n".join(problems))
    return week.period


def send_now(published: Path, receivers: Sequence[Receiver], log: Log) -> None:
    """Send the newest week to every receiver, whoever has had it; it does not count as sent. Raises NotSent."""
    _, message = make_message(published)
    problems = []
    for number, receiver in enumerate(receivers):
        which = f"Receiver {number + 1} of {len(receivers)}"
        try:
            note = send(receiver, message, _SECONDS)
        except NotDelivered as error:
            problems.append(f"{which}: {_reason(error, receiver)}")
        else:
            log(f"{which}: sent." + (f" {note}." if note else ""))
    if problems:
        raise NotSent("\n".join(problems))


def _reason(error: Exception, receiver: Receiver) -> str:
    """Without the URL. A NotDelivered has nothing of it, and would lose words that a URL has too, such as starttls."""
    if isinstance(error, NotDelivered):
        return str(error)
    return hidden(receiver.url, f"{type(error).__name__}: {error}")


def why_not_yet(published: Path, receivers: int, sunday: date) -> str:
    """Why a scheduled run has nothing to send for the week that ends on `sunday`; empty if it has."""
    try:
        week = read_weekly(published)
    except NotSent as error:
        return str(error)
    if week.answer.last < sunday:
        return f"Waiting for {sunday} to be published: the newest week in the file ends on {week.answer.last}."
    try:
        states = SentLog(published.parent).states(KIND, week.period)
    except sqlite3.Error as error:
        return f"sent.sqlite in the data folder cannot be used ({error})."
    return _why_none_is_left([states.get(number) for number in range(receivers)], week.period)


def _why_none_is_left(states: Sequence[str | None], period: str) -> str:
    """Of each receiver its state in the log; empty if one has not been dealt with."""
    if None in states:
        return ""
    if "refused" in states:
        refused = counted(states.count("refused"), "receiver")
        return f"{refused} refused the report of {period} for good: see the failed run, then launch the job again."
    if "sending" in states:
        return (
            f"The report of {period} is being sent, or the process that did was killed: then nobody knows whether it"
            f" arrived. If it did not: {typed('report --send')}"
        )
    return f"The report of {period} was sent."


def last_sunday(now: datetime) -> date:
    """The last day, in UTC, of the newest ISO week that is over."""
    today = now.astimezone(UTC).date()
    return date.fromordinal(today.toordinal() - today.isoweekday())
