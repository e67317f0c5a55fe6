"""One evaluation of the sensor `alerts` (`sensor.py`): which runs have ended, which alerts are due, and the cursor."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Self

import dagster as dg

from soundlink_pipeline.alerts.message import message_of, read_alert
from soundlink_pipeline.channels.harmless import hidden
from soundlink_pipeline.channels.receiver import Message, NotDelivered
from soundlink_pipeline.channels.send import send
from soundlink_pipeline.settings.receivers import Receiver
from soundlink_pipeline.wording import counted

_WILL_RETRY = "dagster/will_retry"
_RETRY_RUN = "dagster/auto_retry_run_id"
# Dagster stops a tick after 60 s and drops its cursor; the messages it had sent would be sent again.
_TICK_SECONDS = 25.0
# The network that made a run fail may well be the one that its alert needs: 30 s, 1 min, 2 min, … , 8.5 h.
TRIES = 12
_FIRST_PAUSE_SECONDS = 30.0
# Dagster stores the event that ends a run a moment before the run's status and whether it will be retried, and
# launches the retry some seconds later. If the retry never comes, the failure must still raise an alert.
_STORED_SECONDS = 60.0
_RETRY_SECONDS = 3600.0
# Alerts that were off for months must not begin with every failure of that time.
_OLDEST_SECONDS = 3 * 86_400.0
_EVENTS_PER_TICK = 50
_REMEMBERED = 10


@dataclass
class Pending:
    """A pending alert: when its run ended, attempts so far, next attempt (Unix seconds).

    `done` are the receivers, by their place in the setting, that have taken it or refused it for good; all of them are
    tried again where there are no longer `receivers` of them.
    """

    ended: float
    tries: int = 0
    due: float = 0.0
    done: list[int] = field(default_factory=list)
    receivers: int = 1


@dataclass
class Undelivered:
    """Why the last attempt to deliver an alert failed, and when (Unix seconds)."""

    at: float
    message: str


@dataclass
class State:
    """What the sensor's cursor keeps, by run id; and the runs alerted on last, since Dagster may end a run twice.

    `after`: the newest event read, of each kind that ends a run. `undelivered`: alerts that will be retried, and those
    of the last three days that will not.
    """

    after: dict[str, int]
    held: dict[str, Pending] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    undelivered: dict[str, Undelivered] = field(default_factory=dict)

    @classmethod
    def from_now_on(cls, instance: dg.DagsterInstance) -> Self:
        """The state of a sensor's first evaluation: runs that have ended before it raise no alert."""
        newest = {kind.value: instance.fetch_run_status_changes(kind, limit=1).records for kind in _ENDS}
        return cls({kind: records[0].storage_id if records else -1 for kind, records in newest.items()})

    @classmethod
    def read(cls, cursor: str | None) -> Self | None:
        """None where there is no cursor yet, or one that is not ours."""
        try:
            found = json.loads(cursor or "")
            return cls(
                after={kind.value: int(found["after"][kind.value]) for kind in _ENDS},
                held={run_id: Pending(**item) for run_id, item in found["held"].items()},
                told=list(found["told"]),
                # Missing in cursors of before 0.2.
                undelivered={run_id: Undelivered(**item) for run_id, item in found.get("undelivered", {}).items()},
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


_ENDS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)


