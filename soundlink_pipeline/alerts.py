"""Alerts: one message to a webhook or to Slack for each run that ends badly. Off unless `SOUNDLINK_ALERT_URL` is set.

A run ends badly when it fails, or when it succeeds although an asset check of severity ERROR failed. A cancelled run
does not, nor a failed one that Dagster tries again: the retry's end tells.

One sensor with a cursor of its own. Dagster's run status sensors forget a run whose message could not be sent; here it
is held in the cursor and tried again, at growing intervals, 12 times over 17 hours. Meanwhile other messages go their
way. The URL is a secret: it is read when a tick needs it, and is in no cursor, log, error or repr.
"""

import asyncio
import ipaddress
import json
import logging
import random
import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote, unquote

import dagster as dg
import httpx
import tenacity

# A sensor that ends a tick as failed and still moves on can be written only with these two, as Dagster's own are.
from dagster._core.definitions.run_request import DagsterRunReaction
from dagster_shared.error import SerializableErrorInfo

from soundlink_pipeline.runs import RANGE_END, RANGE_START

SENSOR = "alerts"
_WILL_RETRY = "dagster/will_retry"
_RETRY_RUN = "dagster/auto_retry_run_id"
_BACKFILL = "dagster/backfill"
_PARTITION = "dagster/partition"
_SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")

# Slack refuses texts over 40,000 characters; nobody reads 3,000.
TEXT_LIMIT = 3000
_LINE_LIMIT = 300
_REASON_LIMIT = 1000
_MOST_LINES = 8
_MOST_LISTED = 20
# Unicode's control, format (direction, zero width), surrogate and private characters.
_HIDDEN_KINDS = ("Cc", "Cf", "Cs", "Co")

# Dagster gives a tick 60 s, then forgets what it did; the messages it had sent would be sent again.
_TICK_SECONDS = 25.0
_TRY_SECONDS = 10.0
_TRIES_AT_ONCE = 3
_FIRST_BACKOFF_SECONDS = 0.5
_INTERVAL_SECONDS = 30
# The network that made a run fail may well be the one that its message needs: 30 s, 1 min, 2 min, … , 8.5 h.
TRIES = 12
_FIRST_PAUSE_SECONDS = 30.0
# Dagster stores the event that ends a run a moment before the run's status and whether it will be tried again, and
# launches the retry some seconds later. If that does not come, silence would be wrong.
_STORED_SECONDS = 60.0
_RETRY_SECONDS = 3600.0
# Alerts that were off for months must not begin with everything that failed meanwhile.
_OLDEST_SECONDS = 3 * 86_400.0
_EVENTS_PER_TICK = 50
_REMEMBERED = 10


