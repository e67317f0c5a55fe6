"""One evaluation of the sensor `alerts` (`sensor.py`): who has ended, who is due, and what the cursor keeps of it."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Self

import dagster as dg
import httpx

# A sensor that ends a tick as failed and still moves on can be written only with these two, as Dagster's own are.
from dagster._core.definitions.run_request import DagsterRunReaction
from dagster_shared.error import SerializableErrorInfo

from soundlink_pipeline.alerts.delivery import NotDelivered, deliver, hidden
from soundlink_pipeline.alerts.message import payload, read_alert

_WILL_RETRY = "dagster/will_retry"
_RETRY_RUN = "dagster/auto_retry_run_id"
# Dagster gives a tick 60 s, then forgets what it did; the messages it had sent would be sent again.
_TICK_SECONDS = 25.0
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


@dataclass
class Held:
    """A run that is to be told of: when it ended, how often that was tried, when next (seconds since 1970)."""

    ended: float
    tries: int = 0
    due: float = 0.0


@dataclass
class State:
    """What the sensor's cursor keeps: how far each kind of event is read, who waits, who was told of last."""

    after: dict[str, int]
    held: dict[str, Held] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    @classmethod
    def from_now_on(cls, instance: dg.DagsterInstance) -> Self:
        """Of a sensor that is evaluated for the first time: what has ended until now is not told of."""
        newest = {kind.value: instance.fetch_run_status_changes(kind, limit=1).records for kind in _ENDS}
        return cls({kind: records[0].storage_id if records else -1 for kind, records in newest.items()})

    @classmethod
    def read(cls, cursor: str | None) -> Self | None:
        """None where there is no cursor yet, or one that is not ours."""
        try:
            found = json.loads(cursor or "")
            held = {run_id: Held(**item) for run_id, item in found["held"].items()}
            return cls({kind.value: int(found["after"][kind.value]) for kind in _ENDS}, held, list(found["told"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


_ENDS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)


class Tick:
    """One evaluation: notices runs that have ended, sends what is due, and changes `state` accordingly."""

    def __init__(
        self, context: dg.SensorEvaluationContext, state: State, url: httpx.URL, ui_url: str, now: float
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
                    self._state.held.setdefault(run_id, Held(record.timestamp))
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

    def _must_wait(self, run: dg.DagsterRun, held: Held) -> bool:
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

    def _tell_of(self, run: dg.DagsterRun, held: Held) -> None:
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
            self._again(run, held, hidden(self._url, f"{type(error).__name__}: {error}"), passing=True)

    def _again(self, run: dg.DagsterRun, held: Held, reason: str, *, passing: bool) -> None:
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