class Tick:
    """One evaluation: finds runs that have ended, sends the alerts that are due, and changes `state` accordingly."""

    def __init__(
        self,
        context: dg.SensorEvaluationContext,
        state: State,
        receivers: Sequence[Receiver],
        ui_url: str,
        now: float,
    ) -> None:
        self._log = context.log
        self._instance = context.instance
        self._state = state
        self._receivers = receivers
        self._ui_url = ui_url
        self._now = now
        self._until = time.monotonic() + _TICK_SECONDS
        self._sent: list[str] = []
        self._problems: list[str] = []

    def find_ended_runs(self) -> None:
        """Hold every run that has ended since the last tick; sends nothing yet."""
        too_old = 0
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
                    too_old += kind is dg.DagsterEventType.RUN_FAILURE
                elif run_id not in self._state.told:
                    self._state.held.setdefault(run_id, Pending(record.timestamp))
        if too_old:
            self._log.warning(f"Skipped {counted(too_old, 'failed run')} that ended more than three days ago.")
        self._state.undelivered = {
            run_id: item
            for run_id, item in self._state.undelivered.items()
            if run_id in self._state.held or self._now - item.at < _OLDEST_SECONDS
        }

    def send_due(self) -> None:
        """Send the alerts that are due: new ones first, so that one that fails again and again delays no other."""
        due = [(run_id, pending) for run_id, pending in self._state.held.items() if pending.due <= self._now]
        for run_id, pending in sorted(due, key=lambda item: (item[1].tries, item[1].ended)):
            if self._until - time.monotonic() < 1:
                break  # the next tick continues
            run = self._instance.get_run_by_id(run_id)
            if run is None or run.tags.get(_RETRY_RUN):
                del self._state.held[run_id]
                self._state.undelivered.pop(run_id, None)
            elif not self._must_wait(run, pending):
                self._send(run, pending)

    def _must_wait(self, run: dg.DagsterRun, pending: Pending) -> bool:
        """Whether Dagster will retry the run, or has not yet stored how it ended and whether it will."""
        age = self._now - pending.ended
        if not run.is_finished:
            return age < _STORED_SECONDS
        if run.is_success:
            return False
        will_retry = run.tags.get(_WILL_RETRY)
        if will_retry is None:
            return self._instance.run_retries_enabled and age < _STORED_SECONDS
        return will_retry == "true" and age < _RETRY_SECONDS

    def _send(self, run: dg.DagsterRun, pending: Pending) -> None:
        try:
            alert = read_alert(self._instance, run, self._ui_url)
            problems, passing = self._send_to_all(pending, message_of(alert)) if alert else ([], False)
        except Exception as error:
            # Whatever it is, the other runs must still get their alert.
            problems, passing = [self._hidden(f"{type(error).__name__}: {error}")], True
        if problems:
            self._failed(run, pending, "; ".join(problems), passing=passing)
            return
        del self._state.held[run.run_id]
        self._state.undelivered.pop(run.run_id, None)
        if alert is not None:
            self._sent.append(run.run_id)
            self._state.told = [*self._state.told, run.run_id][-_REMEMBERED:]
            self._note(run, f'The sensor "alerts" sent an alert for this run ({run.status.value}).')

    def _send_to_all(self, pending: Pending, message: Message) -> tuple[list[str], bool]:
        """Send to the receivers that have not had it: what went wrong, and whether a retry may help with any of it."""
        if pending.receivers != len(self._receivers):
            pending.done, pending.receivers = [], len(self._receivers)
        problems, passing = [], False
        left = [number for number in range(len(self._receivers)) if number not in pending.done]
        for place, number in enumerate(left):
            # A receiver that does not answer leaves the others their share of the time.
            seconds = (self._until - time.monotonic()) / (len(left) - place)
            try:
                note = send(self._receivers[number], message, seconds)
            except NotDelivered as problem:
                which = f"receiver {number + 1} of {len(self._receivers)}: " if len(self._receivers) > 1 else ""
                problems.append(f"{which}{problem}")
                passing |= problem.passing
                if problem.passing:
                    continue
            else:
                if note:
                    self._log.warning(note)
            pending.done.append(number)
        return problems, passing

    def _hidden(self, text: str) -> str:
        for receiver in self._receivers:
            text = hidden(receiver.url, text)
        return text

    def _failed(self, run: dg.DagsterRun, pending: Pending, reason: str, *, passing: bool) -> None:
        """Schedule the next attempt, or give up after the last one or an error that a retry would not change."""
        pending.tries += 1
        message = f"Alert for run {run.run_id} ({run.job_name}, {run.status.value}) not delivered: {reason}"
        if passing and pending.tries < TRIES:
            pause = _FIRST_PAUSE_SECONDS * 2 ** (pending.tries - 1)
            pending.due = self._now + pause
            message += f"; attempt {pending.tries} of {TRIES}, retrying in {pause / 60:.3g} min"
            self._log.warning(message)
        else:
            del self._state.held[run.run_id]
            message += f"; not retried ({f'{TRIES} attempts failed' if passing else 'permanent error'})"
            self._log.error(message)
            self._note(run, message)
        self._state.undelivered[run.run_id] = Undelivered(self._now, message)
        self._problems.append(message)

    def _note(self, run: dg.DagsterRun, message: str) -> None:
        """Write into the run's own log. An error there must not end the tick, which would drop the cursor."""
        with suppress(Exception):
            self._instance.report_engine_event(message, run)

    def summary(self) -> str:
        """What the tick shows: first what was not delivered, then what was sent."""
        sent = [f"Sent {counted(len(self._sent), 'alert')}: {', '.join(self._sent)}."] if self._sent else []
        if self._problems or sent:
            return "\n".join([*self._problems, *sent])
        waiting = len(self._state.held)
        return f"Waiting to alert on {counted(waiting, 'run')}, or for a retry." if waiting else "No run ended badly."