class NotDelivered(Exception):
    """The receiver did not take a message; `passing` if it may take it later. Its text is without the URL."""

    def __init__(self, reason: str, *, passing: bool, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.passing = passing
        self.retry_after = retry_after


# What is told


@dataclass(frozen=True)
class FailedStep:
    step: str
    reason: str


@dataclass(frozen=True)
class FailedCheck:
    asset: str
    check: str
    reason: str


@dataclass(frozen=True)
class Alert:
    """What is told of a run. Its texts may hold what others have written: campaign names, answers of the API."""

    run_id: str
    job: str
    status: str
    days: tuple[str, str] | None
    failures: list[FailedStep]
    failed_checks: list[FailedCheck]
    to_do: str
    link: str


def read_alert(instance: dg.DagsterInstance, run: dg.DagsterRun, ui_url: str) -> Alert | None:
    """What there is to tell of a run that has ended; None if it ended well or was cancelled."""
    events = list(_events(instance, run.run_id))
    run_failures = [event for event in events if event.event_type is dg.DagsterEventType.RUN_FAILURE]
    succeeded = run.status is dg.DagsterRunStatus.SUCCESS
    checks = _failed_checks(events)
    # Asked of the events: a run that exceeds its time is marked as failed first, and then ends as cancelled.
    if not run_failures and not (succeeded and checks):
        return None
    failures = [] if succeeded else _failed_steps(events)
    if not succeeded and not failures:
        error = getattr(run_failures[-1].event_specific_data, "error", None)
        failures = [FailedStep("", _innermost(error) or run_failures[-1].message or "the run failed without a reason")]
    begun = any(event.event_type is dg.DagsterEventType.STEP_START for event in events)
    return Alert(
        run_id=run.run_id,
        job=_job(run),
        status="SUCCESS" if succeeded else "FAILURE",
        days=_days(run),
        failures=failures,
        failed_checks=checks,
        to_do=_to_do(succeeded=succeeded, begun=begun),
        link=f"{ui_url}/runs/{quote(run.run_id, safe='')}",
    )


def _events(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.DagsterEvent]:
    kinds = {
        dg.DagsterEventType.RUN_FAILURE,
        dg.DagsterEventType.STEP_START,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    }
    cursor, more = None, True
    while more:
        found = instance.get_records_for_run(run_id, cursor, of_type=kinds, limit=1000)
        cursor, more = found.cursor, found.has_more
        for record in found.records:
            if record.event_log_entry.dagster_event is not None:
                yield record.event_log_entry.dagster_event


def _failed_steps(events: Sequence[dg.DagsterEvent]) -> list[FailedStep]:
    failures = {}
    for event in events:
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            said = data.user_failure_data.description if data.user_failure_data else None
            if data.error_source.name == "INTERRUPT":
                said = "interrupted: its process was told to end"
            failures[event.step_key or ""] = said or _innermost(data.error) or "failed without a reason"
    return [FailedStep(step, reason) for step, reason in failures.items()]


def _innermost(error: SerializableErrorInfo | None) -> str:
    """What was raised, without the sentences that Dagster wraps it in."""
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else ""


def _failed_checks(events: Sequence[dg.DagsterEvent]) -> list[FailedCheck]:
    """The checks whose last word in the run was an ERROR."""
    last: dict[Any, dg.AssetCheckEvaluation] = {}
    for event in events:
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            data = event.asset_check_evaluation_data
            last[data.asset_check_key, data.partition] = data
    return [
        FailedCheck(data.asset_key.to_user_string(), data.check_name, _check_reason(data))
        for data in last.values()
        if not data.passed and data.severity is dg.AssetCheckSeverity.ERROR
    ]


def _check_reason(data: dg.AssetCheckEvaluation) -> str:
    rows = data.metadata.get("bad rows")
    counted = f"{rows.value} bad rows" if rows is not None else ""
    day = f"partition {data.partition}" if data.partition else ""
    return ", ".join(part for part in (counted, day, data.description) if part) or "failed"


def _job(run: dg.DagsterRun) -> str:
    if not run.job_name.startswith("__"):
        return run.job_name
    backfill = run.tags.get(_BACKFILL)
    return f"backfill {backfill}" if backfill else "materialization of selected assets"


def _days(run: dg.DagsterRun) -> tuple[str, str] | None:
    if RANGE_START in run.tags and RANGE_END in run.tags:
        return run.tags[RANGE_START], run.tags[RANGE_END]
    day = run.tags.get(_PARTITION)
    return (day, day) if day else None


def _to_do(*, succeeded: bool, begun: bool) -> str:
    if succeeded:
        return "The run succeeded. See the checks of these assets; once that is mended, materialize the assets again."
    if begun:
        return 'Once that is mended, press "Re-execute from failure" in the run: what is done is not done again.'
    return 'No step had begun. Press "Re-execute all" in the run.'


# How it is told


def payload(alert: Alert, host: str) -> dict[str, Any]:
    """The JSON for a receiver: for Slack the text, for others the text and what it is made from."""
    if host in _SLACK_HOSTS:
        return {"text": text_of(alert, _for_slack)}
    return {
        "text": text_of(alert, _without_mentions),
        "run_id": alert.run_id,
        "job": _field(alert.job),
        "status": alert.status,
        "range": {"start": _field(alert.days[0]), "end": _field(alert.days[1])} if alert.days else None,
        "counts": {"failures": len(alert.failures), "failed_checks": len(alert.failed_checks)},
        "failures": [
            {"step": _field(item.step) or None, "reason": _field(item.reason)} for item in alert.failures[:_MOST_LISTED]
        ],
        "failed_checks": [
            {"asset": _field(item.asset), "check": _field(item.check), "reason": _field(item.reason)}
            for item in alert.failed_checks[:_MOST_LISTED]
        ],
        "to_do": alert.to_do,
        "link": alert.link,
    }


def text_of(alert: Alert, escape: Callable[[str], str]) -> str:
    """The message in plain text, at most TEXT_LIMIT characters after `escape`, which makes a line harmless."""
    days = ""
    if alert.days:
        days = f", {alert.days[0]}" + (f" to {alert.days[1]}" if alert.days[1] != alert.days[0] else "")
    failed = "failed" if alert.status == "FAILURE" else "succeeded, but checks failed"
    head = [_line(f"Soundlink Pipeline: {alert.job} {failed}{days}")]
    body: list[str] = []
    for failure in alert.failures[:_MOST_LISTED]:
        # What others have written is set in, so that it cannot pass for a line of ours.
        first, *lines = failure.reason.splitlines() or [""]
        body.append(_line(f"- {failure.step}: {first}" if failure.step else f"- {first}"))
        body += [f"    {_line(line)}" for line in lines[:_MOST_LINES]]
        if len(lines) > _MOST_LINES:
            body.append(f"    and {len(lines) - _MOST_LINES} more lines")
    if len(alert.failures) > _MOST_LISTED:
        body.append(f"and {len(alert.failures) - _MOST_LISTED} more failed steps")
    checks = [f"- {item.asset}, check {item.check}: {item.reason}" for item in alert.failed_checks]
    if checks:
        body += [f"Failed checks: {len(checks)}", *map(_line, checks[:_MOST_LINES])]
        if len(checks) > _MOST_LINES:
            body.append(f"and {len(checks) - _MOST_LINES} more checks")
    tail = [alert.to_do, alert.link]
    return _fitted(*([escape(line) for line in part] for part in (head, body, tail)))


def _fitted(head: list[str], body: list[str], tail: list[str]) -> str:
    room = TEXT_LIMIT - sum(len(line) + 1 for line in head + tail) - len("and 99999 more lines\n")
    shown: list[str] = []
    for line in body:
        room -= len(line) + 1
        if room < 0:
            shown.append(f"and {len(body) - len(shown)} more lines")
            break
        shown.append(line)
    return "\n".join(head + shown + tail)


def _clean(text: str) -> str:
    """Without control characters, and without those that hide or turn text around; other blanks become spaces."""
    kept = (" " if c.isspace() else "" if unicodedata.category(c) in _HIDDEN_KINDS else c for c in text)
    return "".join(kept).strip()


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _line(text: str) -> str:
    return _cut(_clean(text), _LINE_LIMIT)


def _field(text: str) -> str:
    lines = (_clean(line) for line in text.splitlines())
    return _without_mentions(_cut("\n".join(lines), _REASON_LIMIT))


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _without_mentions(text: str) -> str:
    """Chat servers that take the webhook's text would call everybody where a campaign's name says so."""
    return re.sub(r"<(?=[!@#])|@(?=channel|here|everyone|all\b)", r"\g<0> ", text, flags=re.IGNORECASE)


# Sending


def checked_alert_url(text: str) -> httpx.URL:
    """The receiver, or a ValueError that does not show it: https, or http on loopback only."""
    try:
        url = httpx.URL(text.strip())
        host = url.host
    except (httpx.InvalidURL, ValueError):
        raise ValueError("SOUNDLINK_ALERT_URL is not a URL (it is not shown: it is a secret)") from None
    if url.scheme not in ("http", "https") or not host:
        raise ValueError("SOUNDLINK_ALERT_URL must be a URL such as https://hooks.slack.com/services/…")
    if url.userinfo:
        raise ValueError("SOUNDLINK_ALERT_URL must hold no user name or password")
    if url.scheme == "http" and not _is_loopback(host):
        raise ValueError("SOUNDLINK_ALERT_URL is plain http: the secret in it would travel in clear; use https")
    return url


def checked_ui_url(text: str) -> str:
    """Where people reach the Dagster UI, without a slash at the end, or a ValueError."""
    try:
        url = httpx.URL(text.strip().rstrip("/"))
        host = url.host
    except (httpx.InvalidURL, ValueError):
        raise ValueError("it is not a URL") from None
    if url.scheme not in ("http", "https") or not host or url.userinfo or url.query or url.fragment:
        raise ValueError("must be a URL such as http://127.0.0.1:3000, without user name and query")
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def deliver(url: httpx.URL, body: dict[str, Any], seconds: float) -> None:
    """Send a message within so many seconds, in up to three tries. Raises NotDelivered.

    An answer that came too late is asked for again: rather twice than never. `run_id` tells that it is the same.
    """
    until = time.monotonic() + seconds

    def attempt() -> None:
        with _nothing_logged():
            asyncio.run(_post(url, body, min(until - time.monotonic(), _TRY_SECONDS)))

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, NotDelivered) and error.passing),
        stop=tenacity.stop_after_attempt(_TRIES_AT_ONCE) | tenacity.stop_before_delay(seconds),
        wait=_backoff,
        reraise=True,
    )
    retrying(attempt)


async def _post(url: httpx.URL, body: dict[str, Any], seconds: float) -> None:
    """One try. httpx limits each silence; the time as a whole is limited here, also for who drips."""
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(
                timeout=httpx.Timeout(connect=5.0, read=_TRY_SECONDS, write=_TRY_SECONDS, pool=None),
                follow_redirects=False,
                headers={"user-agent": "soundlink-pipeline"},
                # Plain http is for loopback: through a proxy from the environment it would leave the machine in clear.
                trust_env=url.scheme == "https",
            ) as client,
            client.stream("POST", url, json=body) as response,
        ):
            if response.is_success:
                return
            raise await _refusal(url, response)
    except (TimeoutError, httpx.TimeoutException):
        raise NotDelivered("the receiver did not answer in time", passing=True) from None
    except (httpx.HTTPError, httpx.StreamError) as fault:
        said = _hidden(url, str(fault)) or type(fault).__name__
        raise NotDelivered(f"the receiver could not be reached: {said}", passing=True) from None


async def _refusal(url: httpx.URL, response: httpx.Response) -> NotDelivered:
    status = response.status_code
    if response.is_redirect:
        return NotDelivered(
            f"the receiver redirects (HTTP {status}), which is not followed: set SOUNDLINK_ALERT_URL to where it is",
            passing=False,
        )
    beginning = b""
    async for chunk in response.aiter_bytes():
        beginning += chunk
        if len(beginning) > 2000:
            break
    said = _hidden(url, _clean(beginning.decode("utf-8", "replace")))
    return NotDelivered(
        f"the receiver answered HTTP {status}" + (f": {_cut(said, 200)}" if said else ""),
        passing=status >= 500 or status in (408, 425, 429),
        retry_after=_retry_after(response),
    )


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "").strip()
    return float(text) if re.fullmatch(r"[0-9]{1,6}", text) else 0.0


def _backoff(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, NotDelivered) else 0.0
    longest = _FIRST_BACKOFF_SECONDS * 2**state.attempt_number
    return asked + random.uniform(longest / 2, longest)  # noqa: S311


@contextmanager
def _nothing_logged() -> Iterator[None]:
    """httpx logs each request with its URL, which is the secret here, and httpcore what a redirect says of it."""
    here = threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    loggers = [logging.getLogger(name) for name in ("httpx", "httpcore.http11")]
    for logger in loggers:
        logger.addFilter(of_others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(of_others)


def _hidden(url: httpx.URL, text: str) -> str:
    """Text from outside without the URL and its parts, which a server or a proxy may echo."""
    target = url.raw_path.decode("ascii")
    parts = {str(url), target, *re.split(r"[/?&=;]", target), url.host}
    parts |= {unquote(part) for part in parts}
    for part in sorted((part for part in parts if len(part) >= 5), key=len, reverse=True):
        text = re.sub(re.escape(part), "[hidden]", text, flags=re.IGNORECASE)
    return text


# The sensor


@dataclass
class _Held:
    """A run that is to be told of: when it ended, how often that was tried, when next (seconds since 1970)."""

    ended: float
    tries: int = 0
    due: float = 0.0


@dataclass
class _State:
    """What the sensor's cursor keeps: how far each kind of event is read, who waits, who was told of last."""

    after: dict[str, int]
    held: dict[str, _Held] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, cursor: str | None) -> Self | None:
        """None where there is no cursor yet, or one that is not ours."""
        try:
            found = json.loads(cursor or "")
            held = {run_id: _Held(**item) for run_id, item in found["held"].items()}
            return cls({kind.value: int(found["after"][kind.value]) for kind in _ENDS}, held, list(found["told"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


_ENDS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)


def build_alerts(
    read_url: Callable[[], str | None], ui_url: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.SensorDefinition:
    """The sensor `alerts`, on by default where `read_url` gives a URL. Raises ValueError if that cannot be one."""
    text = (read_url() or "").strip()
    if text:
        checked_alert_url(text)

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if text else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Sends one message to SOUNDLINK_ALERT_URL for each run that fails, and for each that succeeds with a failed"
            " check of severity ERROR."
            + ("" if text else " Off: set SOUNDLINK_ALERT_URL to a webhook or a Slack incoming webhook.")
        ),
    )
    def alerts(context: dg.SensorEvaluationContext) -> Iterator[dg.SkipReason | DagsterRunReaction]:
        address = (read_url() or "").strip()
        if not address:
            yield dg.SkipReason("SOUNDLINK_ALERT_URL is not set: there is nobody to tell")
            return
        state = _State.read(context.cursor)
        if state is None:
            state = _State({kind.value: _last(context.instance, kind) for kind in _ENDS})
            context.update_cursor(state.text())
            yield dg.SkipReason("Runs that end from now on are told of.")
            return
        tick = _Tick(context, state, checked_alert_url(address), ui_url, now().timestamp())
        tick.notice()
        tick.tell()
        context.update_cursor(state.text())
        yield from tick.outcome()

    return alerts


def _last(instance: dg.DagsterInstance, kind: dg.DagsterEventType) -> int:
    records = instance.fetch_run_status_changes(kind, limit=1).records
    return records[0].storage_id if records else -1


class _Tick:
    """One evaluation: notices runs that have ended, sends what is due, and changes `state` accordingly."""

    def __init__(
        self, context: dg.SensorEvaluationContext, state: _State, url: httpx.URL, ui_url: str, now: float
    ) -> None:
        self._log = context.log
        self._instance = context.instance
        self._state = state
        self._url = url
        self._ui_url = ui_url
        self._now = now
        self._until = time.monotonic() + _TICK_SECONDS
        self._sent: list[dg.DagsterRun] = []
        self._problems: list[tuple[dg.DagsterRun, str]] = []

    def notice(self) -> None:
        """Hold every run that has ended since the last tick; nothing is told yet."""
        passed_over = 0
        for kind in _ENDS:
            records = self._instance.fetch_run_status_changes(
                dg.RunStatusChangeRecordsFilter(kind, after_storage_id=self._state.after[kind.value]),  # type: ignore[arg-type]
                limit=_EVENTS_PER_TICK,
                ascending=True,
            ).records
            for record in records:
                self._state.after[kind.value] = record.storage_id
                run_id = record.event_log_entry.run_id
                if self._now - record.timestamp > _OLDEST_SECONDS:
                    passed_over += kind is dg.DagsterEventType.RUN_FAILURE
                elif run_id not in self._state.told:
                    self._state.held.setdefault(run_id, _Held(record.timestamp))
        if passed_over:
            self._log.warning(f"{passed_over} failed runs are not told of: they ended more than three days ago")

    def tell(self) -> None:
        """Send what is due: first what is new, so that a message that fails again and again holds up no other."""
        due = [(run_id, held) for run_id, held in self._state.held.items() if held.due <= self._now]
        for run_id, held in sorted(due, key=lambda item: (item[1].tries, item[1].ended)):
            if self._until - time.monotonic() < 1:
                break  # the next tick goes on
            run = self._instance.get_run_by_id(run_id)
            if run is None or run.tags.get(_RETRY_RUN):
                del self._state.held[run_id]
            elif not self._must_wait(run, held):
                self._tell_of(run, held)

    def _must_wait(self, run: dg.DagsterRun, held: _Held) -> bool:
        """Whether Dagster will try the run again, or has not yet stored how it ended and whether it will."""
        age = self._now - held.ended
        if not run.is_finished:
            return age < _STORED_SECONDS
        if run.is_success:
            return False
        said = run.tags.get(_WILL_RETRY)
        if said is None:
            return self._instance.run_retries_enabled and age < _STORED_SECONDS
        return said == "true" and age < _RETRY_SECONDS

    def _tell_of(self, run: dg.DagsterRun, held: _Held) -> None:
        try:
            alert = read_alert(self._instance, run, self._ui_url)
            if alert is not None:
                deliver(self._url, payload(alert, self._url.host), self._until - time.monotonic())
                self._sent.append(run)
                self._state.told = [*self._state.told, run.run_id][-_REMEMBERED:]
            del self._state.held[run.run_id]
        except NotDelivered as problem:
            self._again(run, held, str(problem), passing=problem.passing)
        except Exception as error:
            # Whatever it is, it must not cost the other runs their message.
            self._again(run, held, _hidden(self._url, f"{type(error).__name__}: {error}"), passing=True)

    def _again(self, run: dg.DagsterRun, held: _Held, reason: str, *, passing: bool) -> None:
        held.tries += 1
        told = f"the message on run {run.run_id} ({run.job_name}, {run.status.value}) was not delivered: {reason}"
        if passing and held.tries < TRIES:
            pause = _FIRST_PAUSE_SECONDS * 2 ** (held.tries - 1)
            held.due = self._now + pause
            told += f"; try {held.tries} of {TRIES}, the next in {pause / 60:.3g} min"
            self._log.warning(told)
        else:
            del self._state.held[run.run_id]
            told += f"; given up after {held.tries} of {TRIES} tries" if passing else "; given up: it would not pass"
            self._log.error(told)
        self._problems.append((run, told))

    def outcome(self) -> Iterator[dg.SkipReason | DagsterRunReaction]:
        """For the tick: each run that was told of (its own log says so), and what went wrong, last, as its error."""
        for run in self._sent:
            yield DagsterRunReaction(run, run_status=run.status)
        if self._problems:
            told = "\n".join(text for _, text in self._problems)
            yield DagsterRunReaction(self._problems[0][0], error=SerializableErrorInfo(told, [], NotDelivered.__name__))
        elif not self._sent:
            waiting = len(self._state.held)
            yield dg.SkipReason(
                f"{waiting} runs wait for their message or their retry" if waiting else "No run has ended badly."
            )
